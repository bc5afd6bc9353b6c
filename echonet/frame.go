package echonet

import (
	"encoding/binary"
	"errors"
)

// Reasons for which bytes are no frame, or a frame cannot be bytes.
var (
	// ErrShort: the bytes end before the frame does.
	ErrShort = errors.New("echonet: frame: too short")
	// ErrHeader: the first two bytes are not those of ECHONET Lite.
	ErrHeader = errors.New("echonet: frame: no ECHONET Lite header")
	// ErrFormat2: a message in the freely chosen format, EHD2 0x82: legal on
	// the wire, and for others.
	ErrFormat2 = errors.New("echonet: frame: arbitrary message format")
	// ErrService: a reserved service code, so that the layout is unknown.
	ErrService = errors.New("echonet: frame: reserved service code")
	// ErrOPC: no property, more than 255, or a second list where the service
	// has none.
	ErrOPC = errors.New("echonet: frame: wrong number of properties")
	// ErrEDT: property data of more than 255 bytes.
	ErrEDT = errors.New("echonet: frame: property data over 255 bytes")
	// ErrTrailing: bytes after the end. What is before them was decoded, for
	// callers that must get along with a sloppy peer.
	ErrTrailing = errors.New("echonet: frame: trailing bytes")
)

const (
	ehd1       = 0x10 // ECHONET Lite
	ehdFormat1 = 0x81 // specified message format
	ehdFormat2 = 0x82 // arbitrary message format

	headerSize = 12 // all before the first property
)

// Property is one property of a message: its code and its data, at most 255
// bytes. In requests that read, and in refused reads, EDT is empty.
type Property struct {
	EPC byte
	EDT []byte
}

// Frame is an ECHONET Lite message in the specified format (ECHONET Lite
// Part II, 3.2):
//
//	offset  size  field
//	0       1     EHD1, 10
//	1       1     EHD2, 81
//	2       2     TID, big-endian; an answer repeats that of its request
//	4       3     SEOJ, the sending object
//	7       3     DEOJ, the object spoken to
//	10      1     ESV, the service
//	11      1     OPC, number of properties, 1-255
//	12      ...   per property: EPC 1, PDC 1, EDT of PDC bytes
//
// The SetGet family has a second count and list behind the first: Properties
// is what is written and GetProperties what is read. Only SetGetSNA may have
// an empty list.
type Frame struct {
	TID           uint16
	SEOJ, DEOJ    EOJ
	ESV           ESV
	Properties    []Property
	GetProperties []Property
}

// AppendBinary appends the frame to b. On error it returns b as it was, with
// ErrOPC, ErrEDT or ErrService.
func (f *Frame) AppendBinary(b []byte) ([]byte, error) {
	if !f.ESV.Known() {
		return b, ErrService
	}
	start := len(b)
	b = append(b, ehd1, ehdFormat1, byte(f.TID>>8), byte(f.TID),
		f.SEOJ[0], f.SEOJ[1], f.SEOJ[2], f.DEOJ[0], f.DEOJ[1], f.DEOJ[2], byte(f.ESV))
	b, err := appendProperties(b, f.Properties, f.ESV)
	if err != nil {
		return b[:start], err
	}
	if !f.ESV.twoLists() {
		if len(f.GetProperties) != 0 {
			return b[:start], ErrOPC
		}
		return b, nil
	}
	b, err = appendProperties(b, f.GetProperties, f.ESV)
	if err != nil {
		return b[:start], err
	}
	return b, nil
}

func appendProperties(b []byte, ps []Property, esv ESV) ([]byte, error) {
	if len(ps) > 255 || len(ps) == 0 && esv != SetGetSNA {
		return b, ErrOPC
	}
	b = append(b, byte(len(ps)))
	for i := range ps {
		p := &ps[i]
		if len(p.EDT) > 255 {
			return b, ErrEDT
		}
		if e := p.EDT; len(e) == 4 { // most values of a meter: one append is twice as fast as two
			b = append(b, p.EPC, 4, e[0], e[1], e[2], e[3])
			continue
		}
		b = append(b, p.EPC, byte(len(p.EDT)))
		b = append(b, p.EDT...)
	}
	return b, nil
}

// UnmarshalBinary decodes one datagram. It keeps the capacity of f's lists, so
// that a Frame that is used again costs no allocation. The EDTs alias b, each
// with its capacity capped to its own bytes; Clone makes an owned copy. After
// an error other than ErrTrailing the contents of f mean nothing.
//
// What decodes encodes to the same bytes.
func (f *Frame) UnmarshalBinary(b []byte) error {
	if len(b) < headerSize {
		return shortReason(b)
	}
	if b[0] != ehd1 || b[1] != ehdFormat1 {
		return shortReason(b)
	}
	f.TID = binary.BigEndian.Uint16(b[2:4])
	f.SEOJ = EOJ(b[4:7])
	f.DEOJ = EOJ(b[7:10])
	f.ESV = ESV(b[10])
	if !f.ESV.Known() {
		return ErrService
	}
	rest := b[11:]
	var err error
	if f.Properties, rest, err = readProperties(f.Properties[:0], rest, f.ESV); err != nil {
		return err
	}
	f.GetProperties = f.GetProperties[:0]
	if f.ESV.twoLists() {
		if f.GetProperties, rest, err = readProperties(f.GetProperties, rest, f.ESV); err != nil {
			return err
		}
	}
	if len(rest) != 0 {
		return ErrTrailing
	}
	return nil
}

// shortReason says why bytes without a whole header of format 1 are no frame.
func shortReason(b []byte) error {
	switch {
	case len(b) >= 1 && b[0] != ehd1:
		return ErrHeader
	case len(b) >= 2 && b[1] == ehdFormat2:
		return ErrFormat2
	case len(b) >= 2 && b[1] != ehdFormat1:
		return ErrHeader
	}
	return ErrShort
}

func readProperties(ps []Property, b []byte, esv ESV) ([]Property, []byte, error) {
	if len(b) == 0 {
		return ps, b, ErrShort
	}
	opc := int(b[0])
	if opc == 0 && esv != SetGetSNA {
		return ps, b, ErrOPC
	}
	b = b[1:]
	for range opc {
		if len(b) < 2 {
			return ps, b, ErrShort
		}
		end := 2 + int(b[1])
		if len(b) < end {
			return ps, b, ErrShort
		}
		ps = append(ps, Property{b[0], b[2:end:end]})
		b = b[end:]
	}
	return ps, b, nil
}

// Clone returns a copy that shares no memory with f.
func (f *Frame) Clone() Frame {
	c := *f
	c.Properties = cloneProperties(f.Properties)
	c.GetProperties = cloneProperties(f.GetProperties)
	return c
}

// cloneProperties copies list and data in two allocations.
func cloneProperties(ps []Property) []Property {
	if len(ps) == 0 {
		return nil
	}
	size := 0
	for i := range ps {
		size += len(ps[i].EDT)
	}
	out := make([]Property, len(ps))
	data := make([]byte, 0, size)
	for i := range ps {
		from := len(data)
		data = append(data, ps[i].EDT...)
		out[i] = Property{ps[i].EPC, data[from:len(data):len(data)]}
	}
	return out
}

// Find returns the data of the first property with that code in Properties.
func (f *Frame) Find(epc byte) (edt []byte, ok bool) { return Find(f.Properties, epc) }

// Find returns the data of the first property with that code.
func Find(ps []Property, epc byte) (edt []byte, ok bool) {
	for i := range ps {
		if ps[i].EPC == epc {
			return ps[i].EDT, true
		}
	}
	return nil, false
}
