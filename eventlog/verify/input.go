package verify

import (
	"crypto/ecdsa"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Key is a public key that is registered for a meter. The key decides the
// algorithm and the scheme, never the evidence.
type Key struct {
	Public *ecdsa.PublicKey // on P-256; see [NewKey]
	ID     eventlog.KeyID   // of Public
	Scheme eventlog.Scheme  // fixed for the key's life

	// StartCounter is the counter of the secure element at enrolment. Seals
	// have higher ones. Scheme counter only.
	StartCounter uint64
	// LastCounter is the last counter that is accepted, 0 = no limit.
	LastCounter uint64
	// FirstSeq and LastSeq bound the records that the key may seal, 0 = no
	// bound. A key that was replaced ends with the SEGMENT_END of its last
	// segment, so that it cannot seal old data anew.
	FirstSeq, LastSeq uint32
	// Revoked: nothing new is accepted, whatever sequence it claims.
	Revoked bool
}

// NewKey returns the key without bounds. It fails for a key that is not on
// P-256.
func NewKey(pub *ecdsa.PublicKey, scheme eventlog.Scheme) (Key, error) {
	id, err := eventlog.KeyIDOf(pub)
	if err != nil {
		return Key{}, err
	}
	return Key{Public: pub, ID: id, Scheme: scheme}, nil
}

// Registration is what the verifier holds to be true of a meter.
type Registration struct {
	Meter eventlog.MeterID
	// AnyMeter: the meter is whichever the sealed header names. For the
	// offline check with a bare key. Meter is not used then.
	AnyMeter bool
	Keys     []Key
	// Policy is the set of specific events that the meter is to use; nil =
	// any set will do. FormerPolicies may still appear in older segments.
	Policy         *eventlog.Policy
	FormerPolicies []eventlog.Policy
}

// Head is the verified state of one segment: what must be remembered of it to
// verify the bytes that follow. It marshals to JSON without loss.
type Head struct {
	Header eventlog.Header `json:"header"` // of the segment
	Length uint64          `json:"length"` // verified bytes from the segment's start
	Digest eventlog.Digest `json:"digest"` // SHA-256 of those bytes
	// Midstate is the state of a SHA-256 over those bytes. It is a cache: if
	// it does not load or does not match Digest, the stored bytes are hashed
	// again. Never take one from outside.
	Midstate []byte `json:"midstate,omitempty"`

	LastSeq uint32 `json:"lastSeq"` // of the last verified record
	Millis  int64  `json:"millis"`  // wall clock after that record, ms since the Unix epoch
	Boot    uint32 `json:"boot"`    // boot counter of that record
	Uptime  uint32 `json:"uptime"`  // of that record, s
	Closed  bool   `json:"closed"`  // that record is SEGMENT_END
	// Damaged: the segment replaces one that the meter found not to verify.
	Damaged bool `json:"damaged,omitempty"`
	// NextKey is the key that KEY_CHANGE announced, zeros = none.
	NextKey eventlog.KeyID `json:"nextKey"`
	// NextCounter is the counter of NextKey when it was announced.
	NextCounter uint64 `json:"nextCounter,omitempty"`

	Seal eventlog.Seal `json:"seal"` // over exactly those bytes

	// Accepted is when the verifier accepted the head, by its own clock. Zero
	// makes the head a demand: whatever does not contain it is ROLLED_BACK.
	Accepted time.Time `json:"accepted"`
}

// Segment returns the head's segment number.
func (h *Head) Segment() uint32 { return h.Header.Segment }

// Known is what earlier evidence of the meter has left behind. The zero value
// knows nothing. Whatever the functions return stays unchanged by Verify.
type Known struct {
	// Head is the state of the newest segment; nil = no evidence so far.
	Head *Head
	// Segment returns the state of another segment, nil if there is none.
	// May be nil.
	Segment func(segment uint32) (*Head, error)
	// Below returns the state of the nearest segment before another one, nil
	// if there is none. May be nil, then only the direct predecessor, Head and
	// the bundle itself are seen: segments that fill a gap are compared with
	// less, and some are asked for again.
	Below func(segment uint32) (*Head, error)
	// Bytes returns the verified bytes of a segment, Head.Length of them, or
	// nil if they are not kept. It is called only when the midstate does not
	// do. May be nil.
	Bytes func(segment uint32) ([]byte, error)
	// SealAt returns the accepted seal with that counter, nil if there is
	// none: one counter over two digests is a fork. May be nil, then only the
	// heads are compared.
	SealAt func(key eventlog.KeyID, counter uint64) (*eventlog.Seal, error)
}

// Nonce is one of a challenge that was issued and is not answered yet.
type Nonce struct {
	Value  [32]byte
	Issued time.Time
}

// Limits are periods that the caller chooses. The zero value checks no age,
// wants each nonce answered at once and allows the clocks no difference.
type Limits struct {
	// MaxAge is how long after its acceptance a head counts as fresh, 0 = for
	// ever.
	MaxAge time.Duration
	// ChallengeWait is how long after its issue a nonce may stay unanswered.
	ChallengeWait time.Duration
	// ClockSkew is by how much the clocks of meter and courier may lead the
	// verifier's.
	ClockSkew time.Duration
	// SealInterval is the longest uptime between two specific records, 0 = 24
	// hours and a quarter.
	SealInterval time.Duration
}

// Stale reports whether a head that was accepted then is too old now. The
// meter's clock has no say in it.
func (l *Limits) Stale(accepted, now time.Time) bool {
	return l.MaxAge > 0 && now.Sub(accepted) > l.MaxAge
}

// Overdue reports whether the nonce should have been answered by now.
func (l *Limits) Overdue(n Nonce, now time.Time) bool { return now.Sub(n.Issued) > l.ChallengeWait }

// Input is all that Verify may look at.
type Input struct {
	Registration Registration
	Known        Known
	Nonces       []Nonce   // outstanding ones
	Received     time.Time // when the bundle came in, by the verifier's clock
	Limits       Limits
	Bundle       *eventlog.Bundle // Required by Verify, filled in by VerifyRaw
}
