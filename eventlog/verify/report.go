package verify

import (
	"iter"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Charge says on whom a verdict is laid.
type Charge string

// The charges. INTACT is laid on no one.
const (
	// ChargeMeter: the meter's own signature proves it.
	ChargeMeter Charge = "meter"
	// ChargeCourier: whoever carried the evidence may have caused it. It
	// counts against the meter only when another path confirms it.
	ChargeCourier Charge = "courier"
)

// Position is a place in a meter's log.
type Position struct {
	Segment uint32 `json:"segment"`
	Offset  uint64 `json:"offset"` // bytes
}

// Report is the outcome of Verify.
type Report struct {
	Verdict Verdict `json:"verdict"`
	Charge  Charge  `json:"charge,omitempty"`
	// Proven: no courier can have caused the verdict, the meter signed it.
	Proven bool `json:"proven"`
	// Duplicate: the signature holds, and all signed bytes were known.
	Duplicate bool `json:"duplicate,omitempty"`

	Meter  eventlog.MeterID `json:"meter"`           // that of the registration, or of the sealed header
	Key    eventlog.KeyID   `json:"key"`             // zeros = not determined
	Scheme eventlog.Scheme  `json:"scheme,omitzero"` // of that key

	// Segment, SignedLength, LastSeq and AsOf describe the newest signed
	// state in the bundle; zero until a signature holds.
	Segment      uint32    `json:"segment"`
	SignedLength uint64    `json:"signedLength"` // bytes
	LastSeq      uint32    `json:"lastSeq"`
	AsOf         time.Time `json:"asOf,omitzero"` // by the meter's clock

	// Tail is the number of records beyond the signed ones. They are unsigned,
	// even when they are specific, and prove nothing.
	Tail int `json:"tail"`
	// NeedFrom is where a courier must read from, if the verdict asks for it.
	NeedFrom *Position `json:"needFrom,omitempty"`
	Findings []Finding `json:"findings"`
	// Missing segments, lowest first, if the verdict is GAP.
	Missing []Missing `json:"missing,omitempty"`
	// Dropped segments that newly signed records tell of.
	Dropped []eventlog.SegmentDropped `json:"dropped,omitempty"`
	// Answered nonces, in the order of the log.
	Answered []Answer `json:"answered,omitempty"`

	// Advance is what the caller must store, all of it or nothing, segments
	// ascending. It is empty unless the verdict is applied.
	Advance []Advance `json:"-"`
}

// Finding is an observation beside the verdict, or the reason for it.
type Finding struct {
	Code    string `json:"code"` // one of docs/verdicts.md
	Segment uint32 `json:"segment,omitzero"`
	Offset  uint64 `json:"offset"`       // of the record in the segment, bytes
	Seq     uint32 `json:"seq,omitzero"` // of the record, 0 = not known
	Detail  string `json:"detail,omitzero"`
	// More is how many further findings of this code were left out.
	More int `json:"more,omitzero"`
}

// Missing is a range of segments, or the end of a single one, that the
// evidence skips.
type Missing struct {
	// First to Last is the range of segments.
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
	// From is the length in bytes that is known of a single segment, 0 =
	// nothing.
	From uint64 `json:"from"`
	// By says who claims that it is gone: the meter, by a signed
	// SEGMENT_DROPPED or LOG_DAMAGED, or only the courier.
	By Charge `json:"by"`
}

// Answer is an outstanding nonce that a newly signed record holds: the meter
// was alive after the nonce was issued.
type Answer struct {
	Nonce Nonce  `json:"nonce"`
	Seq   uint32 `json:"seq"` // of the CHALLENGE record
}

// Advance is a verified step of one segment.
type Advance struct {
	// Head is the new state. Accepted is the time of receipt.
	Head Head
	// From is the offset of the newly signed bytes, Log are those bytes: they
	// end at Head.Length and alias the bundle.
	From uint64
	Log  []byte
}

// Records yields the newly signed records with their places, in the order of
// the log: what becomes event rows. Tail records are never among them. Each
// record's payload aliases the bundle.
func (r *Report) Records() iter.Seq2[Position, eventlog.Record] {
	return func(yield func(Position, eventlog.Record) bool) {
		for i := range r.Advance {
			a := &r.Advance[i]
			at, log := a.From, a.Log
			for len(log) > 0 {
				var rec eventlog.Record
				n, err := rec.Next(log)
				if err != nil || !yield(Position{a.Head.Segment(), at}, rec) {
					return
				}
				at, log = at+uint64(n), log[n:]
			}
		}
	}
}
