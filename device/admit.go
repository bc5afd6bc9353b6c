package device

import (
	"fmt"
	"math"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// How long suppressed events are counted before EVENTS_SUPPRESSED says so: the
// record must not become a flood itself, nor eat up the reserve.
const (
	floodReport   = 10 * time.Second
	reserveReport = 10 * time.Minute
)

// limits decides which events are recorded. It is guarded by the log being
// held.
type limits struct {
	ordinary, precious *bucket
	flood, reserve     suppressed
}

// suppressed counts events that were not recorded.
type suppressed struct {
	count uint32
	since time.Duration // uptime of the first one
}

func (s *suppressed) add(uptime time.Duration) {
	if s.count == 0 {
		s.since = uptime
	}
	if s.count < math.MaxUint32 {
		s.count++
	}
}

func newLimits(c *Config) limits {
	refill := time.Minute / time.Duration(c.FloodRate)
	return limits{ordinary: newBucket(c.FloodBurst, refill), precious: newBucket(c.FloodBurst, refill)}
}

// precious reports whether events of a class may use the reserve of the store
// and have a flood limit of their own, so that noise in other classes cannot
// push them out.
func precious(c eventlog.Class) bool { return c == eventlog.ClassFraud || c == eventlog.ClassSecurity }

// admit decides whether an event is recorded, and counts it if not. It is
// called with the log held.
func (m *Meter) admit(e eventlog.Event) error {
	uptime, floor, limit := m.cfg.Uptime(), m.cfg.Reserve, m.limits.ordinary
	if precious(e.Class) {
		floor, limit = eventlog.MaxRecordSize, m.limits.precious
		if m.moduleUp() {
			floor = math.MinInt64 // segments can be closed, so room comes
		}
	}
	switch {
	case m.free() < floor:
		m.limits.reserve.add(uptime)
		return fmt.Errorf("%w: the store is down to its reserve", ErrSuppressed)
	case !limit.take(uptime):
		m.limits.flood.add(uptime)
		return fmt.Errorf("%w: too many events", ErrSuppressed)
	}
	return nil
}

// reportSuppressed records EVENTS_SUPPRESSED where it is due, or, at the end,
// where anything was counted. It is called with the log held.
func (m *Meter) reportSuppressed(end bool) {
	uptime := m.cfg.Uptime()
	for _, r := range []struct {
		s      *suppressed
		after  time.Duration
		reason eventlog.SuppressReason
	}{
		{&m.limits.flood, floodReport, eventlog.SuppressFlood},
		{&m.limits.reserve, reserveReport, eventlog.SuppressReserve},
	} {
		if r.s.count == 0 || !end && uptime-r.s.since < r.after {
			continue
		}
		if _, err := m.appendSystem(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: r.s.count, Reason: r.reason}); err != nil {
			return // it is counted on
		}
		r.s.count = 0
	}
}
