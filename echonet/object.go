package echonet

import "net"

// Object is what a Node serves: one instance of a class. Its methods return at
// once (no flash, no network, no lock that is held for long) and may be called
// concurrently.
type Object interface {
	// EOJ returns the object's code, which does not change.
	EOJ() EOJ
	// Properties returns which properties the object announces, lets others
	// write, and lets others read. The Node answers 9D, 9E and 9F from it, adds
	// those three to Get, and refuses whatever is not in it before the object
	// is asked.
	Properties() PropertyMaps
	// Begin is called once per message and instance. State that holds for one
	// message only, such as a cursor that a SetGet writes and reads by, lives
	// in the Access that it returns.
	Begin(req Request) Access
}

// Access is one message's access to an object. Its methods are called one at a
// time, in the order of the message.
type Access interface {
	// Get returns the value of a property, at most 255 bytes, which must stay as
	// it is until the next call. ok is false if it cannot be read.
	Get(epc byte) (edt []byte, ok bool)
	// Set writes a property and reports whether the value was accepted. edt is
	// never empty, and belongs to the caller: copy what is kept.
	Set(epc byte, edt []byte) bool
}

// PropertyMaps are an object's announcement, Set and Get property maps (EPC 9D,
// 9E, 9F).
type PropertyMaps struct {
	Announce, Set, Get PropertySet
}

// Request is what an object may know about the message it serves.
type Request struct {
	// From is the sender; nil when the node reads the object for a
	// notification of its own. HostOf(From) identifies the node that sent it.
	From net.Addr
	// ESV is SetI, SetC, Get, INFREQ, SetGet, or INF for a notification.
	ESV ESV
	// SEOJ is the sending object. Any object may ask.
	SEOJ EOJ
}

// The properties that the Node answers by itself for every object.
const (
	EPCAnnounceMap byte = 0x9D
	EPCSetMap      byte = 0x9E
	EPCGetMap      byte = 0x9F
)

// mapProperties are always readable.
var mapProperties = SetOf(EPCAnnounceMap, EPCSetMap, EPCGetMap)
