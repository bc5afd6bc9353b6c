package device

import (
	"bytes"

	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// evidence offers the log in the vendor properties F0 to F8. It waits neither
// for writers of the log nor for the module.
type evidence struct{ m *Meter }

var _ meter.Evidence = evidence{}

// Header implements meter.Evidence.
func (e evidence) Header() []byte {
	s := e.m.Status()
	b, err := s.AppendBinary(nil)
	if err != nil {
		return nil
	}
	return b
}

// Seal implements meter.Evidence.
func (e evidence) Seal() []byte {
	_, b, _ := e.m.log.Seal()
	return b
}

// CheckCursor implements meter.Evidence.
func (e evidence) CheckCursor(c meter.Cursor) bool {
	size, ok := e.size(c)
	return ok && c.Offset <= size
}

// size returns the bytes of what a cursor points into.
func (e evidence) size(c meter.Cursor) (uint64, bool) {
	switch c.Object {
	case meter.CursorLog:
		return e.m.log.SegmentLength(c.Segment)
	case meter.CursorSeal:
		b, ok := e.m.log.SealOf(c.Segment)
		return uint64(len(b)), ok
	case meter.CursorChain:
		return uint64(len(e.m.cfg.Chain)), len(e.m.cfg.Chain) > 0
	}
	return 0, false
}

// ReadWindow implements meter.Evidence.
func (e evidence) ReadWindow(c meter.Cursor, buf []byte) (n int, ok bool) {
	if !e.CheckCursor(c) {
		return 0, false
	}
	switch c.Object {
	case meter.CursorSeal:
		b, ok := e.m.log.SealOf(c.Segment)
		if !ok || c.Offset > uint64(len(b)) {
			return 0, false
		}
		return copy(buf, b[c.Offset:]), true
	case meter.CursorChain:
		return copy(buf, e.m.cfg.Chain[c.Offset:]), true
	}
	n, err := e.m.log.ReadAt(c.Segment, buf, c.Offset)
	return n, err == nil || n > 0 || e.CheckCursor(c)
}

// Challenge implements meter.Evidence.
func (e evidence) Challenge(edt []byte) bool { return e.m.takeChallenge(edt) }

// Receipt implements meter.Evidence.
func (e evidence) Receipt(edt []byte) bool { return e.m.takeReceipt(edt) }

// LastChallenge implements meter.Evidence.
func (e evidence) LastChallenge() []byte {
	return e.m.mdms.last(func(d *mdms) []byte { return d.challenge })
}

// LastReceipt implements meter.Evidence.
func (e evidence) LastReceipt() []byte {
	return e.m.mdms.last(func(d *mdms) []byte { return d.receipt })
}

func (d *mdms) last(of func(*mdms) []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(of(d))
}

// Status returns the state of the log and of the secure element.
func (m *Meter) Status() eventlog.Status {
	s := m.log.Status()
	s.Health = eventlog.HealthUp
	if !m.moduleUp() {
		s.Health = eventlog.HealthDown
	}
	return s
}
