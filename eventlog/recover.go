package eventlog

import (
	"fmt"
	"math"

	"github.com/meterseal/meterseal/internal/durable"
)

// resume judges the newest segment and takes it up, or declares it damaged.
func (o *opening) resume(n uint32) error {
	p, err := o.prove(n, o.files[n])
	if err != nil {
		return err
	}
	if p.why == "" && p.best == nil {
		if p.why, err = o.unsealed(n, p); err != nil {
			return err
		}
	}
	if p.why == "" && p.closed() {
		return o.afterEnd(n, p)
	}
	if p.why == "" && p.former {
		p.why = "it is sealed by a former key and announces no new one"
	}
	if p.why == "" && !p.policyKnown {
		return fmt.Errorf("%w: segment %d was made with specific set %s of version %d", ErrTerms, n, p.scan.header.PolicyDigest, p.scan.header.PolicyVersion)
	}
	if p.why == "" {
		return o.adopt(n, o.files[n], p)
	}
	seq, boot, err := o.before(n)
	if err != nil {
		return err
	}
	// Whatever stood in the bytes that are no records any more, it was no
	// more than one record a slot.
	o.rec.LastSeq = uint32(min(uint64(max(p.scan.lastSeq, seq))+p.scan.torn()/SlotSize, math.MaxUint32))
	o.rec.LastBoot, o.rec.LastMillis = max(p.scan.boot, boot), p.scan.millis
	o.rec.note("segment %d is damaged: %s", n, p.why)
	d := &LogDamaged{Segment: n, Found: p.scan.size}
	if p.best != nil {
		d.Verifiable, d.Digest = p.best.SignedLength, p.best.Digest
		o.rec.Uncovered = p.scan.specifics - p.bestMark.specifics
		if !p.former && p.policyKnown {
			o.terms = p.terms
		}
	}
	o.damage(n, d, p.best)
	return nil
}

// damage makes Begin start the segment after number, which is damaged or gone.
// Numbers of which something is left are not used again: a segment whose seal
// was kept was followed by one that may have been sealed too.
func (o *opening) damage(number uint32, d *LogDamaged, best *Seal) {
	o.rec.newest = number
	if best != nil {
		o.rec.Sealed, o.rec.Seal = true, *best
	}
	d.Counters = o.rec.Counters(false, 0)
	o.rec.Damaged = d
	o.lastSeq = o.rec.LastSeq
	next := number + 1
	if kept := last(o.inv.seals); kept > number {
		next = kept + 2
	}
	o.start = &starter{number: next, prevLength: d.Verifiable, prevDigest: d.Digest, damaged: d}
}

// adopt takes up a sound segment: it is cut after its last whole record, and
// what was read is made durable, since a process that was killed, or a failed
// sync, leaves bytes and names that we see and that the disk does not have.
func (o *opening) adopt(n uint32, f durable.File, p *proof) error {
	if err := o.settle(f, p); err != nil {
		return err
	}
	o.segment, o.file, o.head, o.terms = n, f, p.scan.head, p.terms
	r := o.rec
	r.newest, r.Dropped = n, uint32(p.scan.torn())
	r.LastSeq, r.LastBoot, r.LastMillis = p.scan.lastSeq, p.scan.boot, p.scan.millis
	if r.Dropped > 0 {
		r.note("%d bytes of a torn write were cut off segment %d", r.Dropped, n)
	}
	if p.best != nil {
		o.sealed = *p.best
	}
	o.useSeal(p)
	r.Uncovered = p.scan.specifics - p.bestMark.specifics
	return nil
}

// useSeal reports the seal that stands, the segment's own or the last one of
// the segment before, and makes the next one go to the other slot.
func (o *opening) useSeal(p *proof) {
	standing, slot := p.best, p.bestSlot
	if standing == nil {
		standing, slot = p.before, p.beforeSlot
	}
	if standing == nil {
		return
	}
	o.rec.Sealed, o.rec.Seal = true, *standing
	o.seals.next = slot ^ 1
}

// settle makes durable what the program sees of a sound segment and its seals.
func (o *opening) settle(f durable.File, p *proof) error {
	if p.scan.torn() > 0 {
		if err := f.Truncate(int64(p.scan.length)); err != nil {
			return fmt.Errorf("eventlog: cut the torn end: %w", err)
		}
	}
	from := p.bestMark.length
	b := make([]byte, 64<<10)
	for off := from; off < p.scan.length; {
		part := b[:min(uint64(len(b)), p.scan.length-off)]
		if n, err := f.ReadAt(part, int64(off)); n < len(part) {
			return fmt.Errorf("eventlog: settle the log: %w", err)
		}
		if _, err := f.WriteAt(part, int64(off)); err != nil {
			return fmt.Errorf("eventlog: settle the log: %w", err)
		}
		off += uint64(len(part))
	}
	if from < p.scan.size {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("eventlog: settle the log: %w", err)
		}
	}
	for _, s := range o.found {
		if err := o.seals.write(s.slot, s.raw); err != nil {
			return err
		}
	}
	if err := o.fs.SyncDir(); err != nil {
		return fmt.Errorf("eventlog: settle the log: %w", err)
	}
	return nil
}

// afterEnd prepares the segment that follows a closed one: the meter stopped
// between the last seal of the one and the first byte of the other.
func (o *opening) afterEnd(n uint32, p *proof) error {
	if err := o.adopt(n, o.files[n], p); err != nil {
		return err
	}
	t, err := follow(p.scan.header.terms(), &p.scan.head, o.keys)
	if err != nil {
		return err
	}
	o.rec.note("segment %d is closed; the next one is begun", n)
	o.terms = t
	o.start = &starter{number: n + 1, prevLength: p.best.SignedLength, prevDigest: p.best.Digest}
	return nil
}

// before returns the highest sequence number and boot counter in the segments
// before n, as far as they can be read.
func (o *opening) before(n uint32) (seq, boot uint32, err error) {
	for _, m := range o.inv.segments {
		if m >= n {
			break
		}
		s, err := scanSegment(o.files[m], m, nil, func(*Header) *Policy { return nil })
		if err != nil {
			return 0, 0, err
		}
		seq, boot = max(seq, s.lastSeq), max(boot, s.boot)
	}
	return seq, boot, nil
}
