package controller_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
)

// air is a network in memory that remembers what was sent, and can be a bad one.
type air struct {
	network memlink.Network

	mu     sync.Mutex // guards what follows
	frames []sent
	faults *faults
	jam    func(f echonet.Frame) bool // frames that are lost
	silent map[string]bool            // addresses from which nothing comes any more
}

// sent is a frame as it was put on the air.
type sent struct {
	from  net.Addr
	frame echonet.Frame
}

// faults are what the air does to datagrams, each with a probability.
type faults struct {
	rnd                  *rand.Rand
	lost, doubled, late  float64
	delay, reorderWithin time.Duration
}

func newAir() *air { return &air{} }

func addrOf(n byte) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(192, 168, 1, n), Port: echonet.Port}
}

// socket is a net.PacketConn on the air.
type socket struct {
	*memlink.Conn
	air *air
}

func (a *air) listen(t testing.TB, n byte) *socket {
	t.Helper()
	c, err := a.network.Listen(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 1, n}), echonet.Port))
	if err != nil {
		t.Fatal(err)
	}
	return &socket{c, a}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	b = bytes.Clone(b)
	var f echonet.Frame
	if err := f.UnmarshalBinary(b); err != nil {
		return 0, err
	}
	s.air.mu.Lock()
	defer s.air.mu.Unlock()
	s.air.frames = append(s.air.frames, sent{s.LocalAddr(), f})
	if (s.air.jam == nil || !s.air.jam(f)) && !s.air.silent[s.LocalAddr().String()] {
		s.air.faults.carry(func() { _, _ = s.Conn.WriteTo(b, to) })
	}
	return len(b), nil
}

// carry delivers a datagram, or does worse to it.
func (f *faults) carry(deliver func()) {
	if f == nil {
		deliver()
		return
	}
	times := 1
	if f.rnd.Float64() < f.doubled {
		times = 2
	}
	for range times {
		if f.rnd.Float64() < f.lost {
			continue
		}
		wait := time.Duration(0)
		if f.reorderWithin > 0 {
			wait = time.Duration(f.rnd.Int64N(int64(f.reorderWithin)))
		}
		if f.rnd.Float64() < f.late {
			wait += f.delay
		}
		time.AfterFunc(wait, deliver)
	}
}

// sentBy returns the frames that a node has sent so far.
func (a *air) sentBy(n byte) []echonet.Frame {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []echonet.Frame
	for _, s := range a.frames {
		if s.from.String() == addrOf(n).String() {
			out = append(out, s.frame)
		}
	}
	return out
}

// forget clears the list of frames.
func (a *air) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frames = nil
}

// jamming loses the frames that match from now on; nil: none.
func (a *air) jamming(match func(echonet.Frame) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jam = match
}

// silence takes a node off the air.
func (a *air) silence(n byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.silent == nil {
		a.silent = map[string]bool{}
	}
	a.silent[addrOf(n).String()] = true
}

// node serves a node on the air until the test ends.
func (a *air) node(t testing.TB, n byte, c echonet.Config) *echonet.Node {
	t.Helper()
	s := a.listen(t, n)
	c.Links = []echonet.Link{{PacketConn: s, Group: memlink.Group}}
	return echonettest.Serve(t, echonet.New(c))
}
