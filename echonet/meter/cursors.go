package meter

import (
	"sync"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// Cursors that came without a SetGet are kept this long, for this many senders.
const (
	cursorAge = 60 * time.Second
	cursorMax = 16
)

// cursors keeps the cursors of senders, most recently used last.
type cursors struct {
	mu   sync.Mutex // guards list
	list []kept
}

type kept struct {
	host   echonet.Host
	cursor Cursor
	until  time.Time
}

// put keeps a cursor; of too many the least recently used one goes.
func (s *cursors) put(h echonet.Host, c Cursor, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(h)
	if len(s.list) == cursorMax {
		s.list = append(s.list[:0], s.list[1:]...)
	}
	s.list = append(s.list, kept{h, c, now.Add(cursorAge)})
}

// of returns the cursor of a sender, the zero Cursor if none is kept.
func (s *cursors) of(h echonet.Host, now time.Time) Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.list {
		if k.host != h {
			continue
		}
		s.remove(h)
		if now.After(k.until) {
			return Cursor{}
		}
		s.list = append(s.list, k)
		return k.cursor
	}
	return Cursor{}
}

// remove forgets a sender. s.mu is held.
func (s *cursors) remove(h echonet.Host) {
	for i := range s.list {
		if s.list[i].host == h {
			s.list = append(s.list[:i], s.list[i+1:]...)
			return
		}
	}
}
