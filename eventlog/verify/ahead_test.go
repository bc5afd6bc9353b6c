package verify_test

import (
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// long is a length in bytes at which a new segment is read while its digest is
// computed.
const long = 300 << 10

// longMeter is a meter with one segment of that length, in which something is
// found. All of it is sealed.
func longMeter(scheme eventlog.Scheme) *eventlogtest.Meter {
	m := eventlogtest.New("long", scheme)
	m.System(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: 1})
	for len(m.Open().Log) < long {
		m.Append(m.Next(eventlogtest.Ordinary, nil))
	}
	m.Event(eventlogtest.Specific)
	return m
}

// What is found in a long new segment is what is found behind its header, when
// that is known already and the rest is read after the signature.
func TestALongSegmentIsJudgedLikeItsPieces(t *testing.T) {
	for name, tc := range map[string]struct {
		live    func(m *eventlogtest.Meter)
		verdict verify.Verdict
		codes   []string
	}{
		"nothing more": {func(*eventlogtest.Meter) {}, verify.Intact, []string{verify.FindSuppressed}},
		"the clock goes back, and the meter starts": {func(m *eventlogtest.Meter) {
			m.Now = m.Now.Add(-time.Hour)
			m.Reboot()
		}, verify.Intact, []string{verify.FindSuppressed, verify.FindClock}},
		"a mark is wrong": {func(m *eventlogtest.Meter) {
			r := m.Next(eventlogtest.Ordinary, nil)
			r.Flags |= eventlog.FlagSpecific
			m.Append(r)
			m.Seal()
		}, verify.PolicyMismatch, []string{verify.FindSuppressed, verify.FindPolicy}},
		"a sequence number is left out": {func(m *eventlogtest.Meter) {
			m.Seq++
			m.Event(eventlogtest.Specific)
		}, verify.Malformed, []string{verify.FindRecord}},
		"the end of a segment, and more": {func(m *eventlogtest.Meter) {
			m.Rotate()
			m.Event(eventlogtest.Ordinary)
		}, verify.IntactWithTail, []string{verify.FindSuppressed}},
	} {
		t.Run(name, func(t *testing.T) {
			m := longMeter(eventlog.SchemeCounter)
			tc.live(m)
			got := newWorld(t, m).verify(m.Bundle())
			wantReport(t, got, tc.verdict, tc.codes...)

			w := newWorld(t, m)
			w.intact(parts(m, m.Segment(1).At(0, 0)))
			want := w.verify(m.BundleFrom(1, eventlog.HeaderSize))
			if got.Verdict != want.Verdict || got.Charge != want.Charge || got.Proven != want.Proven {
				t.Errorf("got %s %s %t, want %s %s %t", got.Verdict, got.Charge, got.Proven, want.Verdict, want.Charge, want.Proven)
			}
			if diff := cmp.Diff(want.Findings, got.Findings); diff != "" {
				t.Errorf("findings of the pieces (-) and of the whole (+):\n%s", diff)
			}
			for i := range want.Advance {
				if diff := cmp.Diff(want.Advance[i].Head, got.Advance[i].Head); diff != "" {
					t.Errorf("head of the pieces (-) and of the whole (+):\n%s", diff)
				}
			}
		})
	}
}

func TestALongSegmentReadAgainTellsNothingTwice(t *testing.T) {
	m := longMeter(eventlog.SchemeCounter)
	w := newWorld(t, m)
	wantReport(t, w.accept(m.Bundle(), verify.Intact), verify.Intact, verify.FindSuppressed)
	m.Event(eventlogtest.Specific)
	w.intact(m.Bundle())
}

func TestALongSegmentCountsForNothingUntilItsSignatureHolds(t *testing.T) {
	m := longMeter(eventlog.SchemeCounter)
	w := newWorld(t, m)
	u := m.Bundle()
	u.Parts[0].Log[long-100] ^= 1
	r := w.verify(u)
	wantReport(t, r, verify.Altered, verify.FindOtherBytes, verify.FindSignature, verify.FindRecord)
	wantProof(t, r, verify.ChargeCourier)
	if r.SignedLength != 0 || !r.AsOf.IsZero() {
		t.Errorf("%d bytes as of %s, and no signature holds", r.SignedLength, r.AsOf)
	}

	// A store that fails is no excuse either.
	w.belowErr = errStore
	wantReport(t, w.verify(u), verify.Altered, verify.FindOtherBytes, verify.FindSignature, verify.FindRecord)
	if r, err := verify.Verify(w.input(m.Bundle())); err == nil {
		t.Errorf("%s, and the store fails", r.Verdict)
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	m := longMeter(eventlog.SchemeCounter)
	in := newWorld(t, m).input(m.Bundle())
	in.Bundle.Parts[0].Log[long-100] ^= 1
	// One that nobody waits for would not even have begun.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	before, after := runtime.NumGoroutine(), math.MaxInt
	for range 3 {
		r, err := verify.Verify(in)
		after = min(after, runtime.NumGoroutine()) // one that has just ended may still count
		if err != nil || r.Verdict != verify.Altered {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
