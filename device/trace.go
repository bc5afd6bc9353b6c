package device

import "github.com/meterseal/meterseal/eventlog"

// Step is one step of the path from an event to its seal, for a demonstration
// that shows it: *Appended, *Digested or *Sealed.
type Step interface{ step() }

// Appended: a record is in the log, and durable.
type Appended struct {
	Record  eventlog.Record // its payload must not be changed or kept
	Segment uint32
	Length  uint64 // of the segment with the record, bytes
}

// Digested: the digest of the log goes to the secure element.
type Digested struct {
	Segment uint32
	Length  uint64 // bytes under the digest
	LastSeq uint32 // last record under it
	Digest  eventlog.Digest
}

// Sealed: the signature has come back, fits, and is durable.
type Sealed struct{ Seal eventlog.Seal }

func (*Appended) step() {}
func (*Digested) step() {}
func (*Sealed) step()   {}
