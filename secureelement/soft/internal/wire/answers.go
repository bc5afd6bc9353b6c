package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// Description is the answer to Open and Info.
//
//	off size field
//	  0    1 scheme
//	  1   65 public key, uncompressed point (SEC 1, 2.3.3)
//	 66    8 counter, last value used
//	 74    n measures until the end: applied (0 or 1), name (1+n), detail (1+n)
type Description struct {
	Scheme   eventlog.Scheme
	Point    [65]byte
	Counter  uint64
	Measures []secureelement.Measure
}

// AppendBinary appends the message to b. Details over 255 bytes are cut.
func (d Description) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(d.Scheme))
	b = append(b, d.Point[:]...)
	b = binary.BigEndian.AppendUint64(b, d.Counter)
	for _, m := range d.Measures {
		var applied byte
		if m.Applied {
			applied = 1
		}
		b = append(b, applied)
		b = append8(b, m.Name)
		b = append8(b, m.Detail)
	}
	return b, nil
}

// UnmarshalBinary reads a whole message.
func (d *Description) UnmarshalBinary(b []byte) error {
	if len(b) < 74 {
		return errShort
	}
	v := Description{
		Scheme:  eventlog.Scheme(b[0]),
		Point:   [65]byte(b[1:66]),
		Counter: binary.BigEndian.Uint64(b[66:]),
	}
	for b = b[74:]; len(b) > 0; {
		if b[0] > 1 {
			return fmt.Errorf("wire: measure marked %d", b[0])
		}
		m := secureelement.Measure{Applied: b[0] == 1}
		name, rest, ok := cut8(b[1:])
		if !ok {
			return errShort
		}
		detail, rest, ok := cut8(rest)
		if !ok {
			return errShort
		}
		m.Name, m.Detail = string(name), string(detail)
		v.Measures, b = append(v.Measures, m), rest
	}
	*d = v
	return nil
}

// append8 appends s behind a one-byte length, cut at 255 bytes.
func append8(b []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(b, byte(len(s))), s...)
}

// Signed is the answer to Sign: counter (8 bytes), signature (64 bytes).
type Signed secureelement.Signature

// AppendBinary appends the message to b.
func (s Signed) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, s.Counter)
	return append(b, s.Signature[:]...), nil
}

// UnmarshalBinary reads a whole message.
func (s *Signed) UnmarshalBinary(b []byte) error {
	if len(b) != 8+eventlog.SignatureSize {
		return fmt.Errorf("wire: signature answer of %d bytes", len(b))
	}
	s.Counter = binary.BigEndian.Uint64(b)
	s.Signature = eventlog.Signature(b[8:])
	return nil
}

// Failure is the body of every answer that is not OK.
//
//	off size field
//	  0    4 wait at least so many milliseconds; 0: no advice
//	  4    n text: what failed, at most 512 bytes
type Failure struct {
	RetryAfter time.Duration
	Text       string
}

// AppendBinary appends the message to b. A longer text is cut, the time is
// rounded up.
func (f Failure) AppendBinary(b []byte) ([]byte, error) {
	millis := min((f.RetryAfter+time.Millisecond-1)/time.Millisecond, 1<<32-1)
	b = binary.BigEndian.AppendUint32(b, uint32(max(millis, 0)))
	return append(b, f.Text[:min(len(f.Text), 512)]...), nil
}

// UnmarshalBinary reads a whole message.
func (f *Failure) UnmarshalBinary(b []byte) error {
	if len(b) < 4 || len(b) > 4+512 {
		return fmt.Errorf("wire: failure of %d bytes", len(b))
	}
	f.RetryAfter = time.Duration(binary.BigEndian.Uint32(b)) * time.Millisecond
	f.Text = string(b[4:])
	return nil
}
