package verify_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// past is an honest meter with 41 sealed records in segment 1, and a verifier
// that knows of them what it can know in its mode.
type past struct {
	mode  mode
	m     *eventlogtest.Meter
	image *eventlogtest.Meter // m when it had 21 records
	w     *world
	known int // bytes of the 41 records
}

// newPast also demands that the meter, had it only lived on, were INTACT.
func newPast(t *testing.T, scheme eventlog.Scheme, mode mode) *past {
	p := &past{mode: mode, m: eventlogtest.New("meter", scheme)}
	p.w = newWorld(t, p.m)
	p.m.Fill(20)
	p.image = p.m.Clone()
	p.m.Fill(20)
	p.known = len(p.m.Open().Log)
	switch mode {
	case incremental, reread:
		p.w.intact(p.image.Bundle())
		p.w.intact(p.m.BundleFrom(1, len(p.image.Open().Log)))
	case offline, pinned:
		p.w.offline()
	}
	if mode == pinned {
		p.w.pin = p.w.seal(p.m)
	}
	p.w.received = p.w.received.Add(time.Hour)

	honest := p.m.Clone()
	honest.Fill(5)
	honest.Reboot()
	honest.Rotate()
	honest.Fill(5)
	if r := p.w.verify(p.collect(honest)); r.Verdict != verify.Intact || len(r.Findings) > 0 || r.Duplicate {
		t.Fatalf("the untampered baseline is %s, duplicate %t: %+v", r.Verdict, r.Duplicate, r.Findings)
	}
	return p
}

// alone reports whether the verifier has no registry but one key.
func (p *past) alone() bool { return p.mode == offline || p.mode == pinned }

// collect is what a courier brings of a meter's log in this mode.
func (p *past) collect(m *eventlogtest.Meter) *eventlog.Bundle {
	first := m.Segment(1)
	switch {
	case p.mode != incremental:
		return m.Bundle()
	case first != nil && len(first.Log) >= p.known:
		return m.BundleFrom(1, p.known)
	case m.Open().Number > 1:
		return m.BundleFrom(2, 0)
	}
	return parts(m, first.At(p.known, len(first.Seals)-1)) // only the seal
}

// restored is the meter with its storage as it was, and nothing else.
func (p *past) restored() *eventlogtest.Meter {
	p.image.Key.Counter, p.image.Now = p.m.Key.Counter, p.m.Now
	return p.image
}

// older is genuine evidence that ends before the newest that is known.
func (p *past) older() *eventlog.Bundle {
	if p.mode == incremental {
		return parts(p.m, p.m.Open().At(len(p.image.Open().Log), 3))
	}
	return p.image.Bundle()
}

// enrol registers a key of the meter. Who has no registry keeps the one key
// that he has.
func (p *past) enrol(k *eventlogtest.Key) {
	if !p.alone() {
		p.w.register(k)
	}
}

// said is what a verifier says to an attack.
type said struct {
	verdict   verify.Verdict // 0: the attack cannot be made in this mode
	charge    verify.Charge
	findings  []string
	duplicate bool
	// why the attack passes with nothing to be seen or cannot be made, or what
	// else the verifier says this to; one of reasons
	why string
}

// meters: the meter signed what proves it.
func meters(v verify.Verdict, findings ...string) said {
	return said{verdict: v, charge: verify.ChargeMeter, findings: findings}
}

// couriers: who carried it may have caused it.
func couriers(v verify.Verdict, findings ...string) said {
	return said{verdict: v, charge: verify.ChargeCourier, findings: findings}
}

// intact: the log is what it is said to be, and something is told beside it.
func intact(finding string, more ...string) said {
	return said{verdict: verify.Intact, findings: append([]string{finding}, more...)}
}

// tail: nothing signed is touched.
func tail(findings ...string) said {
	return said{verdict: verify.IntactWithTail, findings: findings}
}

// duplicate: known already, and acknowledged once more.
func duplicate() said { return said{verdict: verify.Intact, duplicate: true} }

// blind: INTACT, and nothing shows that it is not.
func blind(why string) said { return said{verdict: verify.Intact, why: why} }

// none: there is no such attack.
func none(why string) said { return said{why: why} }

// because adds what is to be known of it.
func (s said) because(why string) said {
	s.why = why
	return s
}

// row is what is said in each mode.
type row map[mode]said

// each are the same words in every mode.
func each(s said) row {
	return row{full: s, incremental: s, reread: s, offline: s, pinned: s}
}

// but returns the row with what is said in some modes replaced.
func (r row) but(s said, in ...mode) row {
	for _, m := range in {
		r[m] = s
	}
	return r
}

// forked are the words on a second history: the increment alone could also be
// a courier's mix-up, so the whole segment is asked for first.
func forked(alone said) row {
	return each(alone).but(couriers(verify.Incomplete, verify.FindOtherBytes), incremental).
		but(meters(verify.Forked, verify.FindForkBytes), reread).but(couriers(verify.RolledBack, verify.FindHeadLost), pinned)
}

// Why nothing can be seen, and the like.
const (
	noMemory   = "An older log is a genuine one: who has kept nothing knows of nothing newer."
	sameSeal   = "In scheme `digest` a seal made again signs what the first one signed: only a challenge tells a rollback from a replay."
	oneHistory = "Each of two histories is sound, only both together are a fork."
	oneKey     = "The auditor was given one key: a change that is in order looks the same to him."
	bareKey    = "A bare key does not say for which records it is good, nor which events are specific."
	otherPin   = "`--head` takes no seal of a key that was not given."
	noClock    = "Who has accepted nothing before waits for nothing."
	noNonce    = "Only who knows the nonce misses the answer."
)

// reasons are those in the order of the document.
var reasons = []string{noMemory, sameSeal, oneHistory, oneKey, bareKey, otherPin, noClock, noNonce}

// history is an attack, and what is said to it.
type history struct {
	name    string
	attack  func(p *past) *eventlog.Bundle
	want    row
	counter row // replaces what is said in scheme counter
}

// histories are the attacks that only show against what came before, be it in
// the verifier's memory or in the log itself, and what they look like where
// they do not show.
var histories = []history{
	{
		name:   "a bundle is replayed",
		attack: func(p *past) *eventlog.Bundle { return p.older() },
		want:   each(blind(noMemory)).but(duplicate(), incremental, reread).but(couriers(verify.RolledBack, verify.FindHeadLost), pinned),
	},
	{
		name: "an older log is said to be the newest",
		attack: func(p *past) *eventlog.Bundle {
			u := p.older()
			u.Newest, u.Collected = true, p.w.received.UnixMilli()
			return u
		},
		want: each(blind(noMemory)).but(couriers(verify.RolledBack, verify.FindClaimed), incremental, reread).
			but(couriers(verify.RolledBack, verify.FindHeadLost), pinned),
	},
	{
		name: "storage is restored to an older image, and sealed again",
		attack: func(p *past) *eventlog.Bundle {
			image := p.restored()
			image.Seal()
			return p.collect(image)
		},
		want: each(blind(noMemory)).but(duplicate().because(sameSeal), incremental, reread).
			but(couriers(verify.RolledBack, verify.FindHeadLost), pinned),
		counter: row{
			full: intact(verify.FindCounterGap), offline: intact(verify.FindCounterGap),
			incremental: meters(verify.RolledBack, verify.FindCounterAhead), reread: meters(verify.RolledBack, verify.FindCounterAhead),
		},
	},
	{
		name: "storage is restored to an older image, and used; the meter looks for seals that it misses",
		attack: func(p *past) *eventlog.Bundle {
			image := p.restored()
			if image.Key.Scheme == eventlog.SchemeCounter {
				image.Damage(len(image.Open().Log))
			} else {
				image.Reboot() // nothing is counted
			}
			image.Fill(40)
			return p.collect(image)
		},
		want: forked(blind(noMemory)),
		counter: each(meters(verify.Gap, verify.FindSealRemoved, verify.FindDamaged, verify.FindSegmentPartial)).
			but(meters(verify.Gap, verify.FindSealRemoved, verify.FindDamaged, verify.FindSeqReused, verify.FindSegmentPartial), incremental, reread).
			but(couriers(verify.RolledBack, verify.FindHeadLost), pinned),
	},
	{
		name: "the same, and the meter does not look",
		attack: func(p *past) *eventlog.Bundle {
			image := p.restored()
			image.Reboot()
			image.Fill(40)
			return p.collect(image)
		},
		want: forked(blind(noMemory)),
		counter: row{
			full: intact(verify.FindSealRemoved, verify.FindCounterGap), offline: intact(verify.FindSealRemoved, verify.FindCounterGap),
			reread: meters(verify.Forked, verify.FindSealRemoved, verify.FindForkBytes),
			pinned: couriers(verify.RolledBack, verify.FindSealRemoved, verify.FindHeadLost),
		},
	},
	{
		name: "storage and secure element are restored together, or cloned, and sign another log",
		attack: func(p *past) *eventlog.Bundle {
			p.image.Event(eventlogtest.Ordinary, 99)
			p.image.Fill(20) // up to the counter that the meter has
			return p.collect(p.image)
		},
		want:    forked(blind(oneHistory)),
		counter: row{reread: meters(verify.Forked, verify.FindForkCounter), pinned: meters(verify.Forked, verify.FindForkCounter)},
	},
	{
		name: "a second secure element with the same key signs a log of its own",
		attack: func(p *past) *eventlog.Bundle {
			other := eventlogtest.New("meter", p.m.Key.Scheme)
			for range 30 {
				other.Event(eventlogtest.Ordinary)
			}
			other.Fill(30)
			return p.collect(other)
		},
		want: forked(blind(oneHistory)),
	},
	{
		name: "a segment is withheld",
		attack: func(p *past) *eventlog.Bundle {
			for range 2 {
				p.m.Fill(5)
				p.m.Rotate()
			}
			p.m.Fill(5)
			u := p.collect(p.m)
			u.Parts = slices.Delete(u.Parts, 1, 2)
			return u
		},
		want: each(couriers(verify.Gap, verify.FindSegmentMissing)),
	},
	{
		name: "the end of a segment is withheld",
		attack: func(p *past) *eventlog.Bundle {
			p.m.Fill(10)
			p.m.Fill(10)
			p.m.Rotate()
			p.m.Fill(5)
			u := p.collect(p.m)
			u.Parts[0] = p.m.Segment(1).At(int(u.Parts[0].Offset), 5)
			return u
		},
		want: each(couriers(verify.Gap, verify.FindSegmentPartial)),
	},
	{
		name: "the meter drops segments, and says so",
		attack: func(p *past) *eventlog.Bundle {
			for range 3 {
				p.m.Fill(5)
				p.m.Rotate()
			}
			p.m.Drop(1, eventlog.DropFull)
			p.m.Drop(2, eventlog.DropFull)
			return p.collect(p.m)
		},
		want: each(meters(verify.Gap, verify.FindSegmentMissing, verify.FindDropped)).
			but(meters(verify.Gap, verify.FindSegmentPartial, verify.FindSegmentMissing, verify.FindDropped), incremental, reread),
	},
	{
		name: "the key is changed without the registry's consent",
		attack: func(p *past) *eventlog.Bundle {
			p.m.ChangeKey(eventlogtest.NewKey("next", p.m.Key.Scheme))
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(couriers(verify.WrongKey, verify.FindKeyChange, verify.FindKey)).
			but(couriers(verify.WrongKey, verify.FindKeyChange, verify.FindKey).because(oneKey), offline, pinned),
	},
	{
		name: "the key is changed with the registry's consent, and the old key does not announce it",
		attack: func(p *past) *eventlog.Bundle {
			next := eventlogtest.NewKey("next", p.m.Key.Scheme)
			p.enrol(next)
			s := p.m.Open()
			p.m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndKey, Next: 2})
			p.m.Key = next
			p.m.Begin(2, uint64(len(s.Log)), s.Digest(len(s.Log)))
			p.m.Seal()
			return p.collect(p.m)
		},
		want: each(intact(verify.FindKeyUnannounced)).but(couriers(verify.WrongKey, verify.FindKey).because(oneKey), offline, pinned),
	},
	{
		name: "a revoked key goes on sealing",
		attack: func(p *past) *eventlog.Bundle {
			p.w.reg.Keys[0].Revoked = !p.alone()
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(meters(verify.KeyRevoked, verify.FindKeyRange)).but(blind(bareKey), offline, pinned),
	},
	{
		name: "old data are sealed again under a newer key",
		attack: func(p *past) *eventlog.Bundle {
			forger := eventlogtest.New("next", p.m.Key.Scheme)
			forger.Fill(60)
			if p.alone() {
				p.w.reg.Keys = nil
				p.w.register(forger.Key) // the key that is the meter's now
			} else {
				p.w.register(forger.Key).FirstSeq = p.m.Seq
			}
			return p.collect(forger)
		},
		want: each(meters(verify.KeyRevoked, verify.FindKeyRange)).but(couriers(verify.Malformed, verify.FindHint), incremental).
			but(blind(bareKey), offline).but(none(otherPin), pinned),
	},
	{
		name: "the set of specific events is shrunk",
		attack: func(p *past) *eventlog.Bundle {
			if p.mode == pinned {
				p.w.reg.Policy = new(p.m.Policy)
			}
			p.m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Specific))
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(meters(verify.PolicyMismatch, verify.FindPolicy)).but(blind(bareKey), offline),
	},
	{
		name: "the set of specific events is put back to an older version",
		attack: func(p *past) *eventlog.Bundle {
			first, second := p.m.Policy, eventlog.NewPolicy(2, eventlogtest.Specific)
			if !p.alone() {
				p.w.reg.Policy, p.w.reg.FormerPolicies = &second, []eventlog.Policy{first}
			}
			p.m.ChangePolicy(second)
			p.m.Fill(5)
			p.m.ChangePolicy(first)
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(meters(verify.PolicyMismatch, verify.FindPolicy)),
	},
	{
		name: "the meter's clock is set back, and nothing announces it",
		attack: func(p *past) *eventlog.Bundle {
			p.m.Now = p.m.Now.Add(-10 * time.Hour)
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(intact(verify.FindClock)),
	},
	{
		name: "the meter's clock is set back by a command",
		attack: func(p *past) *eventlog.Bundle {
			back := p.m.Now.Add(-10 * time.Hour)
			p.m.System(eventlog.CodeClockSet, &eventlog.ClockSet{Old: p.m.Now.UnixMilli(), New: back.UnixMilli(), Source: eventlog.ClockLink})
			p.m.Now = back
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(intact(verify.FindClockSet)),
	},
	{
		name: "a specific record is forged into the tail",
		attack: func(p *past) *eventlog.Bundle {
			p.m.Fill(5)
			p.m.Append(p.m.Next(eventlogtest.Specific, []byte("forged")))
			return p.collect(p.m)
		},
		want: each(tail(verify.FindTailSpecific)),
	},
	{
		name: "a genuine seal is relabelled to a longer log, to frame the meter",
		attack: func(p *past) *eventlog.Bundle {
			p.m.Fill(5)
			u, newest := p.collect(p.m), p.m.Open().Seals[5]
			u.Parts[0].Seal = eventlogtest.Relabel(eventlogtest.Encode(p.m.Open().Seals[3]), func(s *eventlog.Seal) {
				s.SignedLength, s.LastSeq = newest.SignedLength, newest.LastSeq
			})
			return u
		},
		want: each(couriers(verify.Altered, verify.FindOtherBytes, verify.FindSignature)).
			but(couriers(verify.Incomplete, verify.FindOtherBytes), incremental),
	},
	{
		name: "silence: nothing new comes",
		attack: func(p *past) *eventlog.Bundle {
			p.w.limits.MaxAge = 30 * time.Minute
			return p.collect(p.m)
		},
		want: each(blind(noClock)).but(couriers(verify.Stale, verify.FindHeadOld), incremental, reread),
	},
	{
		name: "a challenge is not answered",
		attack: func(p *past) *eventlog.Bundle {
			if p.mode != offline {
				p.w.nonces = []verify.Nonce{{Value: [32]byte{1}, Issued: p.w.received.Add(-time.Hour)}}
			}
			p.m.Fill(5)
			return p.collect(p.m)
		},
		want: each(couriers(verify.Stale, verify.FindNonce)).but(blind(noNonce), offline),
	},
	{
		name: "two meters are swapped",
		attack: func(p *past) *eventlog.Bundle {
			other := eventlogtest.New("other", p.m.Key.Scheme)
			other.ID[14]++
			other.Segments, other.Seq = nil, 1
			other.Begin(1, 0, eventlog.Digest{})
			other.Fill(60)
			u := p.collect(other)
			u.Meter = p.m.ID
			return u
		},
		want: each(couriers(verify.WrongMeter, verify.FindMeter)).but(couriers(verify.WrongKey, verify.FindKey), incremental),
	},
}

// in is what the table says of an attack.
func (h *history) in(m mode, scheme eventlog.Scheme) said {
	if s, ok := h.counter[m]; ok && scheme == eventlog.SchemeCounter {
		return s
	}
	return h.want[m]
}

func TestHistoryMatrix(t *testing.T) {
	for _, h := range histories {
		t.Run(h.name, func(t *testing.T) {
			for mode, name := range modes {
				for _, scheme := range schemes {
					want := h.in(mode, scheme)
					if want.verdict == 0 && want.why != "" {
						continue
					}
					t.Run(name+"/"+scheme.String(), func(t *testing.T) {
						newPast(t, scheme, mode).judge(h.attack, want)
					})
				}
			}
		})
	}
}

// judge makes the attack and demands what is to be said of it.
func (p *past) judge(attack func(*past) *eventlog.Bundle, want said) {
	t := p.w.t
	r := p.w.verify(attack(p))
	wantReport(t, r, want.verdict, want.findings...)
	wantProof(t, r, want.charge)
	var need *verify.Position
	if want.verdict == verify.Incomplete {
		need = &verify.Position{Segment: 1}
	}
	wantNeed(t, r, need)
	if r.Verdict.Intact() && r.Duplicate != want.duplicate {
		t.Errorf("duplicate %t, want %t", r.Duplicate, want.duplicate)
	}
	if seen := len(r.Findings) > 0 || r.Duplicate; r.Verdict == verify.Intact && !seen && want.why == "" {
		t.Error("nothing is to be seen, and the table does not say why")
	}
}

// text is the cell as the document has it.
func (s said) text() string {
	t := "–"
	switch {
	case s.verdict.Intact():
		t = s.verdict.String()
		if s.duplicate {
			t += ", duplicate"
		}
		for _, f := range s.findings {
			t += ", `" + f + "`"
		}
	case s.verdict != 0:
		t = fmt.Sprintf("%s, %s", s.verdict, s.charge)
	}
	if s.why != "" {
		t += fmt.Sprintf(" (%d)", slices.Index(reasons, s.why)+1)
	}
	return t
}

// The table of docs/verdicts.md is the one that TestHistoryMatrix holds.
func TestVerdictsPageHasTheHistoryMatrix(t *testing.T) {
	var want strings.Builder
	for _, h := range histories {
		fmt.Fprintf(&want, "| %s |", h.name)
		for m := full; m <= pinned; m++ {
			cell, counter := h.in(m, eventlog.SchemeDigest).text(), h.in(m, eventlog.SchemeCounter).text()
			if counter != cell {
				cell = fmt.Sprintf("`digest`: %s; `counter`: %s", cell, counter)
			}
			fmt.Fprintf(&want, " %s |", cell)
		}
		want.WriteString("\n")
	}
	for i, why := range reasons {
		fmt.Fprintf(&want, "\n%d. %s", i+1, why)
	}
	page, err := os.ReadFile("../../docs/verdicts.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(page), "|---|---|---|---|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/verdicts.md does not end with\n%s", want.String())
	}
}
