package mdms_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// charges returns the alerts of a kind that are not closed, by subject, with
// whom they are laid on.
func (r *rig) charges(id eventlog.MeterID, kind verify.Verdict) map[string]verify.Charge {
	r.t.Helper()
	st, err := r.Meter(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	got := map[string]verify.Charge{}
	for _, a := range st.Alerts {
		if a.Kind == kind.String() {
			got[a.Subject] = a.Charge
		}
	}
	return got
}

// TestAWithheldSegmentIsTheCouriers: a courier that brings the newest segment
// alone earns GAP for itself. It shows as its claim, the MDMS says what it
// wants, and it heals when somebody brings it.
func TestAWithheldSegmentIsTheCouriers(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		for range 2 {
			m.Fill(5)
			m.Rotate()
		}
		m.Fill(5)
		res := r.send("liar", m.BundleFrom(3, 0))
		want(t, res, mdms.Applied, verify.Gap)
		missing := []verify.Missing{{First: 1, Last: 2, By: verify.ChargeCourier}}
		if diff := cmp.Diff(missing, res.Missing); diff != "" || res.Charge != verify.ChargeCourier {
			t.Errorf("charge %q, missing (-want +got):\n%s", res.Charge, diff)
		}
		if st := r.verdict(m.ID, "GAP"); st.Charge != verify.ChargeCourier {
			t.Errorf("the meter's GAP is laid on %q", st.Charge)
		}
		if diff := cmp.Diff(map[string]verify.Charge{"claimed": verify.ChargeCourier}, r.charges(m.ID, verify.Gap)); diff != "" {
			t.Errorf("alerts (-want +got):\n%s", diff)
		}

		if page := r.from("127.0.0.1:1", http.MethodGet, "/", "").Body.String(); !strings.Contains(page, "GAP (by a courier&#39;s word)") && !strings.Contains(page, "GAP (by a courier's word)") {
			t.Errorf("the page does not say whose word it is:\n%s", page)
		}
		u := m.BundleFrom(1, 0)
		u.Newest, u.Parts = false, u.Parts[:2]
		res = r.send("honest", u)
		want(t, res, mdms.Applied, verify.Intact)
		if len(res.Missing) != 0 {
			t.Errorf("still missing: %+v", res.Missing)
		}
		if st := r.verdict(m.ID, "INTACT"); st.Charge != "" || len(st.Alerts) != 0 {
			t.Errorf("charge %q, alerts %+v", st.Charge, st.Alerts)
		}
	})
}

// TestWhatTheMeterSignedAsGoneIsItsOwn: SEGMENT_DROPPED makes a courier's claim
// the meter's word, and no later claim of a courier takes that back.
func TestWhatTheMeterSignedAsGoneIsItsOwn(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		for range 5 {
			m.Fill(5)
			m.Rotate()
		}
		image := m.Clone()
		want(t, r.send("a", m.BundleFrom(6, 0)), mdms.Applied, verify.Gap)
		st := r.verdict(m.ID, "GAP")
		m.Drop(1, eventlog.DropFull)
		m.Drop(3, eventlog.DropFull)
		res := r.send("a", m.BundleFrom(6, int(st.Head.Length)))
		by := func(first, last uint32, by verify.Charge) verify.Missing {
			return verify.Missing{First: first, Last: last, By: by}
		}
		missing := []verify.Missing{
			by(1, 1, verify.ChargeMeter), by(2, 2, verify.ChargeCourier), by(3, 3, verify.ChargeMeter), by(4, 5, verify.ChargeCourier),
		}
		if diff := cmp.Diff(missing, res.Missing); diff != "" {
			t.Fatalf("missing (-want +got):\n%s", diff)
		}
		if st := r.verdict(m.ID, "GAP"); st.Charge != verify.ChargeMeter {
			t.Errorf("laid on %q", st.Charge)
		}
		u := image.BundleFrom(5, 0) // says that 1 to 4 are missing
		u.Newest, u.Parts = false, u.Parts[:1]
		res = r.send("a", u)
		missing[3].Last = 4
		if diff := cmp.Diff(missing, res.Missing); diff != "" {
			t.Fatalf("missing (-want +got):\n%s", diff)
		}
		for _, n := range []uint32{2, 4} {
			u := image.BundleFrom(n, 0)
			u.Newest, u.Parts = false, u.Parts[:1]
			r.send("a", u)
		}
		if diff := cmp.Diff(map[string]verify.Charge{"": verify.ChargeMeter}, r.charges(m.ID, verify.Gap)); diff != "" {
			t.Errorf("alerts (-want +got):\n%s", diff)
		}
		u = image.BundleFrom(1, 0) // somebody had kept them
		u.Newest, u.Parts = false, slices.Delete(u.Parts[:3], 1, 2)
		want(t, r.send("a", u), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
	})
}

// TestSilenceIsTheCouriers: nobody but a courier is known to have caused it.
func TestSilenceIsTheCouriers(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		r.send("a", m.Bundle())
		if _, err := r.Challenge(t.Context(), m.ID, "test"); err != nil {
			t.Fatal(err)
		}
		r.clock.advance(27 * time.Hour)
		if err := r.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := r.verdict(m.ID, "STALE"); st.Charge != verify.ChargeCourier {
			t.Errorf("laid on %q", st.Charge)
		}
		want := map[string]verify.Charge{"": verify.ChargeCourier, "challenge": verify.ChargeCourier}
		if diff := cmp.Diff(want, r.charges(m.ID, verify.Stale)); diff != "" {
			t.Errorf("alerts (-want +got):\n%s", diff)
		}
	})
}
