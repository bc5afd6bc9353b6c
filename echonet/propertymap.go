package echonet

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrPropertyMap: bytes that are no property map.
var ErrPropertyMap = errors.New("echonet: property map: malformed")

// ErrPropertyMapCount: a property map whose count disagrees with what follows.
// ParsePropertyMap returns what it could read along with it, because nodes
// that count wrongly are in the field.
var ErrPropertyMapCount = errors.New("echonet: property map: count disagrees with contents")

// PropertySet is a set of property codes, 0x80 to 0xFF. Codes below 0x80 do not
// exist and are in no set. The zero value is the empty set; sets are compared
// with ==.
type PropertySet struct {
	lo, hi uint64 // codes 80-BF and C0-FF, lowest code in bit 0
}

// SetOf returns the set of the codes given.
func SetOf(epcs ...byte) PropertySet {
	var s PropertySet
	s.Add(epcs...)
	return s
}

// Has reports whether epc is in the set.
func (s PropertySet) Has(epc byte) bool {
	switch {
	case epc >= 0xC0:
		return s.hi>>(epc-0xC0)&1 != 0
	case epc >= 0x80:
		return s.lo>>(epc-0x80)&1 != 0
	}
	return false
}

// Add puts codes in the set. Codes below 0x80 are left out.
func (s *PropertySet) Add(epcs ...byte) {
	for _, epc := range epcs {
		switch {
		case epc >= 0xC0:
			s.hi |= 1 << (epc - 0xC0)
		case epc >= 0x80:
			s.lo |= 1 << (epc - 0x80)
		}
	}
}

// Remove takes codes out of the set.
func (s *PropertySet) Remove(epcs ...byte) {
	for _, epc := range epcs {
		switch {
		case epc >= 0xC0:
			s.hi &^= 1 << (epc - 0xC0)
		case epc >= 0x80:
			s.lo &^= 1 << (epc - 0x80)
		}
	}
}

// Union returns the codes that are in s or in t.
func (s PropertySet) Union(t PropertySet) PropertySet {
	return PropertySet{s.lo | t.lo, s.hi | t.hi}
}

// Contains reports whether every code of t is in s.
func (s PropertySet) Contains(t PropertySet) bool {
	return t.lo&^s.lo == 0 && t.hi&^s.hi == 0
}

// Len returns the number of codes in the set, at most 128.
func (s PropertySet) Len() int { return bits.OnesCount64(s.lo) + bits.OnesCount64(s.hi) }

// EPCs returns the codes of the set, ascending.
func (s PropertySet) EPCs() []byte { return s.appendEPCs(make([]byte, 0, s.Len())) }

func (s PropertySet) appendEPCs(b []byte) []byte {
	for w := s.lo; w != 0; w &= w - 1 {
		b = append(b, byte(0x80+bits.TrailingZeros64(w)))
	}
	for w := s.hi; w != 0; w &= w - 1 {
		b = append(b, byte(0xC0+bits.TrailingZeros64(w)))
	}
	return b
}

// String returns the codes in hexadecimal, ascending.
func (s PropertySet) String() string { return fmt.Sprintf("% X", s.EPCs()) }

// bitmapFrom is the number of codes from which a map is a bitmap.
const bitmapFrom = 16

// AppendMap appends the set in the form of properties 9D, 9E and 9F (ECHONET
// Lite, appendix, property map description): the count, then below 16 codes
// the codes ascending, otherwise 16 bytes in which byte i stands for the low
// nibble i and bit b for the high nibble 8+b.
func (s PropertySet) AppendMap(b []byte) []byte {
	n := s.Len()
	b = append(b, byte(n))
	if n < bitmapFrom {
		return s.appendEPCs(b)
	}
	for low := range 16 {
		var m byte
		for high := range 4 {
			m |= byte(s.lo>>(16*high+low)&1) << high
			m |= byte(s.hi>>(16*high+low)&1) << (4 + high)
		}
		b = append(b, m)
	}
	return b
}

// AppendPropertyMap appends the map of the codes given, each counted once. A
// code below 0x80 is ErrPropertyMap.
func AppendPropertyMap(b []byte, epcs ...byte) ([]byte, error) {
	for _, epc := range epcs {
		if epc < 0x80 {
			return b, fmt.Errorf("%w: %02X is no property code", ErrPropertyMap, epc)
		}
	}
	return SetOf(epcs...).AppendMap(b), nil
}

// ParsePropertyMap reads the data of properties 9D, 9E and 9F in either form.
// With ErrPropertyMapCount the set holds what the map does say; with
// ErrPropertyMap it is empty.
func ParsePropertyMap(edt []byte) (PropertySet, error) {
	var s PropertySet
	if len(edt) == 0 {
		return s, fmt.Errorf("%w: empty", ErrPropertyMap)
	}
	n, codes := int(edt[0]), edt[1:]
	if n > 128 {
		return s, fmt.Errorf("%w: %d codes", ErrPropertyMap, n)
	}
	if n < bitmapFrom {
		list := codes[:min(n, len(codes))]
		for _, epc := range list {
			if epc < 0x80 {
				return PropertySet{}, fmt.Errorf("%w: %02X is no property code", ErrPropertyMap, epc)
			}
			s.Add(epc)
		}
		if len(codes) != n || s.Len() != n {
			return s, ErrPropertyMapCount
		}
		return s, nil
	}
	if len(codes) != 16 {
		return s, fmt.Errorf("%w: bitmap of %d bytes", ErrPropertyMap, len(codes))
	}
	for low, m := range codes {
		for high := range 4 {
			s.lo |= uint64(m>>high&1) << (16*high + low)
			s.hi |= uint64(m>>(4+high)&1) << (16*high + low)
		}
	}
	if s.Len() != n {
		return s, ErrPropertyMapCount
	}
	return s, nil
}
