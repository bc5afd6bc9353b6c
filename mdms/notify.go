package mdms

import (
	"sync"
	"time"
)

// notifier wakes long polls when there is new work.
type notifier struct {
	ended chan struct{} // closed when polls shall end
	end   sync.Once

	mu   sync.Mutex // guards next
	next chan struct{}
}

// wait returns a channel that is closed at the next wake.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *notifier) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

func (s *Server) endPolls() { s.work.end.Do(func() { close(s.work.ended) }) }

// told remembers for a while what a long poll has told a courier, so that a
// courier that cannot deliver does not spin. It forgets what is old, and
// everything when it grows too large: being told twice does no harm.
type told struct {
	mu sync.Mutex // guards at
	at map[toldKey]time.Time
}

type toldKey struct {
	courier string
	item    string // the signed message
}

const maxTold = 10000

// fresh reports whether any of the items is news to the courier.
func (t *told) fresh(courier string, work []Work, now time.Time, repeat time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range work {
		if at, ok := t.at[toldKey{courier, string(w.Message)}]; !ok || now.Sub(at) >= repeat {
			return true
		}
	}
	return false
}

func (t *told) note(courier string, work []Work, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil || len(t.at) > maxTold {
		t.at = make(map[toldKey]time.Time)
	}
	for _, w := range work {
		t.at[toldKey{courier, string(w.Message)}] = now
	}
}
