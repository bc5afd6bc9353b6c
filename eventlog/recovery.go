package eventlog

import (
	"fmt"
)

// Recovery is what Open found.
type Recovery struct {
	// First says that no seal was ever stored here: this is a first start.
	First bool
	// Dropped is the size in bytes of the torn end that was cut off.
	Dropped uint32
	// Sealed says that Seal is the newest seal whose signature verifies over
	// the log as it is. Right after a rotation it is that of the segment
	// before.
	Sealed bool
	Seal   Seal
	// Uncovered is the number of specific records after that seal.
	Uncovered int
	// LastSeq is the sequence number after which the log goes on. It is at
	// least as high as any that was ever used.
	LastSeq uint32
	// LastBoot is the highest boot counter that was found.
	LastBoot uint32
	// LastMillis is the wall clock that the last record leaves, ms since the
	// Unix epoch, UTC; 0 if there is none.
	LastMillis int64
	// KeyChange and PolicyChange are announced in the newest segment, and are
	// neither in force nor is the segment closed, so that nothing tells who
	// wrote them; nil if there are none. The caller takes them back: it appends
	// KEY_CHANGE or POLICY_CHANGE to the terms in force.
	KeyChange    *KeyChange
	PolicyChange *PolicyChange
	// Damaged is what LOG_DAMAGED will say, without the answer of the secure
	// element; nil if the log is sound.
	Damaged *LogDamaged
	// Notes say in words what was found and done, for the operator.
	Notes []string

	newest uint32 // segment
}

// Counters returns the counters for BOOT or LOG_DAMAGED, given what the secure
// element reports. If the newest seal is of an earlier segment, SealLength is
// 0: all records of the newest segment came after it.
func (r *Recovery) Counters(moduleUp bool, moduleCounter uint64) Counters {
	c := Counters{ModuleUp: moduleUp}
	if moduleUp {
		c.ModuleCounter = moduleCounter
	}
	if r.Sealed {
		c.SealCounter = r.Seal.Counter
		if r.Seal.Segment == r.newest {
			c.SealLength = r.Seal.SignedLength
		}
	}
	return c
}

func (r *Recovery) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}
