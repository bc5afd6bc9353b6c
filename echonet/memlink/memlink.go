// Package memlink is a network in memory for echonet links: many nodes in one
// process, without sockets, ports or privileges, and on a clock of testing's
// choice.
//
// A datagram to the address of a Conn goes to it; one to the group address goes to
// every Conn, the sender's own included, as with IP multicast. Conns stand for
// the sockets of UDP hosts: their addresses are *net.UDPAddr.
package memlink

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Group is the address that reaches every Conn of a network.
var Group net.Addr = &net.UDPAddr{IP: net.IPv4(224, 0, 23, 0), Port: 3610}

// defaultQueue is how many datagrams wait for a reader unless Network.Queue says
// otherwise.
const defaultQueue = 256

// Network connects Conns. The zero value works and loses nothing.
type Network struct {
	// Carry, if not nil, decides what becomes of a datagram on its way to one
	// Conn: it returns what arrives, in order. It may be called concurrently, and
	// may not change b. It is set before the first Conn is opened.
	Carry func(from, to netip.AddrPort, b []byte) [][]byte

	// Queue is how many datagrams may wait for the reader of a Conn; more are lost,
	// as in a socket. Default 256. It is set before the first Conn is opened.
	Queue int

	mu    sync.RWMutex // guards conns
	conns map[netip.AddrPort]*Conn
}

// Listen opens a Conn at an address, which must be free.
func (n *Network) Listen(at netip.AddrPort) (*Conn, error) {
	c := &Conn{
		net:   n,
		at:    at,
		addr:  net.UDPAddrFromAddrPort(at),
		ready: make(chan struct{}, 1),
		close: make(chan struct{}),
		wake:  make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = map[netip.AddrPort]*Conn{}
	}
	if n.conns[at] != nil {
		return nil, fmt.Errorf("memlink: %v is in use", at)
	}
	n.conns[at] = c
	return c, nil
}

// receivers returns the Conns at an address.
func (n *Network) receivers(to netip.AddrPort) []*Conn {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !to.Addr().IsMulticast() {
		if c := n.conns[to]; c != nil {
			return []*Conn{c}
		}
		return nil
	}
	all := make([]*Conn, 0, len(n.conns))
	for _, c := range n.conns {
		all = append(all, c)
	}
	return all
}

type datagram struct {
	from *net.UDPAddr
	b    []byte
}

// Conn is a net.PacketConn on a Network.
type Conn struct {
	net  *Network
	at   netip.AddrPort
	addr *net.UDPAddr

	once  sync.Once
	close chan struct{}
	ready chan struct{} // says that the queue is not empty

	mu       sync.Mutex // guards what follows
	queue    []datagram
	deadline time.Time     // of reads
	wake     chan struct{} // closed when the deadline changes
}

var _ net.PacketConn = (*Conn)(nil)

// LocalAddr returns the address of the Conn.
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// Close implements net.PacketConn.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.close)
		c.net.mu.Lock()
		delete(c.net.conns, c.at)
		c.net.mu.Unlock()
		err = nil
	})
	return err
}

// WriteTo sends a datagram. Nobody at the address is no error.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.closed() {
		return 0, net.ErrClosed
	}
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("memlink: address of type %T", to)
	}
	ap := u.AddrPort()
	dst := netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	for _, r := range c.net.receivers(dst) {
		if c.net.Carry == nil {
			r.put(datagram{c.addr, append([]byte(nil), b...)})
			continue
		}
		for _, d := range c.net.Carry(c.at, r.at, b) {
			r.put(datagram{c.addr, append([]byte(nil), d...)})
		}
	}
	return len(b), nil
}

// put appends to the queue, unless the reader is too slow.
func (c *Conn) put(d datagram) {
	most := c.net.Queue
	if most == 0 {
		most = defaultQueue
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= most {
		return
	}
	c.queue = append(c.queue, d)
	c.signal()
}

// signal wakes one reader. c.mu is held.
func (c *Conn) signal() {
	select {
	case c.ready <- struct{}{}:
	default: // it is on its way already
	}
}

// take takes the oldest datagram off the queue.
func (c *Conn) take() (d datagram, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return d, false
	}
	d = c.queue[0]
	c.queue[0] = datagram{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil // gives the memory of a burst back
	} else {
		c.signal()
	}
	return d, true
}

// ReadFrom waits for a datagram. What does not fit b is cut off.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, wake := c.deadline, c.wake
		c.mu.Unlock()
		left := time.Until(deadline)
		switch {
		case c.closed():
			return 0, nil, net.ErrClosed
		case !deadline.IsZero() && left <= 0:
			return 0, nil, os.ErrDeadlineExceeded
		}
		if d, ok := c.take(); ok {
			return copy(b, d.b), d.from, nil
		}
		c.wait(deadline, left, wake)
	}
}

// wait returns when a read may have something to say.
func (c *Conn) wait(deadline time.Time, left time.Duration, wake <-chan struct{}) {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(left)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-c.ready:
	case <-c.close:
	case <-expired:
	case <-wake:
	}
}

func (c *Conn) closed() bool {
	select {
	case <-c.close:
		return true
	default:
		return false
	}
}

// SetReadDeadline implements net.PacketConn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.wake)
	c.wake = make(chan struct{})
	return nil
}

// SetDeadline sets the deadline of reads.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never block.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
