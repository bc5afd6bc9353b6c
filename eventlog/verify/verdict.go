package verify

import "fmt"

// Verdict is what the evidence proves about a log. The order of the values is
// that of docs/verdicts.md.
type Verdict uint8

// The verdicts. The zero value is none of them.
const (
	// Malformed: the bundle or its seal does not parse, a hint disagrees, or
	// the signed bytes are no well-formed log.
	Malformed Verdict = iota + 1
	// WrongMeter: the evidence is of another meter than it is said to be.
	WrongMeter
	// WrongKey: the key is none of this meter's.
	WrongKey
	// Incomplete: bytes are missing; [Report.NeedFrom] says from where on.
	Incomplete
	// NotSealed: nothing of this meter was ever sealed, and neither is this.
	NotSealed
	// Altered: the signature does not hold over these bytes.
	Altered
	// KeyRevoked: the signature holds, but the key is not valid for these records.
	KeyRevoked
	// PolicyMismatch: the meter's set of specific events is not the expected
	// one, or its records do not follow it.
	PolicyMismatch
	// Forked: the meter signed two histories that exclude each other.
	Forked
	// RolledBack: the log is older than what the meter had already signed.
	RolledBack
	// Gap: the signature holds, segments before these bytes are missing.
	Gap
	// Stale: the signature holds, but a fresh one was due.
	Stale
	// IntactWithTail: intact, and unsigned records follow the signed ones.
	IntactWithTail
	// Intact: the signature holds over all bytes.
	Intact
)

var verdictNames = [...]string{
	Malformed: "MALFORMED", WrongMeter: "WRONG_METER", WrongKey: "WRONG_KEY", Incomplete: "INCOMPLETE",
	NotSealed: "NOT_SEALED", Altered: "ALTERED", KeyRevoked: "KEY_REVOKED", PolicyMismatch: "POLICY_MISMATCH",
	Forked: "FORKED", RolledBack: "ROLLED_BACK", Gap: "GAP", Stale: "STALE",
	IntactWithTail: "INTACT_WITH_TAIL", Intact: "INTACT",
}

// String returns the verdict's name as in docs/verdicts.md, such as ALTERED.
func (v Verdict) String() string {
	if v >= Malformed && v <= Intact {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Intact reports whether the verdict is INTACT or INTACT_WITH_TAIL.
func (v Verdict) Intact() bool { return v == Intact || v == IntactWithTail }

// Applied reports whether evidence with this verdict becomes part of what is
// known: GAP, STALE, INTACT_WITH_TAIL and INTACT.
func (v Verdict) Applied() bool { return v >= Gap && v <= Intact }

// MarshalText returns the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's name.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdictNames {
		if name != "" && name == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verify: %q is no verdict", text)
}
