package echonet_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

func TestListenOnLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.2:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{addr}})
			if err != nil {
				t.Fatal(err)
			}
			defer links[0].Close()
			if len(links) != 1 || links[0].Group != nil {
				t.Fatalf("got %d links, group %v, want one without a group", len(links), links[0].Group)
			}
			if got := links[0].LocalAddr().(*net.UDPAddr); got.Port == 0 || !strings.HasPrefix(addr, strings.Trim(got.IP.String(), ":")) && got.IP.To4() != nil {
				t.Errorf("got %v", got)
			}
		})
	}
}

// A node on each of two loopback addresses, at one port, and a peer that is heard
// by its unicast socket alone.
func TestAnswerLeavesByTheAddressAsked(t *testing.T) {
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.3:0", "127.0.0.4:0"}})
	if err != nil {
		t.Fatal(err)
	}
	node := echonet.New(echonet.Config{Links: links})
	t.Cleanup(func() { node.Close() })
	run(t, node)
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	for _, l := range links {
		peer.WriteTo(unhex(t, "1081000105ff010ef00162018000"), l.LocalAddr())
		b := make([]byte, 100)
		peer.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, from, err := peer.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if from.String() != l.LocalAddr().String() {
			t.Errorf("asked %v, answered by %v", l.LocalAddr(), from)
		}
	}
}

func TestPortTaken(t *testing.T) {
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	addr := other.LocalAddr().String()
	_, err = echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.9:0", addr}})
	if !errors.Is(err, echonet.ErrPortTaken) || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "another address or port") {
		t.Errorf("got %v, want ErrPortTaken that names %s", err, addr)
	}
}

func TestListenErrors(t *testing.T) {
	for _, tc := range []struct {
		c    echonet.ListenConfig
		want string
	}{
		{echonet.ListenConfig{Addrs: []string{"meter.example"}}, "want ADDR, ADDR:PORT or :PORT"},
		{echonet.ListenConfig{Addrs: []string{"meter.example:3610"}}, "is no IP address"},
		{echonet.ListenConfig{Addrs: []string{"127.0.0.1:70000"}}, "port must be 0 to 65535"},
		{echonet.ListenConfig{Addrs: []string{"203.0.113.77"}}, "no such address"},
		{echonet.ListenConfig{Interfaces: []string{"nosuch0"}}, "interface nosuch0"},
		{echonet.ListenConfig{Addrs: []string{""}}, "want ADDR, ADDR:PORT or :PORT"},
	} {
		links, err := echonet.Listen(tc.c)
		if err == nil || !strings.Contains(err.Error(), tc.want) || links != nil {
			t.Errorf("%+v: got %v, want %q", tc.c, err, tc.want)
		}
	}
}

func TestReplyPolicyNames(t *testing.T) {
	for _, s := range []string{"auto", "3610", "source"} {
		if p, err := echonet.ParseReplyPolicy(s); err != nil || p.String() != s {
			t.Errorf("%s: got %v, %v", s, p, err)
		}
	}
	if _, err := echonet.ParseReplyPolicy("both"); err == nil {
		t.Error("both: no error")
	}
}
