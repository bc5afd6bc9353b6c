package echonet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
)

func TestGetOverUDP(t *testing.T) {
	_, addr := echonettest.Loopback(t, echonet.Config{Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}})
	ctl, _ := echonettest.Loopback(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(testIdentity)}})
	got, err := ctl.Get(t.Context(), addr, echonet.LowVoltageMeter, 0x80, 0x8A)
	if err != nil {
		t.Fatal(err)
	}
	want := []echonet.Property{{EPC: 0x80, EDT: []byte{0x30}}, {EPC: 0x8A, EDT: []byte{0, 0, 0x77}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s := ctl.Stats(); s.Matched != 1 || s.Sent != 1 || s.LastReceived.IsZero() {
		t.Errorf("got %+v", s)
	}
}

// radio is a link whose addresses are no IP addresses.
type radio struct{ *memlink.Conn }

type station string

func (station) Network() string  { return "radio" }
func (s station) String() string { return string(s) }

func (r radio) LocalAddr() net.Addr {
	return station(r.Conn.LocalAddr().(*net.UDPAddr).IP.String() + " on air")
}

func (r radio) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := r.Conn.ReadFrom(b)
	if err != nil {
		return n, nil, err
	}
	return n, station(from.(*net.UDPAddr).IP.String() + " on air"), nil
}

func (r radio) WriteTo(b []byte, to net.Addr) (int, error) {
	ip, _, _ := strings.Cut(to.String(), " ")
	return r.Conn.WriteTo(b, udp(ip+":1"))
}

func TestAddressesThatAreNoIP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		var heard []string
		link := func(ip string) []echonet.Link {
			return []echonet.Link{{PacketConn: radio{r.listen(ip + ":1")}, Group: station("224.0.23.0 on air")}}
		}
		ctl := run(t, echonet.New(echonet.Config{Links: link("10.0.0.1"), OnNotify: func(from net.Addr, _ echonet.Frame) {
			heard = append(heard, from.String())
		}}))
		run(t, echonet.New(echonet.Config{Links: link("10.0.0.9"), Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}}))
		got, err := ctl.Get(t.Context(), station("10.0.0.9 on air"), echonet.LowVoltageMeter, 0xE7)
		if err != nil || len(got) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
		synctest.Wait()
		if want := []string{"10.0.0.9 on air"}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q: not its own announcement", heard, want)
		}
	})
}

func TestHost(t *testing.T) {
	for _, tc := range []struct {
		a, b net.Addr
		same bool
	}{
		{udp("10.0.0.1:3610"), udp("10.0.0.1:23610"), true},
		{udp("10.0.0.1:3610"), udp("[::ffff:10.0.0.1]:1"), true},
		{udp("10.0.0.1:3610"), udp("10.0.0.2:3610"), false},
		{udp("[fe80::1%1]:3610"), udp("[fe80::1%2]:3610"), false},
		{udp("10.0.0.1:3610"), &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 9}, true},
		{station("a"), station("a"), true},
		{station("a"), station("b"), false},
		{nil, nil, true},
	} {
		a, b := echonet.HostOf(tc.a), echonet.HostOf(tc.b)
		if (a == b) != tc.same {
			t.Errorf("%v and %v: same host %v, want %v", a, b, a == b, tc.same)
		}
	}
	if got := echonet.HostOf(udp("10.0.0.1:3610")); got.String() != "10.0.0.1" || !got.IP().Is4() {
		t.Errorf("got %v", got)
	}
	if got := echonet.HostOf(station("a")); got.String() != "a" || got.IP().IsValid() {
		t.Errorf("got %v", got)
	}
}

// Notifications go to the unicast targets too, with two properties at most.
func TestAnnounceTargets(t *testing.T) {
	var n memlink.Network
	r := &rig{t: t, net: &n}
	target := r.listen("10.0.0.7:40000")
	node := run(t, echonet.New(echonet.Config{
		Links:    []echonet.Link{{PacketConn: r.listen("10.0.0.1:3610")}},
		Objects:  []echonet.Object{testDevice(echonet.LowVoltageMeter)},
		Announce: []net.Addr{target.LocalAddr()},
	}))
	if got := hear(t, target); got[8:] != "0ef0010ef0017301d50401028801" {
		t.Errorf("got %s", got)
	}
	if err := node.NotifyValues(echonet.LowVoltageMeter, echonet.Property{EPC: 0xEA, EDT: []byte{1}}); err != nil {
		t.Error(err)
	}
	if got := hear(t, target); got[8:] != "0288010ef0017301ea0101" {
		t.Errorf("got %s", got)
	}
	for name, err := range map[string]error{
		"an unknown object":     node.Notify(echonet.Controller, 0x80),
		"an unknown property":   node.Notify(echonet.LowVoltageMeter, 0xEE),
		"a write-only property": node.Notify(echonet.LowVoltageMeter, 0xE6),
		"256 bytes":             node.NotifyValues(echonet.LowVoltageMeter, echonet.Property{EPC: 0xEA, EDT: make([]byte, 256)}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNotifyTellsWhomItMissed(t *testing.T) {
	var n memlink.Network
	r := &rig{t: t, net: &n}
	target := r.listen("10.0.0.7:3610")
	node := run(t, echonet.New(echonet.Config{
		Links:    []echonet.Link{{PacketConn: r.listen("10.0.0.1:3610")}},
		Objects:  []echonet.Object{testDevice(echonet.LowVoltageMeter)},
		Announce: []net.Addr{udp("[fd00::7]:3610"), target.LocalAddr()},
	}))
	hear(t, target)
	if err := node.Notify(echonet.LowVoltageMeter, 0x80); !errors.Is(err, echonet.ErrNoLink) {
		t.Errorf("got %v, want ErrNoLink for the IPv6 target", err)
	}
	if got := hear(t, target); got[8:] != "0288010ef0017301800130" {
		t.Errorf("the other target got %s", got)
	}
}

// BF of the node profile can be changed by others, and its owner is told.
func TestNodeNumber(t *testing.T) {
	told := make(chan [2]byte, 1)
	r := newRig(t, echonet.Config{OnNodeNumber: func(n [2]byte) { told <- n }})
	r.want("1081000105ff010ef0016201bf00", "108100010ef00105ff017201bf028000")
	r.want("1081000205ff010ef0016101bf020123", "108100020ef00105ff017101bf00")
	if got := <-told; got != [2]byte{0x01, 0x23} {
		t.Errorf("got %x", got)
	}
	r.want("1081000305ff010ef0016201bf00", "108100030ef00105ff017201bf020123")
	r.want("1081000405ff010ef0016101bf0101", "108100040ef00105ff015101bf0101")
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		ctl := controllerIn(t, &n, echonet.Config{})
		for _, at := range []string{"10.0.0.21:3610", "10.0.0.22:3610"} {
			r.serve(at, echonet.Config{Objects: []echonet.Object{
				testDevice(echonet.LowVoltageMeter), testDevice(echonet.EOJ{0x02, 0x88, 2}),
			}})
		}
		every := echonet.Frame{DEOJ: echonet.LowVoltageMeter.WithInstance(0), ESV: echonet.Get, Properties: []echonet.Property{{EPC: 0x80}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var got []string
		if err := ctl.Ask(ctx, every, nil, func(from net.Addr, f echonet.Frame) {
			got = append(got, echonet.HostOf(from).String()+" "+f.SEOJ.String())
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		want := []string{"10.0.0.21 0288.01", "10.0.0.21 0288.02", "10.0.0.22 0288.01", "10.0.0.22 0288.02"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		every.ESV = echonet.INFC
		if err := ctl.Ask(ctx, every, nil, nil); !errors.Is(err, echonet.ErrService) {
			t.Errorf("INFC to a group: got %v, want ErrService", err)
		}
		every.ESV = echonet.Get
		if err := ctl.Ask(ctx, every, []net.Addr{udp("[fd00::1]:3610")}, nil); !errors.Is(err, echonet.ErrNoLink) {
			t.Errorf("no link: got %v, want ErrNoLink", err)
		}
	})
}

func TestParseInstanceList(t *testing.T) {
	for _, s := range []string{"", "01", "010288", "0102880100", "00028801", "55"} {
		if got, err := echonet.ParseInstanceList(unhex(t, s)); !errors.Is(err, echonet.ErrInstanceList) {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	if got, err := echonet.ParseInstanceList(unhex(t, "0202880105ff01")); err != nil || len(got) != 2 || got[1] != echonet.Controller {
		t.Errorf("got %v, %v", got, err)
	}
}

// Of several links the one that leads to the peer is used.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		local := []string{"127.0.0.1:3610", "10.0.0.1:3610", "[::1]:3610", "[fe80::1%7]:3610", "[fe80::1%8]:3610", "[fd00::1]:3610"}
		var links []echonet.Link
		for _, at := range local {
			links = append(links, echonet.Link{PacketConn: r.listen(at)})
		}
		ctl := run(t, echonet.New(echonet.Config{Links: links, Retries: -1, Timeout: time.Second}))
		for _, tc := range []struct{ peer, from string }{
			{"127.0.0.9:3610", local[0]},
			{"10.9.9.9:3610", local[1]},
			{"[fe80::9%7]:3610", local[3]},
			{"[fe80::9%8]:3610", local[4]},
			{"[fd00::9]:3610", local[5]},
		} {
			c, err := n.Listen(netip.MustParseAddrPort(tc.peer))
			if err != nil {
				t.Fatal(err)
			}
			ctl.Get(t.Context(), c.LocalAddr(), echonet.LowVoltageMeter, 0xE7)
			c.SetReadDeadline(time.Now().Add(time.Second))
			_, from, err := c.ReadFrom(make([]byte, 100))
			if err != nil || from.String() != tc.from {
				t.Errorf("%s was asked from %v, %v, want %s", tc.peer, from, err, tc.from)
			}
			c.Close()
		}
	})
}

func TestDevice(t *testing.T) {
	d := echonet.NewDevice(echonet.LowVoltageMeter,
		echonet.Entry{EPC: 0xE0, Value: []byte{1}}, echonet.Entry{EPC: 0xE0, Value: []byte{2}}, // the later one counts
		echonet.Entry{EPC: 0x10, Value: []byte{1}}, // no property
		echonet.Entry{EPC: 0xE1, Value: []byte{5}, Write: func(edt []byte) bool { return edt[0] < 9 }},
	)
	if got := d.Properties(); got.Get != echonet.SetOf(0x9D, 0x9E, 0x9F, 0xE0, 0xE1) || got.Set != echonet.SetOf(0xE1) {
		t.Errorf("got %v", got)
	}
	if got, ok := d.Get(0xE0); !ok || got[0] != 2 {
		t.Errorf("got % X, %v", got, ok)
	}
	edt := []byte{7}
	if !d.Set(0xE1, edt) || d.Set(0xE1, []byte{9}) || d.Set(0xE0, edt) || d.Set(0x10, edt) {
		t.Error("a Set went wrong")
	}
	edt[0] = 99 // the caller's own again
	if got, _ := d.Get(0xE1); got[0] != 7 {
		t.Errorf("got %d, want 7", got[0])
	}
	d.Update(0xE0, nil)
	d.Update(0xEE, edt) // not in the table
	if got, ok := d.Get(0xE0); !ok || len(got) != 0 {
		t.Errorf("got % X, %v, want an empty value", got, ok)
	}
	if _, ok := d.Get(0xEE); ok {
		t.Error("EE is there")
	}
}
