package mdms

import (
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// Outcome says what became of a bundle. Each of them acknowledges it: there is
// no use in sending the same bytes again.
type Outcome string

// The outcomes.
const (
	// Applied: it verified, the head moved on, and all of it is on disk.
	Applied Outcome = "applied"
	// Duplicate: it is known already.
	Duplicate Outcome = "duplicate"
	// NeedFrom: bytes are missing; Result.NeedFrom says from where on.
	NeedFrom Outcome = "need-from"
	// Fork: the meter signed two histories. Both are kept.
	Fork Outcome = "fork"
	// Rejected: it is not believed, and nothing of the meter's state changed
	// but perhaps its verdict.
	Rejected Outcome = "rejected"
)

// Codes of findings that the MDMS adds to those of package verify.
const (
	// FindingUnknownMeter: the meter is not enrolled.
	FindingUnknownMeter = "unknown-meter"
	// FindingRereadLimit: the segment would have to be sent again from its
	// beginning, but was asked for a short while ago.
	FindingRereadLimit = "reread-limit"
)

// Head is the newest state of a meter that verified. Zero = none.
type Head struct {
	Segment uint32          `json:"segment"`
	Length  uint64          `json:"length"` // bytes of that segment
	Digest  eventlog.Digest `json:"digest"` // of these bytes
	LastSeq uint32          `json:"last_seq"`
}

func headOf(h *verify.Head) Head {
	if h == nil {
		return Head{}
	}
	return Head{Segment: h.Segment(), Length: h.Length, Digest: h.Digest, LastSeq: h.LastSeq}
}

// Result is the answer to a bundle.
type Result struct {
	Meter    eventlog.MeterID `json:"meter,omitzero"` // as the bundle claims; zero: it names none
	Outcome  Outcome          `json:"outcome"`
	Verdict  verify.Verdict   `json:"verdict"` // on this bundle
	Charge   verify.Charge    `json:"charge,omitempty"`
	Proven   bool             `json:"proven"`
	Tail     int              `json:"tail"` // unsigned records behind the signed ones
	NeedFrom *verify.Position `json:"need_from,omitempty"`
	Findings []verify.Finding `json:"findings"` // at most 128: the first and the last
	Head     Head             `json:"head"`     // of the meter, after this bundle
	Work     []Work           `json:"work"`     // for this meter
	// Missing is that of Status, after this bundle: what a courier should bring
	// if the meter still has it.
	Missing []verify.Missing `json:"missing,omitempty"`
}

// Status is what the MDMS thinks of a meter.
type Status struct {
	Meter   eventlog.MeterID `json:"meter"`
	Head    Head             `json:"head"`
	Verdict string           `json:"verdict"` // empty = no evidence yet
	// Charge says by whose word the verdict stands. A GAP or STALE that a courier
	// is charged with goes when another brings what is missing.
	Charge    verify.Charge `json:"charge,omitempty"`
	VerdictAt time.Time     `json:"verdict_at,omitzero"`
	// AcceptedAt is when the head last moved; zero = never.
	AcceptedAt time.Time        `json:"accepted_at,omitzero"`
	EnrolledAt time.Time        `json:"enrolled_at,omitzero"`
	Tail       int              `json:"tail"`
	Findings   []verify.Finding `json:"findings"` // as in Result; those of the newest evidence
	// Missing are segments that the meter has closed and nobody has sent, lowest
	// first, how many bytes of each are held, and who says that they are gone. At
	// most 256 ranges.
	Missing []verify.Missing `json:"missing,omitempty"`
	Alerts  []Alert          `json:"alerts,omitempty"` // not closed
	Keys    []KeyStatus      `json:"keys,omitempty"`
}

// Bounds of the findings in a Result and a Status: a meter or a courier decides
// how many there are.
const (
	maxFindings = 128
	maxDetail   = 300 // bytes of a text
)

// bounded returns the findings that are shown: if there are too many, the first
// and the last, among which is the one that decided.
func bounded(f []verify.Finding) []verify.Finding {
	out := slices.Clone(f)
	if n := len(out); n > maxFindings {
		out = slices.Delete(out, maxFindings/2, n-maxFindings/2)
	}
	for i := range out {
		out[i].Detail = clip(out[i].Detail)
	}
	return out
}

// clip returns the beginning of a text.
func clip(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + "..."
}

// KeyStatus is a key of a meter.
type KeyStatus struct {
	ID        eventlog.KeyID  `json:"id"`
	Scheme    eventlog.Scheme `json:"scheme"`
	AddedAt   time.Time       `json:"added_at"`
	RevokedAt time.Time       `json:"revoked_at,omitzero"`
}

// Alert is something that a person should look at. What happens again counts
// up its alert; a closed one opens again.
type Alert struct {
	Meter    eventlog.MeterID `json:"meter"`
	ID       string           `json:"id"`
	Kind     string           `json:"kind"` // a verdict, or the code of a finding
	Subject  string           `json:"subject,omitempty"`
	Charge   verify.Charge    `json:"charge"` // on whom it is laid
	Detail   string           `json:"detail,omitempty"`
	Status   string           `json:"status"` // open, acknowledged or closed
	Count    int64            `json:"count"`
	OpenedAt time.Time        `json:"opened_at"`
	LatestAt time.Time        `json:"latest_at"`
	ClosedAt time.Time        `json:"closed_at,omitzero"`
}
