package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrPayload says that the payload of a system event does not have the form
// that its code demands.
var ErrPayload = errors.New("eventlog: not a payload of this event")

// EndReason says why a segment ended.
type EndReason uint8

// The reasons of SEGMENT_END.
const (
	EndRotation EndReason = 1 // it was full
	EndPolicy   EndReason = 2 // the set of specific events changed
	EndKey      EndReason = 3 // the key changed
)

// SegmentEnd is the payload of SEGMENT_END: reason 1, next segment 4.
type SegmentEnd struct {
	Reason EndReason
	Next   uint32
}

// AppendBinary appends the payload, 5 bytes.
func (p *SegmentEnd) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(append(b, byte(p.Reason)), p.Next), nil
}

// UnmarshalBinary decodes the payload.
func (p *SegmentEnd) UnmarshalBinary(b []byte) error {
	if len(b) != 5 {
		return ErrPayload
	}
	*p = SegmentEnd{EndReason(b[0]), binary.BigEndian.Uint32(b[1:])}
	return nil
}

// DropReason says why a segment was deleted.
type DropReason uint8

// The reasons of SEGMENT_DROPPED.
const (
	DropReceipt DropReason = 1 // the MDMS gave a receipt for it
	DropFull    DropReason = 2 // the store was full
)

// SegmentDropped is the payload of SEGMENT_DROPPED: segment 4, length 8,
// digest 32, reason 1.
type SegmentDropped struct {
	Segment uint32
	Length  uint64 // bytes
	Digest  Digest
	Reason  DropReason
}

// AppendBinary appends the payload, 45 bytes.
func (p *SegmentDropped) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, p.Segment)
	b = binary.BigEndian.AppendUint64(b, p.Length)
	b = append(b, p.Digest[:]...)
	return append(b, byte(p.Reason)), nil
}

// UnmarshalBinary decodes the payload.
func (p *SegmentDropped) UnmarshalBinary(b []byte) error {
	if len(b) != 45 {
		return ErrPayload
	}
	*p = SegmentDropped{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), Digest(b[12:44]), DropReason(b[44])}
	return nil
}

// Counters is what a meter found when it began, or began again, to use its
// secure element. The MDMS checks it. Each seal is durable before the next
// signature is asked for, and a retry first appends BOOT or SE_RESTORED: if
// ModuleCounter exceeds SealCounter by more than one for the first specific
// record after SealLength and one for each BOOT and SE_RESTORED, a seal was made
// and then removed.
type Counters struct {
	ModuleUp      bool   // false: the secure element did not answer, ModuleCounter is 0
	SealLength    uint64 // signed length of the newest seal that verified, bytes; 0 = none
	SealCounter   uint64 // counter of that seal; 0 = none or scheme digest
	ModuleCounter uint64 // counter that the secure element reports
}

func (c *Counters) append(b []byte) []byte {
	up := byte(0)
	if c.ModuleUp {
		up = 1
	}
	b = append(b, up)
	b = binary.BigEndian.AppendUint64(b, c.SealLength)
	b = binary.BigEndian.AppendUint64(b, c.SealCounter)
	return binary.BigEndian.AppendUint64(b, c.ModuleCounter)
}

func (c *Counters) decode(b []byte) error {
	if b[0] > 1 {
		return ErrPayload
	}
	*c = Counters{b[0] == 1, binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:]), binary.BigEndian.Uint64(b[17:])}
	return nil
}

const countersSize = 25

// Boot is the payload of BOOT: dropped bytes 4, counters 25 (module up 1, seal
// length 8, seal counter 8, module counter 8).
type Boot struct {
	Dropped uint32 // bytes of a torn end that were dropped, all beyond the signed length
	Counters
}

// AppendBinary appends the payload, 29 bytes.
func (p *Boot) AppendBinary(b []byte) ([]byte, error) {
	return p.append(binary.BigEndian.AppendUint32(b, p.Dropped)), nil
}

// UnmarshalBinary decodes the payload.
func (p *Boot) UnmarshalBinary(b []byte) error {
	if len(b) != 4+countersSize {
		return ErrPayload
	}
	p.Dropped = binary.BigEndian.Uint32(b)
	return p.decode(b[4:])
}

// ModuleRestored is the payload of SE_RESTORED: the counters, 25 bytes.
type ModuleRestored struct{ Counters }

// AppendBinary appends the payload, 25 bytes.
func (p *ModuleRestored) AppendBinary(b []byte) ([]byte, error) { return p.append(b), nil }

// UnmarshalBinary decodes the payload.
func (p *ModuleRestored) UnmarshalBinary(b []byte) error {
	if len(b) != countersSize {
		return ErrPayload
	}
	return p.decode(b)
}

// FailReason says how the secure element failed.
type FailReason uint8

// The reasons of SE_FAILED.
const (
	FailUnavailable FailReason = 1 // it does not answer, or is gone
	FailTimeout     FailReason = 2 // it did not answer in time
	FailRefused     FailReason = 3 // it answered with an error
	FailSignature   FailReason = 4 // its signature does not verify
)

// ModuleFailed is the payload of SE_FAILED: reason 1.
type ModuleFailed struct{ Reason FailReason }

// AppendBinary appends the payload, 1 byte.
func (p *ModuleFailed) AppendBinary(b []byte) ([]byte, error) { return append(b, byte(p.Reason)), nil }

// UnmarshalBinary decodes the payload.
func (p *ModuleFailed) UnmarshalBinary(b []byte) error {
	if len(b) != 1 {
		return ErrPayload
	}
	p.Reason = FailReason(b[0])
	return nil
}

// LogDamaged is the payload of LOG_DAMAGED: damaged segment 4, bytes found 8,
// last verifiable length 8, last verifiable digest 32, counters 25. The damaged
// segment is kept as found; nothing of it is signed again.
type LogDamaged struct {
	Segment    uint32
	Found      uint64 // bytes of the segment as found
	Verifiable uint64 // bytes that a seal still proves, 0 = none
	Digest     Digest // of those bytes, zeros = none
	Counters
}

// AppendBinary appends the payload, 77 bytes.
func (p *LogDamaged) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, p.Segment)
	b = binary.BigEndian.AppendUint64(b, p.Found)
	b = binary.BigEndian.AppendUint64(b, p.Verifiable)
	return p.append(append(b, p.Digest[:]...)), nil
}

// UnmarshalBinary decodes the payload.
func (p *LogDamaged) UnmarshalBinary(b []byte) error {
	if len(b) != 52+countersSize {
		return ErrPayload
	}
	p.Segment, p.Found, p.Verifiable = binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
	p.Digest = Digest(b[20:52])
	return p.decode(b[52:])
}

// ChallengeAccepted is the payload of CHALLENGE: nonce 32, issue time 8 (ms
// since the Unix epoch, by the MDMS), MDMS key id 32.
type ChallengeAccepted struct {
	Nonce  [32]byte
	Issued int64 // ms since the Unix epoch
	MDMS   KeyID
}

// AppendBinary appends the payload, 72 bytes.
func (p *ChallengeAccepted) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(append(b, p.Nonce[:]...), uint64(p.Issued))
	return append(b, p.MDMS[:]...), nil
}

// UnmarshalBinary decodes the payload.
func (p *ChallengeAccepted) UnmarshalBinary(b []byte) error {
	if len(b) != 72 {
		return ErrPayload
	}
	*p = ChallengeAccepted{[32]byte(b[:32]), int64(binary.BigEndian.Uint64(b[32:])), KeyID(b[40:])}
	return nil
}

// ReceiptAccepted is the payload of RECEIPT: segment 4, length 8, digest 32,
// time 8 (ms since the Unix epoch, by the MDMS), MDMS key id 32. It is the
// meter's own proof of what the MDMS has confirmed.
type ReceiptAccepted struct {
	Segment uint32
	Length  uint64 // bytes
	Digest  Digest
	Millis  int64 // ms since the Unix epoch
	MDMS    KeyID
}

// AppendBinary appends the payload, 84 bytes.
func (p *ReceiptAccepted) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, p.Segment)
	b = binary.BigEndian.AppendUint64(b, p.Length)
	b = append(b, p.Digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Millis))
	return append(b, p.MDMS[:]...), nil
}

// UnmarshalBinary decodes the payload.
func (p *ReceiptAccepted) UnmarshalBinary(b []byte) error {
	if len(b) != 84 {
		return ErrPayload
	}
	*p = ReceiptAccepted{
		binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), Digest(b[12:44]),
		int64(binary.BigEndian.Uint64(b[44:])), KeyID(b[52:84]),
	}
	return nil
}

// KeyChange is the payload of KEY_CHANGE, sealed by the old key: new key id
// 32, scheme 1, starting counter 8.
type KeyChange struct {
	Key     KeyID
	Scheme  Scheme
	Counter uint64
}

// AppendBinary appends the payload, 41 bytes.
func (p *KeyChange) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(append(append(b, p.Key[:]...), byte(p.Scheme)), p.Counter), nil
}

// UnmarshalBinary decodes the payload.
func (p *KeyChange) UnmarshalBinary(b []byte) error {
	if len(b) != 41 {
		return ErrPayload
	}
	*p = KeyChange{KeyID(b[:32]), Scheme(b[32]), binary.BigEndian.Uint64(b[33:])}
	return nil
}

// PolicyChange is the payload of POLICY_CHANGE: old digest 32, new digest 32,
// new version 4.
type PolicyChange struct {
	Old, New Digest
	Version  uint32
}

// AppendBinary appends the payload, 68 bytes.
func (p *PolicyChange) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(append(append(b, p.Old[:]...), p.New[:]...), p.Version), nil
}

// UnmarshalBinary decodes the payload.
func (p *PolicyChange) UnmarshalBinary(b []byte) error {
	if len(b) != 68 {
		return ErrPayload
	}
	*p = PolicyChange{Digest(b[:32]), Digest(b[32:64]), binary.BigEndian.Uint32(b[64:])}
	return nil
}

// ClockSource says who set the wall clock.
type ClockSource uint8

// The sources of CLOCK_SET.
const (
	ClockLocal ClockSource = 1 // local access
	ClockLink  ClockSource = 2 // a controller, over the link
	ClockSync  ClockSource = 3 // the host's time service
)

// ClockSet is the payload of CLOCK_SET: old 8 and new 8 (ms since the Unix
// epoch), source 1.
type ClockSet struct {
	Old, New int64
	Source   ClockSource
}

// AppendBinary appends the payload, 17 bytes.
func (p *ClockSet) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, uint64(p.Old))
	b = binary.BigEndian.AppendUint64(b, uint64(p.New))
	return append(b, byte(p.Source)), nil
}

// UnmarshalBinary decodes the payload.
func (p *ClockSet) UnmarshalBinary(b []byte) error {
	if len(b) != 17 {
		return ErrPayload
	}
	*p = ClockSet{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), ClockSource(b[16])}
	return nil
}

// SuppressReason says why events were counted only.
type SuppressReason uint8

// The reasons of EVENTS_SUPPRESSED.
const (
	SuppressFlood   SuppressReason = 1 // more events than the flood limit allows
	SuppressReserve SuppressReason = 2 // the store is down to its reserve
)

// EventsSuppressed is the payload of EVENTS_SUPPRESSED: count 4, reason 1.
type EventsSuppressed struct {
	Count  uint32
	Reason SuppressReason
}

// AppendBinary appends the payload, 5 bytes.
func (p *EventsSuppressed) AppendBinary(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(b, p.Count), byte(p.Reason)), nil
}

// UnmarshalBinary decodes the payload.
func (p *EventsSuppressed) UnmarshalBinary(b []byte) error {
	if len(b) != 5 {
		return ErrPayload
	}
	*p = EventsSuppressed{binary.BigEndian.Uint32(b), SuppressReason(b[4])}
	return nil
}

// Payload is what a system event carries.
type Payload interface {
	AppendBinary(b []byte) ([]byte, error)
	UnmarshalBinary(b []byte) error
}

// DecodePayload decodes the payload of a system event into the type of its
// code. It returns nil for PERIODIC_SEAL, which carries none, and for events
// of other classes, whose payloads the log does not interpret.
func DecodePayload(r *Record) (Payload, error) {
	if r.Class != ClassSystem {
		return nil, nil
	}
	var p Payload
	switch r.Code {
	case CodeSegment:
		p = new(Header)
	case CodeSegmentEnd:
		p = new(SegmentEnd)
	case CodeSegmentDropped:
		p = new(SegmentDropped)
	case CodeBoot:
		p = new(Boot)
	case CodeLogDamaged:
		p = new(LogDamaged)
	case CodeChallenge:
		p = new(ChallengeAccepted)
	case CodeKeyChange:
		p = new(KeyChange)
	case CodePolicyChange:
		p = new(PolicyChange)
	case CodeReceipt:
		p = new(ReceiptAccepted)
	case CodeClockSet:
		p = new(ClockSet)
	case CodeModuleFailed:
		p = new(ModuleFailed)
	case CodeModuleRestored:
		p = new(ModuleRestored)
	case CodeEventsSuppressed:
		p = new(EventsSuppressed)
	case CodePeriodicSeal:
		if len(r.Payload) != 0 {
			return nil, fmt.Errorf("%w: %s", ErrPayload, r.Event())
		}
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: unknown system event %d", ErrPayload, r.Code)
	}
	if err := p.UnmarshalBinary(r.Payload); err != nil {
		return nil, fmt.Errorf("%w: %s", err, r.Event())
	}
	return p, nil
}
