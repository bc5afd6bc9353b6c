package echonet_test

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// statement names the numbered statement of docs/conformance.md that a test shows.
func statement(t *testing.T, id, text string) {
	t.Helper()
	t.Attr("statement", id+" "+text)
}

// rig is a node under test, and a peer that sends and hears bytes, on a network
// in memory.
type rig struct {
	t    *testing.T
	net  *memlink.Network
	node *echonet.Node
	peer *memlink.Conn
}

var (
	nodeAt = netip.MustParseAddrPort("10.0.0.1:3610")
	peerAt = netip.MustParseAddrPort("10.0.0.2:3610")
)

func udp(s string) *net.UDPAddr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// newRig serves a node with that configuration until the test ends. Its first
// announcement has been read.
func newRig(t *testing.T, c echonet.Config) *rig {
	t.Helper()
	r := &rig{t: t, net: &memlink.Network{}}
	r.peer = r.listen(peerAt.String())
	r.node = r.serve(nodeAt.String(), c)
	if got := r.next(); !strings.HasPrefix(got[8:], "0ef0010ef0017301d5") {
		t.Fatalf("first datagram is no announcement: %s", got)
	}
	return r
}

// listen opens a Conn until the test ends.
func (r *rig) listen(at string) *memlink.Conn {
	r.t.Helper()
	return echonettest.Listen(r.t, r.net, at)
}

// serve runs a node until the test ends.
func (r *rig) serve(at string, c echonet.Config) *echonet.Node {
	r.t.Helper()
	c.Links = []echonet.Link{{PacketConn: r.listen(at), Group: memlink.Group}}
	return run(r.t, echonet.New(c))
}

// run serves a node until the test ends.
func run(t testing.TB, n *echonet.Node) *echonet.Node {
	t.Helper()
	return echonettest.Serve(t, n)
}

// send sends bytes from the peer to the node.
func (r *rig) send(s string) { r.sendTo(s, net.UDPAddrFromAddrPort(nodeAt)) }

func (r *rig) sendTo(s string, to net.Addr) {
	r.t.Helper()
	if _, err := r.peer.WriteTo(unhex(r.t, strings.ReplaceAll(s, " ", "")), to); err != nil {
		r.t.Fatal(err)
	}
}

// next returns what the peer hears next.
func (r *rig) next() string {
	r.t.Helper()
	return hear(r.t, r.peer)
}

// hear returns what a Conn hears next of others, in hexadecimal.
func hear(t *testing.T, c net.PacketConn) string {
	t.Helper()
	return hex.EncodeToString(echonettest.Hear(t, c))
}

// ask sends a request and returns the answer.
func (r *rig) ask(s string) string {
	r.t.Helper()
	r.send(s)
	return r.next()
}

// want checks that a request has that answer; spaces mean nothing.
func (r *rig) want(request, answer string) {
	r.t.Helper()
	if got, want := r.ask(request), strings.ReplaceAll(answer, " ", ""); got != want {
		r.t.Errorf("%s:\n got %s\nwant %s", request, got, want)
	}
}

const (
	aliveRequest = "1081ffff05ff010ef0016201 8000"
	aliveAnswer  = "1081ffff0ef00105ff01720180 0130"
)

// silent checks that the bytes have no answer, sent to that address, and that the
// node lives: a request that follows is answered next.
func (r *rig) silent(s string, to net.Addr) {
	r.t.Helper()
	r.sendTo(s, to)
	r.send(aliveRequest)
	if got := r.next(); got != strings.ReplaceAll(aliveAnswer, " ", "") {
		r.t.Errorf("%s: got %s, want silence", s, got)
	}
}

// silentBoth is silent by unicast and by multicast.
func (r *rig) silentBoth(s string) {
	r.t.Helper()
	r.silent(s, net.UDPAddrFromAddrPort(nodeAt))
	r.silent(s, memlink.Group)
}

var testIdentity = echonet.Identity{Manufacturer: [3]byte{0, 0, 0x77}, Serial: "MS0000000001", Product: "METERSEAL"}

// testDevice is a device with a property of each kind: E7 is read-only, E5
// settable from 0 to 99, E6 write-only for those who ask, 81 settable and
// announced.
func testDevice(eoj echonet.EOJ) *echonet.Device {
	return echonet.NewDevice(eoj, append(echonet.SuperClass(testIdentity, echonet.Version('R', 1)),
		echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}},
		echonet.Entry{EPC: 0xE5, Value: []byte{0xFF}, Write: func(edt []byte) bool { return len(edt) == 1 && edt[0] < 100 }},
		echonet.Entry{EPC: 0xE6, Read: func() []byte { return nil }, Write: func(edt []byte) bool { return len(edt) == 1 }},
	)...)
}

func meterRig(t *testing.T) *rig {
	return newRig(t, echonet.Config{
		Identity: testIdentity,
		Objects:  []echonet.Object{testDevice(echonet.LowVoltageMeter)},
	})
}
