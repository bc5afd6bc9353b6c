package device

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// tickInterval is how often the meter looks at its clocks.
const tickInterval = time.Second

// tick does what is due by time, until ctx ends: it looks at the uptime, never
// at the wall clock, to decide.
func (m *Meter) tick(ctx context.Context) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	var watch clockWatch
	for {
		wall, uptime := m.cfg.Now(), m.cfg.Uptime()
		if expected, jumped := watch.look(wall, uptime); jumped {
			m.hostClockSet(ctx, expected, wall)
		}
		m.periodic(ctx, uptime)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// hostClockSet records that the clock under the meter's clock was set.
func (m *Meter) hostClockSet(ctx context.Context, expected, wall time.Time) {
	m.mu.Lock()
	offset := m.state.Offset
	m.mu.Unlock()
	m.recordSystem(ctx, eventlog.CodeClockSet, &eventlog.ClockSet{ //nolint:errcheck // the store has told of its own failure
		Old: expected.Add(offset).UnixMilli(), New: wall.Add(offset).UnixMilli(), Source: eventlog.ClockSync,
	})
}

// sealSoon puts PERIODIC_SEAL off: another specific record goes to the module.
func (m *Meter) sealSoon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastPeriodic = m.cfg.Uptime()
}

// periodic records PERIODIC_SEAL and EVENTS_SUPPRESSED where they are due. A
// module that is down gets no PERIODIC_SEAL: SE_RESTORED will do.
func (m *Meter) periodic(ctx context.Context, uptime time.Duration) {
	if m.holdLog(ctx) != nil {
		return
	}
	defer m.releaseLog()
	m.reportSuppressed(false)
	m.mu.Lock()
	due := m.up && uptime-max(m.lastSeal, m.lastPeriodic) >= m.cfg.PeriodicSeal
	m.mu.Unlock()
	if due {
		m.sealSoon()
		m.appendSystem(eventlog.CodePeriodicSeal, nil) //nolint:errcheck // the store has told of its own failure
	}
}
