package device

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// clockJump is how far the host's clock may move against the uptime, between
// two looks at it, before the meter says that it was set.
const clockJump = 2 * time.Second

// Clock returns the meter's wall clock: that of the host, with what SetClock
// added.
func (m *Meter) Clock() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clockLocked()
}

func (m *Meter) clockLocked() time.Time {
	return m.cfg.Now().Round(0).Add(m.state.Offset).In(m.readings.home.Location())
}

// SetClock sets the meter's wall clock to a time from 1970 to 2199, and records
// CLOCK_SET before it does. Nothing is scheduled by that clock.
func (m *Meter) SetClock(ctx context.Context, t time.Time, source eventlog.ClockSource) error {
	if !settable(t) {
		return fmt.Errorf("device: the clock cannot be set to the year %d", t.UTC().Year())
	}
	if err := m.holdLog(ctx); err != nil {
		return err
	}
	defer m.releaseLog()
	return m.setClock(t, source)
}

// settable reports whether records and properties can hold t and what follows.
func settable(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 1970 && y < 2200
}

// setClock is called with the log held.
func (m *Meter) setClock(t time.Time, source eventlog.ClockSource) error {
	old := m.Clock()
	p := eventlog.ClockSet{Old: old.UnixMilli(), New: t.UnixMilli(), Source: source}
	if _, err := m.appendSystem(eventlog.CodeClockSet, &p); err != nil {
		return err
	}
	return m.saveState(func(s *state) error {
		s.Offset += t.Round(0).Sub(old)
		m.notBefore = 0 // whoever set it is to be trusted
		return nil
	})
}

// linkSetsClock queues a time that another node has set, and reports whether
// it did.
func (m *Meter) linkSetsClock(t time.Time) bool {
	if !settable(t) {
		return false
	}
	ahead := t.Sub(m.Clock())
	select {
	case m.clockSets <- ahead:
		return true
	default:
		return false
	}
}

// noteClock records CLOCK_SET if the host's clock was set since the last look at
// it. It is called with the log held, before each record: none is stamped by a
// clock that was set in silence.
func (m *Meter) noteClock() {
	wall, uptime := m.cfg.Now().Round(0), m.cfg.Uptime()
	expected := m.watch.wall.Add(uptime - m.watch.uptime)
	jumped := !m.watch.wall.IsZero() && wall.Sub(expected).Abs() > clockJump
	m.watch.wall, m.watch.uptime = wall, uptime
	if !jumped {
		return
	}
	m.mu.Lock()
	offset := m.state.Offset
	m.mu.Unlock()
	p := eventlog.ClockSet{Old: expected.Add(offset).UnixMilli(), New: wall.Add(offset).UnixMilli(), Source: eventlog.ClockSync}
	if b, err := p.AppendBinary(nil); err == nil {
		m.write(eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeClockSet}, b) //nolint:errcheck // the store has told of its own failure
	}
}

// clockWatch is what the host's clock showed, and when.
type clockWatch struct {
	wall   time.Time
	uptime time.Duration
}
