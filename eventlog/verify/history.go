package verify

import (
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// policy refuses a set of specific events that the registry does not allow,
// records that do not follow it, and a return to an older set.
func (p *part) policy() (step, error) {
	if p.relation == relationSame || p.relation == relationPrefix {
		return 0, nil
	}
	if b := p.before; b != nil && p.header.PolicyVersion < b.Header.PolicyVersion {
		p.found.add(FindPolicy, p.at(0, p.header.FirstSeq), "set version %d after version %d", p.header.PolicyVersion, b.Header.PolicyVersion)
		return stepPolicy, nil
	}
	if a := p.after; a != nil && p.header.PolicyVersion > a.Header.PolicyVersion {
		p.found.add(FindPolicy, p.at(0, p.header.FirstSeq), "set version %d before version %d of segment %d", p.header.PolicyVersion, a.Header.PolicyVersion, a.Segment())
		return stepPolicy, nil
	}
	if p.policyOK {
		return 0, nil
	}
	p.found.add(FindPolicy, p.at(0, p.header.FirstSeq), "the set of specific events has version %d, digest %s", p.header.PolicyVersion, p.header.PolicyDigest)
	return stepPolicy, nil
}

// fork finds two signed histories that exclude each other: (a) two digests
// under one counter, or (b) two byte strings of one segment under one key,
// neither a prefix of the other.
func (p *part) fork() (step, error) {
	if p.key.Scheme == eventlog.SchemeCounter {
		other, err := p.v.sealAt(p.key.ID, p.seal.Counter, p.head, p.before)
		if err != nil {
			return 0, err
		}
		if other != nil && other.Digest != p.text.digest {
			p.found.add(FindForkCounter, p.at(p.seal.SignedLength, p.state.LastSeq), "counter %d also signs %s, segment %d up to byte %d",
				p.seal.Counter, other.Digest, other.Segment, other.SignedLength)
			return stepForked, nil
		}
	}
	if p.relation != relationDiverged {
		return 0, nil
	}
	if p.head.Header.Key == p.key.ID {
		p.found.add(FindForkBytes, p.at(p.seal.SignedLength, p.state.LastSeq), "digest %s; the known %d bytes have %s",
			p.text.digest, p.head.Length, p.head.Digest)
		return stepForked, nil
	}
	p.found.add(FindChain, p.at(0, p.header.FirstSeq), "the segment was begun under key %s before", p.head.Header.Key)
	return stepRolledBack, nil
}

// sealAt returns a seal known to have that counter of the key, or nil.
func (v *verifier) sealAt(key eventlog.KeyID, counter uint64, near ...*Head) (*eventlog.Seal, error) {
	for i := range v.out.Advance {
		near = append(near, &v.out.Advance[i].Head)
	}
	for _, h := range append(near, v.head, v.pin) {
		if h != nil && h.Header.Key == key && h.Seal.Counter == counter {
			return &h.Seal, nil
		}
	}
	if h := v.head; v.in.Known.SealAt == nil || h != nil && h.Header.Key == key && counter > h.Seal.Counter {
		return nil, nil // counters grow along the log: there is none beyond the head's
	}
	return v.in.Known.SealAt(key, counter)
}

// rollback finds logs that are older than what the meter had signed before.
func (p *part) rollback() (step, error) {
	if p.key.Scheme == eventlog.SchemeCounter {
		if code, than := p.counterOrder(); code != "" {
			p.found.add(code, p.at(p.seal.SignedLength, p.state.LastSeq), "counter %d, against %d", p.seal.Counter, than)
			return stepRolledBack, nil
		}
	}
	u, h := p.v.in.Bundle, p.v.head
	if p.older() && p.last && u.Newest && time.UnixMilli(u.Collected).After(h.Accepted.Add(p.v.in.Limits.ClockSkew)) {
		p.found.add(FindClaimed, p.at(p.seal.SignedLength, p.state.LastSeq), "said to be the newest seal at %s, after segment %d up to byte %d was accepted",
			time.UnixMilli(u.Collected).UTC().Format(time.RFC3339), h.Segment(), h.Length)
		p.claimed = true
		return stepRolledBack, nil
	}
	return p.pinned()
}

// counterOrder returns the code of what is wrong with the counter, or "", and
// the counter that contradicts it.
func (p *part) counterOrder() (code string, than uint64) {
	counter, head := p.seal.Counter, p.v.head
	switch p.relation {
	case relationSame:
		if counter != p.head.Seal.Counter {
			p.found.add(FindResealed, p.at(p.seal.SignedLength, p.state.LastSeq), "counter %d, before %d", counter, p.head.Seal.Counter)
		}
		return "", 0
	case relationPrefix:
		if counter > p.head.Seal.Counter {
			return FindCounterAhead, p.head.Seal.Counter
		}
		return "", 0
	}
	below := p.before
	if p.relation == relationExtends {
		below = p.head
	}
	if below != nil && below.Header.Key == p.key.ID && counter <= below.Seal.Counter {
		return FindCounterBack, below.Seal.Counter
	}
	if head != nil && p.in.Segment < head.Segment() && head.Header.Key == p.key.ID && counter > head.Seal.Counter {
		return FindCounterAhead, head.Seal.Counter
	}
	return "", 0
}

// older reports whether the signed bytes end before the newest known ones.
func (p *part) older() bool {
	h := p.v.head
	return h != nil && (p.in.Segment < h.Segment() || p.in.Segment == h.Segment() && p.seal.SignedLength < h.Length)
}

// pinned demands that the log contains the state that the caller named.
func (p *part) pinned() (step, error) {
	pin := p.v.pin
	if pin == nil || p.in.Segment > pin.Segment() || p.in.Segment < pin.Segment() && !p.last {
		return 0, nil
	}
	if p.seal.SignedLength >= pin.Length {
		if ok, err := p.begins(pin.Length, pin.Digest); ok || err != nil {
			return 0, err
		}
	}
	p.found.add(FindHeadLost, p.at(p.seal.SignedLength, p.state.LastSeq), "segment %d with %d bytes of digest %s is not in this log",
		pin.Segment(), pin.Length, pin.Digest)
	p.claimed = true
	return stepRolledBack, nil
}

// contradicts is the end of a part whose signed link and other signed bytes
// cannot both stand. The bytes of the segment, read in full, would make it a
// fork.
func (p *part) contradicts(segment uint32, format string, args ...any) (step, error) {
	p.found.add(FindChain, p.at(0, p.header.FirstSeq), format, args...)
	p.needFrom(segment, 0)
	return stepRolledBack, nil
}

// misses notes a gap.
func (p *part) misses(code string, m Missing) {
	p.found.add(code, place{Position{m.First, m.From}, 0}, "segments %d to %d, from byte %d", m.First, m.Last, m.From)
	p.missing = append(p.missing, m)
}

// successor compares bytes that come late with the link of the segment after
// them.
func (p *part) successor() (step, error) {
	next := p.after
	if !p.grows || next == nil {
		return 0, nil
	}
	if next.Segment() != p.in.Segment+1 {
		if !p.state.Closed {
			p.misses(FindSegmentPartial, Missing{p.in.Segment, p.in.Segment, p.state.Length, ChargeCourier})
		}
		return 0, nil
	}
	link := &next.Header
	switch {
	case link.PrevLength == 0:
		return 0, nil
	case p.state.Length < link.PrevLength && !p.state.Closed:
		p.misses(FindSegmentPartial, Missing{p.in.Segment, p.in.Segment, p.state.Length, ChargeCourier})
		return 0, nil
	case p.state.Length == link.PrevLength, p.state.Length > link.PrevLength && next.Damaged:
		ok, err := p.begins(link.PrevLength, link.PrevDigest)
		if err != nil {
			return 0, err
		}
		if ok {
			return p.succeeded(next)
		}
	}
	return p.contradicts(p.in.Segment, "segment %d links to %d bytes with digest %s", link.Segment, link.PrevLength, link.PrevDigest)
}

// succeeded checks that the next segment, which links to this one, may follow
// where it ends.
func (p *part) succeeded(next *Head) (step, error) {
	if !next.Damaged && (!p.state.Closed || next.Header.FirstSeq != p.state.LastSeq+1) {
		p.found.add(FindRecord, p.at(p.state.Length, p.state.LastSeq), "ended: %t, and segment %d begins with record %d",
			p.state.Closed, next.Segment(), next.Header.FirstSeq)
		return stepStructure, nil
	}
	return 0, nil
}

// predecessor compares a new segment's link with the segment before it.
func (p *part) predecessor() (step, error) {
	if p.relation != relationNone || p.in.Segment == 1 {
		return 0, nil
	}
	h, b := &p.header, p.before
	if b != nil && (h.FirstSeq <= b.LastSeq || p.linked && h.FirstSeq != b.LastSeq+1) {
		code := FindSeqReused // a damaged segment, this one or one that is missing, may do so
		if p.adjacent && !p.state.Damaged {
			code = FindRecord
		}
		p.found.add(code, p.at(0, h.FirstSeq), "the segment begins with record %d, record %d is known", h.FirstSeq, b.LastSeq)
		if code == FindRecord {
			return stepStructure, nil
		}
	}
	switch {
	case p.linked:
		if b.Header.Key != p.key.ID && b.NextKey != p.key.ID {
			p.found.add(FindKeyUnannounced, p.at(0, h.FirstSeq), "key %s follows key %s", p.key.ID, b.Header.Key)
		}
	case b == nil:
		p.misses(FindSegmentMissing, Missing{1, p.in.Segment - 1, 0, ChargeCourier})
	case !p.adjacent:
		if !b.Closed {
			p.misses(FindSegmentPartial, Missing{b.Segment(), b.Segment(), b.Length, ChargeCourier})
		}
		p.misses(FindSegmentMissing, Missing{b.Segment() + 1, p.in.Segment - 1, 0, ChargeCourier})
	default:
		return p.unlinked(b)
	}
	return 0, nil
}

// unlinked is the case of a known predecessor that the header does not link to
// as it is known.
func (p *part) unlinked(b *Head) (step, error) {
	h := &p.header
	rest := Missing{b.Segment(), b.Segment(), b.Length, ChargeCourier}
	if h.PrevLength > b.Length && !b.Closed {
		p.misses(FindSegmentPartial, rest)
		return 0, nil
	}
	fits := h.PrevLength == 0
	if !fits {
		var err error
		if fits, err = p.v.prefix(b, h.PrevLength, h.PrevDigest); err != nil {
			return 0, err
		}
	}
	switch {
	case !fits:
		return p.contradicts(b.Segment(), "the header links to %d bytes with digest %s, %d are known with %s", h.PrevLength, h.PrevDigest, b.Length, b.Digest)
	case p.state.Damaged || h.PrevLength == 0:
		rest.By = ChargeMeter
		p.misses(FindSegmentPartial, rest)
		return 0, nil
	case h.PrevLength < b.Length:
		return p.contradicts(b.Segment(), "the header links to %d bytes, the meter had signed %d", h.PrevLength, b.Length)
	}
	p.found.add(FindRecord, p.at(0, h.FirstSeq), "segment %d has no SEGMENT_END", b.Segment())
	return stepStructure, nil
}
