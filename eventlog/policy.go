package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Policy is the configured set of specific events (JP 2024-155626 A, claims 2
// and 4). The empty set makes every event specific (claim 1). System events
// are specific whatever the set says. The zero value is "every event".
type Policy struct {
	// Version counts changes of the set; it is part of each segment header.
	Version uint32 `json:"version"`
	// Specific is sorted by class and code, without duplicates; see [NewPolicy].
	Specific []Event `json:"specific"`
}

// NewPolicy sorts events and drops duplicates.
func NewPolicy(version uint32, events ...Event) Policy {
	set := slices.Clone(events)
	slices.SortFunc(set, Event.compare)
	return Policy{Version: version, Specific: slices.Compact(set)}
}

// DefaultPolicy returns the default set, in the codes of [ProfileIDIS]: clock
// adjusted or invalid, registers cleared, firmware, parameters and keys
// changed, covers and magnetic field, failed authentication and replay,
// disconnector operation, and the clearing of any log.
func DefaultPolicy() Policy {
	var set []Event
	add := func(c Class, codes ...uint16) {
		for _, code := range codes {
			set = append(set, Event{c, code})
		}
	}
	add(ClassStandard, 4, 5, 6, 10, 11, 17, 18, 47, 48, 51, 254, 255)
	add(ClassFraud, 40, 42, 44, 46, 49, 50, 255)
	add(ClassDisconnector, 60, 61, 62, 63, 64, 67, 68, 255)
	add(ClassMBus, 254, 255)
	add(ClassPowerQuality, 255)
	add(ClassCommunication, 255)
	return NewPolicy(1, set...)
}

// ParsePolicy reads a comma-separated list of events, "all" for every event,
// or "default".
func ParsePolicy(version uint32, s string) (Policy, error) {
	switch s {
	case "all":
		return Policy{Version: version}, nil
	case "default", "":
		p := DefaultPolicy()
		p.Version = version
		return p, nil
	}
	var set []Event
	for f := range strings.SplitSeq(s, ",") {
		e, err := ParseEvent(strings.TrimSpace(f))
		if err != nil {
			return Policy{}, err
		}
		set = append(set, e)
	}
	return NewPolicy(version, set...), nil
}

// IsSpecific reports whether e triggers hash and signature.
func (p *Policy) IsSpecific(e Event) bool {
	if e.Class == ClassSystem || len(p.Specific) == 0 {
		return true
	}
	_, found := slices.BinarySearchFunc(p.Specific, e, Event.compare)
	return found
}

// Digest returns SHA-256 over the sorted set, each event as class (1 byte) and
// code (2 bytes), or zeros for "every event".
func (p *Policy) Digest() Digest {
	if len(p.Specific) == 0 {
		return Digest{}
	}
	b := make([]byte, 0, 3*len(p.Specific))
	for _, e := range p.Specific {
		b = append(b, byte(e.Class))
		b = binary.BigEndian.AppendUint16(b, e.Code)
	}
	return sha256.Sum256(b)
}

// String returns the form that [ParsePolicy] reads.
func (p *Policy) String() string {
	if len(p.Specific) == 0 {
		return "all"
	}
	var sb strings.Builder
	for i, e := range p.Specific {
		if i > 0 {
			sb.WriteByte(',')
		}
		fmt.Fprintf(&sb, "%d/%d", uint8(e.Class), e.Code)
	}
	return sb.String()
}
