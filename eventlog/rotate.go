package eventlog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/meterseal/meterseal/internal/durable"
)

// starter is what the first records of a new segment say.
type starter struct {
	number     uint32
	prevLength uint64
	prevDigest Digest
	damaged    *LogDamaged // becomes the second record; nil = the log is sound
}

// Begin makes the log ready to append to. It creates segment 1 on a first
// start, the next segment if the newest is closed, and, if the newest is
// damaged, a segment whose header links to what can still be verified and whose
// second record is LOG_DAMAGED with counters c. Otherwise it does nothing.
func (l *Log) Begin(s Stamp, c Counters) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.broken != nil:
		return l.broken
	case l.start == nil:
		return nil
	}
	st := *l.start
	if st.damaged != nil {
		d := *st.damaged
		d.Counters = c
		st.damaged = &d
	}
	if err := l.begin(s, &st); err != nil {
		return err
	}
	l.start = nil
	return nil
}

// NextSegment closes the newest segment, which must end with a sealed
// SEGMENT_END (ErrNotEnded), and begins the next one. A change must be what
// KEY_CHANGE and POLICY_CHANGE in the closed segment announce, and what they
// announce must be given (ErrTerms); nil is no change.
//
// A change must be durable in the caller's configuration before; see
// [Config.Next].
func (l *Log) NextSegment(s Stamp, change *Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return err
	}
	if !l.done() {
		return ErrNotEnded
	}
	next := l.terms
	if change != nil {
		var err error
		if next, err = l.terms.with(change); err != nil {
			return err
		}
	}
	t, err := follow(l.terms.named(), &l.head, []terms{next})
	if err != nil {
		return err
	}
	current := l.terms
	l.terms = t
	err = l.begin(s, &starter{number: l.segment + 1, prevLength: l.length, prevDigest: l.sealed.Digest})
	if err != nil {
		l.terms = current
	}
	return err
}

// begin writes a new segment file, complete or not at all, and makes it the
// active one.
func (l *Log) begin(s Stamp, st *starter) error {
	if st.number == 0 {
		return ErrExhausted
	}
	b, h, err := l.firstRecords(s, st)
	if err != nil {
		return err
	}
	v := *l.view.Load()
	v.segments = slices.Clone(v.segments)
	if err := l.keepSeals(&v, st); err != nil {
		return err
	}
	if err := l.seals.create(l.fs); err != nil {
		return err
	}
	f, err := l.createSegment(st.number, b)
	if err != nil {
		return err
	}
	if n := v.newest(); n != nil {
		n.size = v.length
		if n.number == st.number-1 {
			n.length, n.digest = st.prevLength, st.prevDigest
		}
	}
	maps.Copy(h.drops, l.drops)
	l.segment, l.file, l.head = st.number, f, h
	l.sealed, l.handed = Seal{}, nil
	v.segments = append(v.segments, segment{number: st.number, file: f})
	v.terms = l.terms
	l.view.Store(&v)
	l.publish()
	return nil
}

// firstRecords encodes the header, and LOG_DAMAGED if the log is damaged, and
// returns the head after them.
func (l *Log) firstRecords(s Stamp, st *starter) ([]byte, head, error) {
	h := newHead()
	if l.lastSeq > math.MaxUint32-2 {
		return nil, h, ErrExhausted
	}
	header := Header{
		Meter: l.meter, Scheme: l.terms.scheme, Key: l.terms.key, Segment: st.number,
		PrevLength: st.prevLength, PrevDigest: st.prevDigest, FirstSeq: l.lastSeq + 1, Profile: l.profile,
		PolicyVersion: l.terms.policy.Version, PolicyDigest: l.terms.policy.Digest(),
	}
	h.lastSeq = l.lastSeq
	b, err := h.push(nil, s, CodeSegment, &header)
	if err == nil && st.damaged != nil {
		b, err = h.push(b, s, CodeLogDamaged, st.damaged)
	}
	return b, h, err
}

// push appends a system event to b and moves the head over it.
func (h *head) push(b []byte, s Stamp, code uint16, p Payload) ([]byte, error) {
	payload, err := p.AppendBinary(nil)
	if err != nil {
		return b, err
	}
	r := Record{
		Class: ClassSystem, Code: code, Seq: h.lastSeq + 1,
		Millis: s.Millis, Boot: s.Boot, Uptime: s.Uptime, Flags: s.Flags | FlagSpecific, Payload: payload,
	}
	at := len(b)
	if b, err = r.AppendBinary(b); err != nil {
		return b, err
	}
	h.note(&r, b[at:])
	return b, nil
}

// keepSeals stores the last seal of the newest segment beside it and, if that
// segment is damaged, the slots as they were found.
func (l *Log) keepSeals(v *view, st *starter) error {
	n := v.newest()
	if n == nil {
		return nil
	}
	if v.sealBytes != nil && v.seal.Segment == n.number {
		n.seal = v.sealBytes
	}
	if n.seal != nil {
		if err := durable.WriteFile(l.fs, fileName(n.number, sealExt), n.seal); err != nil {
			return err
		}
	}
	if st.damaged == nil || l.seals.file == nil {
		return nil
	}
	found, err := durable.ReadFile(l.fs, sealsName, 1<<20)
	if err != nil {
		return err
	}
	return durable.WriteFile(l.fs, fileName(n.number, foundExt), found)
}

func (l *Log) createSegment(number uint32, b []byte) (durable.File, error) {
	name := fileName(number, segmentExt)
	if err := durable.WriteFile(l.fs, name, b); err != nil {
		if errors.Is(err, durable.ErrUnsure) {
			l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		}
		return nil, fmt.Errorf("eventlog: begin segment %d: %w", number, err)
	}
	f, err := l.fs.Open(name)
	if err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return nil, l.broken
	}
	return f, nil
}

// Drop deletes the oldest segment, after a SEGMENT_DROPPED record with its
// digest was appended. ErrKept: it is not the oldest, it is one of the two
// newest closed segments, or no record says that it is dropped.
func (l *Log) Drop(number uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return err
	}
	return l.drop(number)
}

func (l *Log) drop(number uint32) error {
	v := *l.view.Load()
	const kept = 3 // the newest segment and the two before it
	oldest := &v.segments[0]
	switch digest, recorded := l.drops[number]; {
	case oldest.number != number:
		return fmt.Errorf("%w: %d is not the oldest", ErrKept, number)
	case len(v.segments) <= kept:
		return fmt.Errorf("%w: %d is one of the two newest closed ones", ErrKept, number)
	case !recorded || digest != oldest.digest:
		return fmt.Errorf("%w: no SEGMENT_DROPPED record names %d with its digest", ErrKept, number)
	}
	f := oldest.file
	v.segments = v.segments[1:]
	l.view.Store(&v)
	delete(l.drops, number)
	return errors.Join(removeSegment(l.fs, number), f.Close())
}
