// Package echonet is ECHONET Lite: frames, property maps, and a Node that serves
// objects and sends requests, over any net.PacketConn.
package echonet
