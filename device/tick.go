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
	for {
		m.periodic(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sealSoon puts PERIODIC_SEAL off: another specific record goes to the module.
func (m *Meter) sealSoon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastPeriodic = m.cfg.Uptime()
}

// periodic records CLOCK_SET, PERIODIC_SEAL and EVENTS_SUPPRESSED where they are
// due. A module that is down gets no PERIODIC_SEAL: SE_RESTORED will do.
func (m *Meter) periodic(ctx context.Context) {
	if m.holdLog(ctx) != nil {
		return
	}
	defer m.releaseLog()
	m.noteClock()
	m.reportSuppressed(false)
	m.mu.Lock()
	due := m.up && m.cfg.Uptime()-max(m.lastSeal, m.lastPeriodic) >= m.cfg.PeriodicSeal
	m.mu.Unlock()
	if due {
		m.sealSoon()
		m.appendSystem(eventlog.CodePeriodicSeal, nil) //nolint:errcheck // the store has told of its own failure
	}
}
