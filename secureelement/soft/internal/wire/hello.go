package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/meterseal/meterseal/eventlog"
)

var errShort = errors.New("wire: message cut short")

// Hello opens or creates a module.
//
//	off size field
//	  0    1 scheme (Create; 0 in Open)
//	  1    1 history: digests that the counter file remembers (Create; 0 in Open)
//	  2    1 argon2id passes (Create; 0 in Open)
//	  3    1 argon2id lanes (Create; 0 in Open)
//	  4    4 argon2id memory, KiB (Create; 0 in Open)
//	  8    8 rate limit, signatures per second, IEEE 754
//	 16    4 rate limit, burst
//	 20  2+n directory, absolute path
//	  .  2+n passphrase
type Hello struct {
	Scheme     eventlog.Scheme
	History    uint8
	Passes     uint8
	Lanes      uint8
	MemoryKiB  uint32
	Rate       float64
	Burst      uint32
	Dir        string
	Passphrase []byte // a secret; after UnmarshalBinary it aliases the input
}

// String hides the passphrase.
func (h Hello) String() string { return fmt.Sprintf("hello for %q", h.Dir) }

// AppendBinary appends the message to b.
func (h Hello) AppendBinary(b []byte) ([]byte, error) {
	if len(h.Dir) > math.MaxUint16 || len(h.Passphrase) > math.MaxUint16 {
		return b, errors.New("wire: directory or passphrase too long")
	}
	b = append(b, byte(h.Scheme), h.History, h.Passes, h.Lanes)
	b = binary.BigEndian.AppendUint32(b, h.MemoryKiB)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(h.Rate))
	b = binary.BigEndian.AppendUint32(b, h.Burst)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Dir)))
	b = append(b, h.Dir...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Passphrase)))
	return append(b, h.Passphrase...), nil
}

// UnmarshalBinary reads a whole message. It refuses a rate that is not a
// positive finite number and a burst of zero.
func (h *Hello) UnmarshalBinary(b []byte) error {
	if len(b) < 20 {
		return errShort
	}
	v := Hello{
		Scheme:    eventlog.Scheme(b[0]),
		History:   b[1],
		Passes:    b[2],
		Lanes:     b[3],
		MemoryKiB: binary.BigEndian.Uint32(b[4:]),
		Rate:      math.Float64frombits(binary.BigEndian.Uint64(b[8:])),
		Burst:     binary.BigEndian.Uint32(b[16:]),
	}
	if !(v.Rate > 0) || math.IsInf(v.Rate, 0) || v.Burst == 0 {
		return fmt.Errorf("wire: rate limit of %v signatures per second, burst %d", v.Rate, v.Burst)
	}
	dir, b, ok := cut16(b[20:])
	if !ok {
		return errShort
	}
	v.Dir = string(dir)
	if v.Passphrase, b, ok = cut16(b); !ok {
		return errShort
	}
	if len(b) != 0 {
		return fmt.Errorf("wire: %d bytes after the message", len(b))
	}
	*h = v
	return nil
}

// cut16 takes a field with a two-byte length off the front of b.
func cut16(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// cut8 takes a field with a one-byte length off the front of b.
func cut8(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 1 || len(b)-1 < int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n:n], b[n:], true
}
