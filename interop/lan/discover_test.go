//go:build linux

package lan_test

import (
	"slices"
	"testing"
)

// Our own programs find each other by either version of IP, by multicast and broadcast, and read each other by both.
func TestDiscover(t *testing.T) {
	n := newNetwork(t)
	meterHost, own := n.host("meter"), n.host("own")
	wire := meterHost.tap()
	startMeter(meterHost)
	four, six := meterHost.addr+":3610", "["+meterHost.addr6+"%eth0]:3610"
	meter4, meter6 := four+" 0288.01", six+" 0288.01"
	for _, tc := range []struct {
		name    string
		targets []string
		want    []string
		to      string // where requests go on the wire
	}{
		{"multicast of both", nil, []string{meter4, meter6}, "ff02::1"},
		{"multicast of IPv4", []string{"224.0.23.0"}, []string{meter4}, "224.0.23.0"},
		{"multicast of IPv6", []string{"[ff02::1%eth0]:3610"}, []string{meter6}, "ff02::1"},
		{"directed broadcast", []string{"10.36.10.255"}, []string{meter4}, "10.36.10.255"},
		{"limited broadcast", []string{"255.255.255.255"}, []string{meter4}, "255.255.255.255"},
		{"subnet", []string{"10.36.10.0/29"}, []string{meter4}, meterHost.addr},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(wire.heard(t))
			args := []string{"--wait", "3s"}
			for _, target := range tc.targets {
				args = append(args, "--target", target)
			}
			got := own.discover(args...)
			if !slices.Equal(got, tc.want) {
				t.Errorf("found %v, want %v", got, tc.want)
			}
			if !slices.ContainsFunc(wire.heard(t)[before:], func(d datagram) bool { return d.to.Addr().String() == tc.to }) {
				t.Errorf("nothing was sent to %s", tc.to)
			}
		})
	}
	for _, addr := range []string{four, six} {
		if got := own.get(addr, "028801", "e1", "d3"); got["e1"] == "" || got["d3"] == "" {
			t.Errorf("get from %s: %v", addr, got)
		}
	}
	checkWire(t, wire.heard(t), meterHost, own)
}

// npm echonet-lite finds and reads our meter by IPv6.
func TestEchonetLiteByIPv6(t *testing.T) {
	n := newNetwork(t)
	meterHost, peerHost := n.host("meter"), n.host("peer")
	startMeter(meterHost)
	addr := meterHost.addr6 + "%eth0"
	c := peerHost.startPeer("echonet-lite-controller.js", "6", "", addr)
	c.say("search")
	all := c.frame("answer with everything", func(f frame) bool { return isEverything(f) && f.From == addr }).Details
	if got := c.ask("028801", "62", "72", "e1")["e1"]; got != all["e1"] || got == "" {
		t.Errorf("E1: got %q, then %q", all["e1"], got)
	}
}
