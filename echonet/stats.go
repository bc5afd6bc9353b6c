package echonet

import (
	"sync/atomic"
	"time"
)

// Stats counts what a node did since it was made.
type Stats struct {
	Received      uint64 // datagrams, without its own that came back
	Dropped       uint64 // of them: no frame, or not for this node
	Served        uint64 // requests that reached an object, per instance
	Answered      uint64 // answers sent
	Matched       uint64 // answers that a request of ours waited for
	Unmatched     uint64 // answers that came too late, twice, or unasked
	Notifications uint64 // INF and INFC received
	NotifyLost    uint64 // of them: not delivered, as OnNotify was too slow
	Sent          uint64 // requests and notifications sent
	ReadErrors    uint64 // reads of a link that failed
	WriteErrors   uint64 // writes to a link that failed

	LastReceived time.Time // of the last valid frame; zero before
}

type counters struct {
	received, dropped, served, answered, matched, unmatched atomic.Uint64
	notifications, notifyLost, sent                         atomic.Uint64
	readErrors, writeErrors                                 atomic.Uint64
	last                                                    atomic.Int64 // Unix ns
}

// Stats returns the counts.
func (n *Node) Stats() Stats {
	c := &n.count
	s := Stats{
		Received: c.received.Load(), Dropped: c.dropped.Load(),
		Served: c.served.Load(), Answered: c.answered.Load(),
		Matched: c.matched.Load(), Unmatched: c.unmatched.Load(),
		Notifications: c.notifications.Load(), NotifyLost: c.notifyLost.Load(),
		Sent: c.sent.Load(), ReadErrors: c.readErrors.Load(), WriteErrors: c.writeErrors.Load(),
	}
	if ns := c.last.Load(); ns != 0 {
		s.LastReceived = time.Unix(0, ns)
	}
	return s
}
