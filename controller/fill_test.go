package controller_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// TestAGapThatACourierMadeHealsEndToEnd: a liar brings the newest segment alone.
// The honest controller hears from the MDMS what is missing, reads it from the
// meter and brings it.
func TestAGapThatACourierMadeHealsEndToEnd(t *testing.T) {
	m := newMeter(t, "meter")
	grow(m, 30)
	server, err := mdms.Open(t.Context(), mdms.Config{Store: t.TempDir() + "/mdms.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	err = server.Enrol(t.Context(), mdms.Enrolment{Meter: m.log.ID, PublicKey: m.log.Key.PublicKey(), Scheme: m.log.Key.Scheme, Policy: m.log.Policy})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	post := func(b *eventlog.Bundle) {
		t.Helper()
		data, err := b.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := web.Client().Post(web.URL+"/v1/evidence", eventlog.MediaType, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	post(m.log.Bundle()) // the beginning of segment 1
	grow(m, 30)
	m.change(func(l *eventlogtest.Meter) { l.Rotate() })
	for range 3 {
		grow(m, 30)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
	}
	grow(m, 30)
	post(m.log.BundleFrom(5, 0))
	st, err := server.Meter(t.Context(), m.log.ID)
	if err != nil || st.Verdict != "GAP" || st.Charge != verify.ChargeCourier || len(st.Missing) != 2 {
		t.Fatalf("%+v, %v", st, err)
	}

	a := newAir()
	node := pair(t, a, m)
	changed := make(chan struct{}, 1)
	ctl := controller.New(controller.Config{
		Node: node, Meters: []controller.Meter{{Addr: at(1)}}, MDMS: web.URL, HTTP: web.Client(),
		Observe: func(controller.State) {
			select {
			case changed <- struct{}{}:
			default:
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ctl.Run(ctx) }()
	for st.Verdict != "INTACT" {
		<-changed
		if st, err = server.Meter(t.Context(), m.log.ID); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	web.Client().CloseIdleConnections()
	if len(st.Missing) != 0 || len(st.Alerts) != 0 {
		t.Errorf("missing %+v, alerts %+v", st.Missing, st.Alerts)
	}
	raw, err := server.Export(t.Context(), m.log.ID)
	if err != nil {
		t.Fatal(err)
	}
	var b eventlog.Bundle
	if err := b.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	copies := map[uint32][]byte{}
	holds(t, m, copies, &b)
	if len(copies) != 5 {
		t.Errorf("%d segments", len(copies))
	}
}

// TestOnlyWhatTheMeterHasIsRead of what is missing.
func TestOnlyWhatTheMeterHasIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		missing []controller.Missing
		want    []uint32
	}{
		"nothing":                   {nil, nil},
		"what it has dropped":       {[]controller.Missing{{First: 1, Last: 2}}, nil},
		"what it has and has not":   {[]controller.Missing{{First: 1, Last: 4}}, []uint32{3, 4}},
		"what is open, or to come":  {[]controller.Missing{{First: 6, Last: 1 << 31}}, nil},
		"everything":                {[]controller.Missing{{First: 0, Last: 1<<32 - 1}}, []uint32{3, 4, 5}},
		"the same twice":            {[]controller.Missing{{First: 3, Last: 4}, {First: 3, Last: 5}}, []uint32{3, 4, 5}},
		"in another order":          {[]controller.Missing{{First: 5, Last: 5}, {First: 3, Last: 3}}, []uint32{5}},
		"the end of a segment":      {[]controller.Missing{{First: 4, Last: 4, From: 640}}, []uint32{4}},
		"more than there is":        {[]controller.Missing{{First: 4, Last: 4, From: 1 << 40}}, nil},
		"a range that is none":      {[]controller.Missing{{First: 5, Last: 3}}, nil},
		"an end of a range of many": {[]controller.Missing{{First: 1, Last: 3, From: 640}}, []uint32{3}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				node := pair(t, a, m)
				for range 5 {
					grow(m, 20)
					m.change(func(l *eventlogtest.Meter) { l.Rotate() })
				}
				m.change(func(l *eventlogtest.Meter) { l.Drop(1, eventlog.DropFull); l.Drop(2, eventlog.DropFull) })
				got, err := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{}).Fill(t.Context(), c.missing)
				if err != nil {
					t.Fatal(err)
				}
				var segments []uint32
				copies := map[uint32][]byte{}
				if name == "the end of a segment" {
					copies[4] = bytes.Clone(m.log.Segment(4).Log[:640])
				}
				if got.Bundle != nil {
					holds(t, m, copies, got.Bundle)
					if got.Bundle.Newest {
						t.Error("the bundle says that its seal is the newest")
					}
					for _, p := range got.Bundle.Parts {
						segments = append(segments, p.Segment)
					}
				}
				if d := cmp.Diff(c.want, segments); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// TestMissingSegmentsComeInBundlesOfTheirSize, and what a broken line has brought
// is kept.
func TestMissingSegmentsComeInBundlesOfTheirSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		for range 5 {
			grow(m, 40)
			m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		}
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{Size: 5000})
		all := []controller.Missing{{First: 1, Last: 5}}
		got, err := c.Fill(t.Context(), all)
		if err != nil || !got.More || len(got.Bundle.Parts) != 2 {
			t.Fatalf("more %v, %v", got.More, err)
		}
		reads := 0
		m.onRead = func(_ *testMeter, at meter.Cursor) {
			if reads++; at.Segment == 2 {
				a.silence(1)
			}
		}
		got, err = c.Fill(t.Context(), all)
		if err != nil || !got.More || len(got.Bundle.Parts) != 1 {
			t.Fatalf("%d reads, more %v, %v", reads, got.More, err)
		}
		if _, err = c.Fill(t.Context(), all); err == nil {
			t.Error("no error from a meter that is silent")
		}
	})
}

// TestAnMDMSThatMissesForEverIsNotFedForEver: what it never takes is read again
// and again, but seldom.
func TestAnMDMSThatMissesForEverIsNotFedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fills := 0
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/evidence", func(w http.ResponseWriter, r *http.Request) {
			fills++
			_, _ = w.Write([]byte(`{"outcome":"applied","verdict":"GAP","head":{"segment":3,"length":640},"missing":[{"first":1,"last":2}]}`))
		})
		mux.HandleFunc("GET /v1/work", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"work":[]}`)) })
		mux.HandleFunc("GET /v1/meters/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{}`)) })
		h := &home{air: newAir(), meter: newMeter(t, "meter")}
		h.vault = newVault(h.meter)
		for range 2 {
			grow(h.meter, 5)
			h.meter.change(func(l *eventlogtest.Meter) { l.Rotate() })
		}
		h.node = h.air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, h.meter.config())}})
		h.run(t, 2, func(c *controller.Config) { c.HTTP = &http.Client{Transport: inMemory{mux}} })
		wait(4 * time.Hour)
		if fills < 5 || fills > 60 {
			t.Errorf("%d bundles in 4 h", fills)
		}
	})
}
