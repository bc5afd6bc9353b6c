package verify

import (
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// defaultSealInterval is the 24 hours of PERIODIC_SEAL, and time to write it.
const defaultSealInterval = 24*time.Hour + 15*time.Minute

// records takes the sealed records that are new, and brings the state to the
// signed length. The signature holds: from here on the log is believed to be
// what the meter wrote.
func (p *part) records() (step, error) {
	s := p.ahead.wait()
	if s == nil {
		log, err := p.unread()
		if err != nil {
			return 0, err
		}
		now := p.scan(log)
		s = &now
		s.run()
	}
	p.base, p.policyOK = s.base, s.policyOK
	if !s.sound {
		p.found = append(p.found, s.broken...)
		return stepStructure, nil
	}
	if p.seal.LastSeq != s.state.LastSeq {
		p.found.add(FindHint, p.at(p.seal.SignedLength, s.state.LastSeq), "the seal says sequence number %d", p.seal.LastSeq)
		return stepHint, nil
	}
	p.state, p.specific, p.held = s.state, s.specific, true
	p.state.Digest = p.text.digest
	if p.relation == relationSame || p.relation == relationPrefix {
		return 0, nil
	}
	if latest := p.v.in.Received.Add(p.v.in.Limits.ClockSkew); time.UnixMilli(s.state.Millis).After(latest) {
		s.found.add(FindClockAhead, p.at(s.state.Length, s.state.LastSeq), "%s at the meter when it was %s here",
			time.UnixMilli(s.state.Millis).UTC().Format(time.RFC3339), p.v.in.Received.UTC().Format(time.RFC3339))
	}
	p.found = append(p.found, s.found...)
	p.dropped, p.answered = s.dropped, s.answered
	return 0, nil
}

// unread returns the sealed bytes from which the state is to be brought to the
// signed length.
func (p *part) unread() ([]byte, error) {
	switch p.relation {
	case relationSame:
		return nil, nil
	case relationExtends:
		return p.in.Log[p.head.Length-p.in.Offset : p.seal.SignedLength-p.in.Offset], nil
	}
	return p.content()
}

// scan returns the scan of the sealed bytes that follow the known ones. It is
// independent of the part.
func (p *part) scan(log []byte) scan {
	s := scan{
		v: p.v, segment: p.in.Segment, key: p.key, before: p.before, log: log,
		interval: defaultSealInterval, base: p.opening(), event: headerEvent, wants: true,
	}
	if d := p.v.in.Limits.SealInterval; d > 0 {
		s.interval = d
	}
	switch p.relation {
	case relationSame, relationExtends:
		s.state, s.seq = *p.head, p.head.LastSeq+1
	default:
		if p.before != nil {
			s.state.Millis, s.state.Boot, s.state.Uptime = p.before.Millis, p.before.Boot, p.before.Uptime
		}
	}
	s.start = s.state.Length
	s.sealBoot, s.sealUptime = s.state.Boot, s.state.Uptime
	s.account = s.base
	s.policy, s.policyOK = p.v.policy(&p.header)
	return s
}

// policy returns the set of specific events of a segment. It is nil if the
// registry does not care and the header names a set that is not known. ok is
// false if the registry does not allow the set.
func (v *verifier) policy(h *eventlog.Header) (set *eventlog.Policy, ok bool) {
	reg := &v.in.Registration
	if reg.Policy == nil {
		if every := new(eventlog.Policy); h.PolicyDigest == every.Digest() {
			return every, true
		}
		return nil, true
	}
	if reg.Policy.Digest() == h.PolicyDigest {
		return reg.Policy, true
	}
	for i := range reg.FormerPolicies {
		if former := &reg.FormerPolicies[i]; former.Digest() == h.PolicyDigest {
			return former, true
		}
	}
	return nil, false
}

// scan reads records in the order of the log.
type scan struct {
	v        *verifier // only read
	segment  uint32
	key      *Key
	before   *Head // see part
	log      []byte
	start    uint64 // offset of the log bytes in the segment
	interval time.Duration

	state    Head   // after the last record
	seq      uint32 // due next, 0 = any
	specific uint64 // specific records since base
	policy   *eventlog.Policy
	policyOK bool           // the registry allows policy, and the records follow it
	event    eventlog.Event // the last one looked up in policy
	wants    bool           // whether that one is specific
	last     bool           // the last record is specific

	sealBoot, sealUptime uint32 // of the last specific record

	base     account // before the first record that the part's seals can be of
	account  account
	restarts uint64 // BOOT and SE_RESTORED so far

	found    findings
	sound    bool     // the bytes are a well-formed log
	broken   findings // why they are none
	dropped  []eventlog.SegmentDropped
	answered []Answer
}

// run reads all records, up to one that cannot stand where it is.
func (s *scan) run() {
	var r eventlog.Record
	for rest := s.log; len(rest) > 0; {
		n, err := r.Next(rest)
		if err != nil {
			s.malformed(0, "%v", err)
			return
		}
		if !s.record(&r) {
			return
		}
		rest = rest[n:]
		s.state.Length += uint64(n)
	}
	if !s.last {
		s.notPolicy(s.state.LastSeq, "the last signed record is not specific")
	}
	s.sound = true
}

func (s *scan) here(seq uint32) place { return place{Position{s.segment, s.state.Length}, seq} }

func (s *scan) malformed(seq uint32, format string, args ...any) bool {
	s.broken.add(FindRecord, s.here(seq), format, args...)
	return false
}

func (s *scan) notPolicy(seq uint32, format string, args ...any) {
	s.found.add(FindPolicy, s.here(seq), format, args...)
	s.policyOK = false
}

// record takes one record. It is false if the record cannot stand here.
func (s *scan) record(r *eventlog.Record) bool {
	if s.seq != 0 && r.Seq != s.seq {
		return s.malformed(r.Seq, "sequence number %d where %d was due", r.Seq, s.seq)
	}
	if s.state.Closed && s.state.Length == s.start {
		return s.malformed(r.Seq, "a record after SEGMENT_END")
	}
	if isHeader := r.Event() == headerEvent; isHeader != (s.state.Length == 0) {
		return s.malformed(r.Seq, "a segment has one header, at its start")
	}
	s.state.Closed = false // an end that got no seal of its own is none
	s.clock(r)
	s.flags(r)
	if r.Class == eventlog.ClassSystem {
		if !s.system(r) {
			return false
		}
	}
	if r.Specific() {
		s.specific++
	}
	s.seq = r.Seq + 1
	s.state.LastSeq, s.state.Boot, s.state.Uptime = r.Seq, r.Boot, r.Uptime
	return true
}

var headerEvent = eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeSegment}

// clock looks for clocks that go back. Only CLOCK_SET may move the wall clock.
func (s *scan) clock(r *eventlog.Record) {
	st := &s.state
	if r.Boot < st.Boot {
		s.found.add(FindClock, s.here(r.Seq), "boot %d after boot %d", r.Boot, st.Boot)
	}
	if r.Boot == st.Boot && r.Uptime < st.Uptime {
		s.found.add(FindClock, s.here(r.Seq), "uptime %d s after %d s", r.Uptime, st.Uptime)
	}
	set := r.Event() == eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeClockSet}
	if r.Millis < st.Millis && !set {
		code := FindClock
		if r.Flags&eventlog.FlagClockUntrusted != 0 {
			code = FindClockUntrusted
		}
		s.found.add(code, s.here(r.Seq), "wall clock %s after %s", r.Time().Format(time.RFC3339), time.UnixMilli(st.Millis).UTC().Format(time.RFC3339))
	}
	st.Millis = r.Millis
	if !r.Specific() {
		return
	}
	if quiet := time.Duration(r.Uptime-s.sealUptime) * time.Second; r.Boot == s.sealBoot && r.Uptime > s.sealUptime && quiet > s.interval {
		s.found.add(FindSealOverdue, s.here(r.Seq), "%s of uptime since the last specific record", quiet)
	}
	s.sealBoot, s.sealUptime = r.Boot, r.Uptime
}

// flags compares the specific flag with the policy.
func (s *scan) flags(r *eventlog.Record) {
	s.last = r.Specific()
	e := r.Event()
	if s.policy == nil && e.Class != eventlog.ClassSystem {
		return
	}
	if e != s.event {
		s.event, s.wants = e, s.policy.IsSpecific(e) // system events are, even without a set
	}
	if s.last != s.wants {
		s.notPolicy(r.Seq, "%s: specific is %t", e, s.last)
	}
}

// system takes what a system event tells. It is false if the payload does not
// decode or cannot stand here.
func (s *scan) system(r *eventlog.Record) bool {
	payload, err := eventlog.DecodePayload(r)
	if err != nil {
		return s.malformed(r.Seq, "%v", err)
	}
	switch e := payload.(type) {
	case *eventlog.Header:
		return s.header(r)
	case *eventlog.SegmentEnd:
		if e.Next != s.segment+1 {
			return s.malformed(r.Seq, "SEGMENT_END names segment %d as the next", e.Next)
		}
		s.state.Closed = true
	case *eventlog.SegmentDropped:
		s.dropped = append(s.dropped, *e)
		why := "the store was full"
		if e.Reason == eventlog.DropReceipt {
			why = "it has a receipt"
		}
		s.found.add(FindDropped, s.here(r.Seq), "segment %d, %d bytes: %s", e.Segment, e.Length, why)
	case *eventlog.Boot:
		if e.Dropped > 0 {
			s.found.add(FindTornEnd, s.here(r.Seq), "%d bytes of an unfinished record were dropped", e.Dropped)
		}
		s.counters(r, &e.Counters)
		s.restarts++
	case *eventlog.ModuleRestored:
		s.found.add(FindModuleRestored, s.here(r.Seq), "counter %d", e.ModuleCounter)
		s.counters(r, &e.Counters)
		s.restarts++
	case *eventlog.ModuleFailed:
		s.found.add(FindModuleFailed, s.here(r.Seq), "reason %d", e.Reason)
	case *eventlog.LogDamaged:
		if r.Seq == s.state.Header.FirstSeq+1 {
			s.state.Damaged = true
			s.damaged(r, e)
		}
		s.found.add(FindDamaged, s.here(r.Seq), "segment %d: %d bytes found, %d verify; counter %d, of their seal %d",
			e.Segment, e.Found, e.Verifiable, e.ModuleCounter, e.SealCounter)
	case *eventlog.ChallengeAccepted:
		for _, n := range s.v.in.Nonces {
			if n.Value == e.Nonce {
				s.answered = append(s.answered, Answer{n, r.Seq})
			}
		}
	case *eventlog.KeyChange:
		s.state.NextKey, s.state.NextCounter = e.Key, e.Counter
		registered := s.v.key(func(k *Key) bool { return k.ID == e.Key && k.Scheme == e.Scheme }) != nil
		s.found.add(FindKeyChange, s.here(r.Seq), "to key %s, scheme %s, registered: %t", e.Key, e.Scheme, registered)
	case *eventlog.ClockSet:
		s.state.Millis = e.New
		s.found.add(FindClockSet, s.here(r.Seq), "from %s to %s", time.UnixMilli(e.Old).UTC().Format(time.RFC3339), time.UnixMilli(e.New).UTC().Format(time.RFC3339))
	case *eventlog.EventsSuppressed:
		s.found.add(FindSuppressed, s.here(r.Seq), "%d events", e.Count)
	}
	return true
}

// header takes the header of the segment. What it says of meter, key and
// segment was compared before.
func (s *scan) header(r *eventlog.Record) bool {
	h, err := eventlog.HeaderOf(r)
	if err != nil {
		return s.malformed(r.Seq, "%v", err)
	}
	if h.Scheme != s.key.Scheme {
		return s.malformed(r.Seq, "the header says scheme %s, the key is registered for %s", h.Scheme, s.key.Scheme)
	}
	linked := h.PrevDigest != eventlog.Digest{}
	if linked != (h.PrevLength > 0) || linked && h.Segment == 1 {
		return s.malformed(r.Seq, "the header links to %d bytes with digest %s", h.PrevLength, h.PrevDigest)
	}
	s.state.Header = h
	return true
}
