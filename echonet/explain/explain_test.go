package explain_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/explain"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func ExampleFrame() {
	lines, err := explain.Frame(unhex("1081000102880105ff017201e704000001f8"))
	for _, l := range lines {
		fmt.Printf("%2d %-8s %-4s %s\n", l.Offset, l.Bytes, l.Field, l.Text)
	}
	fmt.Println(err)
	// Output:
	//  0 10       EHD1 ECHONET Lite
	//  1 81       EHD2 format 1
	//  2 0001     TID  transaction 1
	//  4 028801   SEOJ low-voltage smart electric energy meter, instance 1
	//  7 05ff01   DEOJ controller, instance 1
	// 10 72       ESV  Get_Res: values read
	// 11 01       OPC  1 properties
	// 12 e7       EPC  instantaneous power
	// 13 04       PDC  4 bytes
	// 14 000001f8 EDT  504 W
	// <nil>
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		object string
		epc    byte
		edt    string
		want   string
	}{
		{"028801", 0xE7, "fffffc18", "-1000 W"},
		{"028801", 0xE7, "7ffffffe", "no data"},
		{"028801", 0xE7, "7fffffff", "overflow"},
		{"028801", 0xE7, "0001", "0001 (not the form of this property)"},
		{"028801", 0xE8, "0014001f", "R 2.0 A, T 3.1 A"},
		{"028801", 0xE8, "00147ffe", "R 2.0 A, T no data"},
		{"028801", 0xE0, "00012345", "74565 counts of unit E1"},
		{"028801", 0xE0, "fffffffe", "no data"},
		{"028801", 0xE1, "02", "0.01 kWh"},
		{"028801", 0xE5, "ff", "never set"},
		{"028801", 0xE5, "01", "1 days ago"},
		{"028801", 0xEA, "07ea0102031e000001e23a", "2026-01-02 03:30:00: 123450 counts of unit E1"},
		{"028801", 0xED, "ffffffffffff01", "never set"},
		{"028801", 0xEC, "ffffffffffff01fffffffefffffffe", "never set"},
		{"028801", 0x82, "00005201", "release R, revision 1"},
		{"028801", 0x80, "30", "on"},
		{"028801", 0x88, "42", "no fault"},
		{"028801", 0x97, "0715", "07:21"},
		{"028801", 0x98, "07ea0102", "2026-01-02"},
		{"028801", 0x9E, "0281e5", "2 properties: 81 E5"},
		{"028801", 0x8D, "4d5330303030303030303031", "MS0000000001"},
		{"028801", 0xF1, "4d53", "4d53"},
		{"028801", 0xF1, "", "no data"},
		{"0ef001", 0xD6, "01028801", "1 instances: 0288.01"},
		{"0ef001", 0xD7, "010288", "1 classes: 0288"},
		{"0ef001", 0x82, "010e0100", "1.14, message types 01"},
		{"013001", 0xB0, "41", "41"},
	} {
		o := echonet.EOJ(unhex(c.object))
		if got := explain.Describe(o, c.epc, unhex(c.edt)).String(); got != c.want {
			t.Errorf("%s %02X %s: got %q, want %q", c.object, c.epc, c.edt, got, c.want)
		}
	}
}

// TestBrokenFrames explains what can be read, and says what is wrong.
func TestBrokenFrames(t *testing.T) {
	for _, c := range []struct {
		frame string
		last  string
		err   error
	}{
		{"", "", echonet.ErrShort},
		{"00", "not ECHONET Lite", echonet.ErrHeader},
		{"108200", "not format 1", echonet.ErrFormat2},
		{"1081000102880105ff017201e7040001", "cut short: 2 bytes of 4", echonet.ErrShort},
		{"1081000405ff010288016e00", "0 properties", echonet.ErrOPC},
		{"1081000102880105ff017201e704000001f8ff", "trailing bytes", echonet.ErrTrailing},
	} {
		lines, err := explain.Frame(unhex(c.frame))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: got error %v, want %v", c.frame, err, c.err)
		}
		last := ""
		if len(lines) > 0 {
			last = lines[len(lines)-1].Text
		}
		if last != c.last {
			t.Errorf("%s: got %q last, want %q", c.frame, last, c.last)
		}
	}
}

// FuzzFrame: any bytes are explained without a panic, each byte once.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{"1081000102880105ff017201e704000001f8", "1081000605ff010288016e01e5010002e500d700", "10810004", "108200"} {
		f.Add(unhex(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := explain.Frame(b)
		var shown strings.Builder
		for _, l := range lines {
			shown.WriteString(l.Bytes)
		}
		if got := shown.String(); !strings.HasPrefix(hex.EncodeToString(b), got) || err == nil && len(got) != 2*len(b) {
			t.Errorf("shown %s of %x", got, b)
		}
	})
}
