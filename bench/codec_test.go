package bench

import (
	"encoding/hex"
	"testing"

	"github.com/hnw/go-smartmeter"

	"github.com/meterseal/meterseal/echonet"
)

// getRes is a Get_Res of 30 bytes with power, currents and energy.
var getRes, _ = hex.DecodeString("1081123402880105ff017203e704000001f8e8040014ffffe00400012345")

func BenchmarkFrameDecode(b *testing.B) {
	b.ReportAllocs()
	var f echonet.Frame
	for b.Loop() {
		if err := f.UnmarshalBinary(getRes); err != nil {
			b.Fatal(err)
		}
	}
	if len(f.Properties) != 3 || f.Properties[0].EPC != 0xE7 {
		b.Fatalf("decoded %v", f)
	}
}

func BenchmarkFrameEncode(b *testing.B) {
	b.ReportAllocs()
	var f echonet.Frame
	if err := f.UnmarshalBinary(getRes); err != nil {
		b.Fatal(err)
	}
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = f.AppendBinary(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
	if string(buf) != string(getRes) {
		b.Fatalf("encoded %x", buf)
	}
}

func BenchmarkFrameDecodeGoSmartmeter(b *testing.B) {
	b.ReportAllocs()
	var f *smartmeter.Frame
	for b.Loop() {
		var err error
		if f, err = smartmeter.ParseFrame(getRes); err != nil {
			b.Fatal(err)
		}
	}
	if len(f.Properties) != 3 {
		b.Fatalf("decoded %v", f)
	}
}

func BenchmarkFrameEncodeGoSmartmeter(b *testing.B) {
	b.ReportAllocs()
	f, err := smartmeter.ParseFrame(getRes)
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	for b.Loop() {
		buf = f.Build()
	}
	if string(buf) != string(getRes) {
		b.Fatalf("encoded %x", buf)
	}
}
