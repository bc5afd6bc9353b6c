// Package echonettest runs ECHONET Lite nodes, and sockets on a network in
// memory, for as long as a test.
package echonettest

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
)

// Listen opens a socket until the test ends.
func Listen(t testing.TB, n *memlink.Network, at string) *memlink.Conn {
	t.Helper()
	c, err := n.Listen(netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Serve serves a node until the test ends, and returns it.
func Serve(t testing.TB, n *echonet.Node) *echonet.Node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return n
}

// Loopback serves a node on a free port of loopback until the test ends, and
// returns it and where it is.
func Loopback(t testing.TB, c echonet.Config) (*echonet.Node, net.Addr) {
	t.Helper()
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Links = links
	n := echonet.New(c)
	t.Cleanup(func() { n.Close() })
	return Serve(t, n), links[0].LocalAddr()
}

// Hear returns the next datagram of another socket than c itself, which hears
// its own multicast.
func Hear(t testing.TB, c net.PacketConn) []byte {
	t.Helper()
	b := make([]byte, 4096)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if from != c.LocalAddr() {
			return b[:n]
		}
	}
}
