package controller

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

// SpoolConfig says where bundles wait for the MDMS, and how many.
type SpoolConfig struct {
	// Dir is the directory, made if missing, that belongs to this spool alone.
	// Default: none, bundles wait in memory and a restart loses them. The meter
	// still has its log then.
	Dir string
	// FS, if not nil, is used in place of Dir.
	FS durable.FS
	// Limit bounds the bundles that wait, in bytes, each counted as whole
	// 4 KiB. Default 64 MiB.
	Limit int64
	// Rejected bounds the bundles that the MDMS has rejected and that are kept
	// for a person to look at; of too many the oldest go. Default 16 MiB.
	Rejected int64
}

// Source tells apart who collected a bundle, since what a bundle says of itself
// is anybody's word: bundles of one source never stand in for those of another.
// 0 is a source like any other.
type Source uint64

// Entry is a bundle in the spool.
type Entry struct {
	ID     uint64 // ascending in the order of collection
	Source Source
	Meter  eventlog.MeterID
	Head   Head  // what the receiver has after this bundle
	Size   int64 // bytes
	data   []byte
}

// queue is a line of bundles that build on each other.
type queue struct {
	source Source
	meter  eventlog.MeterID
}

func (e Entry) queue() queue { return queue{e.Source, e.Meter} }

// name returns the name of the entry's file with that extension.
func (e Entry) name(ext string) string {
	if e.Source == 0 {
		return fmt.Sprintf("%016x%s", e.ID, ext)
	}
	return fmt.Sprintf("%016x-%016x%s", e.ID, uint64(e.Source), ext)
}

// parseName is the inverse of Entry.name.
func parseName(name string) (e Entry, ext string, ok bool) {
	stem, ext, _ := strings.Cut(name, ".")
	id, source, _ := strings.Cut(stem, "-")
	n, err := strconv.ParseUint(id, 16, 64)
	m, _ := strconv.ParseUint(source, 16, 64) // what is not a number is not written so
	e, ext = Entry{ID: n, Source: Source(m)}, "."+ext
	return e, ext, err == nil && e.name(ext) == name
}

// charge is what the bundle counts against the limit.
func (e Entry) charge() int64 { return (e.Size + 4095) &^ 4095 }

// Spool keeps bundles, on disk and in the order of collection, until the MDMS
// has acknowledged them. What Put has returned for survives a power cut. A full
// spool takes no more: it never drops what waits. Its methods may be called
// concurrently.
//
// On disk a bundle that waits is a file ID-SOURCE.mseal, both of 16 hexadecimal
// digits, or ID.mseal for source 0; a rejected one is ID-SOURCE.rejected, with the
// reason beside it in ID-SOURCE.reason.
type Spool struct {
	cfg SpoolConfig
	fs  durable.FS // nil: in memory

	mu       sync.Mutex // guards what follows
	next     uint64
	waiting  []Entry
	rejected []Entry
	changed  chan struct{} // closed and replaced at each change of waiting
}

const (
	rejectedExt = ".rejected"
	reasonExt   = ".reason"
	maxReason   = 1 << 10 // bytes
)

// OpenSpool opens a spool and clears away what a power cut has left half done.
func OpenSpool(c SpoolConfig) (*Spool, error) {
	if c.Limit <= 0 {
		c.Limit = 64 << 20
	}
	if c.Rejected <= 0 {
		c.Rejected = 16 << 20
	}
	s := &Spool{cfg: c, fs: c.FS, next: 1, changed: make(chan struct{})}
	if s.fs == nil {
		if c.Dir == "" {
			return s, nil
		}
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("controller: open spool: %w", err)
		}
		var err error
		if s.fs, err = durable.Dir(c.Dir); err != nil {
			return nil, fmt.Errorf("controller: open spool: %w", err)
		}
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("controller: open spool %s: %w", c.Dir, err)
	}
	return s, nil
}

// load reads the directory.
func (s *Spool) load() error {
	names, err := s.fs.List()
	if err != nil {
		return err
	}
	var reasons []Entry
	for _, name := range names {
		e, ext, ok := parseName(name)
		var err error
		switch {
		case strings.HasSuffix(name, durable.TempExt):
			err = s.fs.Remove(name)
		case !ok:
			continue // not ours
		case ext == reasonExt:
			reasons = append(reasons, e)
		case ext == rejectedExt:
			err = s.loadRejected(e)
		case ext == eventlog.BundleExt:
			err = s.loadWaiting(e)
		default:
			continue
		}
		if err != nil {
			return err
		}
		s.next = max(s.next, e.ID+1)
	}
	for _, r := range reasons {
		if !slices.ContainsFunc(s.rejected, func(e Entry) bool { return e.ID == r.ID }) {
			if err := s.fs.Remove(r.name(reasonExt)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Spool) loadWaiting(e Entry) error {
	data, err := durable.ReadFile(s.fs, e.name(eventlog.BundleExt), eventlog.MaxBundle)
	if err != nil {
		return err
	}
	var b eventlog.Bundle
	e.Size = int64(len(data))
	if err := b.UnmarshalBinary(data); err != nil {
		// The disk has changed it. The MDMS could make nothing of it either.
		return s.setAside(e, "unreadable in the spool: "+err.Error())
	}
	e.Meter, e.Head = b.Meter, headAfter(&b)
	s.waiting = append(s.waiting, e)
	return nil
}

func (s *Spool) loadRejected(e Entry) error {
	data, err := durable.ReadFile(s.fs, e.name(rejectedExt), eventlog.MaxBundle)
	if err != nil {
		return err
	}
	e.Size = int64(len(data))
	var b eventlog.Bundle
	if b.UnmarshalBinary(data) == nil {
		e.Meter, e.Head = b.Meter, headAfter(&b)
	}
	s.rejected = append(s.rejected, e)
	return nil
}

// headAfter returns what its receiver has after a bundle: all that its last
// seal covers.
func headAfter(b *eventlog.Bundle) Head {
	p := b.Parts[len(b.Parts)-1]
	if h := headOf(p.Seal); h.Segment == p.Segment {
		return h
	}
	return Head{Segment: p.Segment, Length: p.Offset + uint64(len(p.Log))}
}

// Put adds a bundle of a source; when it returns nil it is durable. ErrSpoolFull: it has to
// wait outside; ErrTooLarge: it would not fit an empty spool.
func (s *Spool) Put(from Source, b *eventlog.Bundle) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(from, b, 0)
}

// Replace adds a bundle in place of all that wait of the same source and meter:
// it was collected anew, from where the MDMS asked for. They go when it is
// durable.
func (s *Spool) Replace(from Source, b *eventlog.Bundle) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var freed int64
	q := queue{from, b.Meter}
	for _, e := range s.waiting {
		if e.queue() == q {
			freed += e.charge()
		}
	}
	added, err := s.put(from, b, freed)
	if err != nil {
		return added, err
	}
	for _, e := range slices.Clone(s.waiting) {
		if e.queue() == q && e.ID != added.ID {
			if err := s.remove(e); err != nil {
				return added, err
			}
		}
	}
	return added, nil
}

// put adds a bundle where freed bytes will be free soon. s.mu is held.
func (s *Spool) put(from Source, b *eventlog.Bundle, freed int64) (Entry, error) {
	data, err := b.AppendBinary(nil)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{ID: s.next, Source: from, Meter: b.Meter, Head: headAfter(b), Size: int64(len(data))}
	switch {
	case e.charge() > s.cfg.Limit:
		return Entry{}, fmt.Errorf("%w: %d bytes, the spool's limit is %d", ErrTooLarge, len(data), s.cfg.Limit)
	case sum(s.waiting)-freed+e.charge() > s.cfg.Limit:
		return Entry{}, ErrSpoolFull
	}
	if s.fs == nil {
		e.data = data
	} else if err := durable.WriteFile(s.fs, e.name(eventlog.BundleExt), data); err != nil {
		return Entry{}, fmt.Errorf("controller: spool: %w", err)
	}
	s.next++
	s.waiting = append(s.waiting, e)
	s.signal()
	return e, nil
}

func sum(entries []Entry) (n int64) {
	for _, e := range entries {
		n += e.charge()
	}
	return n
}

// signal wakes who waits for a change. s.mu is held.
func (s *Spool) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of what waits.
func (s *Spool) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Full reports whether not even a small bundle fits.
func (s *Spool) Full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sum(s.waiting)+4096 > s.cfg.Limit
}

// Waiting returns the bundles that wait, oldest first.
func (s *Spool) Waiting() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.waiting)
}

// Rejected returns the rejected bundles that are kept, oldest first.
func (s *Spool) Rejected() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rejected)
}

// Last returns, of the bundles of a meter by a source that wait, the one after
// which the receiver has most of the log.
func (s *Spool) Last(from Source, id eventlog.MeterID) (last Entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.waiting {
		if e.queue() == (queue{from, id}) && (!ok || !e.Head.below(last.Head)) {
			last, ok = e, true
		}
	}
	return last, ok
}

// Read returns the bytes of a bundle that waits.
func (s *Spool) Read(e Entry) ([]byte, error) {
	if s.fs == nil {
		return e.data, nil
	}
	data, err := durable.ReadFile(s.fs, e.name(eventlog.BundleExt), eventlog.MaxBundle)
	if err != nil {
		return nil, fmt.Errorf("controller: spool: %w", err)
	}
	return data, nil
}

// Remove deletes a bundle that the MDMS has acknowledged. One that is not there
// is no error.
func (s *Spool) Remove(e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(e)
}

func (s *Spool) remove(e Entry) error {
	i := slices.IndexFunc(s.waiting, func(w Entry) bool { return w.ID == e.ID })
	if i < 0 {
		return nil
	}
	if err := s.delete(e.name(eventlog.BundleExt)); err != nil {
		return err
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.signal()
	return nil
}

// delete removes a file. That it has gone need not be durable: a bundle that
// comes back is a duplicate, and harmless.
func (s *Spool) delete(name string) error {
	if s.fs == nil {
		return nil
	}
	if err := s.fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("controller: spool: %w", err)
	}
	return nil
}

// Reject sets a bundle aside that the MDMS refuses, with the reason.
func (s *Spool) Reject(e Entry, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.waiting, func(w Entry) bool { return w.ID == e.ID })
	if i < 0 {
		return nil
	}
	if err := s.setAside(e, reason); err != nil {
		return err
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.signal()
	return nil
}

// setAside turns a bundle that waits into a rejected one.
func (s *Spool) setAside(e Entry, reason string) error {
	if s.fs != nil {
		reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "") + "\n"
		err := durable.WriteFile(s.fs, e.name(reasonExt), []byte(reason))
		if err == nil {
			err = s.fs.Rename(e.name(eventlog.BundleExt), e.name(rejectedExt))
		}
		if err == nil {
			err = s.fs.SyncDir()
		}
		if err != nil {
			return fmt.Errorf("controller: spool: %w", err)
		}
	}
	s.rejected = append(s.rejected, e)
	for len(s.rejected) > 1 && sum(s.rejected) > s.cfg.Rejected {
		old := s.rejected[0]
		if err := errors.Join(s.delete(old.name(rejectedExt)), s.delete(old.name(reasonExt))); err != nil {
			return err
		}
		s.rejected = s.rejected[1:]
	}
	return nil
}

// Reason returns why a bundle was rejected, "" if that is not known.
func (s *Spool) Reason(e Entry) string {
	if s.fs == nil {
		return ""
	}
	data, err := durable.ReadFile(s.fs, e.name(reasonExt), 2*maxReason)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(data), "\n")
}
