//go:build linux

package echonet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/echonet"
)

// namespace is a network namespace, held by a thread of its own. Sockets that are
// opened in it stay in it.
type namespace struct {
	t   *testing.T
	tid int
	do  chan func()
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		n.tid = syscall.Gettid()
		ready <- err
		for f := range n.do {
			f()
		}
	}()
	err := <-ready
	t.Cleanup(func() { close(n.do) })
	if err == nil {
		_, err = exec.LookPath("ip")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("network namespaces and iproute2 are needed: %v", err)
		}
		t.Skipf("needs root and iproute2: %v", err)
	}
	n.ip("link set lo up")
	return n
}

// run calls f in the namespace.
func (n *namespace) run(f func()) {
	done := make(chan struct{})
	n.do <- func() { defer close(done); f() }
	<-done
}

// ip runs the command of that name and returns what it says.
func (n *namespace) ip(args string) (out string) {
	n.t.Helper()
	n.run(func() {
		b, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if out = string(b); err != nil {
			n.t.Errorf("ip %s: %v: %s", args, err, out)
		}
	})
	return out
}

// cable connects two namespaces by an interface of that name in each, with the
// addresses host.1 and host.2 of IPv4 and of the local link.
func cable(a, b *namespace, name, network string) {
	a.t.Helper()
	a.ip(fmt.Sprintf("link add %s type veth peer name %s netns %d", name, name, b.tid))
	for i, n := range []*namespace{a, b} {
		n.ip(fmt.Sprintf("link set %s addrgenmode none", name))
		n.ip(fmt.Sprintf("addr add %s.%d/24 dev %s", network, i+1, name))
		n.ip(fmt.Sprintf("addr add fe80::%d/64 dev %s nodad", i+1, name))
		n.ip(fmt.Sprintf("link set %s up", name))
	}
	// The kernel needs a moment until it takes multicast of IPv6.
	for _, n := range []*namespace{a, b} {
		waitFor(n.t, func() bool {
			return strings.Contains(n.ip("-6 route show table local dev "+name), "multicast") &&
				strings.Contains(n.ip("link show "+name), "state UP")
		})
	}
}

// listen opens the links of a node in the namespace.
func (n *namespace) listen(c echonet.ListenConfig) []echonet.Link {
	n.t.Helper()
	var links []echonet.Link
	n.run(func() {
		var err error
		if links, err = echonet.Listen(c); err != nil {
			n.t.Error(err)
		}
	})
	return links
}

// serve runs a node in the namespace until the test ends.
func (n *namespace) serve(c echonet.Config) *echonet.Node {
	n.t.Helper()
	c.Links = n.listen(echonet.ListenConfig{})
	var node *echonet.Node
	n.run(func() { node = echonet.New(c) })
	n.t.Cleanup(func() { node.Close() })
	return run(n.t, node)
}

// A meter on two networks, and a controller that finds it on both, by multicast
// and broadcast, with IPv4 and IPv6.
func TestSeveralNetworks(t *testing.T) {
	here, there := newNamespace(t), newNamespace(t)
	cable(here, there, "one", "10.36.10")
	cable(here, there, "two", "10.36.20")

	announced := make(chan string, 64)
	ctl := there.serve(echonet.Config{
		Objects:  []echonet.Object{echonet.NewController(testIdentity)},
		OnNotify: func(from net.Addr, f echonet.Frame) { announced <- plain(from) },
	})
	meter := here.serve(echonet.Config{Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}})

	want := []string{"10.36.10.1:3610", "10.36.20.1:3610", "[fe80::1]:3610", "[fe80::1]:3610"}
	var got []string
	for range want {
		select {
		case s := <-announced:
			got = append(got, s)
		case <-time.After(10 * time.Second):
			t.Fatalf("announced from %v only", got)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("announcements: %s", d)
	}

	for _, tc := range []struct {
		name    string
		targets []net.Addr
		want    []string
	}{
		{"multicast", nil, want},
		{"directed broadcast", []net.Addr{udp("10.36.20.255:3610")}, want[1:2]},
		{"unicast", []net.Addr{udp("10.36.10.1:3610"), udp("[fe80::1%two]:3610")}, []string{want[0], want[3]}},
		{"to an address of another network of the meter", []net.Addr{udp("10.36.20.1:3610")}, want[1:2]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := ctl.Discover(ctx, tc.targets, func(from net.Addr, list []echonet.EOJ) {
				if len(list) == 1 && list[0] == echonet.LowVoltageMeter {
					got = append(got, plain(from))
				}
				if len(got) == len(tc.want) {
					cancel()
				}
			})
			slices.Sort(got)
			if d := cmp.Diff(tc.want, got); err != nil || d != "" {
				t.Errorf("%v, %s", err, d)
			}
		})
	}

	for _, to := range []string{"255.255.255.255:3610", "10.36.20.255:3610", "224.0.23.0:3610"} {
		t.Run("one answer to "+to, func(t *testing.T) {
			// From a socket of its own that sends by the second network.
			var c *net.UDPConn
			there.run(func() {
				var err error
				if c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 36, 20, 2), Port: 3611}); err != nil {
					t.Error(err)
				}
				bind(t, c, "two")
			})
			defer c.Close()
			answered, unmatched := meter.Stats().Answered, ctl.Stats().Unmatched
			if _, err := c.WriteTo(unhex(t, "1081000105ff010288016201e700"), udp(to)); err != nil {
				t.Fatal(err)
			}
			// The answer goes to port 3610, where the controller did not ask for it. Then
			// one that is asked for, so that what was on its way has come.
			waitFor(t, func() bool { return ctl.Stats().Unmatched > unmatched })
			if _, err := ctl.Get(t.Context(), udp("10.36.20.1:3610"), echonet.LowVoltageMeter, 0xE7); err != nil {
				t.Error(err)
			}
			if got := meter.Stats().Answered - answered; got != 2 {
				t.Errorf("got %d answers, want 2", got)
			}
		})
	}

	// What the meter sent to its groups did not come back to it as if others had.
	if s := meter.Stats(); s.Dropped != 0 || s.WriteErrors != 0 {
		t.Errorf("got %d dropped, %d write errors, want none", s.Dropped, s.WriteErrors)
	}
	here.run(func() {
		if _, err := echonet.Listen(echonet.ListenConfig{}); !errors.Is(err, echonet.ErrPortTaken) {
			t.Errorf("a second node: got %v, want ErrPortTaken", err)
		}
	})
}

// plain returns an address without its zone: the names of interfaces are those of
// the namespace that asks.
func plain(a net.Addr) string {
	u := *a.(*net.UDPAddr)
	u.Zone = ""
	return u.String()
}

// bind binds a socket to an interface.
func bind(t *testing.T, c *net.UDPConn, name string) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := syscall.BindToDevice(int(fd), name); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Error(err)
	}
}

// waitFor waits for something that no channel tells.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
	}
}

func TestInterfaceChoice(t *testing.T) {
	here, there := newNamespace(t), newNamespace(t)
	cable(here, there, "one", "10.36.10")
	cable(here, there, "two", "10.36.20")
	links := here.listen(echonet.ListenConfig{Interfaces: []string{"two"}})
	groups := 0
	for _, l := range links {
		defer l.Close()
		if l.Group != nil {
			groups++
		}
		if s := l.LocalAddr().String(); strings.HasPrefix(s, "10.36.10") || strings.Contains(s, "%one") {
			t.Errorf("listens on %s", s)
		}
	}
	if groups != 2 {
		t.Errorf("got %d links with a group, want one of IPv4 and one of IPv6", groups)
	}
}
