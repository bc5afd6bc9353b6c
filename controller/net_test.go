package controller_test

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// air is a network in memory. What is sent to an address reaches the socket
// there; what is sent to the group reaches every other one.
type air struct {
	mu      sync.Mutex // guards what follows
	sockets map[string]*socket
	frames  []sent
	faults  *faults
	jam     func(f echonet.Frame) bool // frames that are lost
}

// sent is a frame as it was put on the air.
type sent struct {
	from, to net.Addr
	frame    echonet.Frame
}

// faults are what the air does to datagrams, each with a probability.
type faults struct {
	rnd                  *rand.Rand
	lost, doubled, late  float64
	delay, reorderWithin time.Duration
}

func newAir() *air { return &air{sockets: map[string]*socket{}} }

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 23, 0), Port: echonet.Port}

func addrOf(n byte) *net.UDPAddr {
	return &net.UDPAddr{IP: net.IPv4(192, 168, 1, n), Port: echonet.Port}
}

// socket is a net.PacketConn on the air.
type socket struct {
	air  *air
	addr *net.UDPAddr
	in   chan datagram
	wake chan struct{} // closed when reads have to end
	once sync.Once
}

type datagram struct {
	b    []byte
	from net.Addr
}

func (a *air) listen(n byte) *socket {
	s := &socket{air: a, addr: addrOf(n), in: make(chan datagram, 1024), wake: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets[s.addr.String()] = s
	return s
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-s.in:
		return copy(b, d.b), d.from, nil
	case <-s.wake:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	a := s.air
	a.mu.Lock()
	defer a.mu.Unlock()
	var f echonet.Frame
	if err := f.UnmarshalBinary(append([]byte(nil), b...)); err != nil {
		return 0, err
	}
	a.frames = append(a.frames, sent{s.addr, to, f})
	if a.jam != nil && a.jam(f) {
		return len(b), nil
	}
	for _, peer := range a.sockets {
		if peer != s && (peer.addr.String() == to.String() || to.String() == group.String()) {
			a.faults.carry(peer, datagram{append([]byte(nil), b...), s.addr})
		}
	}
	return len(b), nil
}

// carry delivers a datagram, or does worse to it.
func (f *faults) carry(to *socket, d datagram) {
	if f == nil {
		to.put(d)
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
		if wait == 0 {
			to.put(d)
			continue
		}
		time.AfterFunc(wait, func() { to.put(d) })
	}
}

func (s *socket) put(d datagram) {
	select {
	case s.in <- d:
	default: // as a full socket buffer does
	}
}

func (s *socket) Close() error {
	s.once.Do(func() { close(s.wake) })
	return nil
}

func (s *socket) LocalAddr() net.Addr { return s.addr }

// SetReadDeadline knows two deadlines: none, and long ago.
func (s *socket) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		return s.Close()
	}
	return nil
}
func (s *socket) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

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

// node serves a node on the air until the test ends.
func (a *air) node(t testing.TB, n byte, c echonet.Config) *echonet.Node {
	t.Helper()
	s := a.listen(n)
	c.Links = []echonet.Link{{PacketConn: s, Group: group}}
	node := echonet.New(c)
	serve(t, node)
	return node
}
