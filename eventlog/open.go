package eventlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/internal/durable"
)

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
	o := opening{Log: l, rec: &Recovery{}, first: cfg.First, counter: cfg.Counter, files: map[uint32]durable.File{}}
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
	counter *KeyCounter // nil = not known
	keys    []terms     // terms that may be found, the current ones first
	formers []terms     // terms of former keys; the scheme is not known
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
	if o.first && o.untouched() {
		err = o.firstStart()
	} else {
		err = o.resume()
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

// MaxFirstStarts is how many first starts may be interrupted, each with a
// signature, before the key counts as one that has signed a log.
const MaxFirstStarts = 16

// firstStart begins segment 1. What an interrupted first start has left is
// removed: no seal tells it from what somebody else has put there.
func (o *opening) firstStart() error {
	o.rec.First = true
	if c := o.counter; c != nil && o.terms.scheme == SchemeCounter && c.Key == o.terms.key && c.Counter > MaxFirstStarts {
		return fmt.Errorf("%w: its counter is %d", ErrSignedBefore, c.Counter)
	}
	if f, ok := o.files[1]; ok {
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
// of a key of ours over its own digest, and its segment is after the given one.
func (o *opening) lost(after uint32) *foundSeal {
	var newest *foundSeal
	for i := range o.found {
		s := &o.found[i]
		if s.Segment <= after || newest != nil && s.Segment < newest.Segment {
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
