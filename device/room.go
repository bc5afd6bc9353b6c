package device

import "github.com/meterseal/meterseal/eventlog"

const (
	// closedKept is how many closed segments stay whatever happens.
	closedKept = 2
	// crampedSegment is the size in bytes at which a segment ends when the
	// store has no room: small, but some records.
	crampedSegment = 1 << 10
)

// makeRoom drops the oldest segments that may go: those that the MDMS holds,
// and, when the store is down to its reserve, others too. It is called with the
// log held.
func (m *Meter) makeRoom() {
	for {
		closed := m.log.Closed()
		if len(closed) <= closedKept {
			return
		}
		oldest, reason := closed[0], eventlog.DropReceipt
		if !m.mdms.holds(oldest.Segment) {
			if m.free() >= m.cfg.Reserve {
				return
			}
			reason = eventlog.DropFull
		}
		if err := m.drop(oldest, reason); err != nil {
			m.storageFailed(err)
			return
		}
	}
}

func (m *Meter) drop(c eventlog.Closed, reason eventlog.DropReason) error {
	p := eventlog.SegmentDropped{Segment: c.Segment, Length: c.Length, Digest: c.Digest, Reason: reason}
	if _, err := m.appendSystem(eventlog.CodeSegmentDropped, &p); err != nil {
		return err
	}
	m.cfg.Logger.Info("segment dropped", "segment", c.Segment, "receipt", reason == eventlog.DropReceipt)
	return m.log.Drop(c.Segment)
}

// free returns the bytes left in the store.
func (m *Meter) free() int64 { return m.cfg.StoreSize - int64(m.log.Size()) }
