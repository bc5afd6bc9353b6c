package controller_test

import (
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// evidenceAt returns the state of the evidence of the meter at an address.
func (h *home) evidenceAt(t *testing.T, n byte) controller.EvidenceState {
	t.Helper()
	for _, s := range h.ctl.States() {
		if s.Addr == at(n).String() {
			return s.Evidence
		}
	}
	t.Fatalf("no meter at %v", at(n))
	return controller.EvidenceState{}
}

// TestANodeThatTakesAnothersNameStandsInNobodysWay: it is refused with a warning,
// and the meter's evidence goes on.
func TestANodeThatTakesAnothersNameStandsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := newHome(t, func(c *controller.Config) {
			c.Meters, c.Groups = nil, []net.Addr{memlink.Group}
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		wait(time.Minute)
		impostor := newMeter(t, "thief") // the same id, another key
		grow(impostor, 500)
		node := h.air.node(t, 6, echonet.Config{Objects: []echonet.Object{meterObject(t, impostor.config())}})
		wait(time.Minute)
		for range 5 {
			grow(h.meter, 20)
			h.announce(t)
			grow(impostor, 20)
			if err := node.Notify(echonet.LowVoltageMeter, 0xF0); err != nil {
				t.Error(err)
			}
			wait(time.Hour)
			if n := h.vault.missing(t, h.meter); n != 0 {
				t.Errorf("%d bytes are missing", n)
			}
		}
		if d := cmp.Diff(map[controller.Outcome]int{controller.Applied: 6}, h.vault.counts()); d != "" {
			t.Error(d)
		}
		if s := h.evidenceAt(t, 6); s.Status != controller.EvidenceTaken || s.Stats.Bytes != 0 {
			t.Errorf("the impostor's evidence: %+v", s)
		}
		if s := h.evidenceAt(t, 1); s.Status != controller.EvidenceCurrent {
			t.Errorf("the meter's evidence: %+v", s)
		}
		h.stop()
		if n := strings.Count(log.String(), "another one is"); n != 1 {
			t.Errorf("%d warnings in\n%s", n, log.String())
		}
	})
}

// TestAMeterThatMovesIsFollowed: its name is free when its old address is silent.
func TestAMeterThatMovesIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.Meters, c.Groups = nil, []net.Addr{memlink.Group} })
		wait(time.Minute)
		h.air.node(t, 6, echonet.Config{Objects: []echonet.Object{meterObject(t, h.meter.config())}})
		wait(time.Minute)
		if s := h.evidenceAt(t, 6); s.Status != controller.EvidenceTaken {
			t.Errorf("while the meter answers at its old address: %+v", s)
		}
		h.air.silence(1)
		grow(h.meter, 30)
		wait(30 * time.Minute)
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
		if s := h.evidenceAt(t, 6); s.Status != controller.EvidenceCurrent {
			t.Errorf("at its new address: %+v", s)
		}
		if s := h.evidenceAt(t, 1); s.Status == controller.EvidenceCurrent {
			t.Errorf("at its old address: %+v", s)
		}
		h.vault.add(challenge(t, h.meter.log.ID, 1))
		wait(10 * time.Second)
		if challenges, _ := h.meter.taken(); len(challenges) != 1 {
			t.Errorf("%d challenges reached the meter", len(challenges))
		}
	})
}

// TestBundlesOfOneSourceNeverStandInForThoseOfAnother, whatever meter they name.
func TestBundlesOfOneSourceNeverStandInForThoseOfAnother(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "spool")} {
		s := open(t, controller.SpoolConfig{Dir: dir})
		put := func(from controller.Source, n int64) {
			t.Helper()
			if _, err := s.Put(from, bundle(1, 10, n)); err != nil {
				t.Fatal(err)
			}
		}
		put(7, 1)
		put(8, 2)
		put(0, 3)
		if dir != "" {
			s = open(t, controller.SpoolConfig{Dir: dir})
		}
		if _, err := s.Replace(8, bundle(1, 10, 4)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]int64{1, 3, 4}, content(t, s)); d != "" {
			t.Errorf("dir %q: %s", dir, d)
		}
		for from, want := range map[controller.Source]uint64{7: 1, 0: 3, 8: 4} {
			if e, ok := s.Last(from, bundle(1, 0, 0).Meter); !ok || e.ID != want || e.Source != from {
				t.Errorf("dir %q: last of %d: %+v, %v", dir, from, e, ok)
			}
		}
		e, _ := s.Last(7, bundle(1, 0, 0).Meter)
		if err := s.Reject(e, "for a reason"); err != nil {
			t.Fatal(err)
		}
		if dir == "" {
			continue
		}
		s = open(t, controller.SpoolConfig{Dir: dir})
		if r := s.Rejected(); len(r) != 1 || r[0].Source != 7 || s.Reason(r[0]) != "for a reason" {
			t.Errorf("rejected %+v", r)
		}
	}
}

func TestOneSourcesTroubleDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, controller.SpoolConfig{FS: durabletest.New()})
		for i, from := range []controller.Source{7, 7, 8} { // all of one meter
			if _, err := s.Put(from, bundle(1, 10, int64(i+1))); err != nil {
				t.Fatal(err)
			}
		}
		need := answer{200, nil, `{"outcome":"need-from","need_from":{"segment":1,"offset":0}}`}
		mdms := &answers{list: []answer{need, outcome("applied"), need}}
		out := runRelay(t, s, mdms)
		<-out
		if d := <-out; d.Entry.Source != 8 || d.Answer.Outcome != controller.Applied {
			t.Errorf("second: %+v", d)
		}
		if d := cmp.Diff([]int64{1, 3}, mdms.bundles()); d != "" {
			t.Errorf("posted: %s", d)
		}
	})
}
