package meter

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// access is one message's access to a meter.
type access struct {
	m      *Meter
	req    echonet.Request
	now    time.Time // the meter's clock
	state  state     // as of the message, with what it wrote
	cursor Cursor    // of a SetGet
	buf    [255]byte // of the value returned last
}

// Get implements echonet.Access.
func (a *access) Get(epc byte) ([]byte, bool) {
	c, b := &a.m.cfg, a.buf[:0]
	switch epc {
	case EPCStatus:
		return append(b, 0x30), true
	case EPCLocation:
		return a.state.location, true
	case EPCVersion:
		if c.Release == 'F' {
			return echonet.Version('F', 0), true
		}
		return echonet.Version('R', 1), true
	case EPCFault:
		if c.Source.Fault() != 0 {
			return append(b, 0x41), true
		}
		return append(b, 0x42), true
	case EPCFaultCode:
		return binary.BigEndian.AppendUint16(b, c.Source.Fault()), true
	case EPCManufacturer:
		return c.Identity.ManufacturerCode(), true
	case EPCSerial:
		return c.Identity.SerialNumber(), true
	case EPCTime:
		return append(b, byte(a.now.Hour()), byte(a.now.Minute())), true
	case EPCDate:
		return DateTimeOf(a.now).appendMinutes(b)[:4], true
	case EPCRouteBID:
		return append(b, a.routeBID()...), true
	case EPCDigits:
		return append(b, byte(c.Digits)), true
	case EPCUnit:
		return append(b, unitCode(c.Scale.Exponent)), true
	case EPCCoefficient:
		return binary.BigEndian.AppendUint32(b, c.Scale.Coefficient), true
	}
	if epc >= EPCEvidence && epc <= EPCReceipt && c.Evidence != nil {
		return a.getEvidence(epc)
	}
	return a.getReading(epc)
}

// routeBID is 00, the manufacturer code and 12 bytes of the maker's choice: the
// serial number.
func (a *access) routeBID() []byte {
	id := a.m.cfg.Identity
	b := append([]byte{0}, id.ManufacturerCode()...)
	if s := id.SerialNumber(); s != nil {
		return append(b, s...)
	}
	return append(b, make([]byte, 12)...)
}

// getReading reads what is measured.
func (a *access) getReading(epc byte) ([]byte, bool) {
	c, b := &a.m.cfg, a.buf[:0]
	switch epc {
	case EPCNormal:
		return c.Source.Energy().Normal.append(b, c.Digits), true
	case EPCReverse:
		return c.Source.Energy().Reverse.append(b, c.Digits), true
	case EPCPower:
		return binary.BigEndian.AppendUint32(b, uint32(c.Source.Power())), true
	case EPCCurrents:
		r, t := c.Source.Currents()
		if c.TwoWire {
			t = NoCurrent
		}
		b = binary.BigEndian.AppendUint16(b, uint16(r))
		return binary.BigEndian.AppendUint16(b, uint16(t)), true
	case EPCMinute:
		t := lastMultiple(a.now, 1)
		return a.at(t).append(DateTimeOf(t).appendSeconds(b), c.Digits), true
	case EPCHalfNormal:
		t := lastMultiple(a.now, 30)
		return a.at(t).Normal.append(DateTimeOf(t).appendSeconds(b), c.Digits), true
	case EPCHalfReverse:
		t := lastMultiple(a.now, 30)
		return a.at(t).Reverse.append(DateTimeOf(t).appendSeconds(b), c.Digits), true
	case EPCDay:
		return append(b, byte(a.state.day)), true
	case EPCDayNormal, EPCDayReverse:
		return a.day(b, epc == EPCDayReverse), true
	case EPCHistory2At:
		return must(a.state.half.AppendBinary(b)), true
	case EPCHistory2:
		return a.history(b, a.state.half, History2Step), true
	case EPCHistory3At:
		return must(a.state.minute.AppendBinary(b)), true
	case EPCHistory3:
		return a.history(b, a.state.minute, History3Step), true
	}
	return nil, false
}

// must is for encoders that cannot fail.
func must(b []byte, _ error) []byte { return b }

// lastMultiple returns the newest time not after t whose minute on the clock is
// a multiple of step.
func lastMultiple(t time.Time, step int) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute()/step*step, 0, 0, t.Location())
}

// at returns the registers at a time: no data for the future, nor for a
// direction that the meter does not measure.
func (a *access) at(t time.Time) Pair {
	if t.After(a.now) {
		return Pair{NoData, NoData}
	}
	p := a.m.cfg.Source.EnergyAt(t)
	if !a.m.cfg.Reverse {
		p.Reverse = NoData
	}
	return p
}

// day appends history 1. Before a day was set it has no data.
func (a *access) day(b []byte, reverse bool) []byte {
	h := DayHistory{Day: a.state.day}
	y, mo, d := a.now.Date()
	for i := range h.Counts {
		h.Counts[i] = NoData
		if h.Day == NoDay {
			continue
		}
		p := a.at(time.Date(y, mo, d-h.Day, 0, 30*i, 0, 0, a.now.Location()))
		h.Counts[i] = p.Normal
		if reverse {
			h.Counts[i] = p.Reverse
		}
	}
	return h.append(b, a.m.cfg.Digits)
}

// history appends history 2 or 3, newest item first.
func (a *access) history(b []byte, s Span, step time.Duration) []byte {
	b = must(s.AppendBinary(b))
	if s.N == 0 {
		return Pair{NoData, NoData}.append(b, a.m.cfg.Digits)
	}
	t := s.From.In(a.now.Location())
	for i := range s.N {
		b = a.at(t.Add(-time.Duration(i)*step)).append(b, a.m.cfg.Digits)
	}
	return b
}

// Set implements echonet.Access.
func (a *access) Set(epc byte, edt []byte) bool {
	switch epc {
	case EPCLocation:
		return a.setLocation(edt)
	case EPCTime:
		hour, minute, err := ParseTime(edt)
		if err != nil {
			return false
		}
		y, mo, d := a.now.Date()
		return a.setClock(time.Date(y, mo, d, hour, minute, 0, 0, a.now.Location()))
	case EPCDate:
		y, mo, d, err := ParseDate(edt)
		if err != nil {
			return false
		}
		h, mi, s := a.now.Clock()
		return a.setClock(time.Date(y, time.Month(mo), d, h, mi, s, 0, a.now.Location()))
	case EPCDay:
		if len(edt) != 1 || edt[0] > 99 {
			return false
		}
		a.change(func(s *state) { s.day = int(edt[0]) })
		return true
	case EPCHistory2At:
		return a.setSpan(edt, History2Step, History2Items, func(st *state, s Span) { st.half = s })
	case EPCHistory3At:
		return a.setSpan(edt, History3Step, History3Items, func(st *state, s Span) { st.minute = s })
	}
	return a.setEvidence(epc, edt)
}

// change writes the meter's state, and this message's view of it.
func (a *access) change(f func(*state)) {
	f(&a.state)
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	f(&a.m.state)
}

func (a *access) setLocation(edt []byte) bool {
	if !echonet.ValidLocation(edt) {
		return false
	}
	edt = bytes.Clone(edt)
	a.change(func(s *state) { s.location = edt })
	if a.m.cfg.OnLocation != nil {
		a.m.cfg.OnLocation(bytes.Clone(edt))
	}
	return true
}

func (a *access) setClock(t time.Time) bool {
	if !a.m.cfg.SetClock(t) {
		return false
	}
	a.now = a.m.cfg.Source.Clock()
	return true
}

func (a *access) setSpan(edt []byte, step time.Duration, most int, put func(*state, Span)) bool {
	s, err := ParseSpan(edt, step, most)
	if err != nil || s.N == 0 {
		return false // the value of "never set" cannot be set
	}
	a.change(func(st *state) { put(st, s) })
	return true
}

// getEvidence reads F0 to F8.
func (a *access) getEvidence(epc byte) ([]byte, bool) {
	e, b := a.m.cfg.Evidence, a.buf[:0]
	switch epc {
	case EPCEvidence:
		h := e.Header()
		return h, len(h) > 0
	case EPCSeal:
		return e.Seal(), true
	case EPCCursor:
		return must(a.effective().AppendBinary(b)), true
	case EPCChallenge:
		return orZeros(b, e.LastChallenge()), true
	case EPCReceipt:
		return orZeros(b, e.LastReceipt()), true
	}
	return a.window(int(epc - EPCWindow0))
}

// orZeros appends v, or the 12 zero bytes that stand for nothing accepted yet.
func orZeros(b, v []byte) []byte {
	if len(v) == 0 {
		return append(b, make([]byte, 12)...)
	}
	return append(b, v...)
}

// effective returns the cursor that holds for this message.
func (a *access) effective() Cursor {
	if a.cursor.Object != CursorNone || a.req.From == nil {
		return a.cursor
	}
	return a.m.cursors.of(echonet.HostOf(a.req.From), a.m.cfg.Now())
}

// window returns window i. One past the end has no bytes; one whose segment is
// gone cannot be read.
func (a *access) window(i int) ([]byte, bool) {
	c := a.effective()
	if c.Object == CursorNone {
		return must(c.AppendBinary(a.buf[:0])), true
	}
	w := c.Window(i)
	b := must(w.AppendBinary(a.buf[:0]))
	n, ok := a.m.cfg.Evidence.ReadWindow(w, a.buf[CursorSize:CursorSize+WindowSize])
	if !ok {
		return b, a.m.cfg.Evidence.CheckCursor(c)
	}
	return b[:CursorSize+n], true
}

// setEvidence writes F2, F7 and F8.
func (a *access) setEvidence(epc byte, edt []byte) bool {
	e := a.m.cfg.Evidence
	if e == nil {
		return false
	}
	switch epc {
	case EPCCursor:
		var c Cursor
		if c.UnmarshalBinary(edt) != nil || c.Object == CursorNone || !e.CheckCursor(c) {
			return false
		}
		if a.req.ESV == echonet.SetGet {
			a.cursor = c
		} else {
			a.m.cursors.put(echonet.HostOf(a.req.From), c, a.m.cfg.Now())
		}
		return true
	case EPCChallenge:
		return e.Challenge(edt)
	case EPCReceipt:
		return e.Receipt(edt)
	}
	return false
}
