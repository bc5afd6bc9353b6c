package mdms_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestTheListOfCouriersIsBounded: of couriers that are known by an address
// only, those charged last are remembered, for each meter by itself; one with a
// name stays.
func TestTheListOfCouriersIsBounded(t *testing.T) {
	r := newRig(t, mdms.Limits{Addresses: 3})
	altered := func(m *eventlogtest.Meter) *eventlog.Bundle {
		u := m.Bundle()
		u.Parts[0].Log[200] ^= 1
		return u
	}
	one, other := numbered(t, 1, eventlog.SchemeCounter), numbered(t, 2, eventlog.SchemeCounter)
	for _, m := range []*eventlogtest.Meter{one, other} {
		r.enrol(m)
		m.Fill(10)
	}
	charge := func(m *eventlogtest.Meter, couriers ...string) {
		t.Helper()
		for _, c := range couriers {
			r.clock.advance(time.Second)
			want(t, r.send(c, altered(m)), mdms.Rejected, verify.Altered)
		}
	}
	known := func(meter string, want ...string) {
		t.Helper()
		charges, err := r.Charges(t.Context(), mdms.Charge{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range charges {
			if c.Meter == meter {
				got = append(got, fmt.Sprintf("%s %s %d", c.Courier, c.Verdict, c.Count))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what stands against couriers of %q (-want +got):\n%s", meter, diff)
		}
	}
	charge(one, "CN=hems", "127.0.0.1", "127.0.0.2")
	charge(other, "127.0.0.2")
	charge(one, "::1", "127.0.0.1", "fe80::1%lo")
	known(one.ID.String(), "127.0.0.1 ALTERED 2", "::1 ALTERED 1", "CN=hems ALTERED 1", "fe80::1%lo ALTERED 1")
	known(other.ID.String(), "127.0.0.2 ALTERED 1")

	// Another verdict on a known courier is no other courier.
	u := one.Bundle()
	u.Parts[0].Seal = nil
	r.clock.advance(time.Second)
	want(t, r.send("127.0.0.1", u), mdms.Rejected, verify.NotSealed)
	charge(one, "127.0.0.9", "urn:hems:7", "127.0.0.8")
	known(one.ID.String(), "127.0.0.1 ALTERED 2", "127.0.0.1 NOT_SEALED 1", "127.0.0.8 ALTERED 1", "127.0.0.9 ALTERED 1", "CN=hems ALTERED 1", "urn:hems:7 ALTERED 1")

	// What names no meter is bounded too, within one moment as well.
	for i := range 20 {
		if _, err := r.Ingest(t.Context(), fmt.Sprintf("127.0.1.%d", 80+i), []byte("no bundle")); err != nil {
			t.Fatal(err)
		}
	}
	known("", "127.0.1.80 MALFORMED 1", "127.0.1.81 MALFORMED 1", "127.0.1.99 MALFORMED 1")
	if a := r.alert(one.ID, verify.Altered, "courier"); a == nil || a.Count != 9 {
		t.Errorf("alert %+v", a)
	}
}
