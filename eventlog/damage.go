package eventlog

import (
	"fmt"
	"math"
)

// damage is what is wrong with a log, and what the segment that goes on after it
// will say.
type damage struct {
	why       string
	says      LogDamaged // without the answer of the secure element
	seal      *Seal      // the newest one that verifies, nil = none
	uncovered int        // specific records after it
	terms     terms      // of the segment that goes on
	lastSeq   uint32     // at least as high as any sequence number that was used
	lastBoot  uint32
	millis    int64
}

// unlikelySeq is a sequence number that no meter lives to use: a record every
// second takes 68 years. Only a seal makes it believed, since a log cannot go
// on beyond the last number.
const unlikelySeq = math.MaxUint32 / 2

// damageOf describes the newest segment in list, which cannot be built upon.
func (o *opening) damageOf(list []uint32, p *proof) (*damage, error) {
	n := last(list)
	seq, boot, slots, err := o.before(list[:len(list)-1])
	if err != nil {
		return nil, err
	}
	s := p.scan
	d := &damage{
		why:  fmt.Sprintf("segment %d is damaged: %s", n, p.why),
		says: LogDamaged{Segment: n, Found: s.size}, terms: o.terms,
		lastBoot: max(s.boot, boot), millis: s.millis,
	}
	// Whatever stood in the bytes that are no records any more, it was no
	// more than one record a slot.
	used := uint64(max(s.lastSeq, seq)) + s.torn()/SlotSize
	if used > unlikelySeq && p.best == nil && (n == 1 || len(list) > 1) {
		used = min(used, uint64(seq)+slots+s.size/SlotSize)
	}
	d.lastSeq = uint32(min(used, math.MaxUint32))
	if p.best != nil {
		d.says.Verifiable, d.says.Digest = p.best.SignedLength, p.best.Digest
		d.uncovered = s.specifics - p.bestMark.specifics
	}
	d.seal, _ = p.standing()
	if d.seal == nil {
		return d, nil
	}
	d.says.SealCounter = d.seal.Counter
	if p.best != nil {
		d.says.SealLength = p.best.SignedLength
	}
	switch next, err := follow(s.header.terms(), &s.head, o.keys); {
	case p.closed() && err == nil:
		d.terms = next
	case !p.former && p.policyKnown:
		d.terms = p.terms
	}
	return d, nil
}

// missing describes a log whose newest segment, after those in list, is gone.
func (o *opening) missing(list []uint32, gone, lastSeq uint32) (*damage, error) {
	seq, boot, _, err := o.before(list)
	return &damage{
		why:  fmt.Sprintf("the file of segment %d is missing", gone),
		says: LogDamaged{Segment: gone}, terms: o.terms,
		lastSeq: max(seq, lastSeq), lastBoot: boot,
	}, err
}

// before returns the highest sequence number and boot counter in segments, as
// far as they can be read, and how many slots they have.
func (o *opening) before(segments []uint32) (seq, boot uint32, slots uint64, err error) {
	for _, m := range segments {
		s, err := scanSegment(o.files[m], m, nil, nil, func(*Header) *Policy { return nil })
		if err != nil {
			return 0, 0, 0, err
		}
		seq, boot, slots = max(seq, s.lastSeq), max(boot, s.boot), slots+s.size/SlotSize
	}
	return seq, boot, slots, nil
}

// declare makes Begin start the segment after one that is damaged or gone.
// Numbers of which something is left are not used again: a segment whose seal
// was kept was followed by one that may have been sealed too.
func (o *opening) declare(d *damage) error {
	next := uint64(d.says.Segment) + 1
	if kept := last(o.inv.seals); kept >= d.says.Segment {
		next = uint64(kept) + 2
	}
	if next > math.MaxUint32 {
		return fmt.Errorf("%w: the files of segment %d leave no number for the next one; take them away if they are not of this log", ErrExhausted, max(d.says.Segment, last(o.inv.seals)))
	}
	if d.lastSeq > math.MaxUint32-2 {
		return fmt.Errorf("%w: the file of segment %d leaves no sequence number; take it away if it is not of this log", ErrExhausted, d.says.Segment)
	}
	r := o.rec
	r.note("%s", d.why)
	r.newest, r.Damaged, r.Uncovered = d.says.Segment, &d.says, d.uncovered
	r.LastSeq, r.LastBoot, r.LastMillis = d.lastSeq, d.lastBoot, d.millis
	if d.seal != nil {
		r.Sealed, r.Seal = true, *d.seal
	}
	o.terms, o.lastSeq = d.terms, d.lastSeq
	o.start = &starter{number: uint32(next), prevLength: d.says.Verifiable, prevDigest: d.says.Digest, damaged: &d.says}
	return nil
}

// wrote reports whether a segment that begins with LOG_DAMAGED is the one that
// goes on after d.
func (d *damage) wrote(s *scan) bool {
	said := *s.first
	said.ModuleUp, said.ModuleCounter = false, 0
	h := &s.header
	return said == d.says && h.terms() == d.terms.named() && h.FirstSeq == d.lastSeq+1 &&
		h.PrevLength == d.says.Verifiable && h.PrevDigest == d.says.Digest
}
