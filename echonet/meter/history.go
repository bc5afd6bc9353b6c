package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Slots is the number of half-hours of a day.
const Slots = 48

// NoDay is the day of a history whose day was never set.
const NoDay = 0xFF

// DayHistory is history 1 (E2, E4): the register at 00:00, 00:30, … 23:30 of one
// day, ascending. On the wire:
//
//	offset  size  field
//	0       2     day: 0 today, n = n days ago, 00FF = never set
//	2       192   48 counts
type DayHistory struct {
	Day    int // 0 to 99, or NoDay
	Counts [Slots]Count
}

func (h *DayHistory) append(b []byte, digits int) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(h.Day))
	for _, c := range h.Counts {
		b = c.append(b, digits)
	}
	return b
}

// ParseDayHistory reads the data of E2 or E4.
func ParseDayHistory(edt []byte) (DayHistory, error) {
	var h DayHistory
	if len(edt) != 2+4*Slots {
		return h, sizeError("history 1", edt, 2+4*Slots)
	}
	h.Day = int(binary.BigEndian.Uint16(edt))
	if h.Day > 99 && h.Day != NoDay {
		return h, fmt.Errorf("meter: history 1: %w: day %d", ErrRange, h.Day)
	}
	for i := range h.Counts {
		var err error
		if h.Counts[i], err = count(edt[2+4*i:]); err != nil {
			return h, fmt.Errorf("meter: history 1: slot %d: %w", i, err)
		}
	}
	return h, nil
}

// Pair is a reading of both registers at one time.
type Pair struct {
	Normal, Reverse Count
}

func (p Pair) append(b []byte, digits int) []byte {
	return p.Reverse.append(p.Normal.append(b, digits), digits)
}

func pair(b []byte) (Pair, error) {
	n, err1 := count(b)
	r, err2 := count(b[4:])
	return Pair{n, r}, errors.Join(err1, err2)
}

// Reading is one register at a time (EA, EB): date and time 7, count 4; or both
// at a time (D0), where Reverse follows.
type Reading struct {
	Time DateTime
	Pair
}

// ParseReading reads the data of EA, whose Reverse is then NoData, or of D0.
// For EB, the reading is in Normal too.
func ParseReading(edt []byte) (Reading, error) {
	r := Reading{Pair: Pair{NoData, NoData}}
	if len(edt) != 11 && len(edt) != 15 {
		return r, sizeError("reading", edt, 11)
	}
	r.Time = seconds(edt)
	if !r.Time.Valid() {
		return r, fmt.Errorf("meter: reading: %w: time %v", ErrRange, r.Time)
	}
	var err error
	if len(edt) == 15 {
		r.Pair, err = pair(edt[7:])
	} else {
		r.Normal, err = count(edt[7:])
	}
	if err != nil {
		return r, fmt.Errorf("meter: reading: %w", err)
	}
	return r, nil
}

// Steps and largest numbers of items of histories 2 and 3.
const (
	History2Step  = 30 * time.Minute
	History2Items = 12
	History3Step  = time.Minute
	History3Items = 10
)

// Span says what history 2 or 3 shows (ED, EF): the newest time and the number of
// items. The zero value is one that was never set, FFFFFFFFFFFF01 on the wire.
type Span struct {
	From DateTime // second is 0
	N    int
}

// AppendBinary appends the data of ED or EF, 7 bytes. It does not judge it.
func (s Span) AppendBinary(b []byte) ([]byte, error) {
	if s.N == 0 {
		return append(b, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1), nil
	}
	return append(s.From.appendMinutes(b), byte(s.N)), nil
}

// ParseSpan reads the data of ED or EF for a history of that step and at most
// that many items: History2Step and History2Items, or those of history 3.
func ParseSpan(edt []byte, step time.Duration, most int) (Span, error) {
	if len(edt) != 7 {
		return Span{}, sizeError("history time", edt, 7)
	}
	if isUnsetSpan(edt) {
		return Span{}, nil
	}
	s := Span{minutes(edt), int(edt[6])}
	switch {
	case !s.From.Valid() || s.From.Minute%int(step/time.Minute) != 0:
		return Span{}, fmt.Errorf("meter: history time: %w: %v", ErrRange, s.From)
	case s.N < 1 || s.N > most:
		return Span{}, fmt.Errorf("meter: history time: %w: %d items", ErrRange, s.N)
	}
	return s, nil
}

func isUnsetSpan(b []byte) bool {
	for _, c := range b[:6] {
		if c != 0xFF {
			return false
		}
	}
	return b[6] == 1
}

// History is history 2 or 3 (EC, EE): both registers at a time and at the steps
// before it, newest first. On the wire: ED or EF, then 8 bytes per item. A
// history whose time was never set has one item without data.
type History struct {
	Span
	Items []Pair
}

// ParseHistory reads the data of EC or EE; step and most as for ParseSpan.
func ParseHistory(edt []byte, step time.Duration, most int) (History, error) {
	if len(edt) < 7 {
		return History{}, sizeError("history", edt, 7+8)
	}
	s, err := ParseSpan(edt[:7], step, most)
	if err != nil {
		return History{}, err
	}
	h := History{Span: s}
	n := max(1, s.N)
	if len(edt) != 7+8*n {
		return History{}, sizeError("history", edt, 7+8*n)
	}
	for i := range n {
		p, err := pair(edt[7+8*i:])
		if err != nil {
			return History{}, fmt.Errorf("meter: history: item %d: %w", i, err)
		}
		h.Items = append(h.Items, p)
	}
	return h, nil
}
