package eventlog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/meterseal/meterseal/internal/durable"
)

// show publishes to readers what Open found, and finishes drops that were
// recorded.
func (o *opening) show() error {
	v := &view{lastSeq: o.rec.LastSeq, terms: o.terms}
	for _, n := range o.inv.segments {
		s, err := o.segmentAt(n)
		if err != nil {
			return err
		}
		v.segments = append(v.segments, s)
	}
	if n := v.newest(); n != nil {
		v.length = n.size
	}
	if o.rec.Sealed {
		b, err := o.rec.Seal.AppendBinary(nil)
		if err != nil {
			return err
		}
		v.seal, v.sealBytes = o.rec.Seal, b
	}
	o.view.Store(v)
	return o.finishDrops()
}

// segmentAt describes a segment. What the header of the next one says of it
// is its final length and digest; if there is none, the bytes themselves say.
func (o *opening) segmentAt(n uint32) (segment, error) {
	f := o.files[n]
	size, err := f.Size()
	if err != nil {
		return segment{}, fmt.Errorf("eventlog: segment %d: %w", n, err)
	}
	s := segment{number: n, file: f, size: uint64(size)}
	if s.seal, err = o.sealOf(n); err != nil {
		return s, err
	}
	if n == last(o.inv.segments) && (o.start == nil || o.start.number == n+1) {
		return s, nil
	}
	if next, ok := o.files[n+1]; !ok {
		o.rec.note("segment %d is missing", n+1)
	} else if h, err := readHeader(next); err != nil {
		return s, fmt.Errorf("eventlog: segment %d: %w", n+1, err)
	} else if h.Segment == n+1 {
		s.length, s.digest = h.PrevLength, h.PrevDigest
		if s.size < s.length {
			o.rec.note("segment %d has %d bytes, and %d were sealed", n, s.size, s.length)
		}
		return s, nil
	}
	s.length = s.size
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return s, fmt.Errorf("eventlog: segment %d: %w", n, err)
	}
	h.Sum(s.digest[:0])
	return s, nil
}

// readHeader returns the header of a segment, zero if it has none.
func readHeader(f durable.File) (Header, error) {
	b := make([]byte, HeaderSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Header{}, err
	}
	h, _ := ParseHeader(b[:n])
	return h, nil
}

// sealOf returns the seal kept for a segment: of a damaged one that no seal
// fits any more it is the newest that was found, since that one shows the
// damage.
func (o *opening) sealOf(n uint32) ([]byte, error) {
	b, err := durable.ReadFile(o.fs, fileName(n, sealExt), 1<<10)
	if err == nil {
		var s Seal
		if s.UnmarshalBinary(b) == nil && s.Segment == n {
			return b, nil
		}
		o.rec.note("%s is not a seal of segment %d", fileName(n, sealExt), n)
		return nil, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if o.rec.Damaged == nil {
		return nil, nil
	}
	var newest *foundSeal
	for i := range o.found {
		if s := &o.found[i]; s.Segment == n && (newest == nil || s.SignedLength > newest.SignedLength) {
			newest = s
		}
	}
	if newest == nil {
		return nil, nil
	}
	return newest.raw, nil
}

// finishDrops deletes the segments that were recorded as dropped and are still
// there, oldest first.
func (o *opening) finishDrops() error {
	for o.start == nil {
		segments := o.view.Load().segments
		if len(segments) == 0 {
			return nil
		}
		oldest := segments[0].number
		if _, recorded := o.drops[oldest]; !recorded {
			return nil
		}
		delete(o.files, oldest)
		if err := o.drop(oldest); errors.Is(err, ErrKept) {
			o.rec.note("segment %d was recorded as dropped and is kept: %v", oldest, err)
			return nil
		} else if err != nil {
			return err
		}
		o.rec.note("segment %d was recorded as dropped; its files were removed", oldest)
	}
	return nil
}
