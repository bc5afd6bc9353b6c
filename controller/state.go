package controller

import (
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// State is what a controller knows of one meter at one time. It is a copy.
type State struct {
	Addr   string           // of the meter's node, "" while not known
	Object string           // such as "0288.01"
	Meter  eventlog.MeterID // from 8A and 8D; zero if not known
	Link   LinkState        // zero if the link says nothing
	Online bool             // the meter answers
	Since  time.Time        // of Online
	Readings
	Evidence EvidenceState
}

// silent reports whether the meter was given up: it does not answer.
func (s State) silent() bool { return !s.Online && !s.Since.IsZero() }

// EvidenceStatus is how it stands with a meter's evidence.
type EvidenceStatus string

// The states of evidence.
const (
	EvidenceUnknown     EvidenceStatus = ""            // not asked for yet, or no answer
	EvidenceUnsupported EvidenceStatus = "unsupported" // the meter offers none: a normal state
	EvidenceNotSealed   EvidenceStatus = "not-sealed"  // the meter has sealed nothing yet
	EvidenceNotEnrolled EvidenceStatus = "unknown-to-mdms"
	EvidenceTaken       EvidenceStatus = "id-taken"   // another node is that meter here, and was first
	EvidenceFull        EvidenceStatus = "spool-full" // waits until the MDMS takes some
	EvidenceFailing     EvidenceStatus = "failing"    // see Err
	EvidenceCurrent     EvidenceStatus = "current"    // all that was sealed is spooled or delivered
)

// EvidenceState is how far a meter's evidence has come. The verdict is the
// MDMS's word as this controller heard it, and no more.
type EvidenceState struct {
	Status EvidenceStatus
	Err    string // of the last attempt, "" if it succeeded

	Log       eventlog.Status // what the meter says of its log; zero if not known
	Collected Head            // collected up to here
	Waiting   int             // bundles in the spool
	Stats     Stats           // of all collections

	Outcome   Outcome    // of the last bundle delivered, "" before
	Verdict   string     // of the MDMS on it
	Findings  []Finding  // of the MDMS on it; not to be changed
	Delivered time.Time  // when
	LastWork  WorkResult // of the last message carried to the meter
}

// WorkResult is what became of a message of the MDMS.
type WorkResult struct {
	Kind WorkKind // "" before the first
	Time time.Time
	Err  string // "" if the meter took it
}
