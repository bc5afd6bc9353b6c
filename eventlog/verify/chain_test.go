package verify_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func wantMissing(t testing.TB, r *verify.Report, want ...verify.Missing) {
	t.Helper()
	if diff := cmp.Diff(want, r.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestSegmentsThatTheCourierWithholdsAreAGap(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := uint64(len(w.bytes[1]))
		for range 4 { // segments 1 to 4 closed, 5 open
			m.Fill(5)
			m.Rotate()
		}
		r := w.accept(segment(m, 4), verify.Gap)
		wantReport(t, r, verify.Gap, verify.FindSegmentPartial, verify.FindSegmentMissing)
		wantProof(t, r, verify.ChargeCourier)
		wantMissing(t, r,
			verify.Missing{First: 1, Last: 1, From: known, By: verify.ChargeCourier},
			verify.Missing{First: 2, Last: 3, By: verify.ChargeCourier})

		// The head moves on.
		w.intact(segment(m, 5))
		// What is missing is taken later, if it fits the chain.
		wantMissing(t, w.accept(segment(m, 3), verify.Gap),
			verify.Missing{First: 1, Last: 1, From: known, By: verify.ChargeCourier},
			verify.Missing{First: 2, Last: 2, By: verify.ChargeCourier})
		r = w.accept(parts(m, m.Segment(2).Part(0)), verify.Gap)
		wantMissing(t, r, verify.Missing{First: 1, Last: 1, From: known, By: verify.ChargeCourier})
		r = w.accept(parts(m, m.Segment(1).Part(int(known))), verify.Intact)
		wantReport(t, r, verify.Intact)
		for n := uint32(1); n <= 4; n++ {
			if !w.heads[n].Closed {
				t.Errorf("segment %d is not closed", n)
			}
		}
		if len(w.heads) != 5 {
			t.Errorf("%d segments are known, want 5", len(w.heads))
		}
	})
}

func TestFirstSightOfAMeterThatHasAHistory(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, _ *world) {
		for range 4 {
			m.Fill(5)
			m.Rotate()
		}
		w := newWorld(t, m)
		r := w.verify(segment(m, 3))
		wantReport(t, r, verify.Gap, verify.FindSegmentMissing)
		wantProof(t, r, verify.ChargeCourier)
		wantMissing(t, r, verify.Missing{First: 1, Last: 2, By: verify.ChargeCourier})

		// The meter itself says that they are gone.
		m.Drop(1, eventlog.DropReceipt)
		r = w.verify(m.Bundle())
		wantReport(t, r, verify.Gap, verify.FindSegmentMissing, verify.FindDropped)
		wantMissing(t, r, verify.Missing{First: 1, Last: 1, By: verify.ChargeMeter})
		wantProof(t, r, verify.ChargeMeter)
		m.Drop(2, eventlog.DropFull)
		r = w.accept(m.Bundle(), verify.Gap)
		wantMissing(t, r, verify.Missing{First: 1, Last: 2, By: verify.ChargeMeter})
		wantProof(t, r, verify.ChargeMeter)
		if len(r.Dropped) != 2 || r.Dropped[0].Segment != 1 || r.Dropped[1].Segment != 2 {
			t.Errorf("dropped: %+v", r.Dropped)
		}
		// One of the two is only the courier's claim.
		m.Drop(3, eventlog.DropFull)
		m.Drop(4, eventlog.DropFull)
		m.Rotate()
		r = newWorld(t, m).verify(m.Bundle())
		wantMissing(t, r, verify.Missing{First: 1, Last: 4, By: verify.ChargeMeter})
		r = newWorld(t, m).verify(segment(m, 6))
		wantMissing(t, r, verify.Missing{First: 1, Last: 5, By: verify.ChargeCourier})
		m.System(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{Segment: 4, Reason: eventlog.DropFull})
		r = newWorld(t, m).verify(segment(m, 6))
		wantMissing(t, r, verify.Missing{First: 1, Last: 5, By: verify.ChargeCourier})
	})
}

func TestAGapInsideOneBundle(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		for range 4 {
			m.Rotate()
		}
		// The newest known segment is one of this bundle: 2, not 1.
		u := m.BundleFrom(1, len(w.bytes[1]))
		u.Parts = append(u.Parts[:2], u.Parts[3:]...)
		wantMissing(t, w.verify(u), verify.Missing{First: 3, Last: 3, By: verify.ChargeCourier})

		// The same at first sight.
		u = parts(m, m.Segment(1).Part(0), m.Segment(3).Part(0))
		wantMissing(t, newWorld(t, m).verify(u), verify.Missing{First: 2, Last: 2, By: verify.ChargeCourier})

		// The nearest known one is the head, although the bundle brings an
		// earlier segment late.
		w.accept(segment(m, 3), verify.Gap)
		u = parts(m, m.Segment(2).Part(0), m.Segment(5).Part(0))
		r := w.verify(u)
		wantMissing(t, r,
			verify.Missing{First: 1, Last: 1, From: uint64(len(w.bytes[1])), By: verify.ChargeCourier},
			verify.Missing{First: 4, Last: 4, By: verify.ChargeCourier})
	})
}

func TestLateBytesMustFitTheChain(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		twin := m.Clone()
		m.Fill(10)
		m.Rotate()
		w.accept(segment(m, 2), verify.Gap)
		s := m.Segment(1)

		// Part of the rest: the gap stays.
		r := w.verify(parts(m, s.At(known, 3)))
		wantReport(t, r, verify.Gap, verify.FindSegmentPartial)
		wantMissing(t, r, verify.Missing{First: 1, Last: 1, From: s.Seals[3].SignedLength, By: verify.ChargeCourier})

		contradiction := func(u *eventlog.Bundle, why string) {
			t.Helper()
			t.Log(why)
			r := w.verify(u)
			wantReport(t, r, verify.RolledBack, verify.FindChain)
			wantProof(t, r, verify.ChargeMeter)
			wantNeed(t, r, &verify.Position{Segment: 1})
		}
		if m.Key.Scheme == eventlog.SchemeCounter {
			// The counters are between those that are known, and unused: only
			// the chain can tell.
			clear(w.seals)
		}
		other := twin.Clone()
		other.Fill(9)
		other.Event(eventlog.Event{Class: eventlog.ClassFraud, Code: 42})
		other.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
		if len(other.Open().Log) != len(s.Log) {
			t.Fatal("the twin's segment has another length")
		}
		other.Open().Seals[len(other.Open().Seals)-1] = other.SealAt(other.Open(), len(s.Log), m.Open().Seals[0].Counter-1)
		contradiction(segment(other, 1), "closed at the same length, other bytes")
		w.forgetBytes = true
		contradiction(parts(other, other.Open().Part(known)), "the same, and the known bytes are not kept")
		w.forgetBytes = false

		other = twin.Clone()
		other.Event(eventlogtest.Specific)
		other.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
		contradiction(segment(other, 1), "closed at a shorter length")

		other = twin.Clone()
		for range 30 {
			other.Append(other.Next(eventlogtest.Ordinary, nil))
		}
		other.Event(eventlogtest.Specific)
		contradiction(segment(other, 1), "longer")

		w.accept(segment(m, 1), verify.Intact)
	})
}

func TestLateSegmentMayNotBeSealedAfterTheHead(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	w := newWorld(t, m)
	for range 2 {
		m.Rotate()
	}
	w.accept(segment(m, 3), verify.Gap)
	s := m.Segment(2)
	seal := m.SealAt(s, len(s.Log), m.Key.Counter+1)
	s.Seals[len(s.Seals)-1] = seal
	r := w.verify(segment(m, 2))
	wantReport(t, r, verify.RolledBack, verify.FindCounterAhead)
	wantProof(t, r, verify.ChargeMeter)

	// Under another key the two counters have nothing to do with each other.
	w.heads[3].Header.Key[0]++
	wantReport(t, w.verify(segment(m, 2)), verify.Gap, verify.FindSegmentMissing)
}

func TestLateSegmentWhoseSuccessorIsMissing(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		m.Fill(10)
		m.Rotate()
		m.Rotate()
		w.accept(segment(m, 3), verify.Gap)
		r := w.verify(parts(m, m.Segment(1).At(known, 3)))
		wantReport(t, r, verify.Gap, verify.FindSegmentPartial)
		wantReport(t, w.verify(parts(m, m.Segment(1).Part(known))), verify.Intact)
	})
}

func TestLinkThatContradictsWhatIsKnown(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		contradiction := func(m *eventlogtest.Meter, w *world, why string) {
			t.Helper()
			t.Log(why)
			r := w.verify(segment(m, 2))
			wantReport(t, r, verify.RolledBack, verify.FindChain)
			wantProof(t, r, verify.ChargeMeter)
			wantNeed(t, r, &verify.Position{Segment: 1})
		}

		image := m.Clone()
		image.Begin(2, image.Open().Seals[1].SignedLength, image.Open().Digest(int(image.Open().Seals[1].SignedLength)))
		image.Seal()
		contradiction(image, w, "an earlier state than the known one")
		w.forgetBytes = true
		contradiction(image, w, "the same, and the known bytes are not kept")
		w.forgetBytes = false

		image = m.Clone()
		image.Begin(2, uint64(known)-64, eventlog.Digest{1})
		image.Seal()
		contradiction(image, w, "shorter, and no beginning of the known one")

		image = m.Clone()
		image.Begin(2, uint64(known), eventlog.Digest{1})
		image.Seal()
		contradiction(image, w, "the same length, another digest")
		w.forgetBytes = true
		contradiction(image, w, "the same, and the known bytes are not kept")
		w.forgetBytes = false

		// A segment that is known to be closed cannot have been longer.
		closed := m.Clone()
		closed.Rotate()
		w2 := newWorld(t, m)
		w2.accept(segment(closed, 1), verify.Intact)
		image = closed.Clone()
		image.Segments = image.Segments[:1]
		image.Begin(2, uint64(len(image.Open().Log))+64, eventlog.Digest{1})
		image.Seal()
		contradiction(image, w2, "longer than a closed one")
		image = closed.Clone()
		image.Segments = image.Segments[:1]
		image.Begin(2, uint64(len(image.Open().Log)), eventlog.Digest{1})
		image.Seal()
		contradiction(image, w2, "another digest than that of a closed one")
		image = closed.Clone()
		image.Segments = image.Segments[:1]
		image.Begin(2, uint64(len(image.Open().Log))+64, image.Open().Digest(len(image.Open().Log)))
		image.Seal()
		contradiction(image, w2, "the digest of a closed one, another length")

		// A segment that goes on where the last one did not end.
		image = m.Clone()
		image.Begin(2, uint64(known), image.Open().Digest(known))
		image.Seal()
		r := w.verify(segment(image, 2))
		wantReport(t, r, verify.Malformed, verify.FindRecord)
		wantProof(t, r, verify.ChargeMeter)
	})
}

func TestDamagedLogIsAGapThatTheMeterAdmits(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		admitted := func(m *eventlogtest.Meter, from uint64, findings ...string) {
			t.Helper()
			r := w.verify(segment(m, 2))
			wantReport(t, r, verify.Gap, findings...)
			wantProof(t, r, verify.ChargeMeter)
			wantMissing(t, r, verify.Missing{First: 1, Last: 1, From: from, By: verify.ChargeMeter})
			if !r.Advance[0].Head.Damaged {
				t.Error("the head does not say so")
			}
		}

		image := m.Clone()
		image.Damage(0)
		admitted(image, uint64(known), verify.FindDamaged, verify.FindSegmentPartial)

		image = m.Clone()
		image.Damage(known)
		admitted(image, uint64(known), verify.FindDamaged, verify.FindSegmentPartial)

		// The meter lost signed records: their numbers come again.
		image = m.Clone()
		image.Seq = 15
		image.Damage(int(image.Open().Seals[1].SignedLength))
		admitted(image, uint64(known), verify.FindDamaged, verify.FindSeqReused, verify.FindSegmentPartial)
		w.forgetBytes = true
		admitted(image, uint64(known), verify.FindDamaged, verify.FindSeqReused, verify.FindSegmentPartial)
		w.forgetBytes = false

		// Zeros say it without a LOG_DAMAGED.
		image = m.Clone()
		image.Begin(2, 0, eventlog.Digest{})
		image.Seal()
		r := w.verify(segment(image, 2))
		wantReport(t, r, verify.Gap, verify.FindSegmentPartial)
		wantProof(t, r, verify.ChargeMeter)

		// A prefix that never was one is no excuse.
		image = m.Clone()
		image.Open().Log[30] ^= 1
		image.Damage(int(image.Open().Seals[1].SignedLength))
		wantReport(t, w.verify(segment(image, 2)), verify.RolledBack, verify.FindDamaged, verify.FindChain)

		// A LOG_DAMAGED in the middle is only told, the link stays what it is.
		image = m.Clone()
		image.Begin(2, uint64(known), image.Open().Digest(known))
		image.Event(eventlogtest.Ordinary)
		image.System(eventlog.CodeLogDamaged, &eventlog.LogDamaged{Segment: 1})
		wantReport(t, w.verify(segment(image, 2)), verify.Malformed, verify.FindDamaged, verify.FindRecord)
	})
}

func TestLateBytesOfADamagedSegment(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		for _, verifiable := range []int{0, known} {
			w := newWorld(t, m)
			w.intact(m.Bundle())
			live := m.Clone()
			live.Event(eventlogtest.Specific)
			live.Damage(verifiable)
			w.accept(segment(live, 2), verify.Gap)
			if live.Key.Scheme == eventlog.SchemeCounter && w.heads[2].Seal.Counter < 5 {
				t.Fatalf("counter %d", w.heads[2].Seal.Counter)
			}
			// What the meter no longer had, a second courier still has.
			wantReport(t, w.verify(parts(m, live.Segment(1).Part(known))), verify.Intact)
			// The same with the kept bytes gone: nothing to compare with.
			w.forgetBytes = true
			wantReport(t, w.verify(parts(m, live.Segment(1).Part(known))), verify.Intact)
			w.forgetBytes = false
			// A late string that does not begin as the meter says.
			if verifiable == 0 {
				continue
			}
			twin := eventlogtest.New("meter", m.Key.Scheme)
			for range 40 {
				twin.Append(twin.Next(eventlogtest.Ordinary, nil))
			}
			twin.Event(eventlogtest.Specific)
			delete(w.heads, 1)
			delete(w.bytes, 1)
			clear(w.seals)
			wantReport(t, w.verify(segment(twin, 1)), verify.RolledBack, verify.FindChain)
		}
	})
}

func TestLateBytesThatTheNextSegmentLeavesOut(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		// The next segment links to the middle of this one, without a word
		// of damage, and becomes known first.
		m.Event(eventlogtest.Specific)
		link := len(m.Open().Log)
		m.Event(eventlogtest.Specific)
		live := m.Clone()
		live.Begin(2, uint64(link), live.Open().Digest(link))
		live.Seal()
		w.accept(segment(live, 2), verify.Gap)
		wantReport(t, w.verify(parts(live, live.Segment(1).Part(known))), verify.RolledBack, verify.FindChain)
	})
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		// The meter says that more bytes verified than this one ever had.
		live := m.Clone()
		live.Fill(5)
		live.Damage(len(live.Open().Log))
		w.accept(segment(live, 2), verify.Gap)
		m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
		wantReport(t, w.verify(parts(m, m.Segment(1).Part(known))), verify.RolledBack, verify.FindChain)
	})
}

func TestDamageIsComparedWithBytesOfTheSameBundle(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		image := func(live *eventlogtest.Meter, damaged bool) {
			s := live.Open()
			n := int(s.Seals[len(s.Seals)-2].SignedLength)
			if damaged {
				live.Damage(n)
			} else {
				live.Begin(s.Number+1, uint64(n), eventlog.Digest{1})
				live.System(eventlog.CodeLogDamaged, &eventlog.LogDamaged{})
			}
		}
		for _, rotated := range []bool{false, true} {
			for _, damaged := range []bool{true, false} {
				live := m.Clone()
				live.Fill(20)
				if rotated {
					live.Rotate()
					live.Fill(20)
				}
				image(live, damaged)
				want := []string{verify.FindDamaged, verify.FindSegmentPartial}
				verdict := verify.Gap
				if !damaged {
					want, verdict = []string{verify.FindDamaged, verify.FindChain}, verify.RolledBack
				}
				wantReport(t, w.verify(live.BundleFrom(1, known)), verdict, want...)
				wantReport(t, newWorld(t, m).verify(live.Bundle()), verdict, want...)
				w.forgetBytes = true
				if !rotated {
					// Only the new bytes are at hand: there is nothing to compare.
					wantReport(t, w.verify(live.BundleFrom(1, known)), verify.Gap, verify.FindDamaged, verify.FindSegmentPartial)
				}
				w.forgetBytes = false
			}
		}
	})
}

func TestDamageIsComparedWithTheSegmentThatItNames(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		m.Fill(5)
		m.Rotate()
		m.Fill(60)
		w.accept(segment(m, 2), verify.Gap)
		seals := m.Open().Seals
		m.Damage(int(seals[len(seals)-2].SignedLength))
		// The end of segment 1 comes late, in the same bundle.
		u := parts(m, m.Segment(1).Part(known), m.Segment(3).Part(0))
		wantReport(t, w.verify(u), verify.Gap, verify.FindDamaged, verify.FindSegmentPartial)
	})
}

func TestSegmentNumbersAreNotSkipped(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		s := m.Open()
		m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
		m.Begin(3, uint64(len(s.Log)), s.Digest(len(s.Log)))
		m.Seal()
		r := w.verify(m.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.Gap, verify.FindSegmentMissing)
		wantMissing(t, r, verify.Missing{First: 2, Last: 2, By: verify.ChargeCourier})
	})
}

func TestTheMetersWordOnSegmentsThatAreNotMissingCountsForNothing(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		for range 4 { // 1 to 4 closed, 5 open
			m.Rotate()
		}
		drop := func(n ...uint32) *eventlogtest.Meter {
			live := m.Clone()
			for _, n := range n {
				live.System(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{Segment: n, Reason: eventlog.DropFull})
			}
			return live
		}
		// Segments 2 and 3 are withheld.
		w.intact(parts(m, m.Segment(1).Part(len(w.bytes[1]))))
		for by, tc := range map[verify.Charge][][]uint32{
			verify.ChargeCourier: {{}, {2}, {3}, {1, 3}, {2, 4}, {2, 2}},
			verify.ChargeMeter:   {{2, 3}, {3, 1, 2}},
		} {
			for _, dropped := range tc {
				live := drop(dropped...)
				r := w.verify(parts(live, live.Segment(4).Part(0), live.Segment(5).Part(0)))
				t.Log(dropped)
				wantMissing(t, r, verify.Missing{First: 2, Last: 3, By: by})
				wantProof(t, r, by)
			}
		}
		// One of two gaps is only the courier's claim.
		w2 := newWorld(t, m)
		w2.intact(parts(m, m.Segment(1).At(0, 1)))
		live := drop(2, 3)
		r := w2.verify(parts(live, live.Segment(4).Part(0), live.Segment(5).Part(0)))
		wantMissing(t, r,
			verify.Missing{First: 1, Last: 1, From: w2.heads[1].Length, By: verify.ChargeCourier},
			verify.Missing{First: 2, Last: 3, By: verify.ChargeMeter})
		wantProof(t, r, verify.ChargeCourier)
	})
}

func TestSequenceNumbersNeverStartAgain(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		end := func(m *eventlogtest.Meter) *eventlogtest.Segment {
			s := m.Open()
			m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
			return s
		}
		for name, f := range map[string]func(m *eventlogtest.Meter){
			"from 1":       func(m *eventlogtest.Meter) { m.Seq = 1 },
			"one again":    func(m *eventlogtest.Meter) { m.Seq-- },
			"one left out": func(m *eventlogtest.Meter) { m.Seq++ },
		} {
			live := m.Clone()
			s := end(live)
			f(live)
			live.Begin(2, uint64(len(s.Log)), s.Digest(len(s.Log)))
			live.Seal()
			t.Log(name)
			r := w.verify(live.BundleFrom(1, len(w.bytes[1])))
			wantReport(t, r, verify.Malformed, verify.FindRecord)
			wantProof(t, r, verify.ChargeMeter)
		}
		// Behind a gap nobody knows the next number. A lower one is told.
		live := m.Clone()
		live.Rotate()
		live.Seq = 500
		live.Rotate()
		wantReport(t, w.verify(segment(live, 3)), verify.Gap, verify.FindSegmentPartial, verify.FindSegmentMissing)
		live = m.Clone()
		live.Rotate()
		s := live.Open()
		live.Seq = 2
		live.Begin(3, uint64(len(s.Log)), s.Digest(len(s.Log)))
		live.Seal()
		wantReport(t, w.verify(segment(live, 3)), verify.Gap, verify.FindSeqReused, verify.FindSegmentPartial, verify.FindSegmentMissing)
	})
}

// The meter found its log damaged and used numbers again, as it may. A courier
// who keeps that from the verifier must not be able to have it accused.
func TestDamagedSegmentThatTheCourierWithholds(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := m.Open().Seals[1].SignedLength
		m.Seq = 15
		m.Damage(int(known))
		m.Rotate()
		r := w.accept(segment(m, 3), verify.Gap)
		wantReport(t, r, verify.Gap, verify.FindSeqReused, verify.FindSegmentPartial, verify.FindSegmentMissing)
		wantProof(t, r, verify.ChargeCourier)
		r = w.verify(segment(m, 2))
		wantReport(t, r, verify.Gap, verify.FindDamaged, verify.FindSeqReused, verify.FindSegmentPartial)
		wantProof(t, r, verify.ChargeMeter)
	})
}

func TestWhatFillsAGapIsComparedWithWhatIsHeldAroundIt(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		// Segment 1 is held up to byte 1472, and segment 6.
		for range 5 {
			m.Fill(3)
			m.Rotate()
		}
		w.accept(segment(m, 6), verify.Gap)
		fill := func(change func(h *eventlog.Header)) *verify.Report {
			live := m.Clone()
			s := live.Segment(3)
			h, err := eventlog.ParseHeader(s.Log)
			if err != nil {
				t.Fatal(err)
			}
			change(&h)
			seq := h.FirstSeq
			live.Segments = []*eventlogtest.Segment{{Number: 3}}
			live.Seq, live.Now = seq, eventlogtest.Epoch.Add(time.Hour)
			live.AppendSystem(eventlog.CodeSegment, &h)
			counter := s.Seals[0].Counter
			live.Open().Seals = []eventlog.Seal{live.SealAt(live.Open(), len(live.Open().Log), counter)}
			clear(w.seals)
			return w.verify(segment(live, 3))
		}
		rest := []string{verify.FindSegmentPartial, verify.FindSegmentMissing}
		same := func(*eventlog.Header) {}
		wantReport(t, fill(same), verify.Gap, rest...)
		wantReport(t, fill(func(h *eventlog.Header) { h.PolicyVersion-- }), verify.PolicyMismatch, verify.FindPolicy)
		wantReport(t, fill(func(h *eventlog.Header) { h.PolicyVersion++ }), verify.PolicyMismatch, verify.FindPolicy)
		wantReport(t, fill(func(h *eventlog.Header) { h.FirstSeq = 21 }), verify.Gap,
			verify.FindSegmentPartial, verify.FindSeqReused, verify.FindSegmentMissing)

		// A store that cannot look below sees the head alone.
		in := w.input(segment(m, 3))
		in.Known.Below = nil
		r, err := verify.Verify(in)
		if err != nil {
			t.Fatal(err)
		}
		wantReport(t, r, verify.Gap, verify.FindSegmentMissing)
		wantMissing(t, r, verify.Missing{First: 1, Last: 2, By: verify.ChargeCourier})

		// The head is nearer than what lies below it.
		m.Rotate()
		m.Rotate()
		in = w.input(segment(m, 8))
		in.Known.Below = nil
		if r, err = verify.Verify(in); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*verify.Report{r, w.verify(segment(m, 8))} {
			wantMissing(t, r,
				verify.Missing{First: 6, Last: 6, From: w.heads[6].Length, By: verify.ChargeCourier},
				verify.Missing{First: 7, Last: 7, By: verify.ChargeCourier})
		}
		// And a part of the bundle is nearer than a store that was asked before it.
		u := parts(m, m.Segment(3).Part(0), m.Segment(5).Part(0))
		w.forgetBytes = true
		r = w.verify(u)
		wantMissing(t, r,
			verify.Missing{First: 1, Last: 1, From: w.heads[1].Length, By: verify.ChargeCourier},
			verify.Missing{First: 2, Last: 2, By: verify.ChargeCourier},
			verify.Missing{First: 4, Last: 4, By: verify.ChargeCourier})

		w.belowErr = errStore
		if r, err := verify.Verify(w.input(segment(m, 3))); !errors.Is(err, errStore) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestLatePolicyIsComparedWithTheSegmentAfterIt(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		first := m.Policy
		every := eventlog.Policy{Version: first.Version + 1}
		w.reg.FormerPolicies = []eventlog.Policy{first, every}
		m.ChangePolicy(every)
		m.Fill(3)
		m.ChangePolicy(first) // back to the set, and to the version, of before
		m.Fill(3)
		m.Rotate()
		m.Policy = every
		m.Rotate()
		w.accept(segment(m, 3), verify.Gap)
		w.accept(segment(m, 5), verify.Gap)
		// The newest set is as new as this one. The next one is not.
		r := w.verify(segment(m, 2))
		wantReport(t, r, verify.PolicyMismatch, verify.FindPolicy)
		wantProof(t, r, verify.ChargeMeter)
	})
}

func TestLateEndMustBeOneThatTheNextSegmentMayFollow(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		for name, tc := range map[string]struct {
			live func(m *eventlogtest.Meter)
			want verify.Verdict
		}{
			"it is closed": {func(m *eventlogtest.Meter) { m.Rotate() }, verify.Intact},
			"it is not closed": {func(m *eventlogtest.Meter) {
				s := m.Open()
				m.Event(eventlogtest.Specific)
				m.Begin(2, uint64(len(s.Log)), s.Digest(len(s.Log)))
				m.Seal()
			}, verify.Malformed},
			"it is not closed, the next one says why": {func(m *eventlogtest.Meter) {
				m.Event(eventlogtest.Specific)
				m.Damage(len(m.Open().Log))
			}, verify.Intact},
			"a number is left out": {func(m *eventlogtest.Meter) {
				s := m.Open()
				m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
				m.Seq++
				m.Begin(2, uint64(len(s.Log)), s.Digest(len(s.Log)))
				m.Seal()
			}, verify.Malformed},
		} {
			live := m.Clone()
			tc.live(live)
			w := newWorld(t, m)
			w.intact(m.Bundle())
			w.accept(segment(live, 2), verify.Gap)
			t.Log(name)
			r := w.verify(parts(live, live.Segment(1).Part(known)))
			if tc.want == verify.Intact {
				wantReport(t, r, verify.Intact)
				continue
			}
			wantReport(t, r, verify.Malformed, verify.FindRecord)
			wantProof(t, r, verify.ChargeMeter)
		}
	})
}
