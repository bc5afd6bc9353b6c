package eventlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/meterseal/meterseal/internal/durable"
)

// scan is what a walk over a segment file finds.
type scan struct {
	head               // after the last whole record
	size   uint64      // bytes of the file
	header Header      // zero if the first record is none
	first  *LogDamaged // the record after the header, if it is LOG_DAMAGED
	marks  map[uint64]mark
	asked  map[Digest]bool     // digests that were signed: whether the segment has them
	since  map[uint64]attempts // after each of the marks, and after 0 bytes
	millis int64               // wall clock that the last record leaves
	fault  string              // what no torn write explains; "" = nothing

	reported account // by the first record that has an answer of the secure element
	reports  bool    // there is one
}

// torn returns how many bytes after the last whole record a torn write left.
func (s *scan) torn() uint64 { return s.size - s.length }

// scanSegment walks the records of segment number until they end or stop being
// what this log writes. It remembers the marks at the lengths in want. policy
// returns the set of specific events that a header names, nil if unknown. It
// notes which of the digests in asked the segment has.
// The error means that the file could not be read.
func scanSegment(f durable.File, number uint32, want map[uint64]bool, asked map[Digest]bool, policy func(*Header) *Policy) (*scan, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("eventlog: segment %d: %w", number, err)
	}
	s := &scan{head: newHead(), size: uint64(size), marks: map[uint64]mark{}, asked: asked, since: map[uint64]attempts{0: 0}}
	w := window{f: f, size: s.size}
	var set *Policy
	for s.length < s.size {
		if s.ended && want[s.length] {
			s.fault = fmt.Sprintf("at byte %d: something follows the sealed end", s.length)
			break
		}
		b, err := w.at(s.length)
		if err != nil {
			return nil, fmt.Errorf("eventlog: segment %d: %w", number, err)
		}
		var r Record
		n, err := r.Next(b)
		if err != nil {
			if !tornWrite(b, s.torn()) {
				s.fault = fmt.Sprintf("at byte %d: %v", s.length, err)
			}
			break
		}
		if s.length == 0 {
			s.header, err = headerOf(&r, number)
			set = policy(&s.header)
		} else {
			err = s.follows(&r, set)
		}
		if err != nil {
			s.fault = fmt.Sprintf("at byte %d: %v", s.length, err)
			break
		}
		s.take(&r, b[:n], want)
	}
	if s.length == 0 && s.fault == "" {
		s.fault = "it has no header"
	}
	return s, nil
}

// take moves the scan over a record.
func (s *scan) take(r *Record, b []byte, want map[uint64]bool) {
	if s.length == uint64(HeaderSize) && r.Event() == (Event{ClassSystem, CodeLogDamaged}) {
		s.first = new(LogDamaged)
		_ = s.first.UnmarshalBinary(r.Payload) // it decoded in follows
	}
	s.note(r, b)
	s.millis = clockAfter(r)
	if !r.Specific() {
		return
	}
	for length, n := range s.since {
		n.note(r)
		s.since[length] = n
	}
	s.report(r)
	if _, ok := s.asked[s.tip.digest]; ok {
		s.asked[s.tip.digest] = true
	}
	if want[s.length] {
		s.marks[s.length], s.since[s.length] = s.tip, 0
	}
}

// clockAfter returns the wall clock that a record leaves: CLOCK_SET sets it.
func clockAfter(r *Record) int64 {
	p, _ := DecodePayload(r)
	if set, ok := p.(*ClockSet); ok {
		return set.New
	}
	return r.Millis
}

// headerOf decodes the first record of segment number.
func headerOf(r *Record, number uint32) (Header, error) {
	h, err := HeaderOf(r)
	if err == nil && h.Segment != number {
		return Header{}, fmt.Errorf("%w: of segment %d", ErrHeader, h.Segment)
	}
	return h, err
}

// maxBootStep is by how much the boot counter rises at most from one record to
// the next. A start that fails before its first record uses one up.
const maxBootStep = 1 << 16

// follows says why this log cannot have written r after the last record. What
// the verifier takes for malformed must fail here: it would be charged to the
// meter, whoever put it into the tail.
func (s *scan) follows(r *Record, set *Policy) error {
	switch {
	case r.Seq != s.lastSeq+1:
		return fmt.Errorf("sequence %d after %d", r.Seq, s.lastSeq)
	case r.Event() == Event{ClassSystem, CodeSegment}:
		return errors.New("a second header")
	case set != nil && r.Specific() != set.IsSpecific(r.Event()):
		return fmt.Errorf("event %s has the wrong mark", r.Event())
	}
	return s.fits(r, s.header.Segment)
}

// fits says why a record cannot stand at the head of that segment. Its sequence
// number and its mark are right.
func (h *head) fits(r *Record, segment uint32) error {
	if r.Boot < h.boot || r.Boot-h.boot > maxBootStep {
		return fmt.Errorf("eventlog: boot %d after boot %d", r.Boot, h.boot)
	}
	p, err := DecodePayload(r)
	if end, ok := p.(*SegmentEnd); ok && end.Next != segment+1 {
		return fmt.Errorf("eventlog: SEGMENT_END of segment %d names %d as the next", segment, end.Next)
	}
	return err
}

// tornWrite reports whether the rest of a file, of which b holds the start,
// can be what a power cut leaves of one append: no more than one record, and
// no whole record in it.
func tornWrite(b []byte, rest uint64) bool {
	if rest > MaxRecordSize {
		return false
	}
	for at := SlotSize; at < len(b); at += SlotSize {
		var r Record
		if _, err := r.Next(b[at:]); err == nil {
			return false
		}
	}
	return true
}

// window reads a file in large steps.
type window struct {
	f    durable.File
	size uint64
	buf  []byte
	off  uint64 // offset of buf in the file
}

// at returns the bytes from off: at least a record of them, unless the file
// ends before.
func (w *window) at(off uint64) ([]byte, error) {
	if at := off - w.off; at <= uint64(len(w.buf)) {
		if b := w.buf[at:]; len(b) >= MaxRecordSize || w.off+uint64(len(w.buf)) == w.size {
			return b, nil
		}
	}
	if w.buf == nil {
		w.buf = make([]byte, 64<<10)
	}
	w.buf = w.buf[:min(uint64(cap(w.buf)), w.size-off)]
	w.off = off
	if n, err := w.f.ReadAt(w.buf, int64(off)); n < len(w.buf) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return w.buf, nil
}
