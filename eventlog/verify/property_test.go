package verify_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// step lets the meter do one thing.
func step(r *rapid.T, m *eventlogtest.Meter) {
	switch rapid.IntRange(0, 11).Draw(r, "step") {
	case 0:
		m.Reboot()
	case 1:
		m.Rotate()
	case 2:
		m.System(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: 1})
	case 3:
		m.Event(eventlogtest.Specific, make([]byte, rapid.IntRange(0, 220).Draw(r, "payload"))...)
	case 4:
		if m.Segments[0].Number < m.Open().Number {
			m.Drop(m.Segments[0].Number, eventlog.DropReceipt)
		}
	case 5:
		m.Now = m.Now.Add(-time.Duration(rapid.IntRange(0, 9).Draw(r, "back")) * time.Second)
	default:
		m.Fill(rapid.IntRange(1, 12).Draw(r, "fill"))
	}
}

// findingsOf are the findings of reports, without those about the parts'
// tails, which depend on when one looks.
func findingsOf(found map[verify.Finding]int, r *verify.Report) {
	for _, f := range r.Findings {
		if f.Code != verify.FindTailSpecific {
			found[f]++
		}
	}
}

// However the log is cut into bundles, and however far they overlap with what
// is known: the state, the bytes and the findings in the end are those of one
// bundle with everything.
func TestIncrementalVerificationEqualsFullForAnySplit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		scheme := rapid.SampledFrom(schemes).Draw(r, "scheme")
		m := eventlogtest.New("meter", scheme)
		// Bundles are taken from a meter that keeps everything.
		all := func(from uint32, offset int, keep map[uint32]*eventlogtest.Segment) *eventlog.Bundle {
			u := &eventlog.Bundle{Meter: m.ID}
			for _, n := range slices.Sorted(maps.Keys(keep)) {
				switch {
				case n == from:
					u.Parts = append(u.Parts, keep[n].Part(offset))
				case n > from:
					u.Parts = append(u.Parts, keep[n].Part(0))
				}
			}
			return u
		}
		keep := map[uint32]*eventlogtest.Segment{}
		collect := func() {
			for _, s := range m.Segments {
				keep[s.Number] = s
			}
		}
		pieces, found := newWorld(t, m), map[verify.Finding]int{}
		for range rapid.IntRange(1, 12).Draw(r, "looks") {
			for range rapid.IntRange(0, 3).Draw(r, "steps") {
				step(r, m)
				collect()
			}
			collect()
			at, known := pieces.newest, 0
			if at == 0 {
				at = 1
			}
			if h := pieces.heads[at]; h != nil {
				known = int(h.Length)
			}
			offset := 0
			if known > 0 && rapid.Bool().Draw(r, "from the middle") {
				offset = rapid.IntRange(3, known/eventlog.SlotSize).Draw(r, "offset") * eventlog.SlotSize
			}
			if rapid.IntRange(0, 3).Draw(r, "midstate") == 0 && pieces.heads[at] != nil {
				pieces.heads[at].Midstate = nil
			}
			rep := pieces.verify(all(at, offset, keep))
			if !rep.Verdict.Intact() {
				r.Fatalf("%s: %+v", rep.Verdict, rep.Findings)
			}
			pieces.apply(rep)
			findingsOf(found, rep)
		}
		whole, once := newWorld(t, m), map[verify.Finding]int{}
		rep := whole.verify(all(1, 0, keep))
		whole.apply(rep)
		findingsOf(once, rep)
		if diff := cmp.Diff(once, found); diff != "" {
			r.Errorf("findings of the whole (-) and of the pieces (+):\n%s", diff)
		}
		for n, h := range whole.heads {
			got := *pieces.heads[n]
			got.Midstate = h.Midstate // it may have been thrown away
			if diff := cmp.Diff(*h, got); diff != "" {
				r.Errorf("segment %d of the whole (-) and of the pieces (+):\n%s", n, diff)
			}
			if !slices.Equal(whole.bytes[n], pieces.bytes[n]) {
				r.Errorf("segment %d: other bytes", n)
			}
		}
	})
}

// Whatever a courier makes of genuine bytes: what is applied is what the
// meter signed.
func TestWhatIsAppliedIsWhatTheMeterSigned(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := eventlogtest.New("meter", rapid.SampledFrom(schemes).Draw(r, "scheme"))
		m.Fill(30)
		w := newWorld(t, m)
		known := m.Open().Seals[rapid.IntRange(0, 3).Draw(r, "known")].SignedLength
		for i, s := range m.Open().Seals {
			if s.SignedLength == known {
				w.intact(parts(m, m.Open().At(0, i)))
			}
		}
		u := m.Bundle()
		p := &u.Parts[0]
		p.Offset = uint64(rapid.IntRange(0, len(p.Log)/64).Draw(r, "offset")) * 64
		p.Log = p.Log[p.Offset:]
		for range rapid.IntRange(0, 3).Draw(r, "edits") {
			switch rapid.IntRange(0, 4).Draw(r, "edit") {
			case 0:
				p.Log = p.Log[:rapid.IntRange(0, len(p.Log)).Draw(r, "cut")]
			case 1:
				p.Seal = eventlogtest.Encode(rapid.SampledFrom(m.Open().Seals).Draw(r, "seal"))
			case 2:
				if len(p.Log) > 0 {
					p.Log[rapid.IntRange(0, len(p.Log)-1).Draw(r, "at")] ^= byte(rapid.IntRange(1, 255).Draw(r, "xor"))
				}
			case 3:
				p.Log = append(p.Log, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(r, "more")...)
			case 4:
				p.Seal = eventlogtest.Relabel(p.Seal, func(s *eventlog.Seal) {
					s.SignedLength = uint64(rapid.IntRange(3, 60).Draw(r, "length")) * 64
				})
			}
		}
		rep := w.verify(u)
		if !rep.Verdict.Applied() {
			return
		}
		w.apply(rep)
		h := w.heads[1]
		if !slices.Equal(w.bytes[1], m.Open().Log[:h.Length]) {
			r.Fatalf("%s: other bytes than the meter's were applied", rep.Verdict)
		}
		if !slices.Contains(m.Open().Seals, h.Seal) {
			r.Fatalf("%s: the head's seal is not the meter's", rep.Verdict)
		}
	})
}
