package memlink_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
)

func read(c *memlink.Conn, size int) (string, error) {
	b := make([]byte, size)
	n, _, err := c.ReadFrom(b)
	return string(b[:n]), err
}

func TestDelivery(t *testing.T) {
	var n memlink.Network
	a, b := echonettest.Listen(t, &n, "10.0.0.1:1"), echonettest.Listen(t, &n, "10.0.0.2:2")
	a.WriteTo([]byte("to b"), b.LocalAddr())
	a.WriteTo([]byte("to nobody"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 3), Port: 3})
	a.WriteTo([]byte("to all"), memlink.Group)
	for _, tc := range []struct {
		c    *memlink.Conn
		want string
	}{{b, "to b"}, {b, "to all"}, {a, "to all"}} {
		if got, err := read(tc.c, 100); err != nil || got != tc.want {
			t.Errorf("got %q, %v, want %q", got, err, tc.want)
		}
	}
	a.WriteTo([]byte("longer"), b.LocalAddr())
	if got, err := read(b, 4); err != nil || got != "long" {
		t.Errorf("got %q, %v, want what fits", got, err)
	}
	if _, err := n.Listen(netip.MustParseAddrPort("10.0.0.1:1")); err == nil {
		t.Error("an address in use has no error")
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		c := echonettest.Listen(t, &n, "10.0.0.1:1")
		begin := time.Now()
		c.SetDeadline(begin.Add(time.Second))
		if _, err := read(c, 1); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		c.SetReadDeadline(time.Time{})
		done := make(chan error)
		go func() { _, err := read(c, 1); done <- err }()
		synctest.Wait()
		c.SetReadDeadline(begin) // wakes the blocked read
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.SetReadDeadline(time.Time{})
		go func() { _, err := read(c, 1); done <- err }()
		synctest.Wait()
		c.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.WriteTo(nil, c.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: got %v", err)
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second close: got %v", err)
		}
	})
}

func TestQueueAndCarry(t *testing.T) {
	n := memlink.Network{Queue: 3, Carry: func(_, to netip.AddrPort, b []byte) [][]byte {
		if string(b) == "lost" {
			return nil
		}
		return [][]byte{b, b}
	}}
	a, b := echonettest.Listen(t, &n, "10.0.0.1:1"), echonettest.Listen(t, &n, "10.0.0.2:2")
	for _, s := range []string{"1", "lost", "2", "3"} {
		a.WriteTo([]byte(s), b.LocalAddr())
	}
	for _, want := range []string{"1", "1", "2"} {
		if got, err := read(b, 10); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	b.SetReadDeadline(time.Unix(1, 0))
	if got, err := read(b, 10); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v, want no more than three", got, err)
	}
}
