package verify_test

import (
	"slices"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// collected is what an honest courier brings of a meter with several segments.
func (s *scene) collected() *eventlog.Bundle { return s.m.BundleFrom(1, s.from()) }

func (s *scene) from() int {
	if s.mode == incremental {
		return s.known
	}
	return 0
}

// rewrite edits records of a segment in the meter's flash and puts an older
// seal back: all but the first n are gone. Then the meter starts.
func (s *scene) rewrite(segment *eventlogtest.Segment, n int, records ...int) {
	for _, i := range records {
		segment.Log = eventlogtest.Edit(segment.Log, i, func(r []byte) { r[28] ^= 1 })
	}
	segment.Seals = segment.Seals[:n]
	s.m.Reboot()
}

// storage are the attacks on a meter's flash and secure element: what is
// collected afterwards is genuine. In scheme digest nothing is counted.
var storage = []struct {
	name   string
	attack func(s *scene) *eventlog.Bundle
	want   map[mode]cell
}{
	{"an older genuine seal is put back, and the records after it are edited", func(s *scene) *eventlog.Bundle {
		s.rewrite(s.m.Open(), 3, 25, 35)
		return s.collected()
	}, always(verify.Intact, verify.FindSealRemoved)},
	{"the same, with a seal that is older than a collected one", func(s *scene) *eventlog.Bundle {
		s.rewrite(s.m.Open(), 2, 15, 35)
		return s.collected()
	}, map[mode]cell{
		full:        is(verify.Intact, verify.FindSealRemoved),
		offline:     is(verify.Intact, verify.FindSealRemoved),
		incremental: is(verify.Incomplete, verify.FindOtherBytes),
		reread:      is(verify.Forked, verify.FindSealRemoved, verify.FindForkBytes),
	}},
	{"the seal that ended a segment is put back, and the next segment is edited", func(s *scene) *eventlog.Bundle {
		s.m.Rotate()
		s.m.Fill(20)
		s.rewrite(s.m.Open(), 0, 5, 15)
		return s.collected()
	}, always(verify.Intact, verify.FindSealRemoved)},
	{"the log is cut off at an older genuine seal", func(s *scene) *eventlog.Bundle {
		o := s.m.Open()
		o.Log = o.Log[:o.Seals[2].SignedLength]
		s.m.Seq = o.Seals[2].LastSeq + 1
		s.rewrite(o, 3)
		return s.collected()
	}, always(verify.Intact, verify.FindSealRemoved, verify.FindCounterGap)},
	{"flash is damaged, and the courier withholds the segment that says so", func(s *scene) *eventlog.Bundle {
		first := s.m.Open()
		s.m.Seq = 15 // what the records that can still be read allow
		s.m.Damage(int(first.Seals[1].SignedLength))
		s.m.Rotate()
		s.m.Fill(5)
		u := parts(s.m, s.m.Segment(3).Part(0))
		if s.known == 0 {
			u.Parts = slices.Insert(u.Parts, 0, first.At(0, 2))
		}
		return u
	}, always(verify.Gap, verify.FindSeqReused, verify.FindSegmentPartial, verify.FindSegmentMissing)},
	{"the secure element answers twice", func(s *scene) *eventlog.Bundle {
		s.m.Event(eventlogtest.Specific)
		s.m.Seal()
		return s.collected()
	}, always(verify.Intact, verify.FindCounterGap)},
}

func TestStorageMatrix(t *testing.T) {
	counted := func(code string) bool { return code == verify.FindSealRemoved || code == verify.FindCounterGap }
	for _, row := range storage {
		t.Run(row.name, func(t *testing.T) {
			for mode, want := range row.want {
				for _, scheme := range schemes {
					t.Run(modes[mode]+"/"+scheme.String(), func(t *testing.T) {
						s := newScene(t, scheme, mode)
						r := s.w.verify(row.attack(s))
						findings := slices.Clone(want.findings)
						if scheme == eventlog.SchemeDigest {
							findings = slices.DeleteFunc(findings, counted)
						}
						if len(findings) == 0 {
							findings = nil
						}
						wantReport(t, r, want.verdict, findings...)
						charge := map[verify.Verdict]verify.Charge{
							verify.Intact: "", verify.Incomplete: verify.ChargeCourier, verify.Gap: verify.ChargeCourier,
							verify.Forked: verify.ChargeMeter,
						}[want.verdict]
						wantProof(t, r, charge)
					})
				}
			}
		})
	}
}

// TestMeterThatRefusesItsLog: what a meter makes of a log that is not the one
// that it had, and what a verifier makes of that.
func TestMeterThatRefusesItsLog(t *testing.T) {
	refused := []string{verify.FindTailSpecific, verify.FindDamaged, verify.FindSegmentPartial}
	for name, tc := range map[string]struct {
		damage func(s *scene)
		want   map[mode]cell
	}{
		"an edit that one of its seals does not cover": {
			func(s *scene) {
				o := s.m.Open()
				o.Log = eventlogtest.Edit(o.Log, 35, func(r []byte) { r[28] ^= 1 })
				o.Seals = o.Seals[:4]
				s.m.Damage(int(o.Seals[3].SignedLength))
			}, always(verify.Gap, refused...),
		},
		"an edit that all of its seals cover": {
			func(s *scene) {
				o := s.m.Open()
				o.Log = eventlogtest.Edit(o.Log, 25, func(r []byte) { r[28] ^= 1 })
				s.m.Damage(0)
			}, altered(),
		},
		"the same, in what is known": {
			func(s *scene) {
				o := s.m.Open()
				o.Log = eventlogtest.Edit(o.Log, 15, func(r []byte) { r[28] ^= 1 })
				s.m.Damage(0)
			}, with(with(altered(), incremental, is(verify.Gap, verify.FindDamaged, verify.FindSegmentPartial)),
				reread, is(verify.Altered, verify.FindOtherBytes, verify.FindSignature, verify.FindHeadLost)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, want := range tc.want {
				for _, scheme := range schemes {
					t.Run(modes[mode]+"/"+scheme.String(), func(t *testing.T) {
						s := newScene(t, scheme, mode)
						tc.damage(s)
						s.m.Fill(5)
						u := s.m.BundleFrom(2, 0)
						if from := s.from(); from <= len(s.m.Segments[0].Log) {
							u = s.m.BundleFrom(1, from)
						}
						r := s.w.verify(u)
						wantReport(t, r, want.verdict, want.findings...)
						charge := verify.ChargeCourier
						if want.verdict == verify.Gap {
							charge = verify.ChargeMeter
						}
						wantProof(t, r, charge)
					})
				}
			}
		})
	}
}
