package eventlog

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/meterseal/meterseal/internal/durable"
)

// Errors of a Log.
var (
	// ErrBroken says that a sync failed, so that nobody knows what is
	// durable. Nothing is written any more until the log is opened again.
	ErrBroken = errors.New("eventlog: the log is broken by a failed sync: open it again")
	// ErrNotBegun says that [Log.Begin] has to be called first.
	ErrNotBegun = errors.New("eventlog: the log has no segment to append to: call Begin")
	// ErrBadSeal says that a seal does not prove what this log holds.
	ErrBadSeal = errors.New("eventlog: the seal does not fit the log")
	// ErrOldSeal says that a seal is not newer than the stored one.
	ErrOldSeal = errors.New("eventlog: the seal is not newer than the stored one")
	// ErrNoSegment says that the log has no such segment.
	ErrNoSegment = errors.New("eventlog: no such segment")
	// ErrNotEnded says that the newest segment does not end with a sealed
	// SEGMENT_END.
	ErrNotEnded = errors.New("eventlog: the segment does not end with a sealed SEGMENT_END")
	// ErrTerms says that key, scheme or specific set are not those that the
	// newest segment names or announces.
	ErrTerms = errors.New("eventlog: key, scheme or specific set are not those of the log")
	// ErrKept says that a segment may not be dropped.
	ErrKept = errors.New("eventlog: the segment is kept")
	// ErrExhausted says that sequence or segment numbers have run out.
	ErrExhausted = errors.New("eventlog: the numbers of the log are used up")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("eventlog: the log is closed")
)

// Config says which log is opened. All fields without a default are required.
type Config struct {
	// FS is the directory of the log. Nobody else writes to it.
	FS durable.FS
	// Meter is the id that each segment header names.
	Meter MeterID
	// Key is the public key of the secure element, on P-256.
	Key *ecdsa.PublicKey
	// Scheme is the scheme of Key.
	Scheme Scheme
	// Profile gives the event codes their meaning. Default: ProfileNone.
	Profile Profile
	// Policy is the set of specific events. It must be the set that the
	// newest segment was made with: a set changes by POLICY_CHANGE and
	// [Log.NextSegment]. Default: every event.
	Policy Policy
	// First is true until the first seal of this state directory was
	// stored: what is no sound log is then the leftover of an interrupted
	// first start, and is removed. Once a seal is found it means nothing.
	First bool
	// Next is a change of key, scheme or specific set that was begun and may
	// be finished or not; nil if none. The caller keeps it from before it
	// appends KEY_CHANGE or POLICY_CHANGE until NextSegment has returned and
	// its own configuration says the same.
	Next *Change
	// Former are keys that were in force earlier. They verify the seal of
	// the last segment that they sealed; nothing is ever sealed by them.
	Former []*ecdsa.PublicKey
}

// Change is what a new segment does differently.
type Change struct {
	Key    *ecdsa.PublicKey // nil: unchanged
	Scheme Scheme           // of Key; ignored if Key is nil
	Policy *Policy          // nil: unchanged
}

// Stamp is when a record is made, and in which state the meter is.
type Stamp struct {
	Millis int64  // wall clock, ms since the Unix epoch, UTC
	Boot   uint32 // boot counter
	Uptime uint32 // s since boot
	Flags  uint8  // FlagClockUntrusted and FlagModuleDown; FlagSpecific is ignored
}

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
	handed  []mark // marks given out by Pending, ascending, not yet sealed

	buf    [MaxRecordSize]byte // scratch for encoding
	broken error               // set once by a failed sync
	closed bool
}

// maxHanded bounds how many digests are remembered for seals that come late.
const maxHanded = 64

// terms is what a segment is made under.
type terms struct {
	pub    *ecdsa.PublicKey
	key    KeyID
	scheme Scheme
	policy Policy
}

func newTerms(pub *ecdsa.PublicKey, scheme Scheme, policy Policy) (terms, error) {
	key, err := KeyIDOf(pub)
	if err != nil {
		return terms{}, err
	}
	if scheme != SchemeDigest && scheme != SchemeCounter {
		return terms{}, fmt.Errorf("eventlog: a log cannot be sealed in %s", scheme)
	}
	return terms{pub, key, scheme, NewPolicy(policy.Version, policy.Specific...)}, nil
}

// with returns the terms after a change.
func (t terms) with(c *Change) (terms, error) {
	if c.Key != nil {
		t.pub, t.scheme = c.Key, c.Scheme
	}
	if c.Policy != nil {
		t.policy = *c.Policy
	}
	return newTerms(t.pub, t.scheme, t.policy)
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
	r, err := l.record(s, e, payload)
	if err != nil {
		return Record{}, err
	}
	if _, err := DecodePayload(&r); err != nil {
		return Record{}, err
	}
	b, err := r.AppendBinary(l.buf[:0])
	if err != nil {
		return Record{}, err
	}
	if err := l.write(b); err != nil {
		return Record{}, err
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

// Pending returns what the secure element has to sign next: the digest of the
// newest segment up to its last specific record, the length in bytes that it
// covers, and the sequence number of that record. ok is false when the newest
// seal covers it already. The cost does not depend on the length.
func (l *Log) Pending() (d Digest, length uint64, lastSeq uint32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready() != nil || l.tip.length <= l.sealed.SignedLength {
		return Digest{}, 0, 0, false
	}
	if n := len(l.handed); n == 0 || l.handed[n-1] != l.tip {
		if n == maxHanded {
			l.handed = append(l.handed[:0], l.handed[1:]...)
		}
		l.handed = append(l.handed, l.tip)
	}
	return l.tip.digest, l.tip.length, l.tip.seq, true
}

// StoreSeal verifies a seal, makes it durable and publishes it. It may be one
// for a length that Pending gave earlier, if it is newer than the stored seal.
// ErrBadSeal: the signature or a field does not fit the log, or Pending never
// gave that length; ErrOldSeal: the stored seal covers as much, or its counter
// is as high. The stored seal is untouched by any error.
func (l *Log) StoreSeal(s Seal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return err
	}
	if err := l.checkSeal(&s); err != nil {
		return err
	}
	b, err := s.AppendBinary(nil)
	if err != nil {
		return err
	}
	if err := l.seals.store(b); err != nil {
		if errors.Is(err, ErrBroken) {
			l.broken = err
		}
		return err
	}
	l.sealed = s
	for len(l.handed) > 0 && l.handed[0].length <= s.SignedLength {
		l.handed = l.handed[1:]
	}
	v := *l.view.Load()
	v.seal, v.sealBytes = s, b
	l.view.Store(&v)
	return nil
}

func (l *Log) checkSeal(s *Seal) error {
	stored := l.view.Load().seal
	switch {
	case s.Segment != l.segment:
		return fmt.Errorf("%w: segment %d, the newest is %d", ErrBadSeal, s.Segment, l.segment)
	case s.SignedLength <= l.sealed.SignedLength:
		return fmt.Errorf("%w: it covers %d bytes, the stored one %d", ErrOldSeal, s.SignedLength, l.sealed.SignedLength)
	case s.Scheme != l.terms.scheme || s.KeyPrefix != [8]byte(l.terms.key[:]):
		return fmt.Errorf("%w: another key or scheme", ErrBadSeal)
	case s.Scheme == SchemeCounter && s.KeyPrefix == stored.KeyPrefix && s.Counter <= stored.Counter:
		return fmt.Errorf("%w: counter %d after %d", ErrOldSeal, s.Counter, stored.Counter)
	}
	for _, m := range l.handed {
		if m.length != s.SignedLength {
			continue
		}
		if m.seq != s.LastSeq || m.digest != s.Digest {
			return fmt.Errorf("%w: sequence or digest at %d bytes", ErrBadSeal, m.length)
		}
		if !s.Signs(l.terms.pub, l.terms.key, l.terms.scheme, m.digest) {
			return fmt.Errorf("%w: the signature does not verify", ErrBadSeal)
		}
		return nil
	}
	return fmt.Errorf("%w: no digest was given out at %d bytes", ErrBadSeal, s.SignedLength)
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
