package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/internal/echonettest"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// TestEvidenceOverTheRadio collects a log of 1,000 records over a virtual
// dongle that takes the times of a real one, 0.6 s a request, on a clock of its
// own: meter, radio, serial line, driver and collector are the real parts.
func TestEvidenceOverTheRadio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := radioMeter(t)
		specific := eventlog.Event{Class: eventlog.ClassFraud, Code: 40}
		ordinary := eventlog.Event{Class: eventlog.ClassPowerQuality, Code: 77}
		record := func(n int) {
			for i := range n {
				e := ordinary
				if i == n-1 {
					e = specific
				}
				if _, err := m.Record(t.Context(), e, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		record(1000 - int(m.Status().LastSeq) + 1)

		_, node, peer := join(t, m)
		col := controller.NewCollector(node, peer, controller.CollectConfig{})
		if err := col.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		collect := func(head controller.Head) (controller.Collected, time.Duration) {
			t.Helper()
			start := time.Now()
			got, err := col.Collect(t.Context(), controller.Want{Head: head})
			if err != nil {
				t.Fatal(err)
			}
			return got, time.Since(start)
		}
		all, took := collect(controller.Head{})
		want := (int(all.Stats.Bytes)+959)/960 + 1
		if all.Stats.RoundTrips != want {
			t.Errorf("%d bytes took %d round trips, want %d", all.Stats.Bytes, all.Stats.RoundTrips, want)
		}
		single, alone := oneWindowEach(t, node, peer, all.Stats.Bytes)
		t.Logf("1,000 records, %d bytes: %d round trips in %.1f s; with one window a request %d in %.1f s",
			all.Stats.Bytes, all.Stats.RoundTrips, took.Seconds(), single, alone.Seconds())
		if took >= alone {
			t.Error("four windows a request are not faster than one")
		}

		record(20)
		news, took := collect(all.Head)
		if news.Stats.Bytes != 1280 || news.Stats.RoundTrips != 3 {
			t.Errorf("20 new records: %d bytes in %d round trips, want 1280 in 3", news.Stats.Bytes, news.Stats.RoundTrips)
		}
		t.Logf("20 new records, %d bytes: %d round trips in %.1f s", news.Stats.Bytes, news.Stats.RoundTrips, took.Seconds())
	})
}

// radioMeter runs a meter on a network in memory until the test ends.
func radioMeter(t *testing.T) *device.Meter {
	t.Helper()
	id, err := eventlog.ParseMeterID(demoMeter)
	if err != nil {
		t.Fatal(err)
	}
	m, err := device.Open(t.Context(), device.Config{
		Dir: t.TempDir(), Module: secureelementtest.New(t, eventlog.SchemeCounter), Meter: id,
		Policy: eventlog.DefaultPolicy(), FloodBurst: 5000, NoEventSocket: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	<-m.Ready()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		m.Close()
	})
	return m
}

// TestAReadingAfterALostSession measures how long a reading takes whose request
// the session did not outlive: meter, radio, driver and reader are the real parts.
func TestAReadingAfterALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, node, peer := join(t, radioMeter(t))
		r := controller.NewReader(node, peer, nil)
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Inject(dongle.Drop)
		start := time.Now()
		time.AfterFunc(2*time.Second, func() { d.Inject(dongle.End26) })
		if err := r.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("a reading whose request was lost with the session after 2 s came after %.1f s", took.Seconds())
		if took > 20*time.Second {
			t.Errorf("the reading came after %v", took)
		}
	})
}

// join puts a dongle on a cable in memory, the meter in its reach, and a node
// behind the driver.
func join(t *testing.T, m *device.Meter) (*dongle.Dongle, *echonet.Node, controller.Meter) {
	t.Helper()
	var air memlink.Network
	meterEnd, dongleEnd := echonettest.Listen(t, &air, "192.0.2.1:3610"), echonettest.Listen(t, &air, "192.0.2.2:3610")
	cr, err := testCredentials()
	if err != nil {
		t.Fatal(err)
	}
	d, err := dongle.New(dongle.Config{Meters: []*dongle.Meter{{Credentials: cr, Conn: dongleEnd, Addr: meterEnd.LocalAddr()}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, []echonet.Link{{PacketConn: meterEnd}}) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	var cable dongle.Cable
	dongletest.Run(t, d, cable.Plug)
	synctest.Wait()

	s := newSession(nil)
	conn, err := routeb.Dial(t.Context(), routeb.Config{Port: "cable", Credentials: cr, Open: cable.Open, OnChange: s.take})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	link, peer := routebLink(conn, s)
	return d, echonettest.Serve(t, echonet.New(echonet.Config{Links: []echonet.Link{link}})), peer
}

// oneWindowEach reads as many bytes with one window a request.
func oneWindowEach(t *testing.T, node *echonet.Node, peer controller.Meter, size uint64) (trips int, took time.Duration) {
	t.Helper()
	start := time.Now()
	for at := uint64(0); at < size; at += meter.WindowSize {
		c := meter.Cursor{Object: meter.CursorLog, Segment: 1, Offset: at}
		edt, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, ps, err := node.SetGet(t.Context(), peer.Locate(), echonet.LowVoltageMeter, []echonet.Property{{EPC: meter.EPCCursor, EDT: edt}}, []byte{meter.EPCWindow0})
		if err != nil || len(ps) != 1 || len(ps[0].EDT) == 0 {
			t.Fatalf("window at %d: %v, %v", at, ps, err)
		}
		trips++
	}
	return trips, time.Since(start)
}
