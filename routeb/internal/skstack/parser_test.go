package skstack_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

const (
	meter  = "FE80:0000:0000:0000:0200:5EEF:1000:00A1"
	dongle = "FE80:0000:0000:0000:0200:5EEF:1000:0001"
	mac    = "00005EEF100000A1"
)

func parse(chunks ...[]byte) (items []skstack.Item) {
	var p skstack.Parser
	for _, c := range chunks {
		p.Feed(c)
		for it, ok := p.Next(); ok; it, ok = p.Next() {
			items = append(items, it)
		}
	}
	if pan, ok := p.Flush(); ok {
		items = append(items, pan)
	}
	return items
}

var cmpOpts = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func datagram(lqi, side int, data string) skstack.Datagram {
	m, err := skstack.ParseEUI64(mac)
	if err != nil {
		panic(err)
	}
	return skstack.Datagram{
		Src: netip.MustParseAddr(meter), Dst: netip.MustParseAddr(dongle), SrcPort: 3610, DstPort: 3610,
		MAC: m, LQI: lqi, Encrypted: true, Side: side, Data: []byte(data),
	}
}

func TestParser(t *testing.T) {
	udp := "ERXUDP " + meter + " " + dongle + " 0E1A 0E1A " + mac + " "
	own, peer := netip.MustParseAddr(dongle), netip.MustParseAddr(meter)
	tests := []struct {
		name, in string
		want     []skstack.Item
	}{
		{"a line ends at CR LF, at CR and at LF", "OK\r\nOK 01\rFAIL ER04\n", []skstack.Item{
			skstack.Line("OK"), skstack.Line("OK 01"), skstack.Line("FAIL ER04"),
		}},
		{"empty lines mean nothing", "\r\n\r\n\r\rOK\r\n\n", []skstack.Item{skstack.Line("OK")}},
		{"a lone CR does not glue the echo of ROPT to its answer", "ROPT\rOK 00\rSKRESET\r\n", []skstack.Item{
			skstack.Line("ROPT"), skstack.Line("OK 00"), skstack.Line("SKRESET"),
		}},
		{"single-stack binary data holds CR LF", udp + "1 0004 \x00\x00\r\n\r\nOK\r\n", []skstack.Item{
			datagram(-1, -1, "\x00\x00\r\n"), skstack.Line("OK"),
		}},
		{"binary data that looks like an answer is data", udp + "1 0004 OK\r\n\r\n", []skstack.Item{datagram(-1, -1, "OK\r\n")}},
		{"binary data of hex digits only", udp + "1 0004 1081\r\n", []skstack.Item{datagram(-1, -1, "1081")}},
		{"single-stack hex data", udp + "1 0002 1081\r\n", []skstack.Item{datagram(-1, -1, "\x10\x81")}},
		{"hex data and length in lower case", udp + "1 000a 0a0b0c0d0e0f0a0b0c0d\r\n", []skstack.Item{
			datagram(-1, -1, "\x0a\x0b\x0c\x0d\x0e\x0f\x0a\x0b\x0c\x0d"),
		}},
		{"dual-stack data", udp + "1 0 0002 1081\r\n", []skstack.Item{datagram(-1, 0, "\x10\x81")}},
		{"dual-stack data with link quality", udp + "E1 1 0 0002 \x10\x81\r\n", []skstack.Item{datagram(0xE1, 0, "\x10\x81")}},
		{"link quality without a side", udp + "B2 1 0002 \x10\x81\r\n", []skstack.Item{datagram(0xB2, -1, "\x10\x81")}},
		{"no data", udp + "1 0000 \r\n", []skstack.Item{datagram(-1, -1, "")}},
		{"events", "EVENT 21 " + meter + " 02\r\nEVENT 21 " + meter + " 0 01\r\nEVENT 25 " + meter + " 0\r\nEVENT 22 " + dongle + "\r\nEVENT C0\r\n", []skstack.Item{
			skstack.Event{Number: 0x21, Addr: peer, Side: -1, Param: 2},
			skstack.Event{Number: 0x21, Addr: peer, Side: 0, Param: 1},
			skstack.Event{Number: 0x25, Addr: peer, Side: 0, Param: -1},
			skstack.Event{Number: 0x22, Addr: own, Side: -1, Param: -1},
			skstack.Event{Number: 0xC0, Side: -1, Param: -1},
		}},
		{
			"a scan result without a pairing id, then an event amid the next one",
			"EPANDESC\r\n  Channel:2F\r\n  Channel Page:09\r\n  Pan ID:1234\r\n  Addr:" + mac + "\r\n  LQI:90\r\nEPANDESC\r\n Channel:3B\r\nEVENT 02 " + meter + "\r\n PairID:CCDDEEFF\r\nEVENT 22 " + dongle + "\r\n",
			[]skstack.Item{
				skstack.Pan{Channel: 0x2F, ID: 0x1234, Addr: datagram(0, 0, "").MAC, LQI: 0x90, Side: -1},
				skstack.Event{Number: 0x02, Addr: peer, Side: -1, Param: -1},
				skstack.Pan{Channel: 0x3B, Side: -1, PairID: "CCDDEEFF"},
				skstack.Event{Number: 0x22, Addr: own, Side: -1, Param: -1},
			},
		},
		{"a length of three digits is damage, the next line is read", udp + "1 012 00\r\nOK\r\n", []skstack.Item{
			skstack.Damage("malformed ERXUDP header"), skstack.Line("OK"),
		}},
		{"a length beyond any datagram is damage", udp + "1 04D1 00\r\nOK\r\n", []skstack.Item{
			skstack.Damage("malformed ERXUDP header"), skstack.Line("OK"),
		}},
		{"lost data bytes do not swallow the lines behind", udp + "1 0004 \x10\x81\r\nOK\r\nOK\r\n", []skstack.Item{
			skstack.Damage("ERXUDP data of another length than it says"), skstack.Line("OK"), skstack.Line("OK"),
		}},
		{"a lost hex digit does not swallow the line behind", udp + "1 0004 1081001\r\nOK\r\n", []skstack.Item{
			skstack.Damage("ERXUDP data of another length than it says"), skstack.Line("OK"),
		}},
		{"a line that never ends is bounded", strings.Repeat("x", 9000) + "\r\nOK\r\n", []skstack.Item{
			skstack.Damage("line too long"), skstack.Line("OK"),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, parse([]byte(tt.in)), cmpOpts); d != "" {
				t.Errorf("items (-want +got):\n%s", d)
			}
		})
	}
}

// Every line that a module sends in the sample sessions is understood, however it is split.
func TestParserReadsEverySession(t *testing.T) {
	for _, model := range fixtures.Models() {
		all := transcript(t, model)
		items := parse(all)
		var datagrams int
		for _, it := range items {
			switch it := it.(type) {
			case skstack.Damage:
				t.Errorf("%s: %s", model, it)
			case skstack.Line:
				if strings.HasPrefix(string(it), "ERXUDP") || strings.HasPrefix(string(it), "EVENT") {
					t.Errorf("%s: not understood: %q", model, it)
				}
			case skstack.Datagram:
				datagrams++
			}
		}
		if want := bytes.Count(all, []byte("ERXUDP ")); datagrams != want {
			t.Errorf("%s: %d datagrams, want %d", model, datagrams, want)
		}
	}
}

func TestSplitsDoNotMatter(t *testing.T) {
	for _, model := range fixtures.Models() {
		all := transcript(t, model)
		want := parse(all)
		check := func(t interface{ Errorf(string, ...any) }, chunks [][]byte) {
			if got := parse(chunks...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s (-whole +split):\n%s", model, cmp.Diff(want, got, cmpOpts))
			}
		}
		check(t, bytes.SplitAfter(all, nil)) // one byte each
		rapid.Check(t, func(rt *rapid.T) {
			check(rt, split(all, rapid.SliceOfN(rapid.IntRange(1, 300), 1, -1).Draw(rt, "sizes")))
		})
	}
}

// split cuts b into pieces of the given sizes, over and over.
func split(b []byte, sizes []int) (chunks [][]byte) {
	for i := 0; len(b) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(b))
		chunks, b = append(chunks, b[:n]), b[n:]
	}
	return chunks
}

func transcript(tb testing.TB, model string) (all []byte) {
	tb.Helper()
	session, extras, err := fixtures.Session(model)
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range append(session, extras...) {
		if !s.Host {
			all = append(all, s.Data...)
		}
	}
	return all
}

func TestResyncReadsWhatAnUnfinishedDatagramSwallowed(t *testing.T) {
	var p skstack.Parser
	p.Feed([]byte("ERXUDP " + meter + " " + dongle + " 0E1A 0E1A " + mac + " 1 0012 \x10\x81\r\nOK\r\n"))
	if it, ok := p.Next(); ok {
		t.Fatalf("an unfinished datagram gave %v", it)
	}
	p.Resync()
	if it, ok := p.Next(); it != skstack.Line("OK") {
		t.Errorf("after Resync: %v, %v; want the line OK", it, ok)
	}
}

func TestLinkLocal(t *testing.T) {
	m, err := skstack.ParseEUI64(mac)
	if err != nil {
		t.Fatal(err)
	}
	if got := skstack.FormatAddr(m.LinkLocal()); got != meter {
		t.Errorf("address of %s: %s, want %s", m, got, meter)
	}
}

func FuzzParser(f *testing.F) {
	for _, model := range fixtures.Models() {
		f.Add(transcript(f, model), uint8(7))
	}
	f.Add([]byte("ERXUDP "+meter+" "+dongle+" 0E1A 0E1A "+mac+" 1 0002 10\r\n81\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		whole := parse(b)
		parts := parse(split(b, []int{int(size)%64 + 1})...)
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("split into %d (-whole +split):\n%s", size%64+1, cmp.Diff(whole, parts, cmpOpts))
		}
		for _, it := range whole {
			if d, ok := it.(skstack.Datagram); ok && len(d.Data) > skstack.MaxData {
				t.Errorf("datagram of %d bytes", len(d.Data))
			}
		}
	})
}

func Example() {
	var p skstack.Parser
	p.Feed([]byte("EVENT 21 " + meter + " 00\r\nOK\r\n"))
	for it, ok := p.Next(); ok; it, ok = p.Next() {
		fmt.Printf("%T\n", it)
	}
	// Output:
	// skstack.Event
	// skstack.Line
}
