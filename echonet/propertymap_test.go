package echonet_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/echonet"
	fixtures "github.com/meterseal/meterseal/fixtures/echonet"
)

func TestPropertyMapVectors(t *testing.T) {
	for _, m := range fixtures.Maps() {
		t.Run(m.Name, func(t *testing.T) {
			got, err := echonet.AppendPropertyMap(nil, m.EPCs...)
			if err != nil || !bytes.Equal(got, m.EDT) {
				t.Errorf("encode: got %x, %v, want %x", got, err, m.EDT)
			}
			set, err := echonet.ParsePropertyMap(m.EDT)
			if err != nil || !bytes.Equal(set.EPCs(), m.EPCs) {
				t.Errorf("decode: got %v, %v, want % X", set, err, m.EPCs)
			}
		})
	}
}

// The bitmap by its definition, bit by bit.
func TestPropertyMapAgainstItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epcs := rapid.SliceOfDistinct(rapid.ByteRange(0x80, 0xFF), rapid.ID[byte]).Draw(t, "epcs")
		got, err := echonet.AppendPropertyMap(nil, epcs...)
		if err != nil {
			t.Fatal(err)
		}
		if int(got[0]) != len(epcs) {
			t.Fatalf("got count %d, want %d", got[0], len(epcs))
		}
		for _, epc := range epcs {
			in := bytes.IndexByte(got[1:], epc) >= 0
			if len(epcs) >= 16 {
				in = got[1+epc&0x0F]>>(epc>>4-8)&1 == 1
			}
			if !in {
				t.Fatalf("%02X is not in %x", epc, got)
			}
		}
		set, err := echonet.ParsePropertyMap(got)
		if err != nil || set != echonet.SetOf(epcs...) || set.Len() != len(epcs) {
			t.Fatalf("got %v, %v, want % X", set, err, epcs)
		}
	})
}

func TestPropertyMapErrors(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      error
		set       echonet.PropertySet
	}{
		{"empty data", "", echonet.ErrPropertyMap, echonet.PropertySet{}},
		{"a code below 80", "0141", echonet.ErrPropertyMap, echonet.PropertySet{}},
		{"129 codes", "81ffffffffffffffffffffffffffffffff", echonet.ErrPropertyMap, echonet.PropertySet{}},
		{"a short bitmap", "10010101", echonet.ErrPropertyMap, echonet.PropertySet{}},
		{"a count above the list", "0380", echonet.ErrPropertyMapCount, echonet.SetOf(0x80)},
		{"a count below the list", "018081", echonet.ErrPropertyMapCount, echonet.SetOf(0x80)},
		{"a code twice", "028080", echonet.ErrPropertyMapCount, echonet.SetOf(0x80)},
		{"a count that disagrees with the bits", "1101010101010101010101010101010101", echonet.ErrPropertyMapCount, first16()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := echonet.ParsePropertyMap(unhex(t, tc.hex))
			if !errors.Is(err, tc.want) || got != tc.set {
				t.Errorf("got %v, %v, want %v, %v", got, err, tc.set, tc.want)
			}
		})
	}
	if _, err := echonet.AppendPropertyMap(nil, 0x7F); !errors.Is(err, echonet.ErrPropertyMap) {
		t.Errorf("code 7F: got %v, want ErrPropertyMap", err)
	}
}

func first16() (s echonet.PropertySet) {
	for epc := byte(0x80); epc < 0x90; epc++ {
		s.Add(epc)
	}
	return s
}

func TestPropertySet(t *testing.T) {
	s := echonet.SetOf(0x80, 0xBF, 0xC0, 0xFF, 0x7F, 0x00)
	if s.Len() != 4 || s.Has(0x7F) || !s.Has(0xBF) || !s.Has(0xC0) || s.Has(0x81) {
		t.Errorf("got %v", s)
	}
	s.Remove(0xBF, 0xFF, 0x00)
	if want := echonet.SetOf(0x80, 0xC0); s != want {
		t.Errorf("got %v, want %v", s, want)
	}
	if u := s.Union(echonet.SetOf(0x81)); !u.Contains(s) || s.Contains(u) {
		t.Errorf("got %v", u)
	}
}

func FuzzPropertyMap(f *testing.F) {
	for _, m := range fixtures.Maps() {
		f.Add(m.EDT)
	}
	f.Fuzz(func(t *testing.T, edt []byte) {
		set, err := echonet.ParsePropertyMap(edt)
		if err != nil {
			return
		}
		// A list may come in any order; ours ascends. A bitmap has one form.
		again := set.AppendMap(nil)
		if len(again) != len(edt) || edt[0] >= 16 && !bytes.Equal(again, edt) {
			t.Fatalf("got %x, want %x", again, edt)
		}
	})
}
