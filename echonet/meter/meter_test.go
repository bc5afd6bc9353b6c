package meter_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

var jst = time.FixedZone("JST", 9*3600)

// house is a Source that reads one unit more each minute since an epoch.
type house struct {
	now   time.Time
	power meter.Power
	fault uint16
}

func (h *house) Clock() time.Time { return h.now }

func (h *house) Energy() meter.Pair { return h.EnergyAt(h.now) }

func (h *house) EnergyAt(t time.Time) meter.Pair {
	n := meter.Count(t.Unix() / 60 % 100_000_000)
	return meter.Pair{Normal: n, Reverse: n / 2}
}

func (h *house) Power() meter.Power { return h.power }

func (h *house) Currents() (r, t meter.Current) { return 20, 31 }

func (h *house) Fault() uint16 { return h.fault }

// start serves a meter on a free loopback port until the test ends, and returns
// a controller that can ask it.
func start(t *testing.T, c meter.Config) (ctl *echonet.Node, addr net.Addr) {
	t.Helper()
	m, err := meter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	_, addr = serve(t, echonet.Config{Identity: c.Identity, Objects: []echonet.Object{m}})
	ctl, _ = serve(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(echonet.Identity{})}})
	return ctl, addr
}

func serve(t *testing.T, c echonet.Config) (*echonet.Node, net.Addr) {
	t.Helper()
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Links = links
	n := echonet.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.Close()
	})
	return n, links[0].LocalAddr()
}

func TestReadings(t *testing.T) {
	src := &house{now: time.Date(2026, 1, 2, 3, 45, 6, 0, jst), power: 504}
	ctl, addr := start(t, meter.Config{Source: src, Reverse: true, History2: true})
	for _, tc := range []struct {
		epc  byte
		want string
	}{
		{meter.EPCPower, "000001f8"},
		{meter.EPCCurrents, "0014001f"},
		{meter.EPCTime, "032d"},
		{meter.EPCDate, "07ea0102"},
		{meter.EPCHistory2, "ffffffffffff01fffffffefffffffe"},
		{meter.EPCHistory3At, "ffffffffffff01"},
	} {
		ps, err := ctl.Get(t.Context(), addr, echonet.LowVoltageMeter, tc.epc)
		if err != nil {
			t.Fatalf("%02X: %v", tc.epc, err)
		}
		want, _ := hex.DecodeString(tc.want)
		if got := ps[0].EDT; !bytes.Equal(got, want) {
			t.Errorf("%02X: got %x, want %x", tc.epc, got, want)
		}
	}
}
