//go:build linux

package lan_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// datagram is one of UDP, to or from port 3610.
type datagram struct {
	from, to netip.AddrPort
	payload  []byte
}

// tap hears all datagrams that pass one port of the bridge.
type tap struct {
	mu        sync.Mutex
	datagrams []datagram
	broken    int // frames of IP that hold no whole datagram
}

// tap listens at the host's port of the bridge until the test ends.
func (h *host) tap() *tap {
	h.t.Helper()
	c := &tap{}
	f, err := packetSocket("/var/run/netns/"+h.prefix+"bridge", h.name)
	if err != nil {
		h.t.Fatalf("tap: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, err := f.Read(b)
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					h.t.Errorf("tap: %v", err)
				}
				return
			}
			c.add(b[:n])
		}
	}()
	h.t.Cleanup(func() { f.Close(); <-done })
	return c
}

// packetSocket opens a socket that hears what passes an interface of a network namespace.
func packetSocket(namespace, name string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the socket stays where it was opened
		f, err := func() (*os.File, error) {
			ns, err := os.Open(namespace)
			if err != nil {
				return nil, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			i, err := net.InterfaceByName(name)
			if err != nil {
				return nil, err
			}
			all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			err = errors.Join(
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
				unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}),
			)
			return os.NewFile(uintptr(fd), "tap"), err
		}()
		opened <- result{f, err}
	}()
	r := <-opened
	return r.f, r.err
}

// add takes an Ethernet frame apart.
func (c *tap) add(b []byte) {
	d, whole, udp := parseEthernet(b)
	if !udp {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !whole {
		c.broken++
	} else if d.from.Port() == 3610 || d.to.Port() == 3610 {
		c.datagrams = append(c.datagrams, d)
	}
}

// parseEthernet returns the datagram in an Ethernet frame. udp says that there is one, whole that it is all of one, and
// not a fragment.
func parseEthernet(b []byte) (d datagram, whole, udp bool) {
	if len(b) < 14 {
		return d, false, false
	}
	var src, dst netip.Addr
	kind, ip := binary.BigEndian.Uint16(b[12:]), b[14:]
	switch {
	case kind == unix.ETH_P_IP && len(ip) >= 20 && ip[9] == unix.IPPROTO_UDP:
		if binary.BigEndian.Uint16(ip[6:])&0x3FFF != 0 {
			return d, false, true
		}
		src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		ip = ip[4*int(ip[0]&0xF):]
	case kind == unix.ETH_P_IPV6 && len(ip) >= 40 && ip[6] == unix.IPPROTO_UDP:
		src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
		ip = ip[40:]
	case kind == unix.ETH_P_IPV6 && len(ip) >= 40 && ip[6] == unix.IPPROTO_FRAGMENT:
		return d, false, true
	default:
		return d, false, false
	}
	if len(ip) < 8 || len(ip) < int(binary.BigEndian.Uint16(ip[4:])) {
		return d, false, true
	}
	d.from = netip.AddrPortFrom(src, binary.BigEndian.Uint16(ip))
	d.to = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(ip[2:]))
	d.payload = slices.Clone(ip[8:binary.BigEndian.Uint16(ip[4:])])
	return d, true, true
}

// heard returns what the tap has heard so far.
func (c *tap) heard(t *testing.T) []datagram {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken > 0 {
		t.Errorf("%d fragments or cut datagrams on the wire", c.broken)
	}
	return slices.Clone(c.datagrams)
}
