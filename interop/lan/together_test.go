//go:build linux

package lan_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/internal/effort"
)

// Both npm controllers read the meter in their own ways while ours collects its evidence again and again from a log that
// grows. Nobody's answer is lost or refused, and what was collected proves itself.
func TestControllersTogether(t *testing.T) {
	n := newNetwork(t)
	meterHost, first, second, own := n.host("meter"), n.host("first"), n.host("second"), n.host("own")
	wire := meterHost.tap()
	m := startMeter(meterHost)
	c := first.startPeer("echonet-lite-controller.js", "4", first.addr, meterHost.addr)
	c.say("search")
	reader := second.startNodeEchonetLite(meterHost.addr, effort.Times(20), "e7", "e0", "e8", "ea", "f0", "f3")

	bundle := filepath.Join(t.TempDir(), "bundle.mseal")
	collected := make(chan string) // what went wrong
	go func() {
		defer close(collected)
		for range effort.Times(5) {
			if out, errs, err := m.run("meter", "event", "--state", m.state, "fraud/42"); err != nil {
				collected <- out + errs
			}
			if out, errs, err := own.run("controller", "collect", "--meter", meterHost.addr, "-o", bundle); err != nil {
				collected <- out + errs
			}
		}
	}()
	rounds := 0
	for busy := true; busy || rounds < 20; rounds++ {
		select {
		case s, open := <-collected:
			if busy = open; open {
				t.Errorf("collect: %s", s)
			} else {
				collected = nil
			}
		default:
		}
		c.ask("028801", "62", "72", "e7", "e0", "e5", "f0", "f1")
	}
	for _, s := range reader.spoken() {
		if s.EPC != "" && s.ESV != "Get_Res" {
			t.Errorf("node-echonet-lite got %+v", s)
		}
	}

	requests := allAnswered(t, wire, meterHost)
	services := checkWire(t, wire.heard(t), meterHost, own)
	if services["7e"] < 5 {
		t.Errorf("got %d answers to SetGet, want one for each collection", services["7e"])
	}
	t.Logf("%d requests of three controllers, %d rounds of echonet-lite", requests, rounds)

	out, errs, err := own.run("verify", bundle, "--key", m.key())
	if err != nil || !strings.Contains(out, "INTACT") {
		t.Errorf("verify: %v\n%s%s", err, out, errs)
	}
}

// echonet-lite reads all that map 9F names, the windows of the evidence included, whenever it has found the meter. That
// changes nothing in the log, moves no cursor, and each answer fits one packet of Wi-SUN.
func TestBlindReads(t *testing.T) {
	n := newNetwork(t)
	meterHost, peerHost, own := n.host("meter"), n.host("peer"), n.host("own")
	wire := meterHost.tap()
	startMeter(meterHost)
	evidence := []string{"f0", "f1", "f2", "f7", "f8"}
	before := own.get(meterHost.addr, "028801", evidence...)
	c := peerHost.startPeer("echonet-lite-controller.js", "4", peerHost.addr, meterHost.addr)
	rounds := effort.Times(10)
	for range rounds {
		c.say("search")
		all := c.frame("answer with everything", isEverything).Details
		for _, window := range []string{"f2", "f3", "f4", "f5", "f6"} {
			if got := strings.Trim(all[window], "0"); got != "" || len(all[window]) != 2*13 {
				t.Errorf("window %s shows %s, want nothing", window, all[window])
			}
		}
	}
	after := own.get(meterHost.addr, "028801", evidence...)
	for _, epc := range evidence {
		if before[epc] != after[epc] {
			t.Errorf("%s changed from %s to %s", epc, before[epc], after[epc])
		}
	}
	allAnswered(t, wire, meterHost)
	largest := 0
	for _, d := range wire.heard(t) {
		if meterHost.is(d.from.Addr()) {
			largest = max(largest, len(d.payload))
		}
	}
	if largest > payloadLimit {
		t.Errorf("an answer of %d bytes, want at most %d", largest, payloadLimit)
	}
	checkWire(t, wire.heard(t), meterHost)
	t.Logf("%d times everything; the largest answer had %d bytes", rounds, largest)
}
