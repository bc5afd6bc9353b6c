package eventlog

import (
	"fmt"

	"github.com/meterseal/meterseal/internal/durable"
)

// proof is what the seals in the slots prove of a segment.
type proof struct {
	scan        *scan
	terms       terms // under which the segment was made
	former      bool  // its key is a former one
	policyKnown bool

	best     *Seal // the newest seal that verifies, its fields as the log has them
	bestMark mark  // where it ends
	bestSlot int

	before *proof // the closed segment before, if the segment itself has no seal

	why string // why the segment cannot be built upon; "" = nothing found yet
}

// closed reports whether the segment ends with a sealed SEGMENT_END.
func (p *proof) closed() bool {
	return p.best != nil && p.scan.ended && p.best.SignedLength == p.scan.length
}

// prove scans a segment and verifies each seal in the slots that claims to be
// of it, over the digest recomputed at its signed length.
func (o *opening) prove(n uint32, f durable.File) (*proof, error) {
	want := map[uint64]bool{}
	for _, s := range o.found {
		if s.Segment == n {
			want[s.SignedLength] = true
		}
	}
	s, err := scanSegment(f, n, want, o.counter.asked(), o.policyOf)
	if err != nil {
		return nil, err
	}
	p := &proof{scan: s, why: s.fault}
	if s.header.Segment == 0 {
		return p, nil
	}
	var known bool
	p.terms, p.former, known = o.keyOf(&s.header)
	if policy := o.policyOf(&s.header); policy != nil {
		p.terms.policy, p.policyKnown = *policy, true
	}
	switch {
	case s.header.Meter != o.meter:
		p.why = fmt.Sprintf("it is of meter %s", s.header.Meter)
	case !known:
		p.why = fmt.Sprintf("it names key %s in scheme %s, which is not ours", s.header.Key, s.header.Scheme)
	default:
		o.tryAll(n, p)
	}
	return p, nil
}

// tryAll finds the best seal. A whole seal that does not verify cannot come
// from a power cut, since a seal is verified before it is stored and the log
// is durable before it is signed: bytes that it covered were changed.
func (o *opening) tryAll(n uint32, p *proof) {
	for _, s := range o.found {
		if s.Segment != n {
			continue
		}
		m, ok := p.scan.marks[s.SignedLength]
		if !ok || !s.Signs(p.terms.pub, p.terms.key, p.terms.scheme, m.digest) {
			p.why = fmt.Sprintf("the seal over %d bytes does not verify", s.SignedLength)
			continue
		}
		if p.best == nil || m.length > p.best.SignedLength {
			p.best, p.bestMark, p.bestSlot = sealAt(&p.scan.header, m, &s.Seal), m, s.slot
		}
	}
}

// sealAt returns a seal that verifies, with its fields from the log.
func sealAt(h *Header, m mark, s *Seal) *Seal {
	v := &Seal{
		Scheme: h.Scheme, Segment: h.Segment, SignedLength: m.length, LastSeq: m.seq,
		KeyPrefix: [8]byte(h.Key[:]), Digest: m.digest, Signature: s.Signature,
	}
	if h.Scheme == SchemeCounter {
		v.Counter = s.Counter
	}
	return v
}

// fresh reports whether the header is one that this log writes today.
func (p *proof) fresh(profile Profile) bool {
	return !p.former && p.policyKnown && p.scan.header.Profile == profile
}

// standing returns the seal that stands, the segment's own or the last one of
// the segment before, and its slot; nil if there is none.
func (p *proof) standing() (*Seal, int) {
	switch {
	case p.best != nil:
		return p.best, p.bestSlot
	case p.before != nil:
		return p.before.best, p.before.bestSlot
	}
	return nil, 0
}

// unsealed says why the newest segment in list, which has no seal, cannot be
// built upon, "" if it can. It can if nothing of it was ever sealed: then the
// slots still hold the last seal of the segment before, to which the header
// links; or it begins with the LOG_DAMAGED that the segments before it deserve.
func (o *opening) unsealed(list []uint32, p *proof) (string, error) {
	h := &p.scan.header
	if !p.fresh(o.profile) {
		return "no seal covers it and its header is not ours", nil
	}
	if p.scan.first != nil {
		_, d, err := o.assess(list[:len(list)-1])
		if err != nil {
			return "", err
		}
		if d == nil || !d.wrote(p.scan) {
			return "no seal covers it and what it says of the log before it is not so", nil
		}
		return "", nil
	}
	f, ok := o.files[h.Segment-1]
	if !ok {
		return "no seal covers it", nil
	}
	q, err := o.prove(h.Segment-1, f)
	if err != nil {
		return "", err
	}
	switch {
	case q.why != "" || !q.closed():
		return "no seal covers it and the segment before is not closed", nil
	case h.PrevLength != q.best.SignedLength || h.PrevDigest != q.best.Digest || h.FirstSeq != q.scan.lastSeq+1:
		return "no seal covers it and it does not follow the segment before", nil
	case !q.announces(p.terms):
		return "no seal covers it and the segment before does not announce its key or specific set", nil
	}
	p.before = q
	return "", nil
}

// announces reports whether the segment after this one is made under t.
func (p *proof) announces(t terms) bool {
	_, err := follow(p.scan.header.terms(), &p.scan.head, []terms{t})
	return err == nil
}

// announced returns the changes that the segment announces, if they are to other
// terms than its own.
func (p *proof) announced() (*KeyChange, *PolicyChange) {
	key, policy, own := p.scan.keyChange, p.scan.policyChange, p.scan.header.terms()
	if key != nil && key.Key == own.key && key.Scheme == own.scheme {
		key = nil
	}
	if policy != nil && policy.New == own.policy && policy.Version == own.version {
		policy = nil
	}
	return key, policy
}
