package device

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// clockJump is how far the host's clock may move against the uptime, between
// two looks at it, or show less than the last record, before the meter says that
// it was set. What is below is held: no record is stamped earlier than the one
// before it.
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
		m.notBefore, m.stamped = 0, p.New // whoever set it is to be trusted
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
	now := clockWatch{m.cfg.Now().Round(0), m.cfg.Uptime()}
	expected := m.watch.wall.Add(now.uptime - m.watch.uptime)
	m.mu.Lock()
	offset, stamped, trusted := m.state.Offset.Milliseconds(), m.stamped, m.notBefore == 0
	m.mu.Unlock()
	p := eventlog.ClockSet{New: now.wall.UnixMilli() + offset, Source: eventlog.ClockSync}
	switch {
	case !m.watch.wall.IsZero() && now.wall.Sub(expected).Abs() > clockJump:
		p.Old = expected.UnixMilli() + offset
	case trusted && stamped-p.New > clockJump.Milliseconds(): // in steps that were too small each
		p.Old = stamped
	default:
		m.watch = now
		return
	}
	b, err := p.AppendBinary(nil)
	if err != nil {
		return
	}
	if _, err := m.write(eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeClockSet}, b); err != nil {
		return // the store has told of its own failure; the next record tries again
	}
	m.watch = now
	m.mu.Lock()
	m.stamped = p.New
	m.mu.Unlock()
}

// stampMillis returns the time of the next record, ms since the Unix epoch, and
// whether it can be trusted. It never goes back, but for a clock that is behind
// the log since the start and has not caught up. It is called with mu held.
func (m *Meter) stampMillis() (millis int64, trusted bool) {
	now := m.clockLocked().UnixMilli()
	if now < m.notBefore {
		return now, false
	}
	m.notBefore = 0
	m.stamped = max(m.stamped, now)
	return m.stamped, true
}

// clockWatch is what the host's clock showed, and when.
type clockWatch struct {
	wall   time.Time
	uptime time.Duration
}
