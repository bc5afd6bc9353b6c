package eventlog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meterseal/meterseal/internal/durable"
)

// Log is the event log of one meter on disk. Every segment is a file,
// 00000001.seg and so on; the newest is appended to. The last seal of a closed
// segment lies beside it, 00000001.seal; the two newest seals lie in the file
// "seals", in slots at offsets 0 and 4096 that are written in turn.
//
// One write at a time; readers ([Log.Status], [Log.Seal], [Log.SealOf],
// [Log.ReadAt] and the like) never wait for it and see only what is durable.
// All methods may be called concurrently.
type Log struct {
	fs      durable.FS
	meter   MeterID
	profile Profile

	view atomic.Pointer[view] // what readers see

	mu sync.Mutex // guards all below: one writer

	terms terms    // of the active segment, or of the one that Begin makes
	start *starter // the segment that Begin has to make; nil if none
	seals slots

	segment uint32 // the active one; 0 = none
	file    durable.File
	head           // where the active segment ends
	sealed  Seal   // newest seal of the active segment; zero = none
	handed  []mark // the last marks given out by Pending, ascending

	buf    [MaxRecordSize]byte // scratch for encoding
	broken error               // set once by a failed sync
	closed bool
}

// Append writes one record and makes it durable. It assigns the sequence
// number and marks the record as specific if the policy says so; system events
// always are. The payload of the result is the caller's.
//
// After a write error, as when the disk is full, the log is as before. After a
// failed sync it is broken: ErrBroken.
func (l *Log) Append(s Stamp, e Event, payload []byte) (Record, error) {
	if e.Class == ClassSystem && e.Code == CodeSegment {
		return Record{}, errors.New("eventlog: SEGMENT is written by the log itself")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return Record{}, err
	}
	if l.done() {
		return Record{}, ErrEnded
	}
	r, err := l.record(s, e, payload)
	if err != nil {
		return Record{}, err
	}
	if err := l.fits(&r, l.segment); err != nil {
		return Record{}, err
	}
	b, err := r.AppendBinary(l.buf[:0])
	if err != nil {
		return Record{}, err
	}
	if err := l.write(b); err != nil {
		return Record{}, err
	}
	if l.ended { // that end is none, and a late seal must not make it one
		l.handed = slices.DeleteFunc(l.handed, func(m mark) bool { return m.length == l.length })
	}
	l.note(&r, b)
	l.publish()
	return r, nil
}

// AppendPayload appends a system event; p is nil for PERIODIC_SEAL. See [Log.Append].
func (l *Log) AppendPayload(s Stamp, code uint16, p Payload) (Record, error) {
	var payload []byte
	if p != nil {
		var err error
		if payload, err = p.AppendBinary(nil); err != nil {
			return Record{}, err
		}
	}
	return l.Append(s, Event{ClassSystem, code}, payload)
}

// ready says why nothing can be appended, or nil.
func (l *Log) ready() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.broken != nil:
		return l.broken
	case l.start != nil:
		return ErrNotBegun
	}
	return nil
}

// done reports whether the segment has its sealed SEGMENT_END.
func (l *Log) done() bool { return l.ended && l.sealed.SignedLength == l.length }

// record makes the record that follows the last one.
func (l *Log) record(s Stamp, e Event, payload []byte) (Record, error) {
	if l.lastSeq == math.MaxUint32 {
		return Record{}, ErrExhausted
	}
	r := Record{
		Class: e.Class, Code: e.Code, Seq: l.lastSeq + 1,
		Millis: s.Millis, Boot: s.Boot, Uptime: s.Uptime, Flags: s.Flags &^ FlagSpecific, Payload: payload,
	}
	if l.terms.policy.IsSpecific(e) {
		r.Flags |= FlagSpecific
	}
	return r, nil
}

// write makes b durable at the end of the active segment, or leaves the
// segment as it was.
func (l *Log) write(b []byte) error {
	if _, err := l.file.WriteAt(b, int64(l.length)); err != nil {
		if cut := l.file.Truncate(int64(l.length)); cut != nil {
			l.broken = fmt.Errorf("%w: %w", ErrBroken, cut)
		}
		return fmt.Errorf("eventlog: append to segment %d: %w", l.segment, err)
	}
	if err := l.file.Sync(); err != nil {
		l.broken = fmt.Errorf("%w: segment %d: %w", ErrBroken, l.segment, err)
		return l.broken
	}
	return nil
}

// Close closes the files. Readers see ErrClosed from then on.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	v := l.view.Load()
	l.view.Store(&view{done: true})
	err := l.seals.close()
	for _, s := range v.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
