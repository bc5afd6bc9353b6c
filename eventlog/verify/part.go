package verify

import (
	"github.com/meterseal/meterseal/eventlog"
)

// part judges one part of a bundle.
type part struct {
	v    *verifier
	in   *eventlog.Part
	last bool // it is the bundle's last one

	head   *Head // what is known of the segment; nil = nothing
	seal   eventlog.Seal
	sealed bool
	header eventlog.Header // of the segment, if hasHeader
	// hasHeader: the header is known, or stands in the bytes and parses.
	// Until the signature holds it may refuse evidence, never support it.
	hasHeader bool
	key       *Key // registered one that the evidence names; nil = it names none

	text      text // the bytes that the seal is said to cover
	relation  relation
	before    *Head  // nearest known segment below one that is new; nil = none
	adjacent  bool   // before is the direct predecessor
	linked    bool   // before is complete and the header links to it
	followErr error  // of the search for before
	after     *Head  // known segment above, the next one or the newest; nil = none
	ahead     *ahead // of records, begun before signature; nil = none
	held      bool   // the signature holds over well-formed records
	grows     bool   // it adds signed bytes to what is known

	state    Head    // at the signed length
	base     account // before the first record that its seals can be of
	specific uint64  // records that they can be of
	policyOK bool
	found    findings
	dropped  []eventlog.SegmentDropped
	answered []Answer
	missing  []Missing
	tail     int
	need     *Position
	claimed  bool // the verdict rests on the courier's word
}

// relation is how the sealed bytes relate to those that are known.
type relation uint8

const (
	relationNone     relation = iota // nothing is known of the segment
	relationExtends                  // the known bytes and more
	relationSame                     // the known bytes
	relationPrefix                   // the beginning of the known bytes, or taken as such when those are not kept
	relationDiverged                 // neither is a prefix of the other
)

// judge tries the verdicts in their order. Nothing that the log says counts
// before signature has returned 0.
func (p *part) judge() (step, error) {
	var err error
	if p.head, err = p.v.segment(p.in.Segment); err != nil {
		return 0, err
	}
	defer func() { p.ahead.wait() }() // on each way out
	for _, try := range [...]func() (step, error){
		p.parse, p.identity, p.hints, p.complete, p.readAhead, p.hash, p.signature,
		p.relate, p.records, p.keyRange, p.policy, p.fork, p.rollback, p.successor, p.predecessor,
	} {
		if s, err := try(); s != 0 || err != nil {
			return s, err
		}
	}
	p.counterGap()
	p.readTail()
	if len(p.missing) > 0 {
		return stepGap, nil
	}
	return stepIntact, nil
}

// at is the place of an offset in the segment.
func (p *part) at(offset uint64, seq uint32) place {
	return place{Position{p.in.Segment, offset}, seq}
}

// known is how many bytes of the segment are known.
func (p *part) known() uint64 {
	if p.head == nil {
		return 0
	}
	return p.head.Length
}

func (p *part) needFrom(segment uint32, offset uint64) { p.need = &Position{segment, offset} }

func (p *part) parse() (step, error) {
	if len(p.in.Seal) == 0 {
		return 0, nil
	}
	if err := p.seal.UnmarshalBinary(p.in.Seal); err != nil {
		p.found.add(FindSeal, p.at(0, 0), "%v", err)
		return stepParse, nil
	}
	p.sealed = true
	return 0, nil
}

// identity refuses what names another meter or a key that is none of this
// meter's.
func (p *part) identity() (step, error) {
	if p.in.Offset == 0 {
		h, err := eventlog.ParseHeader(p.in.Log)
		p.header, p.hasHeader = h, err == nil
	} else if p.head != nil {
		p.header, p.hasHeader = p.head.Header, true
	}
	if p.hasHeader {
		if p.header.Meter != p.v.in.Bundle.Meter {
			p.found.add(FindMeter, p.at(0, 0), "the log is that of %s", p.header.Meter)
			return stepMeter, nil
		}
		if p.key = p.v.key(func(k *Key) bool { return k.ID == p.header.Key }); p.key == nil {
			p.found.add(FindKey, p.at(0, 0), "the log names key %s", p.header.Key)
			return stepKey, nil
		}
	}
	if p.sealed {
		sealer := p.v.key(func(k *Key) bool { return [8]byte(k.ID[:8]) == p.seal.KeyPrefix })
		if sealer == nil {
			p.found.add(FindKey, p.at(0, 0), "the seal names key %x", p.seal.KeyPrefix)
			return stepKey, nil
		}
		if p.key == nil {
			p.key = sealer
		}
	}
	return 0, nil
}

// hints refuses a seal that contradicts the registered key or the log.
func (p *part) hints() (step, error) {
	wrong := func(format string, args ...any) (step, error) {
		p.found.add(FindHint, p.at(0, 0), format, args...)
		return stepHint, nil
	}
	if p.hasHeader && p.header.Segment != p.in.Segment {
		return wrong("the log is that of segment %d", p.header.Segment)
	}
	if !p.sealed {
		return 0, nil
	}
	if p.seal.Segment != p.in.Segment {
		return wrong("the seal is that of segment %d", p.seal.Segment)
	}
	if p.seal.KeyPrefix != [8]byte(p.key.ID[:8]) {
		return wrong("the seal names another key than the log")
	}
	if p.seal.Scheme != p.key.Scheme {
		return wrong("the seal says scheme %s, the key is registered for %s", p.seal.Scheme, p.key.Scheme)
	}
	return 0, nil
}

// complete asks for what is missing to recompute the digest.
func (p *part) complete() (step, error) {
	if !p.sealed {
		p.found.add(FindNoSeal, p.at(p.in.Offset, 0), "the bytes come without a seal")
		if p.v.head != nil || len(p.v.out.Advance) > 0 {
			p.needFrom(p.in.Segment, p.known())
			return stepIncomplete, nil
		}
		return stepUnsealed, nil
	}
	end := p.in.Offset + uint64(len(p.in.Log))
	if p.in.Offset > p.known() || end < p.seal.SignedLength {
		p.found.add(FindMissing, p.at(p.in.Offset, 0), "bytes %d to %d came, %d are known, the seal covers %d",
			p.in.Offset, end, p.known(), p.seal.SignedLength)
		p.needFrom(p.in.Segment, p.known())
		return stepIncomplete, nil
	}
	return 0, nil
}

// signature decides whether the registered key sealed these bytes.
func (p *part) signature() (step, error) {
	digest := p.text.digest
	if p.seal.Signs(p.key.Public, p.key.ID, p.key.Scheme, digest) {
		if p.seal.Digest != digest {
			p.found.add(FindHint, p.at(p.seal.SignedLength, 0), "the signature holds, the digest beside it is another")
			return stepHint, nil
		}
		return 0, nil
	}
	if p.seal.Signs(p.key.Public, p.key.ID, p.key.Scheme, p.seal.Digest) {
		p.found.add(FindOtherBytes, p.at(p.seal.SignedLength, 0), "a genuine seal, of digest %s", p.seal.Digest)
		if p.in.Offset > 0 {
			// The known bytes are part of the digest. Either the courier
			// moved a seal here or the meter has two histories: the whole
			// segment will tell.
			p.needFrom(p.in.Segment, 0)
			return stepIncomplete, nil
		}
	}
	p.found.add(FindSignature, p.at(p.seal.SignedLength, 0), "it does not hold over digest %s", digest)
	p.explain()
	return stepAltered, nil
}

// explain says what a look at the bytes tells of why the signature fails.
func (p *part) explain() {
	other := p.v.key(func(k *Key) bool {
		return p.seal.Signs(k.Public, k.ID, k.Scheme, p.text.digest)
	})
	if other != nil {
		p.found.add(FindOtherKey, p.at(p.seal.SignedLength, 0), "key %s fits", other.ID)
	}
	if p.text.lost {
		p.found.add(FindHeadLost, p.at(p.known(), 0), "the known %d bytes are not the beginning of these", p.known())
	}
	start, seq := uint64(0), uint32(0) // 0: any number may come first
	if p.in.Offset > 0 {
		start, seq = p.head.Length, p.head.LastSeq+1
	}
	log := p.in.Log[min(start-p.in.Offset, uint64(len(p.in.Log))):]
	for at := start; at < p.seal.SignedLength; {
		var r eventlog.Record
		n, err := r.Next(log)
		if err != nil {
			p.found.add(FindRecord, p.at(at, seq), "%v", err)
			return
		}
		if seq != 0 && r.Seq != seq {
			p.found.add(FindRecord, p.at(at, r.Seq), "sequence number %d where %d was due", r.Seq, seq)
			return
		}
		seq, log, at = r.Seq+1, log[n:], at+uint64(n)
	}
}

// relate finds out how the sealed bytes relate to the known ones.
func (p *part) relate() (_ step, err error) {
	if p.after, err = p.v.above(p.in.Segment); err != nil {
		return 0, err
	}
	switch {
	case p.head == nil:
		return 0, p.followErr
	case p.text.lost:
		p.relation = relationDiverged
	case p.seal.SignedLength > p.head.Length:
		p.relation = relationExtends
	case p.seal.SignedLength == p.head.Length:
		p.relation = relationSame
	default:
		p.relation = relationPrefix
		fits, err := p.v.prefix(p.head, p.seal.SignedLength, p.text.digest)
		if err != nil {
			return 0, err
		}
		if !fits {
			p.relation = relationDiverged
		}
	}
	p.grows = p.relation == relationExtends
	return 0, nil
}

// follow finds what is known before a segment that is new.
func (p *part) follow() error {
	b, adjacent, err := p.v.below(p.in.Segment)
	p.grows, p.before, p.adjacent = true, b, adjacent
	p.linked = adjacent && b.Closed && b.Length == p.header.PrevLength && b.Digest == p.header.PrevDigest
	return err
}

// keyRange refuses what the key may not seal. Bytes that were accepted before
// stay accepted.
func (p *part) keyRange() (step, error) {
	if p.relation == relationSame || p.relation == relationPrefix {
		return 0, nil
	}
	k := p.key
	revoked := func(format string, args ...any) (step, error) {
		p.found.add(FindKeyRange, p.at(p.seal.SignedLength, p.state.LastSeq), format, args...)
		return stepRevoked, nil
	}
	if k.Revoked {
		return revoked("the key is revoked")
	}
	if p.header.FirstSeq < k.FirstSeq {
		return revoked("the key is valid from record %d on", k.FirstSeq)
	}
	if k.LastSeq != 0 && p.state.LastSeq > k.LastSeq {
		return revoked("the key is valid up to record %d", k.LastSeq)
	}
	if k.Scheme == eventlog.SchemeCounter && p.seal.Counter <= k.StartCounter {
		return revoked("counter %d, the key began at %d", p.seal.Counter, k.StartCounter)
	}
	if k.LastCounter != 0 && p.seal.Counter > k.LastCounter {
		return revoked("counter %d, the key ends at %d", p.seal.Counter, k.LastCounter)
	}
	return 0, nil
}

// advance is the step that the part makes.
func (p *part) advance() Advance {
	from := p.known()
	h := p.state
	h.Seal, h.Accepted, h.Midstate = p.seal, p.v.in.Received, p.text.midstate
	return Advance{Head: h, From: from, Log: p.in.Log[from-p.in.Offset : h.Length-p.in.Offset]}
}

// readTail counts the records beyond the signed length. Nothing else is taken
// from them.
func (p *part) readTail() {
	at := max(p.seal.SignedLength, p.in.Offset)
	for log := p.in.Log[at-p.in.Offset:]; len(log) > 0; p.tail++ {
		var r eventlog.Record
		n, err := r.Next(log)
		if err != nil {
			p.found.add(FindTailBroken, p.at(at, 0), "%v", err)
			p.tail++
			return
		}
		if r.Specific() {
			p.found.add(FindTailSpecific, p.at(at, r.Seq), "%s", r.Event())
		}
		at, log = at+uint64(n), log[n:]
	}
}
