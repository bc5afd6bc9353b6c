package controller_test

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
)

// testMeter is a meter's log behind F0 to F8, and a measuring part that shows
// fixed values.
type testMeter struct {
	mu         sync.Mutex // guards what follows
	log        *eventlogtest.Meter
	chain      []byte
	onRead     func(m *testMeter, c meter.Cursor) // before a window is read; holds mu
	challenges [][]byte
	receipts   [][]byte
	refuse     bool // challenges and receipts
	cursor     bool // refuse cursors of closed segments' seals
}

func newMeter(t testing.TB, name string) *testMeter {
	t.Helper()
	return &testMeter{log: eventlogtest.New(name, eventlog.SchemeCounter)}
}

// change changes the log under the lock.
func (m *testMeter) change(f func(*eventlogtest.Meter)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m.log)
}

// newest returns the newest seal and the segment that it seals.
func (m *testMeter) newest() (*eventlogtest.Segment, *eventlog.Seal) {
	for i := len(m.log.Segments) - 1; i >= 0; i-- {
		if s := m.log.Segments[i]; len(s.Seals) > 0 {
			return s, &s.Seals[len(s.Seals)-1]
		}
	}
	return nil, nil
}

func (m *testMeter) Header() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := m.log.Open()
	s := eventlog.Status{
		Scheme: m.log.Key.Scheme, Health: eventlog.HealthUp,
		Segment: open.Number, Oldest: m.log.Segments[0].Number, Length: uint64(len(open.Log)),
		LastSeq: m.log.Seq - 1, KeyPrefix: m.log.Key.Prefix(),
	}
	if n := len(open.Seals); n > 0 {
		s.SignedLength = open.Seals[n-1].SignedLength
	}
	b, _ := s.AppendBinary(nil)
	return b
}

func (m *testMeter) Seal() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seal := m.newest(); seal != nil {
		return eventlogtest.Encode(*seal)
	}
	return nil
}

func (m *testMeter) object(c meter.Cursor) ([]byte, bool) {
	s := m.log.Segment(c.Segment)
	switch {
	case c.Object == meter.CursorChain:
		return m.chain, len(m.chain) > 0
	case s == nil:
		return nil, false
	case c.Object == meter.CursorLog:
		return s.Log, true
	case c.Object == meter.CursorSeal && len(s.Seals) > 0 && !m.cursor:
		return eventlogtest.Encode(s.Seals[len(s.Seals)-1]), true
	}
	return nil, false
}

func (m *testMeter) CheckCursor(c meter.Cursor) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.object(c)
	return ok && c.Offset <= uint64(len(b))
}

func (m *testMeter) ReadWindow(c meter.Cursor, buf []byte) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.onRead != nil {
		m.onRead(m, c)
	}
	b, ok := m.object(c)
	if !ok || c.Offset > uint64(len(b)) {
		return 0, false
	}
	return copy(buf, b[c.Offset:]), true
}

func (m *testMeter) Challenge(edt []byte) bool { return m.take(&m.challenges, edt) }
func (m *testMeter) Receipt(edt []byte) bool   { return m.take(&m.receipts, edt) }

func (m *testMeter) take(list *[][]byte, edt []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse {
		return false
	}
	*list = append(*list, bytes.Clone(edt))
	return true
}

func (m *testMeter) LastChallenge() []byte { return nil }
func (m *testMeter) LastReceipt() []byte   { return nil }

// taken returns the challenges and receipts that the meter has taken.
func (m *testMeter) taken() (challenges, receipts [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([][]byte(nil), m.challenges...), append([][]byte(nil), m.receipts...)
}

// The measuring part.
func (m *testMeter) Clock() time.Time { return time.Now() }

func (m *testMeter) Energy() meter.Pair { return meter.Pair{Normal: 123456, Reverse: 789} }

func (m *testMeter) EnergyAt(time.Time) meter.Pair  { return meter.Pair{Normal: 123450, Reverse: 780} }
func (m *testMeter) Power() meter.Power             { return 504 }
func (m *testMeter) Currents() (r, t meter.Current) { return 20, 31 }
func (m *testMeter) Fault() uint16                  { return 0 }
func (m *testMeter) config() meter.Config {
	return meter.Config{
		Source: m, Evidence: m, Scale: meter.Scale{Coefficient: 1, Exponent: -1},
		Identity: echonet.Identity{Serial: m.log.ID.Serial()}, Reverse: true, Digits: 6,
	}
}

// meterObject returns the meter's object.
func meterObject(t testing.TB, c meter.Config) echonet.Object {
	t.Helper()
	o, err := meter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// hems returns the configuration of a controller's node.
func hems() echonet.Config {
	return echonet.Config{Objects: []echonet.Object{echonet.NewController(echonet.Identity{})}}
}

// pair serves a meter at address 1 and a controller's node at address 2.
func pair(t testing.TB, a *air, m *testMeter) *echonet.Node {
	t.Helper()
	a.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, m.config())}})
	return a.node(t, 2, hems())
}

// holds checks that a bundle holds exactly what the meter's log has up to its
// newest seal, from the start, beyond what came before it.
func holds(t testing.TB, m *testMeter, copies map[uint32][]byte, b *eventlog.Bundle) {
	t.Helper()
	if b == nil {
		t.Fatal("no bundle")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Meter != m.log.ID {
		t.Errorf("the bundle is of meter %v, want %v", b.Meter, m.log.ID)
	}
	for _, p := range b.Parts {
		s := m.log.Segment(p.Segment)
		if s == nil {
			t.Fatalf("the meter has no segment %d", p.Segment)
		}
		if p.Offset != uint64(len(copies[p.Segment])) {
			t.Fatalf("segment %d: offset %d, want %d", p.Segment, p.Offset, len(copies[p.Segment]))
		}
		copies[p.Segment] = append(copies[p.Segment], p.Log...)
		seal := eventlogtest.Decode(p.Seal)
		digest := s.Digest(int(seal.SignedLength))
		if !seal.Signs(m.log.Key.PublicKey(), m.log.Key.ID, m.log.Key.Scheme, digest) {
			t.Errorf("segment %d: the seal is not the meter's", p.Segment)
		}
		if got := copies[p.Segment]; !bytes.Equal(got, s.Log[:len(got)]) || uint64(len(got)) < seal.SignedLength {
			t.Errorf("segment %d: %d bytes, not those that the seal covers (%d)", p.Segment, len(got), seal.SignedLength)
		}
	}
}

// at is the meter at address n.
func at(n byte) net.Addr { return addrOf(n) }
