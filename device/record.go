package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Errors of Record.
var (
	// ErrSuppressed says that an event was counted, but not recorded: there
	// were too many, or the store is down to its reserve.
	ErrSuppressed = errors.New("device: the event was counted, not recorded")
	// ErrSystemEvent says that an event of the system class is the meter's own
	// to make.
	ErrSystemEvent = errors.New("device: only the meter makes this event")

	errBetween = errors.New("device: one segment is closed and the store does not take the next one")
)

// Recorded says where an event is in the log.
type Recorded struct {
	Seq      uint32 `json:"seq"`
	Segment  uint32 `json:"segment"`
	Length   uint64 `json:"length"`   // of the segment with the record, bytes
	Specific bool   `json:"specific"` // it triggered a seal
	Sealed   bool   `json:"sealed"`   // the seal was there in time; else it comes later
}

// Record appends an event to the log. When it returns nil the record is
// durable. For a specific event it also waits for the seal: until
// Config.SignTimeout, the end of ctx, or a failure of the secure element,
// whichever comes first; none of them is an error.
//
// The payload, at most eventlog.MaxPayload bytes, is kept as it is. Of the system class only
// PERIODIC_SEAL is accepted, which asks for a seal now. Errors: ErrSuppressed,
// ErrSystemEvent, that of ctx if nothing was recorded, and those of the store.
func (m *Meter) Record(ctx context.Context, e eventlog.Event, payload []byte) (Recorded, error) {
	if e.Class == eventlog.ClassSystem && (e.Code != eventlog.CodePeriodicSeal || len(payload) > 0) {
		return Recorded{}, fmt.Errorf("%w: %v", ErrSystemEvent, e)
	}
	if len(payload) > eventlog.MaxPayload {
		return Recorded{}, fmt.Errorf("device: payload of %d bytes, at most %d fit a record", len(payload), eventlog.MaxPayload)
	}
	if err := m.holdLog(ctx); err != nil {
		return Recorded{}, err
	}
	rec, err := m.admitAndAppend(e, payload)
	m.releaseLog()
	if err != nil || !rec.Specific {
		return rec, err
	}
	rec.Sealed = m.awaitSeal(ctx, rec)
	return rec, nil
}

// holdLog takes the right to append. Whoever has it may append several records
// in a row; while a segment is being closed, its owner keeps everyone waiting
// until the module has answered or failed to.
func (m *Meter) holdLog(ctx context.Context) error {
	select {
	case m.appender <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("device: nothing recorded: %w", context.Cause(ctx))
	}
}

func (m *Meter) releaseLog() { <-m.appender }

// whileHeld calls f with the log held.
func (m *Meter) whileHeld(f func()) {
	m.appender <- struct{}{}
	defer m.releaseLog()
	f()
}

// admitAndAppend is called with the log held.
func (m *Meter) admitAndAppend(e eventlog.Event, payload []byte) (Recorded, error) {
	m.makeRoom()
	if err := m.admit(e); err != nil {
		return Recorded{}, err
	}
	return m.append(e, payload)
}

// append is called with the log held.
func (m *Meter) append(e eventlog.Event, payload []byte) (Recorded, error) {
	m.noteClock()
	return m.write(e, payload)
}

// write is append without a look at the clock.
func (m *Meter) write(e eventlog.Event, payload []byte) (Recorded, error) {
	if m.ended {
		m.wakeSealer()
		return Recorded{}, errBetween
	}
	r, err := m.log.Append(m.stamp(), e, payload)
	if err != nil {
		m.storageFailed(err)
		return Recorded{}, err
	}
	m.setHealth(&m.broken, false)
	if r.Class == eventlog.ClassSystem {
		m.mdms.remember(&r)
	}
	s := m.log.Status()
	m.cfg.Trace(&Appended{Record: r, Segment: s.Segment, Length: s.Length})
	if r.Specific() || m.full() {
		m.wakeSealer()
	}
	return Recorded{Seq: r.Seq, Segment: s.Segment, Length: s.Length, Specific: r.Specific()}, nil
}

// appendSystem is called with the log held.
func (m *Meter) appendSystem(code uint16, p eventlog.Payload) (Recorded, error) {
	var payload []byte
	if p != nil {
		var err error
		if payload, err = p.AppendBinary(nil); err != nil {
			return Recorded{}, err
		}
	}
	return m.append(eventlog.Event{Class: eventlog.ClassSystem, Code: code}, payload)
}

// awaitSeal reports whether a seal that covers rec came in time.
func (m *Meter) awaitSeal(ctx context.Context, rec Recorded) bool {
	timeout := time.NewTimer(m.cfg.SignTimeout)
	defer timeout.Stop()
	for {
		news := m.news.next()
		if m.covers(rec) {
			return true
		}
		if !m.moduleUp() {
			return false
		}
		select {
		case <-news:
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// covers reports whether the newest seal covers rec. A segment before that of
// the newest seal ended with a seal over all of it.
func (m *Meter) covers(rec Recorded) bool {
	s, _, ok := m.log.Seal()
	return ok && (s.Segment > rec.Segment || s.Segment == rec.Segment && s.SignedLength >= rec.Length)
}

// stamp says when a record is made.
func (m *Meter) stamp() eventlog.Stamp {
	m.mu.Lock()
	defer m.mu.Unlock()
	millis, trusted := m.stampMillis()
	s := eventlog.Stamp{Millis: millis, Boot: m.state.Boot, Uptime: uint32(m.cfg.Uptime() / time.Second)}
	if !trusted {
		s.Flags |= eventlog.FlagClockUntrusted
	}
	if !m.up {
		s.Flags |= eventlog.FlagModuleDown
	}
	return s
}
