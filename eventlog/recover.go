package eventlog

import (
	"fmt"

	"github.com/meterseal/meterseal/internal/durable"
)

// resume takes up the newest segment if it is sound, else it declares it damaged.
func (o *opening) resume() error {
	p, d, err := o.assess(o.inv.segments)
	switch {
	case err != nil:
		return err
	case d != nil:
		return o.declare(d)
	case p.closed():
		return o.afterEnd(p)
	}
	return o.adopt(p)
}

// assess judges a log of the segments in list: the newest one is sound, or
// damaged or gone.
func (o *opening) assess(list []uint32) (*proof, *damage, error) {
	n := last(list)
	if lost := o.lost(n); lost != nil {
		d, err := o.missing(list, lost.Segment, lost.LastSeq)
		return nil, d, err
	}
	if n == 0 {
		d, err := o.missing(list, 1, 0)
		return nil, d, err
	}
	p, err := o.prove(n, o.files[n])
	if err != nil {
		return nil, nil, err
	}
	if p.why == "" && p.best == nil {
		if p.why, err = o.unsealed(list, p); err != nil {
			return nil, nil, err
		}
	}
	if p.why == "" {
		if p.why, err = o.unsound(p); err != nil {
			return nil, nil, err
		}
	}
	if p.why == "" {
		return p, nil, nil
	}
	d, err := o.damageOf(list, p)
	return nil, d, err
}

// unsound says why a segment cannot be built upon although nothing of it was
// changed, "" if it can. The error means that the configuration does not belong
// to it.
func (o *opening) unsound(p *proof) (string, error) {
	known, ok := p.account()
	terms := p.terms
	switch h := &p.scan.header; {
	case p.closed():
		next, err := follow(h.terms(), &p.scan.head, o.keys)
		if err != nil {
			return "", err
		}
		terms = next
		known, ok = p.next(next)
	case p.former:
		return "it is sealed by a former key and announces no new one", nil
	case !p.policyKnown:
		return "", fmt.Errorf("%w: segment %d was made with specific set %s of version %d", ErrTerms, h.Segment, h.PolicyDigest, h.PolicyVersion)
	}
	c := o.counter
	if !ok || c == nil || c.Key != terms.key {
		return "", nil
	}
	if known.overdrawn(c.Counter) {
		return fmt.Sprintf("seals are gone: the counter of the secure element is %d, and %d signatures after %d are explained", c.Counter, known.since, known.counter), nil
	}
	for _, u := range c.Uses {
		if u.Counter > known.counter && u.Digest != (Digest{}) && !p.scan.asked[u.Digest] {
			return fmt.Sprintf("it was edited: what the secure element signed with counter %d is not in it", u.Counter), nil
		}
	}
	return "", nil
}

// adopt takes up a sound segment: it is cut after its last whole record, and
// what was read is made durable, since a process that was killed, or a failed
// sync, leaves bytes and names that we see and that the disk does not have.
func (o *opening) adopt(p *proof) error {
	n := p.scan.header.Segment
	f := o.files[n]
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
	r.KeyChange, r.PolicyChange = p.announced()
	return o.seals.create(o.fs)
}

// useSeal reports the seal that stands, the segment's own or the last one of
// the segment before, and makes the next one go to the other slot.
func (o *opening) useSeal(p *proof) {
	standing, slot := p.standing()
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
func (o *opening) afterEnd(p *proof) error {
	n := p.scan.header.Segment
	if err := o.adopt(p); err != nil {
		return err
	}
	t, err := follow(p.scan.header.terms(), &p.scan.head, o.keys)
	if err != nil {
		return err
	}
	o.rec.note("segment %d is closed; the next one is begun", n)
	o.rec.KeyChange, o.rec.PolicyChange = nil, nil
	o.terms = t
	o.start = &starter{number: n + 1, prevLength: p.best.SignedLength, prevDigest: p.best.Digest}
	return nil
}
