package mdms_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// fork is a meter that goes on from an older image, the increment that such a
// meter sends first, and a liar's way to have the same segment asked for.
func fork(r *rig) (m, image *eventlogtest.Meter, increment, lie *eventlog.Bundle) {
	m = r.enrolled(eventlog.SchemeDigest)
	m.Fill(5)
	image = m.Clone()
	m.Fill(5)
	r.send("honest", m.Bundle())
	head := len(m.Open().Log)
	lie = m.BundleFrom(1, head)
	lie.Parts[0].Seal = eventlogtest.Relabel(eventlogtest.Encode(m.Open().Seals[1]), func(s *eventlog.Seal) { s.SignedLength = uint64(head) })
	image.Fill(8)
	return m, image, image.BundleFrom(1, head), lie
}

// TestALiarDoesNotUseUpWhatOthersMayAsk: a second history is found however often
// a courier has had the segment asked for.
func TestALiarDoesNotUseUpWhatOthersMayAsk(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m, image, increment, lie := fork(r)
	want(t, r.send("liar", lie), mdms.NeedFrom, verify.Incomplete)
	want(t, r.send("liar", lie), mdms.Rejected, verify.Incomplete)
	res := r.send("honest", increment)
	want(t, res, mdms.NeedFrom, verify.Incomplete)
	if res.NeedFrom == nil || *res.NeedFrom != (verify.Position{Segment: 1}) {
		t.Errorf("need from %+v", res.NeedFrom)
	}
	want(t, r.send("honest", image.BundleFrom(1, 0)), mdms.Fork, verify.Forked)
	r.verdict(m.ID, "FORKED")
}

// TestWhatMayNotBeAskedForIsKept: the increment of a second history is evidence
// even when the segment was asked for a moment ago, and two couriers that bring
// the same are worth a look.
func TestWhatMayNotBeAskedForIsKept(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m, _, increment, _ := fork(r)
	kept := func(courier string, want int64) {
		t.Helper()
		if n, err := r.RejectedCount(t.Context(), courier); err != nil || n != want {
			t.Errorf("%d bundles of %s kept, want %d; %v", n, courier, want, err)
		}
	}
	want(t, r.send("a", increment), mdms.NeedFrom, verify.Incomplete)
	kept("a", 0)
	for range 2 {
		want(t, r.send("a", increment), mdms.Rejected, verify.Incomplete)
		kept("a", 1)
	}
	if a := r.alert(m.ID, verify.Incomplete, "seal"); a != nil {
		t.Errorf("one courier alone: %+v", a)
	}
	r.clock.advance(time.Minute)
	want(t, r.send("b", increment), mdms.NeedFrom, verify.Incomplete)
	if a := r.alert(m.ID, verify.Incomplete, "seal"); a == nil || a.Charge != verify.ChargeCourier || !strings.Contains(a.Detail, "courier b and 1 others") {
		t.Errorf("alert %+v", a)
	}
	r.verdict(m.ID, "INTACT")
}

// TestManyAddressesAreOneCrowd: a courier with many addresses fills neither the
// store nor the list of alerts.
func TestManyAddressesAreOneCrowd(t *testing.T) {
	r := newRig(t, mdms.Limits{RejectedTotal: 7})
	m := r.enrolled(eventlog.SchemeCounter)
	m.Fill(10)
	for i := range 20 {
		u := m.Bundle()
		u.Parts[0].Log[200] ^= byte(i + 1)
		want(t, r.send(fmt.Sprintf("127.0.0.%d", i), u), mdms.Rejected, verify.Altered)
	}
	total := int64(0)
	for i := range 20 {
		n, err := r.RejectedCount(t.Context(), fmt.Sprintf("127.0.0.%d", i))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total != 7 {
		t.Errorf("%d bundles kept, want 7", total)
	}
	st := r.verdict(m.ID, "")
	if len(st.Alerts) != 1 || st.Alerts[0].Count != 20 || !strings.Contains(st.Alerts[0].Detail, "127.0.0.19") || !strings.Contains(st.Alerts[0].Detail, "19 other couriers") {
		t.Errorf("alerts %+v", st.Alerts)
	}
}

func TestTheBytesOfAllAreBoundedToo(t *testing.T) {
	r := newRig(t, mdms.Limits{RejectedTotalBytes: 1000})
	for i := range 10 {
		if _, err := r.Ingest(t.Context(), fmt.Sprint(i), make([]byte, 300)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if n, err := r.RejectedCount(t.Context(), fmt.Sprint(i)); err != nil || (n == 1) != (i < 3) {
			t.Errorf("courier %d: %d bundles kept, %v", i, n, err)
		}
	}
}
