package verify

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"hash"
	"slices"

	"github.com/meterseal/meterseal/eventlog"
)

// errStored says that the store returned other bytes than were verified. It is
// no finding against the meter.
var errStored = errors.New("the stored bytes do not match their digest")

// text is what a seal is said to cover: known bytes up to the part's offset,
// then those of the part.
type text struct {
	digest   eventlog.Digest // of all of it
	midstate []byte          // after all of it
	lost     bool            // the known bytes are not its beginning
}

// hash recomputes the digest. With a good midstate only new bytes are hashed.
func (p *part) hash() (step, error) {
	n, offset, known := p.seal.SignedLength, p.in.Offset, p.known()
	h, at := sha256.New(), uint64(0)
	if offset > 0 {
		at = min(offset, n)
		if offset != known || n < known || !resume(h, p.head) {
			kept, err := p.v.bytes(p.head)
			if err != nil {
				return 0, err
			}
			if kept == nil {
				p.found.add(FindMissing, p.at(0, 0), "the known bytes are not kept, the whole segment is needed")
				p.needFrom(p.in.Segment, 0)
				return stepIncomplete, nil
			}
			h.Write(kept[:at])
		}
	}
	if at < known && known <= n {
		h.Write(p.in.Log[at-offset : known-offset])
		at = known
		p.text.lost = eventlog.Digest(h.Sum(nil)) != p.head.Digest
	}
	if at < n {
		h.Write(p.in.Log[at-offset : n-offset])
	}
	var err error
	p.text.midstate, err = h.(encoding.BinaryMarshaler).MarshalBinary()
	p.text.digest = eventlog.Digest(h.Sum(nil))
	return 0, err
}

// resume sets h to the head's midstate. If that does not load or is not the
// state of the head's digest, h is as new: a cache miss, no finding.
func resume(h hash.Hash, head *Head) bool {
	_ = h.(encoding.BinaryUnmarshaler).UnmarshalBinary(head.Midstate) // an error leaves a state of nothing
	if eventlog.Digest(h.Sum(nil)) != head.Digest {
		h.Reset()
		return false
	}
	return true
}

// content returns the sealed bytes from the segment's start, nil if they are
// not all kept.
func (p *part) content() ([]byte, error) {
	n, offset := p.seal.SignedLength, p.in.Offset
	if offset == 0 {
		return p.in.Log[:n], nil
	}
	kept, err := p.v.bytes(p.head)
	if kept == nil {
		return nil, err
	}
	if n <= offset {
		return kept[:n], nil
	}
	return slices.Concat(kept[:offset], p.in.Log[:n-offset]), nil
}

// begins reports whether the first n sealed bytes have that digest. If they
// are not kept they are taken to have it.
func (p *part) begins(n uint64, digest eventlog.Digest) (bool, error) {
	if n == p.seal.SignedLength {
		return p.text.digest == digest, nil
	}
	b, err := p.content()
	if b == nil {
		return err == nil, err
	}
	return sha256.Sum256(b[:n]) == digest, nil
}

// prefix reports whether the first n bytes of a known state have that digest.
// If they are not kept they are taken to have it.
func (v *verifier) prefix(h *Head, n uint64, digest eventlog.Digest) (bool, error) {
	if n > h.Length {
		return false, nil
	}
	if n == h.Length {
		return h.Digest == digest, nil
	}
	b, err := v.bytes(h)
	if b == nil {
		return err == nil, err
	}
	return sha256.Sum256(b[:n]) == digest, nil
}

// bytes returns the bytes of a known state, nil if they are not kept.
func (v *verifier) bytes(h *Head) ([]byte, error) {
	var b []byte
	if v.in.Known.Bytes != nil {
		var err error
		if b, err = v.in.Known.Bytes(h.Segment()); err != nil {
			return nil, err
		}
	}
	for i := range v.out.Advance {
		if a := &v.out.Advance[i]; a.Head.Segment() == h.Segment() && uint64(len(b)) >= a.From {
			b = slices.Concat(b[:a.From], a.Log)
		}
	}
	if b == nil {
		return nil, nil
	}
	if uint64(len(b)) < h.Length || sha256.Sum256(b[:h.Length]) != h.Digest {
		return nil, errStored
	}
	return b[:h.Length], nil
}
