package verify_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// mode is a way to come by evidence.
type mode int

const (
	full        mode = iota // an MDMS sees the meter for the first time, everything from byte 0
	incremental             // it knows half of the log, only new bytes come
	reread                  // it knows half of the log, everything comes
	offline                 // an auditor has a bundle and a bare key, no registry
	pinned                  // he also has what somebody kept: a seal; a nonce, the set of events
)

var modes = map[mode]string{full: "full", incremental: "incremental", reread: "reread", offline: "offline", pinned: "pinned"}

// cell is what one attack must give in one mode.
type cell struct {
	verdict  verify.Verdict
	findings []string
}

func is(v verify.Verdict, findings ...string) cell { return cell{v, findings} }

// scene is an honest meter with 41 records in segment 1, sealed up to the
// last, and a verifier that knows the first 21 of them, or nothing.
type scene struct {
	t      *testing.T
	scheme eventlog.Scheme
	mode   mode
	m      *eventlogtest.Meter
	w      *world
	known  int // bytes
}

func newScene(t *testing.T, scheme eventlog.Scheme, mode mode) *scene {
	s := &scene{t: t, scheme: scheme, mode: mode, m: eventlogtest.New("meter", scheme)}
	s.w = newWorld(t, s.m)
	s.m.Fill(20)
	switch mode {
	case incremental, reread:
		s.w.intact(s.m.Bundle())
		s.known = len(s.m.Open().Log)
	case offline:
		s.w.offline()
	}
	s.m.Fill(20)
	if r := s.w.verify(s.bundle()); r.Verdict != verify.Intact || len(r.Findings) > 0 {
		t.Fatalf("the untampered baseline is %s: %+v", r.Verdict, r.Findings)
	}
	return s
}

// bundle is what an honest courier brings in this mode.
func (s *scene) bundle() *eventlog.Bundle {
	if s.mode == incremental {
		return s.m.BundleFrom(1, s.known)
	}
	return s.m.Bundle()
}

// record turns the number of a record in the segment into its number in the
// part.
func (s *scene) record(i int) int {
	if s.mode == incremental {
		return i - 21
	}
	return i
}

// log returns a bundle whose log bytes were changed.
func (s *scene) log(f func(log []byte) []byte) *eventlog.Bundle {
	u := s.bundle()
	u.Parts[0].Log = f(u.Parts[0].Log)
	return u
}

// seal returns a bundle whose seal was relabelled.
func (s *scene) seal(f func(*eventlog.Seal)) *eventlog.Bundle {
	u := s.bundle()
	u.Parts[0].Seal = eventlogtest.Relabel(u.Parts[0].Seal, f)
	return u
}

// altered are the cells of an edit of the signed bytes under a genuine seal:
// the increment alone could also be a courier's mix-up, so the whole segment
// is asked for first.
func altered(more ...string) map[mode]cell {
	whole := is(verify.Altered, append([]string{verify.FindOtherBytes, verify.FindSignature}, more...)...)
	return map[mode]cell{
		full: whole, reread: whole, offline: whole,
		incremental: is(verify.Incomplete, verify.FindOtherBytes),
	}
}

// always are the same cells in every mode.
func always(v verify.Verdict, findings ...string) map[mode]cell {
	c := is(v, findings...)
	return map[mode]cell{full: c, incremental: c, reread: c, offline: c}
}

// with returns the cells with that of one mode replaced.
func with(cells map[mode]cell, m mode, c cell) map[mode]cell {
	cells[m] = c
	return cells
}

// matrix are the attacks on the bytes and the seal of one bundle.
var matrix = []struct {
	name   string
	attack func(s *scene) *eventlog.Bundle
	want   map[mode]cell
}{
	{"a payload is altered", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte {
			log[eventlogtest.Offsets(log)[s.record(25)]+28] ^= 1
			return log
		})
	}, altered(verify.FindRecord)},
	{"a payload is altered and its checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte {
			return eventlogtest.Edit(log, s.record(25), func(r []byte) { r[28] ^= 1 })
		})
	}, altered()},
	{"an altered log gets its own digest into the seal", func(s *scene) *eventlog.Bundle {
		whole := eventlogtest.Edit(s.m.Open().Log, 25, func(r []byte) { r[28] ^= 1 })
		u := s.log(func(log []byte) []byte { return whole[len(whole)-len(log):] })
		forged := eventlogtest.Segment{Log: whole}
		u.Parts[0].Seal = eventlogtest.Relabel(u.Parts[0].Seal, func(s *eventlog.Seal) { s.Digest = forged.Digest(len(whole)) })
		return u
	}, always(verify.Altered, verify.FindSignature)},
	{"a record is inserted", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte {
			at := eventlogtest.Offsets(log)
			return eventlogtest.Insert(log, s.record(25), log[at[s.record(25)]:at[s.record(26)]])
		})
	}, altered(verify.FindRecord)},
	{"a record is deleted and a tail keeps the length", func(s *scene) *eventlog.Bundle {
		s.m.Event(eventlogtest.Ordinary)
		return s.log(func(log []byte) []byte { return eventlogtest.Delete(log, s.record(25)) })
	}, altered(verify.FindRecord)},
	{"a record is deleted", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte { return eventlogtest.Delete(log, s.record(25)) })
	}, always(verify.Incomplete, verify.FindMissing)},
	{"two records are swapped", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte { return eventlogtest.Swap(log, s.record(25)) })
	}, altered(verify.FindRecord)},
	{"the end is cut off", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte { return log[:len(log)-eventlog.SlotSize] })
	}, always(verify.Incomplete, verify.FindMissing)},
	{"the end is cut off and the seal relabelled to the length", func(s *scene) *eventlog.Bundle {
		u := s.seal(func(s *eventlog.Seal) { s.SignedLength -= eventlog.SlotSize; s.LastSeq-- })
		u.Parts[0].Log = u.Parts[0].Log[:len(u.Parts[0].Log)-eventlog.SlotSize]
		return u
	}, altered()},
	{"the start is cut off", func(s *scene) *eventlog.Bundle {
		u := s.bundle()
		u.Parts[0].Offset += 4 * eventlog.SlotSize
		u.Parts[0].Log = u.Parts[0].Log[4*eventlog.SlotSize:]
		return u
	}, with(always(verify.Incomplete, verify.FindMissing), reread, is(verify.Intact))},
	{"the seal is stripped", func(s *scene) *eventlog.Bundle {
		u := s.bundle()
		u.Parts[0].Seal = nil
		return u
	}, map[mode]cell{
		full: is(verify.NotSealed, verify.FindNoSeal), offline: is(verify.NotSealed, verify.FindNoSeal),
		incremental: is(verify.Incomplete, verify.FindNoSeal), reread: is(verify.Incomplete, verify.FindNoSeal),
	}},
	{"the seal is spoiled", func(s *scene) *eventlog.Bundle {
		u := s.bundle()
		u.Parts[0].Seal[80] ^= 1
		return u
	}, always(verify.Malformed, verify.FindSeal)},
	{"the signature is spoiled and the checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.Signature[9] ^= 1 })
	}, always(verify.Altered, verify.FindSignature)},
	{"the seal is of a shorter length", func(s *scene) *eventlog.Bundle {
		u := s.bundle()
		u.Parts[0].Seal = eventlogtest.Encode(s.m.Open().Seals[len(s.m.Open().Seals)-2])
		return u
	}, always(verify.IntactWithTail, verify.FindTailSpecific)},
	{"the digest in the seal is another", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.Digest[0] ^= 1 })
	}, always(verify.Malformed, verify.FindHint)},
	{"the last sequence number in the seal is another", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.LastSeq++ })
	}, always(verify.Malformed, verify.FindHint)},
	{"the segment in the seal is another", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.Segment = 2 })
	}, always(verify.Malformed, verify.FindHint)},
	{"the courier moves log and seal to another segment", func(s *scene) *eventlog.Bundle {
		u := s.seal(func(s *eventlog.Seal) { s.Segment = 2 })
		u.Parts[0].Segment = 2
		return u
	}, with(always(verify.Malformed, verify.FindHint), incremental, is(verify.Incomplete, verify.FindMissing))},
	{"the scheme in the seal is another", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.Scheme, s.Counter = 3-s.Scheme, 0 })
	}, always(verify.Malformed, verify.FindHint)},
	{"the key prefix in the seal is nobody's", func(s *scene) *eventlog.Bundle {
		return s.seal(func(s *eventlog.Seal) { s.KeyPrefix[0] ^= 1 })
	}, always(verify.WrongKey, verify.FindKey)},
	{"the key prefix in the seal is that of another key of the meter", func(s *scene) *eventlog.Bundle {
		other := eventlogtest.NewKey("other", s.scheme)
		s.w.register(other)
		return s.seal(func(s *eventlog.Seal) { s.KeyPrefix = other.Prefix() })
	}, always(verify.Malformed, verify.FindHint)},
	{"the seal is that of another meter over its own log", func(s *scene) *eventlog.Bundle {
		other := eventlogtest.New("other", s.scheme)
		other.Fill(40)
		u := s.bundle()
		u.Parts[0].Seal = other.Bundle().Parts[0].Seal
		return u
	}, always(verify.WrongKey, verify.FindKey)},
	{"the seal of another meter is relabelled to this meter's key", func(s *scene) *eventlog.Bundle {
		other := eventlogtest.New("other", s.scheme)
		other.Fill(40)
		u := s.bundle()
		u.Parts[0].Seal = eventlogtest.Relabel(other.Bundle().Parts[0].Seal, func(seal *eventlog.Seal) { seal.KeyPrefix = s.m.Key.Prefix() })
		return u
	}, always(verify.Altered, verify.FindSignature)},
	{"another registered key signs", func(s *scene) *eventlog.Bundle {
		other := s.m.Clone()
		other.Key = eventlogtest.NewKey("other", s.scheme)
		s.w.register(other.Key)
		forged := other.SealAt(other.Open(), len(other.Open().Log), 99)
		u := s.bundle()
		u.Parts[0].Seal = eventlogtest.Relabel(eventlogtest.Encode(forged), func(seal *eventlog.Seal) { seal.KeyPrefix = s.m.Key.Prefix() })
		return u
	}, always(verify.Altered, verify.FindSignature, verify.FindOtherKey)},
	{"an attacker seals the meter's log with a key of his own", func(s *scene) *eventlog.Bundle {
		forger := s.m.Clone()
		forger.Key = eventlogtest.NewKey("forger", s.scheme)
		u := s.bundle()
		u.Parts[0].Seal = eventlogtest.Encode(forger.SealAt(forger.Open(), len(forger.Open().Log), 99))
		return u
	}, always(verify.WrongKey, verify.FindKey)},
	{"an attacker makes a log with a key of his own", func(s *scene) *eventlog.Bundle {
		forger := eventlogtest.New("forger", s.scheme)
		forger.Fill(40)
		return forger.Bundle()
	}, always(verify.WrongKey, verify.FindKey)},
	{"the courier says another meter", func(s *scene) *eventlog.Bundle {
		u := s.bundle()
		u.Meter[14]++
		return u
	}, always(verify.WrongMeter, verify.FindMeter)},
	{"the courier says another meter, and spoils the log's own word", func(s *scene) *eventlog.Bundle {
		u := s.log(func(log []byte) []byte {
			log[30] ^= 1
			return log
		})
		u.Meter[14]++
		return u
	}, without(without(always(verify.WrongMeter, verify.FindMeter), incremental), offline)},
	{"another meter's evidence comes under this meter's name", func(s *scene) *eventlog.Bundle {
		other := eventlogtest.New("meter", s.scheme)
		other.ID[14]++
		other.Segments, other.Seq = nil, 1
		other.Begin(1, 0, eventlog.Digest{})
		other.Fill(30)
		u := other.Bundle()
		u.Meter = s.m.ID
		return u
	}, always(verify.WrongMeter, verify.FindMeter)},
	{"the tail is edited", func(s *scene) *eventlog.Bundle {
		s.m.Event(eventlogtest.Ordinary)
		s.m.Event(eventlogtest.Ordinary)
		return s.log(func(log []byte) []byte {
			return eventlogtest.Edit(log, s.record(41), func(r []byte) { r[15] ^= 1 })
		})
	}, always(verify.IntactWithTail)},
	{"the tail is garbage", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte { return append(log, make([]byte, 100)...) })
	}, always(verify.IntactWithTail, verify.FindTailBroken)},
	{"the tail is cut off", func(s *scene) *eventlog.Bundle {
		before := s.bundle()
		s.m.Event(eventlogtest.Ordinary)
		return before
	}, always(verify.Intact)},
	{"the header is altered beyond reading", func(s *scene) *eventlog.Bundle {
		return s.log(func(log []byte) []byte {
			log[30] ^= 1
			return log
		})
	}, with(without(altered(verify.FindRecord), incremental), reread, is(verify.Altered, verify.FindOtherBytes, verify.FindSignature, verify.FindHeadLost, verify.FindRecord))},
	{"the meter id in the header is altered and the checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.header(func(h *eventlog.Header) { h.Meter[14]++ })
	}, without(always(verify.WrongMeter, verify.FindMeter), incremental)},
	{"the key id in the header is altered and the checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.header(func(h *eventlog.Header) { h.Key[31]++ })
	}, without(always(verify.WrongKey, verify.FindKey), incremental)},
	{"the segment in the header is altered and the checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.header(func(h *eventlog.Header) { h.Segment++ })
	}, without(always(verify.Malformed, verify.FindHint), incremental)},
	{"the policy in the header is altered and the checksum repaired", func(s *scene) *eventlog.Bundle {
		return s.header(func(h *eventlog.Header) { h.PolicyDigest = eventlog.Digest{} })
	}, with(without(altered(), incremental), reread, is(verify.Altered, verify.FindOtherBytes, verify.FindSignature, verify.FindHeadLost))},
}

// without drops the cell of a mode in which the attack has nothing to act on.
func without(cells map[mode]cell, m mode) map[mode]cell {
	delete(cells, m)
	return cells
}

// header returns a bundle whose segment header was changed.
func (s *scene) header(f func(*eventlog.Header)) *eventlog.Bundle {
	return s.log(func(log []byte) []byte {
		return eventlogtest.Edit(log, 0, func(r []byte) {
			h, err := eventlog.ParseHeader(log)
			if err != nil {
				s.t.Fatal(err)
			}
			f(&h)
			payload, err := h.AppendBinary(nil)
			if err != nil {
				s.t.Fatal(err)
			}
			copy(r[28:], payload)
		})
	})
}

func TestTamperMatrix(t *testing.T) {
	for _, row := range matrix {
		t.Run(row.name, func(t *testing.T) {
			for mode, want := range row.want {
				for _, scheme := range schemes {
					t.Run(modes[mode]+"/"+scheme.String(), func(t *testing.T) {
						s := newScene(t, scheme, mode)
						r := s.w.verify(row.attack(s))
						wantReport(t, r, want.verdict, want.findings...)
						wantCharge(t, r)
						s.wantNeed(r)
						s.wantHonestStillAccepted()
					})
				}
			}
		})
	}
}

// wantCharge: in this matrix no attack is the meter's doing, so none may be
// laid on it.
func wantCharge(t testing.TB, r *verify.Report) {
	t.Helper()
	intact := r.Verdict.Intact()
	if (r.Charge == "") != intact || r.Proven != intact || r.Charge == verify.ChargeMeter {
		t.Errorf("%s is charged to %q, proven %t", r.Verdict, r.Charge, r.Proven)
	}
}

// wantNeed: INCOMPLETE says where to read on: behind what is known, or from
// the start if a genuine seal does not fit. No other verdict asks.
func (s *scene) wantNeed(r *verify.Report) {
	s.t.Helper()
	if r.Verdict != verify.Incomplete {
		wantNeed(s.t, r, nil)
		return
	}
	want := &verify.Position{Segment: 1, Offset: uint64(s.known)}
	for _, f := range r.Findings {
		if f.Code == verify.FindOtherBytes {
			want.Offset = 0
		}
		if f.Segment == 2 {
			*want = verify.Position{Segment: 2}
		}
	}
	wantNeed(s.t, r, want)
}

// wantHonestStillAccepted: an attack must not keep the honest evidence out.
func (s *scene) wantHonestStillAccepted() {
	s.t.Helper()
	if r := s.w.verify(s.bundle()); !r.Verdict.Intact() || r.Duplicate {
		s.t.Errorf("afterwards the honest bundle is %s: %+v", r.Verdict, r.Findings)
	}
}
