package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Verify judges a bundle. The error is not nil only if stored state could not
// be read or is damaged, so that no verdict was reached; it wraps the error of
// the function in [Known] that failed.
//
// The parts of the bundle are judged one after the other, each knowing those
// before it. The first one whose verdict is not applied decides, and a bundle
// is applied as a whole or not at all.
//
// A long new segment is read in a second goroutine while its digest is
// computed; that has ended when Verify returns. The functions in [Known] are
// called from the caller's goroutine only.
func Verify(in *Input) (*Report, error) {
	v := newVerifier(in)
	if step := v.envelope(); step != 0 {
		return v.report(step), nil
	}
	step := stepIntact
	for i := range in.Bundle.Parts {
		p := &part{v: v, in: &in.Bundle.Parts[i], last: i == len(in.Bundle.Parts)-1}
		s, err := p.judge()
		if err != nil {
			return nil, fmt.Errorf("verify: segment %d: %w", p.in.Segment, err)
		}
		v.collect(p, s)
		if s < stepGap {
			v.out.NeedFrom, v.claimed = p.need, p.claimed
			return v.report(s), nil
		}
		step = min(step, s)
	}
	return v.report(min(step, v.freshness(), v.tail())), nil
}

// VerifyRaw decodes a bundle and judges it. Bytes that are no bundle are
// MALFORMED. The report aliases raw. in.Bundle is not used.
func VerifyRaw(in *Input, raw []byte) (*Report, error) {
	decoded := *in
	decoded.Bundle = new(eventlog.Bundle)
	if err := decoded.Bundle.UnmarshalBinary(raw); err != nil {
		v := newVerifier(&decoded)
		v.found.add(FindBundle, place{}, "%v", err)
		return v.report(stepParse), nil
	}
	return Verify(&decoded)
}

// step is a place in the order of docs/verdicts.md. Some verdicts have
// several. 0 means: no match so far, go on.
type step uint8

const (
	stepParse step = iota + 1
	stepMeter
	stepKey
	stepHint
	stepIncomplete
	stepUnsealed
	stepAltered
	stepStructure
	stepRevoked
	stepPolicy
	stepForked
	stepRolledBack
	stepGap
	stepStale
	stepTail
	stepIntact
)

// outcomes says for each step which verdict it is and whom it is laid on. What
// only the meter's signature can bring about is proven.
var outcomes = [...]struct {
	verdict Verdict
	charge  Charge
	proven  bool
}{
	stepParse:      {Malformed, ChargeCourier, false},
	stepMeter:      {WrongMeter, ChargeCourier, false},
	stepKey:        {WrongKey, ChargeCourier, false},
	stepHint:       {Malformed, ChargeCourier, false},
	stepIncomplete: {Incomplete, ChargeCourier, false},
	stepUnsealed:   {NotSealed, ChargeCourier, false},
	stepAltered:    {Altered, ChargeCourier, false},
	stepStructure:  {Malformed, ChargeMeter, true},
	stepRevoked:    {KeyRevoked, ChargeMeter, true},
	stepPolicy:     {PolicyMismatch, ChargeMeter, true},
	stepForked:     {Forked, ChargeMeter, true},
	stepRolledBack: {RolledBack, ChargeMeter, true},
	stepGap:        {Gap, ChargeMeter, true},
	stepStale:      {Stale, ChargeCourier, false},
	stepTail:       {IntactWithTail, "", true},
	stepIntact:     {Intact, "", true},
}

// verifier holds what the parts of one bundle share.
type verifier struct {
	in      *Input
	head    *Head // newest accepted state; nil = none
	pin     *Head // a head that must be contained; nil = none
	found   findings
	out     Report
	claimed bool // the verdict rests on the courier's word
	tails   int  // records in unsigned tails
}

func newVerifier(in *Input) *verifier {
	v := &verifier{in: in, head: in.Known.Head}
	if v.head != nil && v.head.Accepted.IsZero() {
		v.head, v.pin = nil, v.head
	}
	v.out.Meter = in.Registration.Meter
	return v
}

// envelope checks what concerns the bundle as a whole.
func (v *verifier) envelope() step {
	u := v.in.Bundle
	last := uint32(0)
	for i := range u.Parts {
		if p := &u.Parts[i]; p.Segment <= last || p.Offset%eventlog.SlotSize != 0 || p.Offset > 0 && p.Offset < eventlog.HeaderSize {
			v.found.add(FindBundle, place{Position: Position{p.Segment, p.Offset}}, "the part is out of order, or begins inside a slot or the header")
			return stepParse
		}
		last = u.Parts[i].Segment
	}
	if last == 0 {
		v.found.add(FindBundle, place{}, "the bundle has no parts")
		return stepParse
	}
	if !v.in.Registration.AnyMeter && u.Meter != v.in.Registration.Meter {
		v.found.add(FindMeter, place{}, "the courier says %s", u.Meter)
		return stepMeter
	}
	return 0
}

// segment returns what is known of a segment, from this bundle or before.
func (v *verifier) segment(number uint32) (*Head, error) {
	for i := range v.out.Advance {
		if a := &v.out.Advance[i]; a.Head.Segment() == number {
			return &a.Head, nil
		}
	}
	if v.head != nil && v.head.Segment() == number {
		return v.head, nil
	}
	if v.in.Known.Segment == nil {
		return nil, nil
	}
	return v.in.Known.Segment(number)
}

// below returns the state of the nearest segment known to precede number, and
// whether that is its direct predecessor.
func (v *verifier) below(number uint32) (h *Head, adjacent bool, err error) {
	if h, err = v.segment(number - 1); h != nil || err != nil {
		return h, h != nil, err
	}
	if v.head != nil && v.head.Segment() < number {
		h = v.head
	} else if v.in.Known.Below != nil {
		if h, err = v.in.Known.Below(number); err != nil {
			return nil, false, err
		}
	}
	for i := range v.out.Advance { // ascending, and all below number
		if a := &v.out.Advance[i].Head; h == nil || a.Segment() >= h.Segment() {
			h = a
		}
	}
	return h, false, nil
}

// above returns the state of the segment after number or, if that is not
// known, of the newest one; nil if that is not above number.
func (v *verifier) above(number uint32) (*Head, error) {
	if v.head == nil || number >= v.head.Segment() {
		return nil, nil
	}
	h, err := v.segment(number + 1)
	if h == nil {
		h = v.head
	}
	return h, err
}

// key returns the registered key that f accepts, or nil.
func (v *verifier) key(f func(*Key) bool) *Key {
	i := slices.IndexFunc(v.in.Registration.Keys, func(k Key) bool { return f(&k) })
	if i < 0 {
		return nil
	}
	return &v.in.Registration.Keys[i]
}

// collect takes over what a part has brought.
func (v *verifier) collect(p *part, s step) {
	v.found = append(v.found, p.found...)
	v.tails += p.tail
	if p.held {
		v.out.Meter, v.out.Key, v.out.Scheme = p.header.Meter, p.key.ID, p.key.Scheme
		v.out.Segment, v.out.SignedLength, v.out.LastSeq = p.in.Segment, p.state.Length, p.state.LastSeq
		v.out.AsOf = time.UnixMilli(p.state.Millis).UTC()
	}
	if !p.grows || s < stepGap {
		return
	}
	v.out.Advance = append(v.out.Advance, p.advance())
	v.out.Dropped = append(v.out.Dropped, p.dropped...)
	v.out.Answered = append(v.out.Answered, p.answered...)
	v.out.Missing = append(v.out.Missing, p.missing...)
}

// freshness is STALE if an overdue nonce is not answered, or if nothing new
// has come for too long.
func (v *verifier) freshness() step {
	in, s := v.in, stepIntact
	for _, n := range in.Nonces {
		answered := slices.ContainsFunc(v.out.Answered, func(a Answer) bool { return a.Nonce.Value == n.Value })
		if !answered && in.Limits.Overdue(n, in.Received) {
			v.found.add(FindNonce, place{}, "the challenge of %s is not answered", n.Issued.UTC().Format(time.RFC3339))
			s = stepStale
		}
	}
	if v.head != nil && !v.news() && in.Limits.Stale(v.head.Accepted, in.Received) {
		v.found.add(FindHeadOld, place{}, "the newest signed state was accepted %s", v.head.Accepted.UTC().Format(time.RFC3339))
		s = stepStale
	}
	return s
}

// news reports whether the newest segment has grown.
func (v *verifier) news() bool {
	n := len(v.out.Advance)
	return n > 0 && v.out.Advance[n-1].Head.Segment() >= v.head.Segment()
}

func (v *verifier) tail() step {
	if v.tails > 0 {
		return stepTail
	}
	return stepIntact
}

// report completes the report for the step that decides.
func (v *verifier) report(s step) *Report {
	r, o := &v.out, outcomes[s]
	r.Verdict, r.Charge, r.Proven = o.verdict, o.charge, o.proven
	r.Tail, r.Findings = v.tails, append([]Finding{}, v.found...)
	if v.claimed {
		r.Charge, r.Proven = ChargeCourier, false
	}
	if !r.Verdict.Applied() {
		r.Advance, r.Dropped, r.Answered, r.Missing = nil, nil, nil, nil
		return r
	}
	r.Duplicate = len(r.Advance) == 0
	if v.settleMissing() {
		r.Charge, r.Proven = ChargeCourier, false
	}
	return r
}

// settleMissing says of each missing segment who claims that it is gone, and
// reports whether the courier is alone with the claim for one of them.
func (v *verifier) settleMissing() (courier bool) {
	for i := range v.out.Missing {
		m := &v.out.Missing[i]
		if v.allDropped(m.First, m.Last) {
			m.By = ChargeMeter
		}
		courier = courier || m.By == ChargeCourier
	}
	return courier
}

// allDropped reports whether the meter's SEGMENT_DROPPED names each segment of
// the range.
func (v *verifier) allDropped(first, last uint32) bool {
	named := map[uint32]bool{}
	for i := range v.out.Dropped {
		if n := v.out.Dropped[i].Segment; n >= first && n <= last {
			named[n] = true
		}
	}
	return uint64(len(named)) == uint64(last)-uint64(first)+1
}
