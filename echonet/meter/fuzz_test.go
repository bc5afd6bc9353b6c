package meter_test

import (
	"bytes"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

func identityOf(serial string) echonet.Identity { return echonet.Identity{Serial: serial} }

// FuzzParse gives any bytes to every parser: none panics, and what a parser
// accepts has the size of its property.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "ff", "01f8", "000001f8", "0014001f", "07ea0102031e000001e23a", "ffffffffffff01fffffffefffffffe", "07ea01020c1e0c",
		"01000000070000000000000000",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(append([]byte{0, 1}, make([]byte, 192)...))
	f.Fuzz(func(t *testing.T, edt []byte) {
		size := func(err error, sizes ...int) {
			if err != nil {
				return
			}
			for _, n := range sizes {
				if len(edt) == n {
					return
				}
			}
			t.Fatalf("accepted %d bytes, want %v", len(edt), sizes)
		}
		_, err := meter.ParseCount(edt)
		size(err, 4)
		_, err = meter.ParsePower(edt)
		size(err, 4)
		_, _, err = meter.ParseCurrents(edt)
		size(err, 4)
		_, err = meter.ParseCoefficient(edt)
		size(err, 4)
		_, err = meter.ParseUnit(edt)
		size(err, 1)
		_, err = meter.ParseDigits(edt)
		size(err, 1)
		_, _, err = meter.ParseTime(edt)
		size(err, 2)
		_, _, _, err = meter.ParseDate(edt)
		size(err, 4)
		_, err = meter.ParseReading(edt)
		size(err, 11, 15)
		_, err = meter.ParseDayHistory(edt)
		size(err, 194)
		h, err := meter.ParseHistory(edt, meter.History2Step, meter.History2Items)
		size(err, 7+8*max(1, h.N))
		_, _, err = meter.ParseWindow(edt)
		if err == nil && (len(edt) < 13 || len(edt) > 253) {
			t.Fatalf("accepted a window of %d bytes", len(edt))
		}
	})
}

// FuzzSpan checks that what ParseSpan accepts is written as it was.
func FuzzSpan(f *testing.F) {
	f.Add(unhex(f, "07ea01020c1e0c"))
	f.Add(unhex(f, "ffffffffffff01"))
	f.Fuzz(func(t *testing.T, edt []byte) {
		s, err := meter.ParseSpan(edt, meter.History3Step, meter.History3Items)
		if err != nil {
			return
		}
		if again, err := s.AppendBinary(nil); err != nil || !bytes.Equal(again, edt) {
			t.Fatalf("got %x, %v, want %x", again, err, edt)
		}
	})
}

// FuzzCursor checks the same of cursors.
func FuzzCursor(f *testing.F) {
	f.Add(cursor(960))
	f.Fuzz(func(t *testing.T, edt []byte) {
		var c meter.Cursor
		if c.UnmarshalBinary(edt) != nil {
			return
		}
		if again, err := c.AppendBinary(nil); err != nil || !bytes.Equal(again, edt) {
			t.Fatalf("got %x, %v, want %x", again, err, edt)
		}
	})
}
