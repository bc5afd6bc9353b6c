package echonet

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Link is one way to reach other nodes: a socket, a Wi-SUN dongle, or a pair in
// memory.
type Link struct {
	// PacketConn moves datagrams. ReadFrom fails with net.ErrClosed when it is
	// closed, and may fail otherwise without harm. WriteTo may block: the node
	// then writes from a goroutine of its own.
	net.PacketConn
	// Group is where notifications go; nil if the link has no group.
	Group net.Addr
}

// groupConn is a socket that hears a group or broadcast address. What answers
// leaves by the unicast socket of the same local address.
type groupConn struct {
	*net.UDPConn
	out *net.UDPConn
}

func (c *groupConn) WriteTo(b []byte, to net.Addr) (int, error) { return c.out.WriteTo(b, to) }

// ErrLinkBusy: the link is slower than what is to be sent, and nothing was sent.
var ErrLinkBusy = errors.New("echonet: link busy, not sent")

// queueLen is how many datagrams for which nobody waits may wait for a link that
// blocks. Requests are not counted: each has a caller who waits.
const queueLen = 64

// outgoing is one datagram that waits for a blocking link.
type outgoing struct {
	b    []byte
	to   net.Addr
	done chan<- error // nil if nobody waits; capacity 1
}

// port is a Link as the node uses it.
type port struct {
	conn   net.PacketConn
	group  net.Addr
	direct bool           // WriteTo does not block: a UDP socket
	heard  bool           // hears a group only: nothing is sent by it but answers
	local  net.Addr       // of the socket
	at     netip.AddrPort // local, invalid if it is not IP
	prefix netip.Prefix   // of the local network, invalid if not known

	// Reading; see lead.
	reading sync.Mutex    // held by whoever reads conn
	leader  *leader       // of a caller who reads; guarded by reading; nil if only Serve reads
	asked   atomic.Int32  // requests that left by this port and wait
	leads   atomic.Uint32 // times a caller has read
	passed  chan datagram // what a caller read and Serve has to handle; nil if only Serve reads
	back    chan struct{} // tells Serve to read again; capacity 1

	writer  sync.WaitGroup // the goroutine that writes, while there is one
	mu      sync.Mutex     // guards what follows
	queue   []outgoing
	loose   int // of the queue: datagrams for which nobody waits
	writing bool
	stopped bool // nothing is queued any more
}

func newPort(l Link, nets []netip.Prefix) *port {
	p := &port{conn: l.PacketConn, group: l.Group, local: l.LocalAddr()}
	p.reading.Lock() // nobody reads before Serve
	switch l.PacketConn.(type) {
	case *net.UDPConn:
		p.direct = true
		p.leader = new(leader)
		p.passed, p.back = make(chan datagram, passedQueue), make(chan struct{}, 1)
	case *groupConn, *broadcastConn:
		p.direct, p.heard = true, true
	}
	ap, ok := addrPortOf(p.local)
	if !ok {
		return p
	}
	p.at = ap
	for _, n := range nets {
		if n.Addr() == ap.Addr().WithZone("") {
			p.prefix = n.Masked()
		}
	}
	if ap.Addr().IsLoopback() && ap.Addr().Is4() {
		p.prefix = netip.PrefixFrom(ap.Addr(), 8).Masked()
	}
	return p
}

// localPrefixes returns the addresses of this machine with their networks.
func localPrefixes() []netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // routes then go by address family alone
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if n, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// reach says how well the port fits a destination: 0 not at all.
func (p *port) reach(to net.Addr) int {
	if p.heard {
		return 0
	}
	ip := p.at.Addr()
	ap, ok := addrPortOf(to)
	if !ok || !ip.IsValid() {
		if p.local != nil && to != nil && p.local.Network() == to.Network() {
			return 2
		}
		return 1
	}
	dst := ap.Addr()
	switch {
	case ip.Is4() != dst.Is4() && !ip.IsUnspecified():
		return 0
	case dst.Zone() != "" && dst.Zone() == ip.Zone():
		return 5
	case dst.Zone() != ip.Zone():
		return 1
	case ip == dst:
		return 5
	case p.prefix.IsValid() && p.prefix.Contains(dst):
		return 4
	case ip.IsLoopback() != dst.IsLoopback():
		return 1
	}
	return 2
}

// send sends a copy of b, or waits its turn to. done, if not nil, gets the
// result once.
func (p *port) send(b []byte, to net.Addr, done chan<- error) error {
	if p.direct {
		_, err := p.conn.WriteTo(b, to)
		if done != nil {
			done <- err
		}
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch {
	case p.stopped:
		err = ErrStopped
	case done == nil && p.loose >= queueLen:
		err = ErrLinkBusy
	}
	if err != nil {
		if done != nil {
			done <- err
		}
		return err
	}
	p.queue = append(p.queue, outgoing{append([]byte(nil), b...), to, done})
	if done == nil {
		p.loose++
	}
	if !p.writing {
		p.writing = true
		p.writer.Go(p.drain)
	}
	return nil
}

// stop ends the writing goroutine, whose writes fail by now.
func (p *port) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.writer.Wait()
}

// withdraw takes a datagram back that waits, known by its done. It returns false if
// it has left already.
func (p *port) withdraw(done chan<- error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.queue {
		if p.queue[i].done == done {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}

// drain writes until nothing waits.
func (p *port) drain() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.queue, p.writing = nil, false
			p.mu.Unlock()
			return
		}
		o := p.queue[0]
		p.queue = p.queue[1:]
		if o.done == nil {
			p.loose--
		}
		p.mu.Unlock()
		_, err := p.conn.WriteTo(o.b, o.to)
		if o.done != nil {
			o.done <- err
		}
	}
}
