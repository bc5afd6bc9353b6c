package eventlog

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/meterseal/meterseal/internal/durable"
)

// Recovery is what Open found.
type Recovery struct {
	// First says that no seal was ever stored here: this is a first start.
	First bool
	// Dropped is the size in bytes of the torn end that was cut off.
	Dropped uint32
	// Sealed says that Seal is the newest seal whose signature verifies over
	// the log as it is. Right after a rotation it is that of the segment
	// before.
	Sealed bool
	Seal   Seal
	// Uncovered is the number of specific records after that seal.
	Uncovered int
	// LastSeq is the sequence number after which the log goes on. It is at
	// least as high as any that was ever used.
	LastSeq uint32
	// LastBoot is the highest boot counter that was found.
	LastBoot uint32
	// LastMillis is the wall clock of the last record, ms since the Unix
	// epoch, UTC; 0 if there is none.
	LastMillis int64
	// Damaged is what LOG_DAMAGED will say, without the answer of the secure
	// element; nil if the log is sound.
	Damaged *LogDamaged
	// Notes say in words what was found and done, for the operator.
	Notes []string

	newest uint32 // segment
}

// Counters returns the counters for BOOT or LOG_DAMAGED, given what the secure
// element reports. If the newest seal is of an earlier segment, SealLength is
// 0: all records of the newest segment came after it.
func (r *Recovery) Counters(moduleUp bool, moduleCounter uint64) Counters {
	c := Counters{ModuleUp: moduleUp}
	if moduleUp {
		c.ModuleCounter = moduleCounter
	}
	if r.Sealed {
		c.SealCounter = r.Seal.Counter
		if r.Seal.Segment == r.newest {
			c.SealLength = r.Seal.SignedLength
		}
	}
	return c
}

func (r *Recovery) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Open reads the log and decides what of it may be built upon: the newest
// segment, if the newest stored seal verifies over the bytes as they are, cut
// after the last whole record if a torn write follows. Otherwise the segment is
// damaged: it stays as it is and Begin goes on in a new one. Checksums and the
// fields of a seal prove nothing here; they only tell a torn write from an
// edited log.
//
// Open appends and signs nothing. Call [Log.Begin] next. The error means that
// the log could not be judged: the disk fails, or the configuration does not
// belong to this log (ErrTerms).
func Open(cfg Config) (*Log, *Recovery, error) {
	l := &Log{fs: cfg.FS, meter: cfg.Meter, profile: cfg.Profile, head: newHead()}
	o := opening{Log: l, rec: &Recovery{}, first: cfg.First, files: map[uint32]durable.File{}}
	err := o.configure(&cfg)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		o.abandon()
		return nil, nil, err
	}
	return l, o.rec, nil
}

// opening is the state while a log is opened.
type opening struct {
	*Log
	rec     *Recovery
	first   bool
	keys    []terms // terms that may be found, the current ones first
	formers []terms // terms of former keys; the scheme is not known
	inv     inventory
	found   []foundSeal
	files   map[uint32]durable.File // open segments
}

func (o *opening) configure(cfg *Config) (err error) {
	if cfg.FS == nil {
		return errors.New("eventlog: no directory given for the log")
	}
	if !cfg.Meter.Valid() {
		return fmt.Errorf("eventlog: %s is no meter id", cfg.Meter)
	}
	if o.terms, err = newTerms(cfg.Key, cfg.Scheme, cfg.Policy); err != nil {
		return err
	}
	o.keys = []terms{o.terms}
	if cfg.Next != nil {
		next, err := o.terms.with(cfg.Next)
		if err != nil {
			return err
		}
		o.keys = append(o.keys, next)
	}
	for _, pub := range cfg.Former {
		former, err := newTerms(pub, cfg.Scheme, cfg.Policy)
		if err != nil {
			return err
		}
		o.formers = append(o.formers, former)
	}
	return nil
}

func (o *opening) run() (err error) {
	if o.inv, err = takeInventory(o.fs); err != nil {
		return err
	}
	for _, name := range o.inv.foreign {
		o.rec.note("%s is no file of the log and was left alone", name)
	}
	if o.found, err = o.seals.open(o.fs); err != nil {
		return err
	}
	for _, n := range o.inv.segments {
		if o.files[n], err = o.fs.Open(fileName(n, segmentExt)); err != nil {
			return fmt.Errorf("eventlog: segment %d: %w", n, err)
		}
	}
	switch lost := o.lost(); {
	case o.first && o.untouched():
		err = o.firstStart()
	case lost != nil:
		err = o.missing(lost)
	case len(o.inv.segments) == 0:
		err = o.missing(&foundSeal{Seal: Seal{Segment: 1}})
	default:
		err = o.resume(last(o.inv.segments))
	}
	if err != nil {
		return err
	}
	return o.show()
}

func last(numbers []uint32) uint32 {
	if len(numbers) == 0 {
		return 0
	}
	return numbers[len(numbers)-1]
}

// untouched reports whether nothing shows that a seal was ever stored.
func (o *opening) untouched() bool {
	return len(o.found) == 0 && len(o.inv.seals) == 0 && last(o.inv.segments) <= 1
}

// firstStart goes on in segment 1 if an earlier attempt left it sound, since
// its records may have been promised; otherwise it makes a clean start.
func (o *opening) firstStart() error {
	o.rec.First = true
	if f, ok := o.files[1]; ok {
		p, err := o.prove(1, f)
		if err != nil {
			return err
		}
		if p.why == "" && p.fresh(o.profile) && p.scan.header.PrevLength == 0 {
			return o.adopt(1, f, p)
		}
		o.rec.note("segment 1 was left by an interrupted first start and was removed")
		delete(o.files, 1)
		if err := errors.Join(f.Close(), removeSegment(o.fs, 1)); err != nil {
			return err
		}
		o.inv.segments = nil
	}
	o.start = &starter{number: 1}
	return nil
}

// lost returns a genuine seal of a segment that is gone: its signature is one
// of a key of ours over its own digest, and its segment is newer than any.
func (o *opening) lost() *foundSeal {
	var newest *foundSeal
	for i := range o.found {
		s := &o.found[i]
		if s.Segment <= last(o.inv.segments) || newest != nil && s.Segment < newest.Segment {
			continue
		}
		for _, t := range slices.Concat(o.keys, o.formers) {
			if s.Signs(t.pub, t.key, s.Scheme, s.Digest) {
				newest = s
			}
		}
	}
	return newest
}

// missing makes a start after a segment whose file is gone.
func (o *opening) missing(s *foundSeal) error {
	seq, boot, err := o.before(math.MaxUint32)
	if err != nil {
		return err
	}
	o.rec.LastSeq, o.rec.LastBoot = max(seq, s.LastSeq), boot
	o.rec.note("the file of segment %d is missing", s.Segment)
	o.damage(s.Segment, &LogDamaged{Segment: s.Segment}, nil)
	return nil
}

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

// abandon closes what a failed Open had opened.
func (o *opening) abandon() {
	_ = o.seals.close()
	for _, f := range o.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// keyOf returns the terms under which a header's key seals.
func (o *opening) keyOf(h *Header) (t terms, former, known bool) {
	for _, t := range o.keys {
		if t.key == h.Key && t.scheme == h.Scheme {
			return t, false, true
		}
	}
	for _, t := range o.formers {
		if t.key == h.Key && (h.Scheme == SchemeDigest || h.Scheme == SchemeCounter) {
			t.scheme = h.Scheme
			return t, true, true
		}
	}
	return terms{}, false, false
}

// policyOf returns the set that a header names, nil if it is not known.
func (o *opening) policyOf(h *Header) *Policy {
	for i := range o.keys {
		if p := &o.keys[i].policy; p.Version == h.PolicyVersion && p.Digest() == h.PolicyDigest {
			return p
		}
	}
	return nil
}
