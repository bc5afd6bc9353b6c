package controller_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
	"github.com/meterseal/meterseal/internal/echonettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home is a meter, a controller and an MDMS in one bubble.
type home struct {
	air   *air
	meter *testMeter
	node  *echonet.Node // the meter's
	vault *vault
	ctl   *controller.Controller
	stop  func() // ends the controller
	hems  *echonet.Node

	mu     sync.Mutex // guards states
	states []controller.State
}

// newHome serves a meter at address 1 and runs a controller at address 2, whose
// configuration edit may change.
func newHome(t *testing.T, edit func(*controller.Config)) *home {
	t.Helper()
	h := &home{air: newAir(), meter: newMeter(t, "meter")}
	h.vault = newVault(h.meter)
	h.node = h.air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, h.meter.config())}})
	h.run(t, 2, edit)
	return h
}

// run runs a controller at an address.
func (h *home) run(t *testing.T, n byte, edit func(*controller.Config)) {
	t.Helper()
	c := hems()
	c.OnNotify = func(from net.Addr, f echonet.Frame) { h.ctl.Notify(from, f) }
	c.Links = []echonet.Link{{PacketConn: h.air.listen(t, n), Group: memlink.Group}}
	h.hems = echonet.New(c)
	cfg := controller.Config{
		Node: h.hems, Meters: []controller.Meter{{Addr: at(1)}},
		MDMS: mdmsURL, HTTP: &http.Client{Transport: inMemory{h.vault}},
		Observe: func(s controller.State) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.states = append(h.states, s)
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	h.ctl = controller.New(cfg)
	echonettest.Serve(t, h.hems)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.ctl.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
}

// state returns the state of the only meter.
func (h *home) state(t *testing.T) controller.State {
	t.Helper()
	s := h.ctl.States()
	if len(s) != 1 {
		t.Fatalf("%d meters", len(s))
	}
	return s[0]
}

// announce announces the log's status, as a meter does after a seal.
func (h *home) announce(t *testing.T) {
	t.Helper()
	if err := h.node.Notify(echonet.LowVoltageMeter, meter.EPCEvidence); err != nil {
		t.Error(err)
	}
}

// wait lets time pass in the bubble.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEventsReachTheMDMS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		wait(10 * time.Second)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing at first", n)
		}
		grow(h.meter, 5)
		h.announce(t)
		wait(3 * time.Second)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing after an announcement", n)
		}
		for range 5 {
			grow(h.meter, 30)
			h.meter.change(func(l *eventlogtest.Meter) { l.Rotate() })
			wait(10 * time.Minute)
			if n := h.vault.missing(t, h.meter); n != 0 {
				t.Errorf("%d bytes are missing without one", n)
			}
		}
		s := h.state(t).Evidence
		if s.Status != controller.EvidenceCurrent || s.Verdict != "INTACT" || s.Outcome != controller.Applied || s.Waiting != 0 || s.Err != "" {
			t.Errorf("state %+v", s)
		}
		if d := cmp.Diff(map[controller.Outcome]int{controller.Applied: 7}, h.vault.counts()); d != "" {
			t.Error(d)
		}
	})
}

func TestNothingIsLostWhileTheMDMSIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20 * 4096
		h := newHome(t, func(c *controller.Config) { c.Spool.Limit = limit })
		wait(time.Minute)
		h.vault.change(func() { h.vault.down = true })
		full := false
		for range 50 {
			grow(h.meter, 20)
			h.announce(t)
			wait(15 * time.Minute)
			full = full || h.state(t).Evidence.Status == controller.EvidenceFull
		}
		if n := h.state(t).Evidence.Waiting; n > 20 || n < 10 || !full {
			t.Errorf("%d bundles wait, full %v", n, full)
		}
		if h.vault.missing(t, h.meter) == 0 {
			t.Error("the MDMS was not down")
		}
		h.vault.change(func() { h.vault.down = false })
		wait(20 * time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
		if d := cmp.Diff(0, h.vault.counts()[controller.NeedFrom]); d != "" {
			t.Errorf("asked for more: %s", d)
		}
	})
}

func TestSpooledEvidenceSurvivesAPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.New()
		h := newHome(t, func(c *controller.Config) { c.Spool.FS = disk })
		wait(time.Minute)
		h.vault.change(func() { h.vault.down = true })
		for range 5 {
			grow(h.meter, 20)
			h.announce(t)
			wait(time.Minute)
		}
		h.stop()
		h.air.jamming(func(f echonet.Frame) bool { return true }) // the meter is gone
		h.vault.change(func() { h.vault.down = false })
		h.run(t, 3, func(c *controller.Config) { c.Spool.FS = disk.Restart(0, 0) })
		wait(time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

func TestABundleThatDoesNotFitWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.Spool.Limit = 10 * 4096 })
		wait(time.Minute)
		h.vault.change(func() { h.vault.down = true })
		for _, records := range []int{20, 500} { // 4 KiB, then all but the rest
			grow(h.meter, records)
			h.announce(t)
			wait(time.Minute)
		}
		grow(h.meter, 300)
		h.announce(t)
		wait(time.Minute)
		if s := h.state(t).Evidence; s.Status != controller.EvidenceFull || s.Waiting != 2 {
			t.Errorf("status %q, %d bundles wait", s.Status, s.Waiting)
		}
		h.vault.change(func() { h.vault.down = false })
		wait(20 * time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

// failing is a disk whose next n syncs fail.
type failing struct {
	durable.FS
	left int
}

func (f *failing) Create(name string) (durable.File, error) {
	file, err := f.FS.Create(name)
	if err == nil && f.left > 0 {
		f.left--
		return failingFile{file}, nil
	}
	return file, err
}

type failingFile struct{ durable.File }

func (failingFile) Sync() error { return errors.New("no space left on device") }

func TestABundleThatTheDiskDoesNotTakeIsCollectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &failing{durabletest.New(), 2}
		h := newHome(t, func(c *controller.Config) { c.Spool.FS = disk })
		wait(time.Second)
		if s := h.state(t).Evidence; s.Status != controller.EvidenceFailing || !strings.Contains(s.Err, "no space left") {
			t.Errorf("state %+v", s)
		}
		wait(10 * time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

func TestARestartReadsOnlyWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := durabletest.New()
		h := newHome(t, func(c *controller.Config) { c.Spool.FS = disk })
		grow(h.meter, 300)
		wait(time.Minute)
		h.vault.change(func() { h.vault.down = true })
		grow(h.meter, 5)
		h.announce(t)
		wait(time.Minute)
		h.stop()
		grow(h.meter, 7)
		h.run(t, 3, func(c *controller.Config) { c.Spool.FS = disk })
		wait(time.Minute)
		if n := h.state(t).Evidence.Stats.Bytes; n != 7*64 {
			t.Errorf("%d bytes read with bundles in the spool, want %d", n, 7*64)
		}
		h.vault.change(func() { h.vault.down = false })
		wait(20 * time.Minute)
		h.stop()
		grow(h.meter, 3)
		h.run(t, 4, nil)
		wait(time.Minute)
		if n := h.state(t).Evidence.Stats.Bytes; n != 3*64 {
			t.Errorf("%d bytes read with an empty spool, want %d", n, 3*64)
		}
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

func TestWhatTheMDMSHasLostIsCollectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		wait(time.Minute)
		grow(h.meter, 30)
		h.meter.change(func(l *eventlogtest.Meter) { l.Rotate() })
		grow(h.meter, 30)
		h.announce(t)
		wait(time.Minute)
		for i := range 3 {
			h.vault.change(func() { h.vault.segments = map[uint32][]byte{1: h.vault.segments[1]} })
			grow(h.meter, 3)
			h.announce(t)
			wait(10 * time.Second)
			if n := h.vault.missing(t, h.meter); n != 0 {
				t.Errorf("loss %d: %d bytes are missing", i, n)
			}
		}
		if d := cmp.Diff(map[controller.Outcome]int{controller.Applied: 5, controller.NeedFrom: 3}, h.vault.counts()); d != "" {
			t.Error(d)
		}
	})
}

func TestAnMDMSThatIsNeverContentIsNotHammered(t *testing.T) {
	for _, body := range []string{
		`{"outcome":"need-from","need_from":{"segment":1,"offset":0}}`,
		`{"outcome":"need-from","need_from":{"segment":4000000000,"offset":18446744073709551615}}`,
		`{"outcome":"rejected","verdict":"ALTERED"}`,
		`{"outcome":"fork","verdict":"FORKED"}`,
	} {
		t.Run(body, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				posts := 0
				mux := http.NewServeMux()
				mux.HandleFunc("POST /v1/evidence", func(w http.ResponseWriter, r *http.Request) {
					posts++
					_, _ = w.Write([]byte(body))
				})
				polls := 0
				mux.HandleFunc("GET /v1/work", func(w http.ResponseWriter, r *http.Request) {
					polls++
					_, _ = w.Write([]byte(`{"work":[]}`))
				})
				mux.HandleFunc("GET /v1/meters/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{}`)) })
				h := newHome(t, func(c *controller.Config) { c.HTTP = &http.Client{Transport: inMemory{mux}} })
				wait(2 * time.Hour)
				want := 40
				if strings.Contains(body, "rejected") || strings.Contains(body, "fork") {
					want = 1
				}
				if posts > want || posts == 0 {
					t.Errorf("%d posts in 2 h, want at most %d", posts, want)
				}
				if polls > 7000 {
					t.Errorf("%d questions for work in 2 h", polls)
				}
				if n := h.state(t).Evidence.Waiting; n > 1 {
					t.Errorf("%d bundles wait", n)
				}
			})
		})
	}
}

func TestARejectedBundleIsFollowedByTheNextSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		wait(time.Minute)
		h.vault.change(func() { h.vault.reject = true })
		grow(h.meter, 5)
		h.announce(t)
		wait(30 * time.Minute)
		if d := cmp.Diff(map[controller.Outcome]int{controller.Applied: 1, controller.Rejected: 1}, h.vault.counts()); d != "" {
			t.Error(d)
		}
		h.vault.change(func() { h.vault.reject = false })
		grow(h.meter, 5)
		h.announce(t)
		wait(time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

func TestAMeterThatIsNotEnrolledIsCollectedOnceItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{air: newAir(), meter: newMeter(t, "meter")}
		h.vault = newVault(h.meter)
		h.vault.unknown = true
		h.node = h.air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, h.meter.config())}})
		h.run(t, 2, nil)
		wait(time.Hour)
		if s := h.state(t).Evidence; s.Status != controller.EvidenceNotEnrolled || s.Stats.RoundTrips != 0 {
			t.Errorf("state %+v", s)
		}
		h.vault.change(func() { h.vault.unknown = false })
		wait(6 * time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

// challenge makes a signed challenge for a meter.
func challenge(t testing.TB, id eventlog.MeterID, nonce byte) controller.Work {
	t.Helper()
	c := eventlog.Challenge{Meter: id, Nonce: [32]byte{nonce}}
	if err := c.Sign(eventlogtest.NewKey("mdms", eventlog.SchemeDigest)); err != nil {
		t.Fatal(err)
	}
	b, _ := c.AppendBinary(nil)
	return controller.Work{Meter: id, Kind: controller.WorkChallenge, Message: b}
}

func receipt(t testing.TB, id eventlog.MeterID) controller.Work {
	t.Helper()
	r := eventlog.Receipt{Meter: id, Segment: 1, Length: 192}
	if err := r.Sign(eventlogtest.NewKey("mdms", eventlog.SchemeDigest)); err != nil {
		t.Fatal(err)
	}
	b, _ := r.AppendBinary(nil)
	return controller.Work{Meter: id, Kind: controller.WorkReceipt, Message: b}
}

func TestChallengesAndReceiptsAreCarriedAndTheAnswerComesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		wait(2 * time.Minute)
		work := challenge(t, h.meter.log.ID, 1)
		h.vault.add(work)
		wait(6 * time.Second)
		challenges, _ := h.meter.taken()
		if len(challenges) != 1 || string(challenges[0]) != string(work.Message) {
			t.Fatalf("%d challenges reached the meter", len(challenges))
		}
		// The meter's secure element takes its time, and its announcement is lost.
		h.meter.change(func(l *eventlogtest.Meter) {
			l.System(eventlog.CodeChallenge, &eventlog.ChallengeAccepted{Nonce: [32]byte{1}})
		})
		wait(20 * time.Second)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes of the answer are missing", n)
		}
		h.vault.add(receipt(t, h.meter.log.ID))
		wait(10 * time.Second)
		if _, receipts := h.meter.taken(); len(receipts) != 1 {
			t.Errorf("%d receipts reached the meter", len(receipts))
		}
		for range 20 { // the MDMS repeats itself
			h.vault.add(work)
			wait(10 * time.Second)
		}
		if challenges, _ := h.meter.taken(); len(challenges) != 1 {
			t.Errorf("a challenge was carried %d times in 4 minutes", len(challenges))
		}
		wait(10 * time.Minute)
		h.vault.add(work)
		wait(10 * time.Second)
		if challenges, _ := h.meter.taken(); len(challenges) != 2 {
			t.Errorf("a challenge that comes again after 10 minutes was carried %d times", len(challenges))
		}
		if w := h.state(t).Evidence.LastWork; w.Kind != controller.WorkChallenge || w.Err != "" {
			t.Errorf("last work %+v", w)
		}
	})
}

func TestWorkThatIsNoneIsNotCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		wait(2 * time.Minute)
		id := h.meter.log.ID
		other := id
		other[14] = '2'
		wrong := challenge(t, other, 1)
		wrong.Meter = id
		for _, w := range []controller.Work{
			challenge(t, other, 1), // a meter that is not here
			wrong,                  // another meter's message
			{Meter: id, Kind: controller.WorkReceipt, Message: challenge(t, id, 2).Message},
			{Meter: id, Kind: controller.WorkChallenge, Message: make([]byte, eventlog.ChallengeSize)},
			{Meter: id, Kind: controller.WorkChallenge},
			{Meter: id, Kind: "firmware", Message: []byte{1}},
		} {
			h.vault.add(w)
			wait(10 * time.Second)
		}
		for _, f := range h.air.sentBy(2) {
			if f.ESV == echonet.SetC {
				t.Errorf("a SetC of %02X was sent", f.Properties[0].EPC)
			}
		}
		h.meter.change(func(*eventlogtest.Meter) { h.meter.refuse = true })
		h.vault.add(challenge(t, id, 3))
		wait(10 * time.Second)
		if w := h.state(t).Evidence.LastWork; w.Kind != controller.WorkChallenge || !strings.Contains(w.Err, "refused") {
			t.Errorf("last work %+v", w)
		}
	})
}

func TestTwoControllersServeOneMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, nil)
		other := &home{air: h.air, meter: h.meter, vault: newVault(h.meter)}
		other.run(t, 3, nil)
		h.air.mu.Lock()
		h.air.faults = &faults{rnd: rand.New(rand.NewPCG(7, 7)), lost: 0.05, doubled: 0.05, reorderWithin: time.Second}
		h.air.mu.Unlock()
		for range 10 {
			grow(h.meter, 40)
			h.announce(t)
			wait(30 * time.Second)
			h.meter.change(func(l *eventlogtest.Meter) { l.Rotate() })
		}
		wait(30 * time.Minute)
		for i, v := range []*vault{h.vault, other.vault} {
			if n := v.missing(t, h.meter); n != 0 {
				t.Errorf("controller %d: %d bytes are missing", i, n)
			}
			if n := v.counts(); n[controller.Rejected]+n[controller.NeedFrom] != 0 {
				t.Errorf("controller %d: %v", i, n)
			}
		}
	})
}

func TestRunSaysWhatIsWrongAtOnce(t *testing.T) {
	for name, c := range map[string]controller.Config{
		"MDMS address": {MDMS: "http://mdms.example"},
		"spool":        {MDMS: mdmsURL, Spool: controller.SpoolConfig{Dir: "/dev/null/spool"}},
	} {
		if err := controller.New(c).Run(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestEvidenceOverRealSockets(t *testing.T) {
	m := newMeter(t, "meter")
	grow(m, 100)
	_, addr := echonettest.Loopback(t, echonet.Config{Objects: []echonet.Object{meterObject(t, m.config())}})
	v := newVault(m)
	server := httptest.NewServer(v)
	defer server.Close()
	node, _ := echonettest.Loopback(t, hems())
	delivered := make(chan controller.State, 1)
	ctl := controller.New(controller.Config{
		Node: node, Meters: []controller.Meter{{Addr: addr}}, MDMS: server.URL, HTTP: server.Client(),
		Spool: controller.SpoolConfig{Dir: t.TempDir()},
		Observe: func(s controller.State) {
			if s.Evidence.Outcome != "" && s.Power.OK() {
				select {
				case delivered <- s:
				default:
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ctl.Run(ctx) }()
	s := <-delivered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	server.Client().CloseIdleConnections()
	if s.Evidence.Outcome != controller.Applied || s.Power.V != 504 || s.Meter != m.log.ID {
		t.Errorf("state %+v", s)
	}
	if n := v.missing(t, m); n != 0 {
		t.Errorf("%d bytes are missing", n)
	}
}

func TestOneShotCollectAndRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		c := controller.New(controller.Config{Node: node})
		got, err := c.Collect(t.Context(), controller.Meter{Addr: at(1)}, controller.Want{})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, m, map[uint32][]byte{}, got.Bundle)
		r, err := c.Read(t.Context(), controller.Meter{Addr: at(1)})
		if err != nil || fmt.Sprint(r.Import.V) != "12345.6" {
			t.Errorf("import %v, %v", r.Import.V, err)
		}
		if _, err := c.Read(t.Context(), controller.Meter{}); !errors.Is(err, controller.ErrNoAddress) {
			t.Errorf("error %v", err)
		}
	})
}
