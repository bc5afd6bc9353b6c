package mdms_test

import (
	"bytes"
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

func TestEvidenceIsAppliedOnce(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(20)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		want(t, r.send("a", m.Bundle()), mdms.Duplicate, verify.Intact)
		want(t, r.send("b", m.Bundle()), mdms.Duplicate, verify.Intact)
		r.holds(m)

		st := r.verdict(m.ID, "INTACT")
		log := m.Open().Log
		head := mdms.Head{Segment: 1, Length: uint64(len(log)), Digest: m.Open().Digest(len(log)), LastSeq: m.Seq - 1}
		if diff := cmp.Diff(head, st.Head); diff != "" {
			t.Errorf("head (-want +got):\n%s", diff)
		}
	})
}

func TestNewBytesAloneAreEnough(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(20)
		res := r.send("a", m.Bundle())
		for range 5 {
			m.Fill(10)
			res = r.send("a", m.BundleFrom(res.Head.Segment, int(res.Head.Length)))
			want(t, res, mdms.Applied, verify.Intact)
		}
		r.holds(m)
	})
}

func TestRotatedSegmentsAreChained(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		for range 4 {
			m.Fill(7)
			m.Rotate()
		}
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		m.Fill(3)
		m.Rotate()
		want(t, r.send("a", m.BundleFrom(5, 0)), mdms.Applied, verify.Intact)
		r.holds(m)
	})
}

func TestTheTailIsCountedAndNotKept(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Event(eventlogtest.Ordinary)
		res := r.send("a", m.Bundle())
		want(t, res, mdms.Applied, verify.IntactWithTail)
		if res.Tail != 1 {
			t.Errorf("tail %d, want 1", res.Tail)
		}
		r.holds(m)
		m.Event(eventlogtest.Ordinary)
		want(t, r.send("a", m.Bundle()), mdms.Duplicate, verify.IntactWithTail)
		if st := r.verdict(m.ID, "INTACT_WITH_TAIL"); st.Tail != 2 {
			t.Errorf("tail %d, want 2", st.Tail)
		}
		m.Event(eventlogtest.Specific)
		want(t, r.send("a", m.BundleFrom(1, int(res.Head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
		r.holds(m)
	})
}

func TestMissingBytesAreAskedFor(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		res := r.send("a", m.Bundle())
		m.Fill(10)
		got := r.send("a", m.BundleFrom(1, int(res.Head.Length)+2*eventlog.SlotSize))
		want(t, got, mdms.NeedFrom, verify.Incomplete)
		if got.NeedFrom == nil || *got.NeedFrom != (verify.Position{Segment: 1, Offset: res.Head.Length}) {
			t.Errorf("need from %+v, want the head", got.NeedFrom)
		}
		want(t, r.send("a", m.BundleFrom(1, int(res.Head.Length))), mdms.Applied, verify.Intact)
	})
}

// TestForgeriesAreTheCouriers: without a valid signature nothing is held
// against the meter, and nothing of its state changes.
func TestForgeriesAreTheCouriers(t *testing.T) {
	cases := map[string]struct {
		forge func(m *eventlogtest.Meter, u *eventlog.Bundle)
		want  verify.Verdict
	}{
		"a record was altered": {func(m *eventlogtest.Meter, u *eventlog.Bundle) {
			u.Parts[0].Log = eventlogtest.Edit(u.Parts[0].Log, 3, func(r []byte) { r[30] ^= 1 })
		}, verify.Altered},
		"a record was deleted": {func(m *eventlogtest.Meter, u *eventlog.Bundle) {
			p := &u.Parts[0]
			p.Log = eventlogtest.Delete(p.Log, 3)
			p.Seal = eventlogtest.Relabel(p.Seal, func(s *eventlog.Seal) { s.SignedLength = uint64(len(p.Log)) })
		}, verify.Altered},
		"another key sealed": {func(m *eventlogtest.Meter, u *eventlog.Bundle) {
			thief := m.Clone()
			thief.Key = eventlogtest.NewKey("thief", m.Key.Scheme)
			u.Parts[0] = thief.Open().Part(0)
			u.Parts[0].Seal = eventlogtest.Encode(thief.SealAt(thief.Open(), len(u.Parts[0].Log), 99))
		}, verify.WrongKey},
		"another meter's log": {func(m *eventlogtest.Meter, u *eventlog.Bundle) {
			o := numbered(t, 2, m.Key.Scheme)
			u.Parts = o.Bundle().Parts
		}, verify.WrongMeter},
		"the seal was torn off": {func(m *eventlogtest.Meter, u *eventlog.Bundle) { u.Parts[0].Seal = nil }, verify.Incomplete},
		"the seal is nonsense": {func(m *eventlogtest.Meter, u *eventlog.Bundle) {
			u.Parts[0].Seal = bytes.Repeat([]byte{7}, eventlog.SealSize)
		}, verify.Malformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
				m.Fill(20)
				want(t, r.send("honest", m.Bundle()), mdms.Applied, verify.Intact)
				before := r.verdict(m.ID, "INTACT")
				m.Fill(10)
				u := m.Bundle()
				c.forge(m, u)
				res := r.send("liar", u)
				if res.Verdict != c.want || res.Charge != verify.ChargeCourier || res.Outcome == mdms.Applied {
					t.Fatalf("got %s %s laid on %q, want %s laid on the courier", res.Outcome, res.Verdict, res.Charge, c.want)
				}
				after := r.verdict(m.ID, "INTACT")
				if diff := cmp.Diff(before.Head, after.Head); diff != "" {
					t.Errorf("the head moved (-before +after):\n%s", diff)
				}
				charges, err := r.Charges(t.Context(), mdms.Charge{}, 10)
				if err != nil || len(charges) != 1 || charges[0].Courier != "liar" || charges[0].Verdict != c.want.String() {
					t.Errorf("charges %+v, %v", charges, err)
				}
				want(t, r.send("honest", m.BundleFrom(1, int(before.Head.Length))), mdms.Applied, verify.Intact)
			})
		})
	}
}

func TestForkKeepsBothHistories(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		image := m.Clone()
		m.Fill(10)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)

		image.Event(eventlogtest.Specific, 99) // the storage was restored to an older image
		bundle := image.Bundle()
		res := r.send("a", bundle)
		want(t, res, mdms.Fork, verify.Forked)
		if !res.Proven || res.Charge != verify.ChargeMeter {
			t.Errorf("the fork is laid on %q, proven %t", res.Charge, res.Proven)
		}
		r.holds(m)
		proofs, err := r.Proofs(t.Context(), m.ID)
		if err != nil || len(proofs) != 1 {
			t.Fatalf("%d proofs, %v", len(proofs), err)
		}
		if !bytes.Equal(proofs[0].Bundle, encode(t, bundle)) || !bytes.Equal(proofs[0].Seal, eventlogtest.Encode(m.Open().Seals[len(m.Open().Seals)-1])) {
			t.Error("the proof is not the bundle as received, beside our seal")
		}
		want(t, r.send("b", bundle), mdms.Fork, verify.Forked) // once more changes nothing
		if proofs, _ := r.Proofs(t.Context(), m.ID); len(proofs) != 1 {
			t.Errorf("%d proofs after the same bundle came again", len(proofs))
		}

		// The first history may go on; the verdict stays until a person says otherwise.
		st := r.verdict(m.ID, "FORKED")
		m.Fill(10)
		want(t, r.send("a", m.BundleFrom(1, int(st.Head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "FORKED")
		r.reopen()
		r.verdict(m.ID, "FORKED")
		if err := r.SetAlert(t.Context(), m.ID, r.alert(m.ID, verify.Forked, "").ID, "acknowledged"); err != nil {
			t.Fatal(err)
		}
		r.verdict(m.ID, "FORKED")
		if err := r.SetAlert(t.Context(), m.ID, r.alert(m.ID, verify.Forked, "").ID, "closed"); err != nil {
			t.Fatal(err)
		}
		r.verdict(m.ID, "INTACT")
	})
}

// TestForkIsFoundFromItsEnd: a courier that brings only new bytes of the second
// history is asked for all of it, and that is the proof.
func TestForkIsFoundFromItsEnd(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		image := m.Clone()
		m.Fill(10)
		head := r.send("a", m.Bundle()).Head
		for range 15 {
			image.Event(eventlogtest.Ordinary)
		}
		image.Event(eventlogtest.Specific)
		res := r.send("a", image.BundleFrom(1, int(head.Length)))
		if m.Key.Scheme == eventlog.SchemeDigest {
			// A counter tells at once, bytes only when all are there.
			want(t, res, mdms.NeedFrom, verify.Incomplete)
			r.verdict(m.ID, "INTACT")
		}
		want(t, r.send("a", image.Bundle()), mdms.Fork, verify.Forked)
		r.verdict(m.ID, "FORKED")
		r.holds(m)
	})
}

// TestRelabelledSealsFrameNobody: a courier puts a genuine seal on other bytes.
// The meter is asked for its log once an hour at most, and stays INTACT.
func TestRelabelledSealsFrameNobody(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(20)
		old := m.Open().Seals[1]
		res := r.send("honest", m.Bundle())
		m.Fill(10)
		frame := m.BundleFrom(1, int(res.Head.Length))
		frame.Parts[0].Seal = eventlogtest.Relabel(frame.Parts[0].Seal, func(s *eventlog.Seal) {
			s.Digest, s.Signature, s.Counter = old.Digest, old.Signature, old.Counter
		})

		first := r.send("liar", frame)
		want(t, first, mdms.NeedFrom, verify.Incomplete)
		if first.NeedFrom == nil || *first.NeedFrom != (verify.Position{Segment: 1}) {
			t.Fatalf("need from %+v, want the segment's beginning", first.NeedFrom)
		}
		for range 10 {
			again := r.send("liar", frame)
			want(t, again, mdms.Rejected, verify.Incomplete)
			if again.NeedFrom != nil || !hasFinding(again, mdms.FindingRereadLimit) {
				t.Errorf("asked again: %+v", again)
			}
			r.clock.advance(5 * time.Minute)
		}
		r.verdict(m.ID, "INTACT")
		r.clock.advance(10 * time.Minute)
		want(t, r.send("liar", frame), mdms.NeedFrom, verify.Incomplete)
		want(t, r.send("honest", m.Bundle()), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
	})
}

func TestOlderEvidenceIsADuplicateWithoutAlarm(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		old := m.Bundle()
		m.Fill(10)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		want(t, r.send("a", old), mdms.Duplicate, verify.Intact)
		old.Newest = false
		want(t, r.send("a", old), mdms.Duplicate, verify.Intact)
		r.holds(m)
		if st := r.verdict(m.ID, "INTACT"); len(st.Alerts) != 0 {
			t.Errorf("alerts %+v", st.Alerts)
		}
	})
}

// rollback is what a courier says that claims an older state to be the newest.
func rollback(r *rig, old *eventlog.Bundle) *eventlog.Bundle {
	u := *old
	u.Newest, u.Collected = true, r.clock.now().Add(time.Hour).UnixMilli()
	return &u
}

func TestClaimedRollbackIsAnsweredByTheMeter(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		image, old := m.Clone(), m.Bundle()
		m.Fill(10)
		head := r.send("honest", m.Bundle()).Head

		res := r.send("liar", rollback(r, old))
		want(t, res, mdms.Duplicate, verify.RolledBack)
		if res.Proven || res.Charge != verify.ChargeCourier {
			t.Errorf("a claim is laid on %q, proven %t", res.Charge, res.Proven)
		}
		c, ok := r.challengeIn(res.Work)
		if !ok {
			t.Fatal("no challenge")
		}
		if again, _ := r.challengeIn(r.send("liar", rollback(r, old)).Work); again != c {
			t.Error("a second claim made a second challenge")
		}
		r.verdict(m.ID, "INTACT")
		if r.alert(m.ID, verify.RolledBack, "claimed") == nil {
			t.Error("no alert")
		}

		t.Run("with a new head", func(t *testing.T) {
			answer(m, c)
			res := r.send("honest", m.BundleFrom(1, int(head.Length)))
			want(t, res, mdms.Applied, verify.Intact)
			if _, ok := r.challengeIn(res.Work); ok {
				t.Error("the challenge is still outstanding")
			}
			r.verdict(m.ID, "INTACT")
			if r.alert(m.ID, verify.RolledBack, "claimed") != nil {
				t.Error("the alert is still open")
			}
		})
		t.Run("with a second history", func(t *testing.T) {
			answer(image, c)
			want(t, r.send("honest", image.Bundle()), mdms.Fork, verify.Forked)
			r.verdict(m.ID, "FORKED")
		})
	})
}

func TestClaimedRollbackWithoutAnswerIsStale(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		old := m.Bundle()
		m.Fill(10)
		res := r.send("honest", m.Bundle())
		c, ok := r.challengeIn(r.send("liar", rollback(r, old)).Work)
		if !ok {
			t.Fatal("no challenge")
		}
		if err := r.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.verdict(m.ID, "INTACT")
		r.clock.advance(2*time.Hour + time.Minute)
		for range 2 { // the second look finds nothing new
			if err := r.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a := r.alert(m.ID, verify.Stale, "challenge"); a == nil || a.Count != 1 {
				t.Fatalf("alert %+v", a)
			}
		}
		r.verdict(m.ID, "STALE")

		m.Fill(3) // goes on, but leaves the challenge aside
		res = r.send("honest", m.BundleFrom(1, int(res.Head.Length)))
		want(t, res, mdms.Applied, verify.Stale)
		if again, ok := r.challengeIn(res.Work); !ok || again != c {
			t.Error("the challenge is not wanted any more")
		}
		answer(m, c)
		want(t, r.send("honest", m.BundleFrom(1, int(res.Head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
	})
}

func TestProvenRollbackIsLaidOnTheMeter(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeCounter)
	m.Fill(10)
	n := len(m.Open().Log)
	m.Fill(10)
	want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
	m.Key.Counter++
	u := m.Bundle()
	u.Parts[0].Log = u.Parts[0].Log[:n]
	u.Parts[0].Seal = eventlogtest.Encode(m.SealAt(m.Open(), n, m.Key.Counter)) // sealed again
	res := r.send("a", u)
	if res.Verdict != verify.RolledBack && res.Verdict != verify.Forked || !res.Proven {
		t.Fatalf("got %s, proven %t", res.Verdict, res.Proven)
	}
	r.verdict(m.ID, res.Verdict.String())
	if proofs, err := r.Proofs(t.Context(), m.ID); err != nil || len(proofs) != 1 {
		t.Errorf("%d proofs, %v", len(proofs), err)
	}
}

func TestGapIsAppliedAndHealedLater(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		for range 4 {
			m.Fill(5)
			m.Rotate()
		}
		m.Fill(5)
		want(t, r.send("a", m.BundleFrom(5, 0)), mdms.Applied, verify.Gap)
		first := m.Segment(1).Seals[1].SignedLength
		missing := []verify.Missing{
			{First: 1, Last: 1, From: first, By: verify.ChargeCourier},
			{First: 2, Last: 4, By: verify.ChargeCourier},
		}
		if diff := cmp.Diff(missing, r.verdict(m.ID, "GAP").Missing); diff != "" {
			t.Errorf("missing (-want +got):\n%s", diff)
		}
		m.Fill(5) // the head moves on, what is missing stays missing
		st := r.verdict(m.ID, "GAP")
		want(t, r.send("a", m.BundleFrom(5, int(st.Head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "GAP")
		r.reopen()

		for _, n := range []uint32{3, 1, 4} {
			u := m.BundleFrom(1, 0)
			u.Newest, u.Parts = false, []eventlog.Part{m.Segment(n).Part(0)}
			if n == 1 {
				u.Parts[0] = m.Segment(1).Part(int(first))
			}
			if res := r.send("a", u); res.Outcome != mdms.Applied {
				t.Fatalf("segment %d: %s %s %v", n, res.Outcome, res.Verdict, res.Findings)
			}
		}
		missing = []verify.Missing{{First: 2, Last: 2, By: verify.ChargeCourier}}
		if diff := cmp.Diff(missing, r.verdict(m.ID, "GAP").Missing); diff != "" {
			t.Errorf("missing (-want +got):\n%s", diff)
		}
		u := m.BundleFrom(1, 0)
		u.Newest, u.Parts = false, u.Parts[1:2]
		want(t, r.send("a", u), mdms.Applied, verify.Intact)
		if st := r.verdict(m.ID, "INTACT"); len(st.Missing) != 0 || st.Head.Segment != 5 {
			t.Errorf("missing %+v, head %+v", st.Missing, st.Head)
		}
		r.holds(m)
	})
}

func TestAForgedSegmentFillsNoGap(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		m.Rotate()
		image := m.Clone()
		m.Fill(5)
		m.Rotate()
		want(t, r.send("a", m.BundleFrom(3, 0)), mdms.Applied, verify.Gap)
		image.Fill(6) // another segment 2, genuinely sealed
		image.Rotate()
		u := image.BundleFrom(2, 0)
		u.Newest, u.Parts = false, u.Parts[:1]
		if res := r.send("a", u); res.Outcome == mdms.Applied || res.Charge != verify.ChargeMeter {
			t.Fatalf("got %s %s %v", res.Outcome, res.Verdict, res.Findings)
		}
		if st, _ := r.Meter(t.Context(), m.ID); len(st.Missing) != 1 {
			t.Errorf("missing %+v", st.Missing)
		}
	})
}

func TestRevokedKeySealsNothingNew(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(10)
		old := m.Bundle()
		head := r.send("a", old).Head
		if err := r.Revoke(t.Context(), m.ID, m.Key.ID); err != nil {
			t.Fatal(err)
		}
		m.Fill(10)
		want(t, r.send("a", m.BundleFrom(1, int(head.Length))), mdms.Rejected, verify.KeyRevoked)
		want(t, r.send("a", old), mdms.Duplicate, verify.Intact) // was accepted before
		if st := r.verdict(m.ID, "KEY_REVOKED"); st.Head != head {
			t.Errorf("the head moved to %+v", st.Head)
		}
	})
}

func TestKeyChangeNeedsTheRegistry(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		old := *m.Key
		next := eventlogtest.NewKey(t.Name()+" next", m.Key.Scheme)
		before := m.Clone()
		m.ChangeKey(next)
		m.Fill(5)
		want(t, r.send("a", m.Bundle()), mdms.Rejected, verify.WrongKey)
		if err := r.AddKey(t.Context(), mdms.NewKey{Meter: m.ID, PublicKey: next.PublicKey(), Scheme: next.Scheme}); err != nil {
			t.Fatal(err)
		}
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		r.holds(m)

		// The old key may seal what it sealed, and nothing beyond its end.
		before.Fill(20)
		before.Rotate()
		u := before.BundleFrom(2, 0)
		res := r.send("a", u)
		if res.Outcome == mdms.Applied || !slices.Contains([]verify.Verdict{verify.KeyRevoked, verify.Forked}, res.Verdict) {
			t.Errorf("the old key %s sealed on: %s %s %v", old.ID, res.Outcome, res.Verdict, res.Findings)
		}
		r.holds(m)
	})
}

func TestPolicyIsTheRegistrys(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		head := r.send("a", m.Bundle()).Head
		m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Ordinary)) // fraud is not specific any more
		m.Fill(5)
		u := m.BundleFrom(1, int(head.Length))
		want(t, r.send("a", u), mdms.Rejected, verify.PolicyMismatch)
		if st := r.verdict(m.ID, "POLICY_MISMATCH"); st.Head != head {
			t.Errorf("the head moved to %+v", st.Head)
		}
		r.enrol(m) // the registry learns of the new set
		m.Event(eventlogtest.Ordinary)
		want(t, r.send("a", m.BundleFrom(1, int(head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
	})
}

func TestReceiptsAreSignedOfferedAndConfirmed(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		m.Rotate()
		m.Rotate()
		res := r.send("a", m.Bundle())
		if len(res.Work) != 2 {
			t.Fatalf("work %+v, want a receipt for each closed segment", res.Work)
		}
		for i, w := range res.Work {
			var got eventlog.Receipt
			if err := got.UnmarshalBinary(w.Message); err != nil || w.Kind != mdms.WorkReceipt || w.Meter != m.ID {
				t.Fatalf("%s for %s: %v", w.Kind, w.Meter, err)
			}
			if err := got.Verify(r.PublicKey()); err != nil {
				t.Error(err)
			}
			s := m.Segments[i]
			if got.Meter != m.ID || got.Segment != s.Number || got.Length != uint64(len(s.Log)) || got.Digest != s.Digest(len(s.Log)) || got.Millis != r.clock.now().UnixMilli() {
				t.Errorf("receipt %+v does not fit segment %d", got, s.Number)
			}
			m.System(eventlog.CodeReceipt, &eventlog.ReceiptAccepted{
				Segment: got.Segment, Length: got.Length, Digest: got.Digest, Millis: got.Millis, MDMS: got.MDMS,
			})
		}
		r.reopen()
		work, err := r.Work(t.Context(), "a", 0)
		if err != nil || len(work) != 2 {
			t.Fatalf("work %+v, %v", work, err)
		}
		if res := r.send("a", m.BundleFrom(3, 0)); len(res.Work) != 0 {
			t.Errorf("work %+v after the meter recorded both receipts", res.Work)
		}
	})
}

func TestSilenceIsStale(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		head := r.send("a", m.Bundle()).Head
		r.clock.advance(26 * time.Hour)
		sweep := func() {
			t.Helper()
			if err := r.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		r.verdict(m.ID, "INTACT")
		r.clock.advance(time.Second)
		sweep()
		sweep()
		r.verdict(m.ID, "STALE")
		if a := r.alert(m.ID, verify.Stale, ""); a == nil || a.Count != 1 {
			t.Errorf("alert %+v, want it raised once", a)
		}
		want(t, r.send("a", m.Bundle()), mdms.Duplicate, verify.Stale) // nothing new
		r.verdict(m.ID, "STALE")
		m.Now = r.clock.now()
		m.System(eventlog.CodePeriodicSeal, nil)
		want(t, r.send("a", m.BundleFrom(1, int(head.Length))), mdms.Applied, verify.Intact)
		r.verdict(m.ID, "INTACT")
	})
}

func TestAMeterThatNeverSpokeIsStale(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeDigest)
	r.verdict(m.ID, "")
	r.clock.advance(26*time.Hour + time.Second)
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.verdict(m.ID, "STALE")
}

func TestUnknownMetersAreKeptUpToAQuota(t *testing.T) {
	r := newRig(t, mdms.Limits{RejectedBundles: 3})
	for n := range 10 {
		m := numbered(t, n+1, eventlog.SchemeDigest)
		res := r.send("a", m.Bundle())
		if res.Outcome != mdms.Rejected || !hasFinding(res, mdms.FindingUnknownMeter) {
			t.Fatalf("got %s %s %v", res.Outcome, res.Verdict, res.Findings)
		}
	}
	if n, err := r.RejectedCount(t.Context(), "a"); err != nil || n != 3 {
		t.Errorf("%d bundles kept, want 3; %v", n, err)
	}
	want(t, r.send("b", numbered(t, 1, eventlog.SchemeDigest).Bundle()), mdms.Rejected, verify.WrongKey)
	if n, err := r.RejectedCount(t.Context(), "b"); err != nil || n != 1 {
		t.Errorf("%d bundles of another courier kept, want 1; %v", n, err)
	}
	charges, err := r.Charges(t.Context(), mdms.Charge{}, 100)
	if err != nil || len(charges) != 2 || charges[0].Count != 10 {
		t.Errorf("charges %+v, %v: want one line a courier, however many meters it makes up", charges, err)
	}
}

func TestNonsenseIsMalformed(t *testing.T) {
	r := newRig(t, mdms.Limits{RejectedBytes: 1000})
	for _, body := range [][]byte{nil, []byte("MSBUNDLE"), bytes.Repeat([]byte{0xFF}, 4000)} {
		res, err := r.Ingest(t.Context(), "a", body)
		if err != nil {
			t.Fatal(err)
		}
		want(t, res, mdms.Rejected, verify.Malformed)
	}
	if n, err := r.RejectedCount(t.Context(), "a"); err != nil || n != 1 {
		t.Errorf("%d bodies kept, want the one that fits the quota; %v", n, err)
	}
}

// TestABadMidstateIsACacheMiss: whatever stands in the place of the SHA-256
// state, the stored bytes are hashed again and the verdict is the same.
func TestABadMidstateIsACacheMiss(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(20)
		res := r.send("a", m.Bundle())
		for _, bad := range []string{"zeroblob(0)", "zeroblob(108)", "CAST('nonsense' AS BLOB)"} {
			db, err := sql.Open("sqlite", r.cfg.Store)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("UPDATE segments SET midstate = " + bad); err != nil {
				t.Fatal(err)
			}
			db.Close()
			m.Fill(10)
			res = r.send("a", m.BundleFrom(1, int(res.Head.Length)))
			want(t, res, mdms.Applied, verify.Intact)
		}
		r.holds(m)
	})
}

// TestDamagedStoreIsAnErrorNotAVerdict: bytes that rot in the store are the
// MDMS's trouble; they are held against no one.
func TestDamagedStoreIsAnErrorNotAVerdict(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeDigest)
	m.Fill(20)
	res := r.send("a", m.Bundle())
	db, err := sql.Open("sqlite", r.cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE segments SET midstate = zeroblob(0); UPDATE log_chunks SET bytes = zeroblob(length(bytes))"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	m.Fill(5)
	if res, err := r.Ingest(t.Context(), "a", encode(t, m.BundleFrom(1, int(res.Head.Length)))); err == nil {
		t.Errorf("got %s %s", res.Outcome, res.Verdict)
	}
	r.verdict(m.ID, "INTACT")
	if charges, err := r.Charges(t.Context(), mdms.Charge{}, 10); err != nil || len(charges) != 0 {
		t.Errorf("charges %+v, %v", charges, err)
	}
}
