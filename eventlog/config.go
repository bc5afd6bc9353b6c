package eventlog

import (
	"crypto/ecdsa"
	"errors"

	"github.com/meterseal/meterseal/internal/durable"
)

// Errors of a Log.
var (
	// ErrBroken says that a sync failed, so that nobody knows what is
	// durable. Nothing is written any more until the log is opened again.
	ErrBroken = errors.New("eventlog: the log is broken by a failed sync: open it again")
	// ErrNotBegun says that [Log.Begin] has to be called first.
	ErrNotBegun = errors.New("eventlog: the log has no segment to append to: call Begin")
	// ErrBadSeal says that a seal does not prove what this log holds.
	ErrBadSeal = errors.New("eventlog: the seal does not fit the log")
	// ErrOldSeal says that a seal is not newer than the stored one.
	ErrOldSeal = errors.New("eventlog: the seal is not newer than the stored one")
	// ErrNoSegment says that the log has no such segment.
	ErrNoSegment = errors.New("eventlog: no such segment")
	// ErrNotEnded says that the newest segment does not end with a sealed
	// SEGMENT_END.
	ErrNotEnded = errors.New("eventlog: the segment does not end with a sealed SEGMENT_END")
	// ErrEnded says that the newest segment ends with a sealed SEGMENT_END, so
	// that only NextSegment goes on.
	ErrEnded = errors.New("eventlog: the segment has its sealed SEGMENT_END")
	// ErrTerms says that key, scheme or specific set are not those that the
	// newest segment names or announces.
	ErrTerms = errors.New("eventlog: key, scheme or specific set are not those of the log")
	// ErrKept says that a segment may not be dropped.
	ErrKept = errors.New("eventlog: the segment is kept")
	// ErrExhausted says that sequence or segment numbers have run out.
	ErrExhausted = errors.New("eventlog: the numbers of the log are used up")
	// ErrSignedBefore says that there is no log yet, and the secure element
	// has signed more than interrupted first starts explain.
	ErrSignedBefore = errors.New("eventlog: this secure element has signed before and its log is missing: bring the log back, or use a new key")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("eventlog: the log is closed")
)

// Config says which log is opened. All fields without a default are required.
type Config struct {
	// FS is the directory of the log. Nobody else writes to it.
	FS durable.FS
	// Meter is the id that each segment header names.
	Meter MeterID
	// Key is the public key of the secure element, on P-256.
	Key *ecdsa.PublicKey
	// Scheme is the scheme of Key.
	Scheme Scheme
	// Profile gives the event codes their meaning. Default: ProfileNone.
	Profile Profile
	// Policy is the set of specific events. It must be the set that the
	// newest segment was made with: a set changes by POLICY_CHANGE and
	// [Log.NextSegment]. Default: every event.
	Policy Policy
	// First is true until the first seal of this state directory was
	// stored: a segment 1 without a seal is then the leftover of an
	// interrupted first start, and is removed. Once a seal is found it means
	// nothing.
	First bool
	// Counter is the counter of the secure element as it starts; nil if it
	// does not answer, or does not count. If the log cannot explain it, seals
	// were removed; if it does not have what was signed since its newest seal,
	// it was edited: the log is damaged.
	Counter *KeyCounter
	// Next is a change of key, scheme or specific set that was begun and may
	// be finished or not; nil if none. The caller keeps it from before it
	// appends KEY_CHANGE or POLICY_CHANGE until NextSegment has returned and
	// its own configuration says the same.
	Next *Change
	// Former are keys that were in force earlier. They verify the seal of
	// the last segment that they sealed; nothing is ever sealed by them.
	Former []*ecdsa.PublicKey
}

// Change is what a new segment does differently.
type Change struct {
	Key    *ecdsa.PublicKey // nil: unchanged
	Scheme Scheme           // of Key; ignored if Key is nil
	Policy *Policy          // nil: unchanged
}

// Stamp is when a record is made, and in which state the meter is.
type Stamp struct {
	Millis int64  // wall clock, ms since the Unix epoch, UTC
	Boot   uint32 // boot counter
	Uptime uint32 // s since boot
	Flags  uint8  // FlagClockUntrusted and FlagModuleDown; FlagSpecific is ignored
}
