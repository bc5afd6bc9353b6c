package mdms_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// tamper does to a bundle what a courier can: it has every genuine seal of the
// meter, and can compute checksums, but has no key.
func tamper(t *rapid.T, u *eventlog.Bundle, m *eventlogtest.Meter) {
	p := &u.Parts[rapid.IntRange(0, len(u.Parts)-1).Draw(t, "part")]
	slots := len(p.Log) / eventlog.SlotSize
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0: // flip a bit, with or without a right checksum
		i := rapid.IntRange(0, len(p.Log)-1).Draw(t, "byte")
		p.Log[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if rapid.Bool().Draw(t, "checksum") {
			var r eventlog.Record
			for rest := p.Log; len(rest) >= eventlog.SlotSize; {
				size := int(max(1, min(4, rest[1]))) * eventlog.SlotSize
				if size > len(rest) {
					break
				}
				if _, err := r.Next(rest); err != nil {
					eventlogtest.FixChecksum(rest[:size])
				}
				rest = rest[size:]
			}
		}
	case 1: // cut the end
		p.Log = p.Log[:rapid.IntRange(0, slots).Draw(t, "slots")*eventlog.SlotSize]
	case 2: // another genuine seal
		s := m.Segments[rapid.IntRange(0, len(m.Segments)-1).Draw(t, "segment")]
		p.Seal = eventlogtest.Encode(s.Seals[rapid.IntRange(0, len(s.Seals)-1).Draw(t, "seal")])
	case 3: // another genuine seal with labels that fit
		s := m.Segments[rapid.IntRange(0, len(m.Segments)-1).Draw(t, "segment")]
		old := s.Seals[rapid.IntRange(0, len(s.Seals)-1).Draw(t, "seal")]
		p.Seal = eventlogtest.Relabel(p.Seal, func(s *eventlog.Seal) {
			s.Digest, s.Signature, s.Counter = old.Digest, old.Signature, old.Counter
		})
	case 4: // the right seal with other labels
		p.Seal = eventlogtest.Relabel(p.Seal, func(s *eventlog.Seal) {
			s.SignedLength = uint64(rapid.IntRange(3, slots+6).Draw(t, "length")) * eventlog.SlotSize
			s.LastSeq = rapid.Uint32Range(0, 100).Draw(t, "sequence")
			s.Counter += uint64(rapid.IntRange(0, 3).Draw(t, "counter"))
			if s.Scheme == eventlog.SchemeDigest {
				s.Counter = 0
			}
		})
	case 5: // bytes for the place of others
		p.Offset = uint64(rapid.IntRange(0, slots+6).Draw(t, "offset")) * eventlog.SlotSize
	case 6: // another segment's number
		p.Segment = rapid.Uint32Range(1, 9).Draw(t, "number")
	case 7: // a record taken out or put in
		at := offsets(p.Log)
		if i := rapid.IntRange(0, max(0, len(at)-3)).Draw(t, "record"); len(at) > 2 {
			p.Log = slices.Delete(p.Log, at[i], at[i+1])
		}
	case 8: // a forged specific record in the tail
		r := m.Next(eventlogtest.Specific, []byte("forged"))
		p.Log, _ = r.AppendBinary(p.Log)
	case 9: // lies about the time
		u.Newest, u.Collected = true, u.Collected+rapid.Int64Range(-1e9, 1e9).Draw(t, "ms")
	}
}

// offsets is eventlogtest.Offsets for a log that may have been tampered with.
func offsets(log []byte) []int {
	at := []int{0}
	for n := 0; n+eventlog.SlotSize <= len(log); {
		n = min(n+int(max(1, min(4, log[n+1])))*eventlog.SlotSize, len(log))
		at = append(at, n)
	}
	return at
}

// live has something happen that changes the terms of an honest meter's log, or
// nothing.
func (r *rig) live(t *rapid.T, m *eventlogtest.Meter) {
	next := func() *eventlogtest.Key {
		k := eventlogtest.NewKey(fmt.Sprintf("%s after %d", m.ID, m.Open().Seals[len(m.Open().Seals)-1].LastSeq), m.Key.Scheme)
		if err := r.AddKey(r.t.Context(), mdms.NewKey{Meter: m.ID, PublicKey: k.PublicKey(), Scheme: k.Scheme}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	switch rapid.IntRange(0, 5).Draw(t, "happens") {
	case 1:
		m.Rotate()
	case 2:
		m.Reboot()
	case 3:
		m.ChangeKey(next())
	case 4:
		m.TakeBackKey(next())
	case 5:
		m.TakeBackKey(next())
		m.Rotate()
	}
	m.Fill(1)
}

// TestNoCourierCanFrameAnHonestMeter: whatever a courier without a key does to
// genuine evidence, nothing is laid on the meter, and what honest couriers bring
// is applied as ever.
func TestNoCourierCanFrameAnHonestMeter(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := numbered(r.t, n, rapid.SampledFrom(schemes).Draw(t, "scheme"))
		r.enrol(m)
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			m.Fill(rapid.IntRange(3, 12).Draw(t, "events"))
			r.live(t, m)
			for range rapid.IntRange(1, 5).Draw(t, "lies") {
				s := m.Segments[rapid.IntRange(0, len(m.Segments)-1).Draw(t, "from segment")]
				at := eventlogtest.Offsets(s.Log)
				u := m.BundleFrom(s.Number, at[rapid.IntRange(0, len(at)-2).Draw(t, "from record")])
				for range rapid.IntRange(1, 3).Draw(t, "tricks") {
					if last := &u.Parts[len(u.Parts)-1]; len(last.Log) > 0 && len(u.Parts[0].Log) > 0 {
						tamper(t, u, m)
					}
				}
				raw, err := u.AppendBinary(nil)
				if err != nil {
					continue // not even a bundle any more
				}
				res, err := r.Ingest(r.t.Context(), "liar", raw)
				if err != nil {
					t.Fatal(err)
				}
				if res.Charge == verify.ChargeMeter {
					t.Fatalf("%s %s is laid on an honest meter: %v", res.Outcome, res.Verdict, res.Findings)
				}
			}
			if rapid.Bool().Draw(t, "honest") {
				if res := r.send("honest", m.Bundle()); !res.Verdict.Intact() {
					t.Fatalf("honest evidence is %s %s: %v", res.Outcome, res.Verdict, res.Findings)
				}
			}
		}
		for _, s := range slices.Clone(m.Segments) {
			u := m.BundleFrom(s.Number, 0)
			if s != m.Open() {
				u.Parts, u.Newest = u.Parts[:1], false
			}
			r.send("honest", u)
		}
		r.verdict(m.ID, "INTACT")
		r.holds(m)
	})
}
