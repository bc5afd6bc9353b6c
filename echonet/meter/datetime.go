package meter

import (
	"encoding/binary"
	"fmt"
	"time"
)

// DateTime is a wall-clock time as a meter writes it: in the meter's time zone,
// which it does not say.
type DateTime struct {
	Year                             int // 1 to 9999
	Month, Day, Hour, Minute, Second int
}

// DateTimeOf returns the wall clock of t in its location, without what is less
// than a second.
func DateTimeOf(t time.Time) DateTime {
	return DateTime{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()}
}

// In returns the instant at which clocks in loc show d.
func (d DateTime) In(loc *time.Location) time.Time {
	return time.Date(d.Year, time.Month(d.Month), d.Day, d.Hour, d.Minute, d.Second, 0, loc)
}

// Valid reports whether there is such a date and time.
func (d DateTime) Valid() bool {
	if d.Year < 1 || d.Year > 9999 {
		return false
	}
	return DateTimeOf(d.In(time.UTC)) == d
}

// String returns "2026-01-02 03:30:00".
func (d DateTime) String() string {
	return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", d.Year, d.Month, d.Day, d.Hour, d.Minute, d.Second)
}

// appendMinutes appends year, month, day, hour and minute: 6 bytes.
func (d DateTime) appendMinutes(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(d.Year))
	return append(b, byte(d.Month), byte(d.Day), byte(d.Hour), byte(d.Minute))
}

// appendSeconds appends all of d: 7 bytes.
func (d DateTime) appendSeconds(b []byte) []byte {
	return append(d.appendMinutes(b), byte(d.Second))
}

// minutes reads 6 bytes, seconds 7.
func minutes(b []byte) DateTime {
	return DateTime{int(binary.BigEndian.Uint16(b)), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0}
}

func seconds(b []byte) DateTime {
	d := minutes(b)
	d.Second = int(b[6])
	return d
}

// ParseTime reads the data of 97: hour and minute.
func ParseTime(edt []byte) (hour, minute int, err error) {
	if len(edt) != 2 {
		return 0, 0, sizeError("time", edt, 2)
	}
	if edt[0] > 23 || edt[1] > 59 {
		return 0, 0, fmt.Errorf("meter: time: %w: %02d:%02d", ErrRange, edt[0], edt[1])
	}
	return int(edt[0]), int(edt[1]), nil
}

// ParseDate reads the data of 98.
func ParseDate(edt []byte) (year, month, day int, err error) {
	if len(edt) != 4 {
		return 0, 0, 0, sizeError("date", edt, 4)
	}
	d := DateTime{Year: int(binary.BigEndian.Uint16(edt)), Month: int(edt[2]), Day: int(edt[3])}
	if !d.Valid() {
		return 0, 0, 0, fmt.Errorf("meter: date: %w: %04d-%02d-%02d", ErrRange, d.Year, d.Month, d.Day)
	}
	return d.Year, d.Month, d.Day, nil
}
