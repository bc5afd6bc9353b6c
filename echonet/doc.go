// Package echonet is ECHONET Lite: frames, property maps, and a Node that serves
// objects and asks other nodes, over UDP or any other net.PacketConn.
//
// # Nodes
//
// A Node is made of links and objects. Listen opens links for UDP; a radio or a
// pair in memory (package memlink) is a link too. An object is anything that
// implements Object; Device is one made of a table. The node adds its node
// profile object, 0EF001, announces its instance list, and answers the property
// maps 9D, 9E and 9F of every object.
//
//	links, err := echonet.Listen(echonet.ListenConfig{})
//	...
//	node := echonet.New(echonet.Config{Links: links, Objects: []echonet.Object{device}})
//	defer node.Close()
//	err = node.Serve(ctx)
//
// The same Node asks: Get, SetC, SetI, SetGet, InfReq, and Request for all else.
// An answer is known by host, TID, objects and service, never by the port it came
// from. Requests to one peer go one at a time, Gets are repeated after a timeout,
// and split for peers that take only few properties at a time.
//
// # What is answered
//
// Whatever is no request to an object of the node is dropped without an answer:
// bytes that are no frame, the arbitrary format, reserved services, answers that
// nobody waits for, objects that are not there. Config.OnDrop tells of each. What
// a request cannot have is refused within its answer (SNA), property by
// property; the rest of it is done. An answer that would exceed
// Config.MaxPayload refuses those properties that do not fit.
//
// ECHONET Lite authenticates nobody. Anyone who reaches a node may ask it
// anything, and may send notifications in the name of another.
//
// # Frames
//
// Frame encodes and decodes messages without reflection or allocation, both lists
// of SetGet included. Decoding is strict: what decodes encodes to the same bytes.
package echonet
