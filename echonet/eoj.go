package echonet

import "fmt"

// EOJ is an ECHONET object code: class group, class, instance (ECHONET Lite
// Part II, 3.2.4). As a destination, instance 0 means every instance of the
// class.
type EOJ [3]byte

// The objects that this project speaks of by name.
var (
	// NodeProfile is the general node profile object that every node has.
	NodeProfile = EOJ{0x0E, 0xF0, 0x01}
	// Controller is the first controller object of a node.
	Controller = EOJ{0x05, 0xFF, 0x01}
	// LowVoltageMeter is the first low-voltage smart electric energy meter;
	// the meter-HEMS interface fixes its instance to 01 (AIF 1.01, 2.1).
	LowVoltageMeter = EOJ{0x02, 0x88, 0x01}
)

// Group returns the class group code, such as 0x02 for housing facilities.
func (o EOJ) Group() byte { return o[0] }

// Class returns group and class as one number, such as 0x0288.
func (o EOJ) Class() uint16 { return uint16(o[0])<<8 | uint16(o[1]) }

// Instance returns the instance code, 0 for "all instances".
func (o EOJ) Instance() byte { return o[2] }

// WithInstance returns the same class with another instance code.
func (o EOJ) WithInstance(i byte) EOJ { return EOJ{o[0], o[1], i} }

// Matches reports whether o, read as a destination, includes the object p:
// they are equal, or o is of the same class with instance 0.
func (o EOJ) Matches(p EOJ) bool {
	return o[0] == p[0] && o[1] == p[1] && (o[2] == p[2] || o[2] == 0)
}

// String returns class and instance in hexadecimal, such as "0288.01".
func (o EOJ) String() string { return fmt.Sprintf("%02X%02X.%02X", o[0], o[1], o[2]) }

// ParseEOJ reads "028801" or "0288.01", in either case.
func ParseEOJ(s string) (EOJ, error) {
	if len(s) == 7 && s[4] == '.' {
		s = s[:4] + s[5:]
	}
	var o EOJ
	if len(s) != 6 {
		return o, fmt.Errorf("echonet: object %q: want six hexadecimal digits", s)
	}
	for i := range o {
		hi, ok1 := unhex(s[2*i])
		lo, ok2 := unhex(s[2*i+1])
		if !ok1 || !ok2 {
			return EOJ{}, fmt.Errorf("echonet: object %q: want six hexadecimal digits", s)
		}
		o[i] = hi<<4 | lo
	}
	return o, nil
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
