package eventlog

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Class is a log class: the number of a COSEM event log, or 0xF0 for the
// events of the log itself.
type Class uint8

// The log classes.
const (
	ClassStandard      Class = 0
	ClassFraud         Class = 1
	ClassDisconnector  Class = 2
	ClassMBus          Class = 3
	ClassPowerQuality  Class = 4
	ClassCommunication Class = 5
	ClassSecurity      Class = 9
	ClassSystem        Class = 0xF0
)

var classNames = map[Class]string{
	ClassStandard: "standard", ClassFraud: "fraud", ClassDisconnector: "disconnector", ClassMBus: "m-bus",
	ClassPowerQuality: "power-quality", ClassCommunication: "communication", ClassSecurity: "security", ClassSystem: "system",
}

// String returns the name of the class, or its number.
func (c Class) String() string {
	if name, ok := classNames[c]; ok {
		return name
	}
	return strconv.Itoa(int(c))
}

// Codes of ClassSystem. All of them are always specific.
const (
	CodeSegment          uint16 = 1  // header, the first record of a segment
	CodeSegmentEnd       uint16 = 2  // last record of a segment
	CodeSegmentDropped   uint16 = 3  // a closed segment was deleted
	CodeBoot             uint16 = 4  // the meter started
	CodeLogDamaged       uint16 = 5  // the log found at start does not verify
	CodePeriodicSeal     uint16 = 6  // nothing happened for long
	CodeChallenge        uint16 = 7  // the MDMS asked for a fresh seal
	CodeKeyChange        uint16 = 8  // the next segment is sealed by another key
	CodePolicyChange     uint16 = 9  // the set of specific events changes
	CodeReceipt          uint16 = 10 // the MDMS confirmed a closed segment
	CodeClockSet         uint16 = 11 // the wall clock was set
	CodeModuleFailed     uint16 = 12 // SE_FAILED: the secure element does not answer
	CodeModuleRestored   uint16 = 13 // SE_RESTORED: it answers again
	CodeEventsSuppressed uint16 = 14 // events were counted, not recorded
)

var systemNames = map[uint16]string{
	CodeSegment: "SEGMENT", CodeSegmentEnd: "SEGMENT_END", CodeSegmentDropped: "SEGMENT_DROPPED", CodeBoot: "BOOT",
	CodeLogDamaged: "LOG_DAMAGED", CodePeriodicSeal: "PERIODIC_SEAL", CodeChallenge: "CHALLENGE", CodeKeyChange: "KEY_CHANGE",
	CodePolicyChange: "POLICY_CHANGE", CodeReceipt: "RECEIPT", CodeClockSet: "CLOCK_SET", CodeModuleFailed: "SE_FAILED",
	CodeModuleRestored: "SE_RESTORED", CodeEventsSuppressed: "EVENTS_SUPPRESSED",
}

// Event is the key of an event: its code means something only in its class,
// and, outside ClassSystem, in the code profile of the segment.
type Event struct {
	Class Class
	Code  uint16
}

// String returns CLASS/CODE in decimal, or the name of a system event.
func (e Event) String() string {
	if e.Class == ClassSystem {
		if name, ok := systemNames[e.Code]; ok {
			return name
		}
	}
	return fmt.Sprintf("%d/%d", uint8(e.Class), e.Code)
}

// ParseEvent reads [CLASS/]CODE: decimal numbers or 0x-prefixed hexadecimal
// ones; CLASS defaults to 0, the standard log. Names of classes are accepted
// too, as in fraud/40.
func ParseEvent(s string) (Event, error) {
	class, code, ok := strings.Cut(s, "/")
	if !ok {
		class, code = "0", s
	}
	c, err := parseClass(class)
	if err != nil {
		return Event{}, err
	}
	n, err := parseNumber(code, 16)
	if err != nil {
		return Event{}, fmt.Errorf("eventlog: event code %q is not a number from 0 to 65535", code)
	}
	return Event{c, uint16(n)}, nil
}

func parseClass(s string) (Class, error) {
	for c, name := range classNames {
		if name == s {
			return c, nil
		}
	}
	n, err := parseNumber(s, 8)
	if err != nil {
		return 0, fmt.Errorf("eventlog: log class %q is neither a name nor a number from 0 to 255", s)
	}
	return Class(n), nil
}

// parseNumber reads a decimal number or a hexadecimal one that begins with 0x.
func parseNumber(s string, bits int) (uint64, error) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strconv.ParseUint(hex, 16, bits)
	}
	return strconv.ParseUint(s, 10, bits)
}

// compare orders events by class, then by code.
func (e Event) compare(f Event) int {
	return cmp.Or(cmp.Compare(e.Class, f.Class), cmp.Compare(e.Code, f.Code))
}

// Profile names the list that gives event codes their meaning outside
// ClassSystem. Codes clash between profiles, so the profile stands in the
// signed header of each segment.
type Profile uint8

// The profiles. An unknown profile is kept as its number: meanings are never
// guessed.
const (
	ProfileNone  Profile = 0
	ProfileIDIS  Profile = 1
	ProfileDSMR  Profile = 2
	ProfileSMR   Profile = 3
	ProfileFID2  Profile = 4
	ProfileHS    Profile = 5
	ProfileAM130 Profile = 6
)

var profileNames = [...]string{"none", "IDIS", "DSMR", "SMR", "FID2", "HS3300", "AM130"}

// String returns the name of the profile, or its number.
func (p Profile) String() string {
	if int(p) < len(profileNames) {
		return profileNames[p]
	}
	return strconv.Itoa(int(p))
}
