package device

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// clockJump is how far the host's clock may move against the uptime in a
// second or so before the meter says that it was set.
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

// SetClock sets the meter's wall clock, and records CLOCK_SET before it does.
// Nothing is scheduled by that clock.
func (m *Meter) SetClock(ctx context.Context, t time.Time, source eventlog.ClockSource) error {
	if err := m.holdLog(ctx); err != nil {
		return err
	}
	defer m.releaseLog()
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

// clockWatch notices when the host's clock is set.
type clockWatch struct {
	wall   time.Time
	uptime time.Duration
}

// look returns what the clock would show if nobody had set it, and whether
// somebody has.
func (w *clockWatch) look(wall time.Time, uptime time.Duration) (expected time.Time, jumped bool) {
	wall = wall.Round(0)
	expected = w.wall.Add(uptime - w.uptime)
	jumped = !w.wall.IsZero() && wall.Sub(expected).Abs() > clockJump
	w.wall, w.uptime = wall, uptime
	return expected, jumped
}
