package meter_test

import (
	"encoding/hex"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/internal/echonettest"
)

var jst = time.FixedZone("JST", 9*3600)

// house is a Source whose normal register counts one a minute and whose reverse
// register counts one every two.
type house struct {
	mu    sync.Mutex // guards what follows
	now   time.Time
	power meter.Power
	fault uint16
	extra meter.Count // in both registers
}

func (h *house) change(f func(h *house)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}

func (h *house) Clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) Energy() meter.Pair { return h.EnergyAt(h.Clock()) }

// installed is when the house was built; it has no readings from before.
var installed = time.Date(2025, 12, 1, 0, 0, 0, 0, jst)

func (h *house) EnergyAt(t time.Time) meter.Pair {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.Before(installed) {
		return meter.Pair{Normal: meter.NoData, Reverse: meter.NoData}
	}
	n := meter.Count(t.Sub(installed) / time.Minute)
	return meter.Pair{Normal: h.extra + n, Reverse: h.extra + n/2}
}

func (h *house) Power() meter.Power {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.power
}

func (h *house) Currents() (r, t meter.Current) { return 20, 31 }

func (h *house) Fault() uint16 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fault
}

// rig is a meter, its source, and a peer that sends and hears bytes, on a network
// in memory.
type rig struct {
	t    *testing.T
	src  *house
	net  *memlink.Network
	node *echonet.Node
	peer *memlink.Conn
	last uint16 // TID
}

func newRig(t *testing.T, c meter.Config) *rig {
	t.Helper()
	r := &rig{t: t, net: &memlink.Network{}}
	if c.Source == nil {
		c.Source = &house{now: noon, power: 504}
	}
	r.src, _ = c.Source.(*house)
	m, err := meter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.peer = r.listen("10.0.0.2:3610")
	r.node = r.serve("10.0.0.1:3610", echonet.Config{Identity: c.Identity, Objects: []echonet.Object{m}})
	r.hear(r.peer) // the announcement
	return r
}

// noon is 2026-01-02 12:34:56 in Japan.
var noon = time.Date(2026, 1, 2, 12, 34, 56, 0, jst)

func (r *rig) listen(at string) *memlink.Conn {
	r.t.Helper()
	return echonettest.Listen(r.t, r.net, at)
}

// serve runs a node until the test ends.
func (r *rig) serve(at string, c echonet.Config) *echonet.Node {
	r.t.Helper()
	c.Links = []echonet.Link{{PacketConn: r.listen(at), Group: memlink.Group}}
	return echonettest.Serve(r.t, echonet.New(c))
}

func (r *rig) hear(c net.PacketConn) []byte {
	r.t.Helper()
	return echonettest.Hear(r.t, c)
}

// ask sends a request from a Conn and returns the answer.
func (r *rig) ask(from net.PacketConn, f echonet.Frame) echonet.Frame {
	r.t.Helper()
	r.last++
	f.TID, f.SEOJ, f.DEOJ = r.last, echonet.Controller, echonet.LowVoltageMeter
	b, err := f.AppendBinary(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := from.WriteTo(b, meterAddr); err != nil {
		r.t.Fatal(err)
	}
	var a echonet.Frame
	if err := a.UnmarshalBinary(r.hear(from)); err != nil {
		r.t.Fatal(err)
	}
	if a.TID != f.TID {
		r.t.Fatalf("got TID %d, want %d", a.TID, f.TID)
	}
	return a
}

var meterAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:3610"))

// get reads one property; nil if it is refused.
func (r *rig) get(epc byte) []byte {
	r.t.Helper()
	a := r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: []echonet.Property{{EPC: epc}}})
	if a.ESV != echonet.GetRes {
		return nil
	}
	return a.Properties[0].EDT
}

// set writes one property and reports whether it was accepted.
func (r *rig) set(epc byte, edt ...byte) bool {
	r.t.Helper()
	return r.ask(r.peer, echonet.Frame{ESV: echonet.SetC, Properties: []echonet.Property{{EPC: epc, EDT: edt}}}).ESV == echonet.SetRes
}

// want checks the value of a property, in hexadecimal.
func (r *rig) want(epc byte, want string) {
	r.t.Helper()
	if got := hex.EncodeToString(r.get(epc)); got != want {
		r.t.Errorf("%02X: got %s, want %s", epc, got, want)
	}
}

// statement names the numbered statement of docs/conformance.md that a test shows.
func statement(t *testing.T, id, text string) {
	t.Helper()
	t.Attr("statement", id+" "+text)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
