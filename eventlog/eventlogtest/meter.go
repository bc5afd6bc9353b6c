package eventlogtest

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Meter is a meter's log in memory. Its fields may be changed at will between
// calls; they are what the next record, header and seal are made of.
type Meter struct {
	ID       eventlog.MeterID
	Key      *Key
	Policy   eventlog.Policy
	Profile  eventlog.Profile
	Segments []*Segment // oldest first; the last one is open

	Seq    uint32        // of the next record
	Now    time.Time     // of the next record
	Step   time.Duration // by which Now and Uptime move with each record
	Boot   uint32        // boot counter
	Uptime time.Duration // since boot, of the next record
	Flags  uint8         // set on each record, beside FlagSpecific
}

// Segment is a segment's bytes and all seals that were made over it, oldest
// first.
type Segment struct {
	Number uint32
	Log    []byte
	Seals  []eventlog.Seal
}

// Events that the default policy counts as specific and not specific.
var (
	Specific = eventlog.Event{Class: eventlog.ClassFraud, Code: 40} // terminal cover opened
	Ordinary = eventlog.Event{Class: eventlog.ClassPowerQuality, Code: 77}
)

// Epoch is the wall clock of a new meter's first record.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New returns the meter FFFFFF-MS0000000001 with the test key of that name and
// the default policy. Its log holds the sealed header of segment 1.
func New(name string, scheme eventlog.Scheme) *Meter {
	m := &Meter{
		ID:     must(eventlog.ParseMeterID("FFFFFF-MS0000000001")),
		Key:    NewKey(name, scheme),
		Policy: eventlog.DefaultPolicy(), Profile: eventlog.ProfileIDIS,
		Seq: 1, Now: Epoch, Step: time.Second, Boot: 1,
	}
	m.Begin(1, 0, eventlog.Digest{})
	m.Seal()
	return m
}

// Clone returns a copy that shares nothing with m, key counter included: an
// image of the meter, to be restored or to be forked from.
func (m *Meter) Clone() *Meter {
	c := *m
	key := *m.Key
	c.Key = &key
	c.Segments = make([]*Segment, len(m.Segments))
	for i, s := range m.Segments {
		c.Segments[i] = &Segment{s.Number, slices.Clone(s.Log), slices.Clone(s.Seals)}
	}
	return &c
}

// Open returns the newest segment.
func (m *Meter) Open() *Segment { return m.Segments[len(m.Segments)-1] }

// Segment returns a segment by its number; nil if it was dropped or never was.
func (m *Meter) Segment(number uint32) *Segment {
	for _, s := range m.Segments {
		if s.Number == number {
			return s
		}
	}
	return nil
}

// Digest returns the SHA-256 of the segment's first n bytes.
func (s *Segment) Digest(n int) eventlog.Digest { return sha256.Sum256(s.Log[:n]) }

// Next returns the record that the meter would append for an event. Append it
// as it is, or changed.
func (m *Meter) Next(e eventlog.Event, payload []byte) eventlog.Record {
	flags := m.Flags &^ eventlog.FlagSpecific
	if m.Policy.IsSpecific(e) {
		flags |= eventlog.FlagSpecific
	}
	return eventlog.Record{
		Class: e.Class, Code: e.Code, Seq: m.Seq, Millis: m.Now.UnixMilli(),
		Boot: m.Boot, Uptime: uint32(m.Uptime / time.Second), Flags: flags, Payload: payload,
	}
}

// Append writes a record to the open segment and returns its offset. It seals
// nothing.
func (m *Meter) Append(r eventlog.Record) int {
	s := m.Open()
	offset := len(s.Log)
	s.Log = must(r.AppendBinary(s.Log))
	m.Seq++
	m.Now = m.Now.Add(m.Step)
	m.Uptime += m.Step
	return offset
}

// Event appends an event and, if it is specific, seals it. It returns the
// record's offset.
func (m *Meter) Event(e eventlog.Event, payload ...byte) int {
	r := m.Next(e, payload)
	offset := m.Append(r)
	if r.Specific() {
		m.Seal()
	}
	return offset
}

// System appends a system event and seals it; payload is nil for an event
// that carries none. It returns the record's offset.
func (m *Meter) System(code uint16, payload eventlog.Payload) int {
	offset := m.AppendSystem(code, payload)
	m.Seal()
	return offset
}

// AppendSystem appends a system event and seals nothing.
func (m *Meter) AppendSystem(code uint16, payload eventlog.Payload) int {
	var b []byte
	if payload != nil {
		b = must(payload.AppendBinary(nil))
	}
	return m.Append(m.Next(eventlog.Event{Class: eventlog.ClassSystem, Code: code}, b))
}

// Fill appends n events, each tenth specific, the last one too. Each specific
// one is sealed.
func (m *Meter) Fill(n int) {
	for i := range n {
		if i%10 == 9 || i == n-1 {
			m.Event(Specific, byte(i))
		} else {
			m.Event(Ordinary, byte(i))
		}
	}
}

// Seal seals the open segment up to its end with the key's next counter.
func (m *Meter) Seal() eventlog.Seal {
	s := m.Open()
	seal := m.SealAt(s, len(s.Log), m.Key.next())
	s.Seals = append(s.Seals, seal)
	return seal
}

// SealAt makes a seal over the first n bytes of any segment, with any counter,
// and leaves meter and key as they are.
func (m *Meter) SealAt(s *Segment, n int, counter uint64) eventlog.Seal {
	digest := s.Digest(n)
	if m.Key.Scheme == eventlog.SchemeDigest {
		counter = 0
	}
	return eventlog.Seal{
		Scheme: m.Key.Scheme, Segment: s.Number, SignedLength: uint64(n), LastSeq: lastSeq(s.Log[:n]),
		KeyPrefix: m.Key.Prefix(), Counter: counter, Digest: digest, Signature: m.Key.SignDigest(digest, counter),
	}
}

// lastSeq returns the sequence number of the last record that can be read.
func lastSeq(log []byte) uint32 {
	var r eventlog.Record
	for len(log) > 0 {
		n, err := r.Next(log)
		if err != nil {
			break
		}
		log = log[n:]
	}
	return r.Seq
}

// Begin opens a segment with the given link to the previous one: its header is
// appended, not sealed.
func (m *Meter) Begin(number uint32, prevLength uint64, prevDigest eventlog.Digest) {
	h := m.Header(number)
	h.PrevLength, h.PrevDigest = prevLength, prevDigest
	m.Segments = append(m.Segments, &Segment{Number: number})
	m.AppendSystem(eventlog.CodeSegment, &h)
}

// Header returns the header that the next segment would get, without a link.
func (m *Meter) Header(number uint32) eventlog.Header {
	return eventlog.Header{
		Meter: m.ID, Scheme: m.Key.Scheme, Key: m.Key.ID, Segment: number, FirstSeq: m.Seq,
		Profile: m.Profile, PolicyVersion: m.Policy.Version, PolicyDigest: m.Policy.Digest(),
	}
}

// Rotate ends the open segment with a sealed SEGMENT_END and opens the next
// one, whose header it seals.
func (m *Meter) Rotate() { m.rotate(eventlog.EndRotation, func() {}) }

// ChangePolicy records POLICY_CHANGE, ends the segment and goes on under the
// new policy.
func (m *Meter) ChangePolicy(p eventlog.Policy) {
	m.System(eventlog.CodePolicyChange, &eventlog.PolicyChange{Old: m.Policy.Digest(), New: p.Digest(), Version: p.Version})
	m.rotate(eventlog.EndPolicy, func() { m.Policy = p })
}

// ChangeKey records KEY_CHANGE, sealed by the old key, ends the segment and
// goes on under the new key.
func (m *Meter) ChangeKey(k *Key) {
	m.System(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: k.ID, Scheme: k.Scheme, Counter: k.Counter})
	m.rotate(eventlog.EndKey, func() { m.Key = k })
}

// TakeBackKey announces a change to k, restarts, and takes the change back, as a
// meter whose change was interrupted.
func (m *Meter) TakeBackKey(k *Key) {
	m.System(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: k.ID, Scheme: k.Scheme, Counter: k.Counter})
	m.Reboot()
	m.System(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: m.Key.ID, Scheme: m.Key.Scheme, Counter: m.Key.Counter})
}

func (m *Meter) rotate(reason eventlog.EndReason, between func()) {
	s := m.Open()
	m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: reason, Next: s.Number + 1})
	between()
	m.Begin(s.Number+1, uint64(len(s.Log)), s.Digest(len(s.Log)))
	m.Seal()
}

// Drop deletes a closed segment and records it.
func (m *Meter) Drop(number uint32, reason eventlog.DropReason) {
	s := m.Segment(number)
	m.Segments = slices.DeleteFunc(m.Segments, func(t *Segment) bool { return t == s })
	m.System(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{
		Segment: number, Length: uint64(len(s.Log)), Digest: s.Digest(len(s.Log)), Reason: reason,
	})
}

// Counters returns what an honest meter finds when it starts: its newest seal
// and the counter of its secure element. The length of a seal of an earlier
// segment is 0.
func (m *Meter) Counters() eventlog.Counters {
	c := eventlog.Counters{ModuleUp: true, ModuleCounter: m.Key.Counter}
	for i, s := range slices.Backward(m.Segments) {
		if n := len(s.Seals); n > 0 {
			c.SealCounter = s.Seals[n-1].Counter
			if i == len(m.Segments)-1 {
				c.SealLength = s.Seals[n-1].SignedLength
			}
			break
		}
	}
	return c
}

// Reboot restarts the meter: BOOT is appended and sealed.
func (m *Meter) Reboot() {
	m.Boot++
	m.Uptime = 0
	m.System(eventlog.CodeBoot, &eventlog.Boot{Counters: m.Counters()})
}

// Damage restarts the meter as one that found the open segment not to verify
// beyond the given length: a new segment, linked to that prefix or, when it is
// 0, to nothing, begins with LOG_DAMAGED.
func (m *Meter) Damage(verifiable int) {
	s := m.Open()
	d := eventlog.LogDamaged{
		Segment: s.Number, Found: uint64(len(s.Log)), Verifiable: uint64(verifiable),
		Counters: eventlog.Counters{ModuleUp: true, ModuleCounter: m.Key.Counter},
	}
	if verifiable > 0 {
		d.Digest = s.Digest(verifiable)
		for _, seal := range s.Seals {
			if seal.SignedLength == uint64(verifiable) {
				d.SealLength, d.SealCounter = seal.SignedLength, seal.Counter
			}
		}
	}
	m.Boot++
	m.Uptime = 0
	m.Begin(s.Number+1, d.Verifiable, d.Digest)
	m.System(eventlog.CodeLogDamaged, &d)
}
