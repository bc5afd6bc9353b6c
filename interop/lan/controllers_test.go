//go:build linux

package lan_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
)

// npm echonet-lite finds our meter by multicast, takes its maps, reads all that they name in one message, and is
// answered, refused and notified as it should be. What it says it got, and what was on the wire, is what our own tool
// reads.
func TestEchonetLiteReadsMeter(t *testing.T) {
	n := newNetwork(t)
	meterHost, peerHost, own := n.host("meter"), n.host("peer"), n.host("own")
	wire := meterHost.tap()
	startMeter(meterHost)
	before := own.get(meterHost.addr, "028801")
	c := peerHost.startPeer("echonet-lite-controller.js", "4", peerHost.addr, meterHost.addr)

	c.say("search")
	lists := discovered(t, c, meterHost.addr, before)
	all := c.frame("answer with everything", isEverything).Details
	after := own.get(meterHost.addr, "028801")

	want := readable(lists)
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	for _, epc := range want {
		between(t, epc, all[epc], before, after)
	}

	// One request for each service.
	got := c.ask("028801", "62", "72", "e7", "e0", "e8")
	later := own.get(meterHost.addr, "028801")
	for epc, edt := range got {
		between(t, epc, edt, before, later)
	}
	if got := c.ask("028800", "62", "72", "e1")["e1"]; got != before["e1"] { // by instance 0
		t.Errorf("E1 by instance 0: got %s, want %s", got, before["e1"])
	}
	if got := c.ask("028801", "61", "71", "e5=01")["e5"]; got != "" {
		t.Errorf("SetC of E5: got data %s, want none", got)
	}
	if got := c.ask("028801", "62", "72", "e2")["e2"]; len(got) != 2*194 || !strings.HasPrefix(got, "0001") {
		t.Errorf("E2 of the day that was set: got %d bytes, %s", len(got)/2, got)
	}
	if got := c.ask("028801", "61", "51", "e5=64")["e5"]; got != "64" { // day 100
		t.Errorf("E5 out of range: got %q, want it back", got)
	}
	if got := c.ask("028801", "61", "51", "d7=04")["d7"]; got != "04" {
		t.Errorf("D7 is not in the Set map: got %q, want it back", got)
	}
	if got := c.ask("028801", "62", "72", "d7")["d7"]; got != before["d7"] {
		t.Errorf("D7: got %s, want %s", got, before["d7"])
	}
	if got := c.ask("028801", "62", "52", "e1", "dd"); got["e1"] != before["e1"] || got["dd"] != "" {
		t.Errorf("a partial refusal: got %v", got)
	}
	if got := c.ask("028801", "63", "73", "80")["80"]; got != before["80"] {
		t.Errorf("INF_REQ of 80: got %s, want %s", got, before["80"])
	}

	services := checkWire(t, wire.heard(t), meterHost)
	for _, esv := range []string{"51", "52", "71", "72", "73"} {
		if services[esv] == 0 {
			t.Errorf("no service %s on the wire", esv)
		}
	}
}

// discovered waits until echonet-lite has found the meter and got its property maps, which it checks, and returns.
func discovered(t *testing.T, c *peer, addr string, want values) values {
	t.Helper()
	node := c.frame("instance list", func(f frame) bool { return f.From == addr && f.SEOJ == "0ef001" && f.Details["d6"] != "" })
	if node.ESV != "72" || node.Details["d6"] != "01028801" || node.Port != echonet.Port {
		t.Errorf("discovery: got %+v, want Get_Res with D6 01028801 from port %d", node, echonet.Port)
	}
	got := c.frame("property maps", func(f frame) bool { return f.From == addr && f.SEOJ == "028801" && f.Details["9f"] != "" })
	for _, epc := range []string{"9d", "9e", "9f"} {
		edt, err := hex.DecodeString(want[epc])
		if err != nil {
			t.Fatal(err)
		}
		// The library tells a map of the second form as a list.
		if want := hex.EncodeToString(listed(echonet.Property{EPC: echonet.EPCGetMap, EDT: edt})); got.Details[epc] != want {
			t.Errorf("map %s: got %s, want %s", epc, got.Details[epc], want)
		}
	}
	return got.Details
}

// isEverything knows the answer to the Get of all that map 9F names.
func isEverything(f frame) bool {
	return f.SEOJ == "028801" && f.ESV == "72" && f.Details["e7"] != "" && f.Details["f8"] != ""
}

// readable are the properties that echonet-lite reads by itself: all that map 9F, as it tells it, names but the maps.
func readable(m values) (epcs []string) {
	for list := m["9f"][2:]; list != ""; list = list[2:] {
		if epc := list[:2]; epc != "9d" && epc != "9e" && epc != "9f" {
			epcs = append(epcs, epc)
		}
	}
	return epcs
}

// spoken is a line of the script around node-echonet-lite.
type spoken struct {
	Found string
	Port  int
	EOJ   []octets
	Maps  struct{ Inf, Set, Get octets }
	EPC   string
	ESV   string
	Value any
}

func (h *host) startNodeEchonetLite(meter string, rounds int, epcs ...string) *program {
	h.t.Helper()
	return h.start(append([]string{"node", "--no-deprecation", "testdata/node-echonet-lite-controller.js", h.addr, meter, strconv.Itoa(rounds)}, epcs...)...)
}

// spoken reads all that the script has to say.
func (p *program) spoken() (all []spoken) {
	p.t.Helper()
	for _, line := range p.wait() {
		var s spoken
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			p.t.Fatalf("%s: %v: %s", p.name, err, line)
		}
		all = append(all, s)
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("%s: %v\n%s", p.name, p.cmd.ProcessState, &p.err)
	}
	return all
}

// npm node-echonet-lite finds our meter by instance 0 of the node profile, takes its maps, and understands its values.
func TestNodeEchonetLiteReadsMeter(t *testing.T) {
	n := newNetwork(t)
	meterHost, peerHost, own := n.host("meter"), n.host("peer"), n.host("own")
	wire := meterHost.tap()
	startMeter(meterHost)
	before := own.get(meterHost.addr, "028801")
	epcs := []string{"e7", "e1", "d7", "97", "98", "e0", "e8"}
	said := peerHost.startNodeEchonetLite(meterHost.addr, 1, epcs...).spoken()
	after := own.get(meterHost.addr, "028801")

	if len(said) != 2+len(epcs) {
		t.Fatalf("got %d lines, want %d: %v", len(said), 2+len(epcs), said)
	}
	if s := said[0]; s.Found != meterHost.addr || s.Port != echonet.Port || fmt.Sprint(s.EOJ) != "[[2 136 1]]" {
		t.Errorf("discovery: got %+v", s)
	}
	for epc, got := range map[string]octets{"9d": said[1].Maps.Inf, "9e": said[1].Maps.Set, "9f": said[1].Maps.Get} {
		edt, err := hex.DecodeString(before[epc])
		if err != nil {
			t.Fatal(err)
		}
		set, err := echonet.ParsePropertyMap(edt)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if want := set.EPCs(); !slices.Equal(got, want) {
			t.Errorf("map %s: got % X, want % X", epc, got, want)
		}
	}
	for i, s := range said[2:] {
		if s.EPC != epcs[i] || s.ESV != "Get_Res" {
			t.Errorf("got %s for %s, want Get_Res for %s", s.ESV, s.EPC, epcs[i])
		}
		understood(t, s, before, after)
	}
	checkWire(t, wire.heard(t), meterHost)
}

// understood checks a value as node-echonet-lite tells it against the bytes that our own tool read before and after.
func understood(t *testing.T, s spoken, before, after values) {
	t.Helper()
	value, _ := s.Value.(map[string]any)
	number := func(key string) float64 { f, _ := value[key].(float64); return f }
	var edt string // what the bytes must have been
	switch s.EPC {
	case "e0":
		edt = fmt.Sprintf("%08x", int64(number("energy")))
	case "e1":
		edt = fmt.Sprintf("%02x", int(math.Round(-math.Log10(number("unit")))))
	case "d7":
		edt = fmt.Sprintf("%02x", int(number("digit")))
	case "e7":
		edt = fmt.Sprintf("%08x", uint32(int32(number("energy"))))
	case "e8":
		edt = fmt.Sprintf("%04x%04x", uint16(int16(math.Round(10*number("r")))), uint16(int16(math.Round(10*number("t")))))
	case "97":
		var h, m int
		_, err := fmt.Sscanf(fmt.Sprint(value["hm"]), "%d:%d", &h, &m)
		edt = fmt.Sprintf("%02x%02x", h, m)
		if err != nil {
			t.Errorf("97: got %v", s.Value)
		}
	case "98":
		var y, m, d int
		_, err := fmt.Sscanf(fmt.Sprint(value["ymd"]), "%d-%d-%d", &y, &m, &d)
		edt = fmt.Sprintf("%04x%02x%02x", y, m, d)
		if err != nil {
			t.Errorf("98: got %v", s.Value)
		}
	}
	if len(value) == 0 {
		t.Errorf("%s: got %v, want a value", s.EPC, s.Value)
	}
	between(t, s.EPC, edt, before, after)
}
