package echonet

import (
	"net"

	"golang.org/x/net/ipv4"
)

// broadcastConn hears limited broadcasts on every interface, and answers by the
// unicast socket of the interface of the last one that was read. A node reads a
// link from one goroutine and answers before it reads on.
type broadcastConn struct {
	*net.UDPConn
	in   *ipv4.PacketConn
	outs map[int]*net.UDPConn // by interface index
	last *net.UDPConn         // of the datagram read last
}

// ReadFrom reads a datagram that came by an interface that is listened on.
func (c *broadcastConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, cm, from, err := c.in.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		if cm == nil {
			continue
		}
		if out := c.outs[cm.IfIndex]; out != nil {
			c.last = out
			return n, from, nil
		}
	}
}

// WriteTo answers.
func (c *broadcastConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.last == nil {
		return 0, ErrNoLink
	}
	return c.last.WriteTo(b, to)
}
