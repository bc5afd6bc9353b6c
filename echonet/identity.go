package echonet

// Identity is what a node says of its make. The node profile and the device
// objects of a node share it.
type Identity struct {
	// Manufacturer is the code that the ECHONET Consortium gave (EPC 8A). The
	// zero value means FFFFFF, for experiments.
	Manufacturer [3]byte
	// Unique tells this node from all others of the manufacturer, and stays
	// over restarts (EPC 83). The zero value means the serial number, padded
	// with zeros.
	Unique [13]byte
	// Product is the product code, at most 12 ASCII characters (EPC 8C).
	Product string
	// Serial is the serial number, at most 12 ASCII characters (EPC 8D).
	Serial string
}

// ManufacturerCode returns the data of EPC 8A, 3 bytes.
func (id Identity) ManufacturerCode() []byte {
	if id.Manufacturer == ([3]byte{}) {
		return []byte{0xFF, 0xFF, 0xFF}
	}
	return id.Manufacturer[:]
}

// Number returns the data of EPC 83: FE, manufacturer code, unique part; 17
// bytes.
func (id Identity) Number() []byte {
	b := append([]byte{0xFE}, id.ManufacturerCode()...)
	if id.Unique == ([13]byte{}) {
		copy(id.Unique[:], id.Serial)
	}
	return append(b, id.Unique[:]...)
}

// ProductCode returns the data of EPC 8C, 12 bytes, and nil if there is none.
func (id Identity) ProductCode() []byte { return text12(id.Product) }

// SerialNumber returns the data of EPC 8D, 12 bytes, and nil if there is none.
func (id Identity) SerialNumber() []byte { return text12(id.Serial) }

// text12 returns s in 12 bytes padded with zeros; what is longer is cut.
func text12(s string) []byte {
	if s == "" {
		return nil
	}
	b := make([]byte, 12)
	copy(b, s)
	return b
}

// Version returns the data of EPC 82 of a device: the release letter of the
// appendix that its class follows, and its revision.
func Version(release byte, revision byte) []byte { return []byte{0, 0, release, revision} }

// SuperClass returns the properties that every device object has (ECHONET Lite
// appendix, device object super class): 80 on, 81 settable and not yet set, 82,
// 83, 88 no fault, 8A, and 8C and 8D if the identity has them. Entries that
// follow them in NewDevice's list take their place.
func SuperClass(id Identity, version []byte) []Entry {
	entries := []Entry{
		{EPC: 0x80, Value: []byte{0x30}, Announce: true},
		{EPC: 0x81, Value: []byte{0x00}, Write: ValidLocation, Announce: true},
		{EPC: 0x82, Value: version},
		{EPC: 0x83, Value: id.Number()},
		{EPC: 0x88, Value: []byte{0x42}, Announce: true},
		{EPC: 0x8A, Value: id.ManufacturerCode()},
	}
	if p := id.ProductCode(); p != nil {
		entries = append(entries, Entry{EPC: 0x8C, Value: p})
	}
	if s := id.SerialNumber(); s != nil {
		entries = append(entries, Entry{EPC: 0x8D, Value: s})
	}
	return entries
}

// ValidLocation reports whether edt can be an installation location (EPC 81):
// one byte, or 17 that begin with 01.
func ValidLocation(edt []byte) bool {
	return len(edt) == 1 && edt[0] != 0x01 || len(edt) == 17 && edt[0] == 0x01
}

// NewController returns a controller object, 05FF01, with the properties that
// it must have. A HEMS puts it among its node's objects.
func NewController(id Identity) *Device {
	return NewDevice(Controller, SuperClass(id, Version('R', 1))...)
}
