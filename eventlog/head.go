package eventlog

import (
	"crypto/sha256"
	"hash"
)

// head is the state at the end of a segment that the next record builds on.
// Appending and scanning keep it in the same way.
type head struct {
	hash      hash.Hash // over all bytes up to length
	length    uint64    // bytes up to the end of the last record
	lastSeq   uint32
	boot      uint32 // highest boot counter
	specifics int    // number of specific records
	tip       mark   // the last specific record
	ended     bool   // the last record is SEGMENT_END

	keyChange    *KeyChange        // the last one, nil = none
	policyChange *PolicyChange     // the last one, nil = none
	drops        map[uint32]Digest // digests by segment, of SEGMENT_DROPPED records
}

// mark is a place at which a signature can be made: the end of a specific
// record.
type mark struct {
	length    uint64 // bytes up to the end of the record
	seq       uint32
	specifics int // number of specific records up to and with this one
	digest    Digest
}

func newHead() head {
	return head{hash: sha256.New(), drops: map[uint32]Digest{}}
}

// note moves the head over a record and its encoding. The payload of a system
// event must be known to decode.
func (h *head) note(r *Record, b []byte) {
	h.hash.Write(b)
	h.length += uint64(len(b))
	h.lastSeq, h.boot = r.Seq, max(h.boot, r.Boot)
	if r.Specific() {
		h.specifics++
		h.tip = mark{length: h.length, seq: r.Seq, specifics: h.specifics}
		h.hash.Sum(h.tip.digest[:0])
	}
	h.ended = false
	if r.Class != ClassSystem {
		return
	}
	switch p, _ := DecodePayload(r); p := p.(type) {
	case *SegmentEnd:
		h.ended = true
	case *KeyChange:
		h.keyChange = p
	case *PolicyChange:
		h.policyChange = p
	case *SegmentDropped:
		h.drops[p.Segment] = p.Digest
	}
}
