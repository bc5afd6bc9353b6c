package device

import (
	"context"

	"github.com/meterseal/meterseal/eventlog"
)

// ending is how a segment ends.
type ending struct {
	reason eventlog.EndReason
	// code and payload are the record before SEGMENT_END that says what the
	// next segment does differently; payload is nil for none.
	code    uint16
	payload eventlog.Payload
	next    *eventlog.Change
}

// closeSegment ends the segment with a sealed SEGMENT_END and begins the next
// one. Nobody else appends meanwhile, so it takes at most Config.SignTimeout.
// If the module fails, the segment goes on, and SEGMENT_END is written again later.
func (m *Meter) closeSegment(ctx context.Context, e ending) (err error) {
	m.whileHeld(func() { err = m.closeHeld(ctx, e) })
	return err
}

func (m *Meter) closeHeld(ctx context.Context, e ending) error {
	if m.ended {
		return m.beginNext(e.next) // the store failed in between
	}
	if e.payload != nil {
		if _, err := m.appendSystem(e.code, e.payload); err != nil {
			return err
		}
	}
	end := eventlog.SegmentEnd{Reason: e.reason, Next: m.log.Newest() + 1}
	if _, err := m.appendSystem(eventlog.CodeSegmentEnd, &end); err != nil {
		return err
	}
	p, _ := m.pending()
	if err := m.sign(ctx, p); err != nil {
		m.signFailed(err)
		return err
	}
	m.ended = true
	return m.beginNext(e.next)
}

// beginNext begins the next segment. Until that has succeeded nothing may be
// appended: what a seal closed stays closed.
func (m *Meter) beginNext(next *eventlog.Change) error {
	if err := m.log.NextSegment(m.stamp(), next); err != nil {
		m.storageFailed(err)
		return err
	}
	m.ended = false
	m.traceBegun()
	m.makeRoom()
	return nil
}
