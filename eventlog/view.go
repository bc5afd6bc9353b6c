package eventlog

import (
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/meterseal/meterseal/internal/durable"
)

// view is what readers see: an immutable snapshot that the writer replaces
// after each sync. The slices it points to are never changed, only replaced.
type view struct {
	segments  []segment // ascending; the last one is the newest
	length    uint64    // bytes of the newest segment
	lastSeq   uint32
	terms     terms  // in force
	seal      Seal   // newest stored seal, perhaps of an earlier segment
	sealBytes []byte // nil = none
	done      bool   // the log is closed
}

// segment is a segment file. Closed ones have a final length and digest; for
// the newest one, length and digest are not used.
type segment struct {
	number uint32
	file   durable.File
	size   uint64 // bytes of the file
	length uint64 // bytes that the header of the next segment confirms
	digest Digest
	seal   []byte // its last seal; nil = none
}

func (v *view) newest() *segment {
	if len(v.segments) == 0 {
		return nil
	}
	return &v.segments[len(v.segments)-1]
}

func (v *view) find(number uint32) (int, bool) {
	return slices.BinarySearchFunc(v.segments, number, func(s segment, n uint32) int {
		return int(int64(s.number) - int64(n))
	})
}

// size returns the bytes of segment i that can be read.
func (v *view) size(i int) uint64 {
	if i == len(v.segments)-1 {
		return v.length
	}
	return v.segments[i].size
}

// publish shows the state of the writer to readers.
func (l *Log) publish() {
	v := *l.view.Load()
	v.length, v.lastSeq = l.length, l.lastSeq
	l.view.Store(&v)
}

// Status returns the state of the log. The health of the secure element is
// left to the caller.
func (l *Log) Status() Status {
	v := l.view.Load()
	s := Status{Scheme: v.terms.scheme, Length: v.length, LastSeq: v.lastSeq, KeyPrefix: [8]byte(v.terms.key[:])}
	if n := v.newest(); n != nil {
		s.Segment, s.Oldest = n.number, v.segments[0].number
		if v.sealBytes != nil && v.seal.Segment == n.number {
			s.SignedLength = v.seal.SignedLength
		}
	}
	return s
}

// InForce returns the key, the scheme and the specific set under which the
// newest segment is made, or, before Begin, the one that Begin makes. After an
// interrupted change they tell whether it took place.
func (l *Log) InForce() Change {
	t := l.view.Load().terms
	return Change{t.pub, t.scheme, &t.policy}
}

// Seal returns the newest stored seal and its encoding, which must not be
// changed. Right after a rotation it is still that of the segment before.
func (l *Log) Seal() (Seal, []byte, bool) {
	v := l.view.Load()
	return v.seal, v.sealBytes, v.sealBytes != nil
}

// SealOf returns the newest encoded seal of a segment, which must not be
// changed. ok is false if there is none.
func (l *Log) SealOf(segment uint32) (seal []byte, ok bool) {
	v := l.view.Load()
	i, ok := v.find(segment)
	switch {
	case !ok:
		return nil, false
	case v.sealBytes != nil && v.seal.Segment == segment:
		return v.sealBytes, true
	}
	return v.segments[i].seal, v.segments[i].seal != nil
}

// ReadAt reads durable bytes of a segment. Like [io.ReaderAt] it returns
// io.EOF when fewer than len(p) bytes follow off. ErrNoSegment: there is no
// such segment, or it was dropped meanwhile.
func (l *Log) ReadAt(segment uint32, p []byte, off uint64) (int, error) {
	v := l.view.Load()
	i, ok := v.find(segment)
	switch {
	case v.done:
		return 0, ErrClosed
	case !ok:
		return 0, ErrNoSegment
	case off >= v.size(i):
		return 0, io.EOF
	}
	left := v.size(i) - off
	n, err := v.segments[i].file.ReadAt(p[:min(uint64(len(p)), left)], int64(off))
	switch {
	case errors.Is(err, fs.ErrClosed):
		return n, ErrNoSegment
	case uint64(n) == left && n < len(p):
		return n, io.EOF
	case n == len(p):
		return n, nil
	}
	return n, err
}

// SegmentLength returns the length in bytes of a segment.
func (l *Log) SegmentLength(segment uint32) (uint64, bool) {
	v := l.view.Load()
	i, ok := v.find(segment)
	if !ok {
		return 0, false
	}
	return v.size(i), true
}

// Oldest returns the number of the oldest segment that is kept, 0 if none.
func (l *Log) Oldest() uint32 {
	if v := l.view.Load(); len(v.segments) > 0 {
		return v.segments[0].number
	}
	return 0
}

// Newest returns the number of the newest segment, 0 if none.
func (l *Log) Newest() uint32 {
	if n := l.view.Load().newest(); n != nil {
		return n.number
	}
	return 0
}

// Size returns the bytes of all segments.
func (l *Log) Size() uint64 {
	v := l.view.Load()
	var sum uint64
	for i := range v.segments {
		sum += v.size(i)
	}
	return sum
}

// Closed is a closed segment as the header of the next one confirms it.
type Closed struct {
	Segment uint32
	Length  uint64 // bytes
	Digest  Digest
}

// Closed returns the closed segments, oldest first. The length of a damaged
// segment is what could still be verified of it.
func (l *Log) Closed() []Closed {
	v := l.view.Load()
	if len(v.segments) == 0 {
		return nil
	}
	list := make([]Closed, len(v.segments)-1)
	for i := range list {
		s := &v.segments[i]
		list[i] = Closed{s.number, s.length, s.digest}
	}
	return list
}
