package verify

import "fmt"

// Codes of findings that give the reason of a verdict.
const (
	FindBundle         = "bundle"               // MALFORMED: the bundle does not parse
	FindSeal           = "seal"                 // MALFORMED: the seal does not parse
	FindMeter          = "meter"                // WRONG_METER: whose evidence it is
	FindKey            = "key"                  // WRONG_KEY: which key it is
	FindHint           = "hint"                 // MALFORMED: a hint disagrees with the log or the registered key
	FindMissing        = "missing-bytes"        // INCOMPLETE: bytes up to the signed length, or before the offset, are missing
	FindNoSeal         = "no-seal"              // INCOMPLETE, NOT_SEALED: the bytes come without a seal
	FindOtherBytes     = "seal-of-other-bytes"  // INCOMPLETE, ALTERED: the signature fits the seal's digest, not the bytes
	FindSignature      = "signature"            // ALTERED: the signature does not hold
	FindOtherKey       = "signed-by-other-key"  // ALTERED: another registered key of the meter fits
	FindHeadLost       = "head-not-contained"   // ALTERED, ROLLED_BACK: the bytes do not contain the known state
	FindRecord         = "record"               // ALTERED, MALFORMED: the first record that is broken
	FindKeyRange       = "key-range"            // KEY_REVOKED: which bound of the key is exceeded
	FindPolicy         = "policy"               // POLICY_MISMATCH: what differs
	FindForkCounter    = "fork-counter"         // FORKED: one counter over two digests
	FindForkBytes      = "fork-bytes"           // FORKED: two signed byte strings of one segment
	FindCounterBack    = "counter-regressed"    // ROLLED_BACK: the log grew, the counter did not
	FindCounterAhead   = "counter-ahead"        // ROLLED_BACK: an older state was sealed again
	FindChain          = "chain-mismatch"       // ROLLED_BACK: two segments contradict each other
	FindClaimed        = "rollback-claimed"     // ROLLED_BACK: the courier says that an older seal is the newest
	FindSegmentMissing = "segment-missing"      // GAP: segments are missing
	FindSegmentPartial = "segment-incomplete"   // GAP: the end of a segment is missing
	FindNonce          = "challenge-unanswered" // STALE: an overdue nonce is not in the log
	FindHeadOld        = "head-old"             // STALE: nothing new since too long
)

// Codes of findings beside a verdict.
const (
	FindTailSpecific   = "specific-event-unsealed" // a specific record in the unsigned tail
	FindTailBroken     = "tail-broken"             // the unsigned tail cannot be read
	FindClock          = "clock-anomaly"           // wall clock, uptime or boot counter went back unannounced
	FindClockAhead     = "clock-ahead"             // the meter's clock leads the verifier's
	FindClockUntrusted = "clock-untrusted"         // the wall clock went back while the meter did not trust it
	FindClockSet       = "clock-set"               // CLOCK_SET, and to what
	FindSealOverdue    = "seal-overdue"            // more uptime between two specific records than allowed
	FindCounterGap     = "counter-gap"             // more seals were made than there are records to seal
	FindSealRemoved    = "seal-removed"            // the meter found traces of a seal that it no longer has
	FindResealed       = "resealed"                // the known bytes under another counter
	FindModuleFailed   = "module-failed"           // SE_FAILED
	FindModuleRestored = "module-restored"         // SE_RESTORED
	FindSuppressed     = "events-suppressed"       // EVENTS_SUPPRESSED, and how many
	FindDropped        = "segment-dropped"         // SEGMENT_DROPPED, and why
	FindDamaged        = "log-damaged"             // LOG_DAMAGED
	FindTornEnd        = "torn-end"                // BOOT dropped bytes of an unfinished record
	FindKeyChange      = "key-change"              // KEY_CHANGE, and whether the registry knows the key
	FindKeyUnannounced = "key-unannounced"         // a new key that no KEY_CHANGE announced
	FindSeqReused      = "sequence-reused"         // sequence numbers start again, after LOG_DAMAGED or behind a gap
)

// maxPerCode is how many findings of one code a part can have: a meter under
// attack must not flood the report.
const maxPerCode = 8

// findings is a list that keeps the first few of each code.
type findings []Finding

func (f *findings) add(code string, at place, format string, args ...any) {
	n, last := 0, 0
	for i := range *f {
		if (*f)[i].Code == code {
			n, last = n+1, i
		}
	}
	if n == maxPerCode {
		(*f)[last].More++
		return
	}
	*f = append(*f, Finding{
		Code: code, Segment: at.Segment, Offset: at.Offset, Seq: at.seq, Detail: fmt.Sprintf(format, args...),
	})
}

// place is where a finding is: a position, and the record that stands there.
type place struct {
	Position
	seq uint32
}
