package explain

import (
	"fmt"

	"github.com/meterseal/meterseal/echonet"
)

// describer puts the data of one property into words. ok is false if the data
// is not of the form that the property demands.
type describer func(edt []byte) (v Value, ok bool)

// property is what is known of one property of a class.
type property struct {
	name     string
	describe describer // nil: the data is shown in hexadecimal
}

var superClass = map[byte]property{
	0x80: {"operation status", codes(map[byte]string{0x30: "on", 0x31: "off"})},
	0x81: {"installation location", nil},
	0x82: {"standard version", release},
	0x83: {"identification number", nil},
	0x84: {"instantaneous power", unsigned("W")},
	0x85: {"cumulative energy", unsigned("0.001 kWh")},
	0x86: {"manufacturer fault code", nil},
	0x87: {"current limit", unsigned("%")},
	0x88: {"fault status", codes(map[byte]string{0x41: "fault", 0x42: "no fault"})},
	0x89: {"fault description", nil},
	0x8A: {"manufacturer code", nil},
	0x8B: {"business facility code", nil},
	0x8C: {"product code", ascii},
	0x8D: {"serial number", ascii},
	0x8E: {"production date", date},
	0x8F: {"power saving", codes(map[byte]string{0x41: "on", 0x42: "off"})},
	0x93: {"remote control", nil},
	0x97: {"current time", clock},
	0x98: {"current date", date},
	0x99: {"power limit", unsigned("W")},
	0x9A: {"operating time", nil},
	0x9D: {"announcement property map", propertyMap},
	0x9E: {"set property map", propertyMap},
	0x9F: {"get property map", propertyMap},
}

var nodeProfile = map[byte]property{
	0x82: {"version", profileVersion},
	0xBF: {"unique identifier data", nil},
	0xD3: {"number of instances", unsigned("")},
	0xD4: {"number of classes", unsigned("")},
	0xD5: {"instance list notification", instances},
	0xD6: {"instance list", instances},
	0xD7: {"class list", classes},
}

var controllerClass = map[byte]property{
	0xC0: {"controller id", ascii}, 0xC1: {"number of devices", unsigned("")}, 0xC2: {"index", unsigned("")},
	0xC3: {"device id", ascii}, 0xC4: {"device type", nil}, 0xC5: {"name", utf8Text},
	0xC6: {"connection status", codes(map[byte]string{0x41: "connected", 0x42: "disconnected", 0x43: "not registered", 0x44: "deleted"})},
	0xE0: {"installation address", utf8Text},
}

var meterClass = map[byte]property{
	0xC0: {"Route-B identification number", nil},
	0xD0: {"1-minute cumulative energy", reading},
	0xD3: {"coefficient", unsigned("")},
	0xD7: {"effective digits", unsigned("")},
	0xE0: {"cumulative energy, normal", count},
	0xE1: {"unit of energies", unit},
	0xE2: {"history 1, normal", dayHistory},
	0xE3: {"cumulative energy, reverse", count},
	0xE4: {"history 1, reverse", dayHistory},
	0xE5: {"day of history 1", day},
	0xE7: {"instantaneous power", power},
	0xE8: {"instantaneous currents", currents},
	0xEA: {"30-minute cumulative energy, normal", reading},
	0xEB: {"30-minute cumulative energy, reverse", reading},
	0xEC: {"history 2", history(span2)},
	0xED: {"time and items of history 2", span2},
	0xEE: {"history 3", history(span3)},
	0xEF: {"time and items of history 3", span3},
	0xF0: {"vendor: log status", nil}, 0xF1: {"vendor: newest seal", nil}, 0xF2: {"vendor: cursor", nil},
	0xF3: {"vendor: window 0", nil}, 0xF4: {"vendor: window 1", nil}, 0xF5: {"vendor: window 2", nil}, 0xF6: {"vendor: window 3", nil},
	0xF7: {"vendor: challenge", nil}, 0xF8: {"vendor: receipt", nil},
}

// lookup returns what is known of a property of an object.
func lookup(o echonet.EOJ, epc byte) property {
	own := map[byte]property(nil)
	switch [2]byte{o[0], o[1]} {
	case [2]byte{0x0E, 0xF0}:
		own = nodeProfile
	case [2]byte{0x05, 0xFF}:
		own = controllerClass
	case [2]byte{0x02, 0x88}:
		own = meterClass
	}
	if p, ok := own[epc]; ok {
		return p
	}
	if p, ok := superClass[epc]; ok {
		return p
	}
	if epc >= 0xF0 {
		return property{name: "vendor specific"}
	}
	return property{name: "unknown"}
}

// Name returns the name of a property of an object.
func Name(o echonet.EOJ, epc byte) string { return lookup(o, epc).name }

// Object returns the name of an object's class with its instance.
func Object(o echonet.EOJ) string {
	name := "class unknown here"
	switch [2]byte{o[0], o[1]} {
	case [2]byte{0x0E, 0xF0}:
		name = "node profile"
	case [2]byte{0x05, 0xFF}:
		name = "controller"
	case [2]byte{0x02, 0x88}:
		name = "low-voltage smart electric energy meter"
	}
	if o[2] == 0 {
		return name + ", all instances"
	}
	return fmt.Sprintf("%s, instance %d", name, o[2])
}

var services = map[echonet.ESV]string{
	echonet.SetI: "write, no answer wanted", echonet.SetC: "write, answer wanted", echonet.Get: "read", echonet.INFREQ: "ask for a notification",
	echonet.SetGet: "write, then read", echonet.SetRes: "written", echonet.GetRes: "values read", echonet.INF: "notification",
	echonet.INFC: "notification, answer wanted", echonet.INFCRes: "notification received", echonet.SetGetRes: "written and read",
	echonet.SetISNA: "not all written", echonet.SetCSNA: "not all written", echonet.GetSNA: "not all read", echonet.INFSNA: "notification refused",
	echonet.SetGetSNA: "not all written or read",
}

// Service returns what a service code says.
func Service(s echonet.ESV) string {
	if text, ok := services[s]; ok {
		return text
	}
	return "reserved"
}
