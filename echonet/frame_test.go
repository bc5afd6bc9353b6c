package echonet_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/echonet"
	fixtures "github.com/meterseal/meterseal/fixtures/echonet"
)

// anyEOJ, anyESV and anyFrame draw what the codec must carry.
var (
	anyEOJ = rapid.Custom(func(t *rapid.T) echonet.EOJ {
		return echonet.EOJ(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "eoj"))
	})
	anyESV = rapid.SampledFrom([]echonet.ESV{
		echonet.SetI, echonet.SetC, echonet.Get, echonet.INFREQ, echonet.SetGet, echonet.SetRes, echonet.GetRes,
		echonet.INF, echonet.INFC, echonet.INFCRes, echonet.SetGetRes, echonet.SetISNA, echonet.SetCSNA,
		echonet.GetSNA, echonet.INFSNA, echonet.SetGetSNA,
	})
	anyFrame = rapid.Custom(func(t *rapid.T) echonet.Frame {
		f := echonet.Frame{
			TID:  rapid.Uint16().Draw(t, "tid"),
			SEOJ: anyEOJ.Draw(t, "seoj"), DEOJ: anyEOJ.Draw(t, "deoj"), ESV: anyESV.Draw(t, "esv"),
		}
		least := 1
		if f.ESV == echonet.SetGetSNA {
			least = 0
		}
		f.Properties = anyList(least).Draw(t, "properties")
		switch f.ESV {
		case echonet.SetGet, echonet.SetGetRes, echonet.SetGetSNA:
			f.GetProperties = anyList(least).Draw(t, "get properties")
		}
		return f
	})
)

func anyList(least int) *rapid.Generator[[]echonet.Property] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) echonet.Property {
		return echonet.Property{EPC: rapid.Byte().Draw(t, "epc"), EDT: rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "edt")}
	}), least, 255)
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyFrame.Draw(t, "frame")
		b, err := want.AppendBinary([]byte("prefix"))
		if err != nil {
			t.Fatal(err)
		}
		var got echonet.Frame
		if err := got.UnmarshalBinary(b[len("prefix"):]); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(want, got.Clone(), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("clone: %s", d)
		}
	})
}

// Cut anywhere, a frame is no frame; with a byte more, it says so and is decoded.
func TestFrameIsStrict(t *testing.T) {
	for _, c := range fixtures.Meter() {
		var whole echonet.Frame
		if whole.UnmarshalBinary(c.Request) != nil {
			continue
		}
		for n := range c.Request {
			var f echonet.Frame
			if err := f.UnmarshalBinary(c.Request[:n]); !errors.Is(err, echonet.ErrShort) {
				t.Errorf("%s: cut at %d: got %v, want ErrShort", c.Name, n, err)
			}
		}
		var f echonet.Frame
		if err := f.UnmarshalBinary(append(bytes.Clone(c.Request), 0)); !errors.Is(err, echonet.ErrTrailing) {
			t.Errorf("%s: got %v, want ErrTrailing", c.Name, err)
		}
		if d := cmp.Diff(whole, f, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: before trailing bytes: %s", c.Name, d)
		}
	}
}

func TestFrameErrors(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      error
	}{
		{"one byte of something else", "00", echonet.ErrHeader},
		{"nothing", "", echonet.ErrShort},
		{"two bytes", "1081", echonet.ErrShort},
		{"other EHD1", "1181000105ff010288016201e700", echonet.ErrHeader},
		{"other EHD2", "1080000105ff010288016201e700", echonet.ErrHeader},
		{"arbitrary format", "1082001105ff01", echonet.ErrFormat2},
		{"arbitrary format, long", "1082000405ff010288016e01800131", echonet.ErrFormat2},
		{"reserved service", "1081000105ff010288016401e700", echonet.ErrService},
		{"service 5F", "1081000105ff010288015f01e70001e700", echonet.ErrService},
		{"no properties", "1081000105ff010288016200", echonet.ErrOPC},
		{"SetGet without properties", "1081000405ff010288016e00", echonet.ErrOPC},
		{"SetGet without a second count", "1081000405ff010288016e01800131", echonet.ErrShort},
		{"SetGet with an empty second list", "1081000405ff010288016e0180013100", echonet.ErrOPC},
		{"SetGet_Res with an empty list", "1081000405ff010288017e00018000", echonet.ErrOPC},
		{"PDC beyond the end", "1081000405ff010288017201e704ff", echonet.ErrShort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f echonet.Frame
			if got := f.UnmarshalBinary(unhex(t, tc.hex)); !errors.Is(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSetGetSNAMayHaveEmptyLists(t *testing.T) {
	for _, s := range []string{"1081000402880105ff015e0000", "1081000402880105ff015e00018000"} {
		b := unhex(t, s)
		var f echonet.Frame
		if err := f.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if got, err := f.AppendBinary(nil); err != nil || !bytes.Equal(got, b) {
			t.Errorf("got %x, %v, want %x", got, err, b)
		}
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	long := []echonet.Property{{EPC: 0x80, EDT: make([]byte, 256)}}
	for _, tc := range []struct {
		name string
		f    echonet.Frame
		want error
	}{
		{"256 bytes of data", echonet.Frame{ESV: echonet.SetC, Properties: long}, echonet.ErrEDT},
		{"256 bytes in the second list", echonet.Frame{
			ESV: echonet.SetGetRes, Properties: []echonet.Property{{EPC: 1}}, GetProperties: long,
		}, echonet.ErrEDT},
		{"256 properties", echonet.Frame{ESV: echonet.Get, Properties: make([]echonet.Property, 256)}, echonet.ErrOPC},
		{"no properties", echonet.Frame{ESV: echonet.Get}, echonet.ErrOPC},
		{"SetGet that reads nothing", echonet.Frame{ESV: echonet.SetGet, Properties: []echonet.Property{{EPC: 1}}}, echonet.ErrOPC},
		{"a second list where there is none", echonet.Frame{
			ESV: echonet.Get, Properties: []echonet.Property{{EPC: 1}}, GetProperties: []echonet.Property{{EPC: 1}},
		}, echonet.ErrOPC},
		{"a reserved service", echonet.Frame{ESV: 0x5F, Properties: []echonet.Property{{EPC: 1}}}, echonet.ErrService},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := tc.f.AppendBinary([]byte("as it was"))
			if !errors.Is(err, tc.want) || string(b) != "as it was" {
				t.Errorf("got %q, %v, want %v and the buffer as it was", b, err, tc.want)
			}
		})
	}
}

func TestDecodedDataIsCapped(t *testing.T) {
	b := unhex(t, getRes30)
	before := bytes.Clone(b)
	var f echonet.Frame
	if err := f.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Properties {
		_ = append(p.EDT, 0xAA, 0xAA, 0xAA)
	}
	if !bytes.Equal(b, before) {
		t.Errorf("appending to data wrote into the datagram: %x", b)
	}
	c := f.Clone()
	clear(b)
	if edt, _ := c.Find(0xE7); !bytes.Equal(edt, []byte{0, 0, 1, 0xF8}) {
		t.Errorf("the clone changed with the datagram: %x", edt)
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	for _, c := range frames(t) {
		var f echonet.Frame
		if err := f.UnmarshalBinary(c.bytes); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, len(c.bytes))
		if n := testing.AllocsPerRun(100, func() {
			if f.UnmarshalBinary(c.bytes) != nil {
				t.Fail()
			}
			if _, err := f.AppendBinary(buf); err != nil {
				t.Fail()
			}
		}); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", c.name, n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, c := range append(fixtures.Meter(), fixtures.Controller()...) {
		f.Add(c.Request)
		f.Add(c.Answer)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var frame echonet.Frame
		if frame.UnmarshalBinary(b) != nil {
			return
		}
		again, err := frame.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("got %x, %v, want %x", again, err, b)
		}
	})
}

func TestParseEOJ(t *testing.T) {
	for _, s := range []string{"028801", "0288.01"} {
		if got, err := echonet.ParseEOJ(s); err != nil || got != echonet.LowVoltageMeter {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0288", "02880x", "028801.", "0288-01", "02.8801"} {
		if got, err := echonet.ParseEOJ(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	if got := echonet.Controller.String(); got != "05FF.01" {
		t.Errorf("got %s, want 05FF.01", got)
	}
}

func TestServiceNames(t *testing.T) {
	known := 0
	for e := range 256 {
		if esv := echonet.ESV(e); esv.Known() {
			known++
			if s := esv.String(); s[0] == 'E' {
				t.Errorf("%02X has no name: %s", e, s)
			}
		}
	}
	if known != 16 {
		t.Errorf("got %d services, want 16", known)
	}
	if got := echonet.ESV(0x5F).String(); got != "ESV(5F)" {
		t.Errorf("got %s", got)
	}
}
