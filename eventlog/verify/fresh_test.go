package verify_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestChallengeIsAnsweredInTheLog(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		nonce := verify.Nonce{Value: [32]byte{1}, Issued: w.received.Add(-time.Minute)}
		other := verify.Nonce{Value: [32]byte{2}, Issued: w.received.Add(-time.Second)}
		w.nonces = []verify.Nonce{nonce, other}
		w.limits.ChallengeWait = time.Minute
		m.Event(eventlogtest.Specific)
		u := m.BundleFrom(1, len(w.bytes[1]))
		wantReport(t, w.verify(u), verify.Intact) // both may still come

		w.limits.ChallengeWait = 59 * time.Second
		r := w.accept(u, verify.Stale)
		wantReport(t, r, verify.Stale, verify.FindNonce)
		wantProof(t, r, verify.ChargeCourier)
		if len(r.Advance) != 1 {
			t.Error("new signed bytes are not applied")
		}

		seq := m.Seq
		m.System(eventlog.CodeChallenge, &eventlog.ChallengeAccepted{Nonce: nonce.Value, Issued: nonce.Issued.UnixMilli()})
		r = w.accept(m.BundleFrom(1, len(w.bytes[1])), verify.Intact)
		if diff := cmp.Diff([]verify.Answer{{Nonce: nonce, Seq: seq}}, r.Answered); diff != "" {
			t.Error(diff)
		}
		if r := w.verify(m.BundleFrom(1, 0)); r.Verdict != verify.Stale {
			t.Errorf("a replayed answer is %s", r.Verdict)
		}
	})
}

func TestOfflineANonceMustBeInTheLog(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := m.Bundle()
		w.forgetAll = true
		w.nonces = []verify.Nonce{{Value: [32]byte{7}}}
		m.System(eventlog.CodeChallenge, &eventlog.ChallengeAccepted{Nonce: [32]byte{7}})
		wantReport(t, w.verify(m.Bundle()), verify.Intact)
		// A rollback to before the challenge.
		wantReport(t, w.verify(older), verify.Stale, verify.FindNonce)
	})
}

func TestNothingNewForTooLongIsStale(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		w.limits.MaxAge = time.Hour
		u := m.Bundle()
		w.received = w.received.Add(time.Hour)
		wantReport(t, w.verify(u), verify.Intact)
		w.received = w.received.Add(time.Second)
		r := w.verify(u)
		wantReport(t, r, verify.Stale, verify.FindHeadOld)
		wantProof(t, r, verify.ChargeCourier)
		if !r.Duplicate {
			t.Error("not a duplicate")
		}

		// The end of an old segment is not news of the meter.
		m.Fill(3)
		m.Rotate()
		w.accept(segment(m, 2), verify.Gap)
		w.received = w.received.Add(2 * time.Hour)
		wantReport(t, w.verify(parts(m, m.Segment(1).Part(known))), verify.Stale, verify.FindHeadOld)
		m.Event(eventlogtest.Specific)
		wantReport(t, w.verify(m.BundleFrom(2, len(w.bytes[2]))), verify.Intact)
		m.Rotate()
		wantReport(t, w.verify(m.BundleFrom(2, len(w.bytes[2]))), verify.Intact)
		// New bytes first, then a part without any: still news.
		u = parts(m, m.Segment(2).Part(len(w.bytes[2])), m.Segment(3).Part(0))
		wantReport(t, w.verify(u), verify.Intact)
	})
}

func TestLimitsWithoutAgesNeverMakeStale(t *testing.T) {
	var l verify.Limits
	if l.Stale(time.Time{}, time.Now()) {
		t.Error("stale without a limit")
	}
}
