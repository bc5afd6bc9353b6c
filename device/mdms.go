package device

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"sync"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

const (
	// inboxSize is how many messages of the MDMS may wait to be recorded.
	inboxSize = 8
	// noncesKept is how many nonces are known. When more have been accepted, a
	// challenge as old as those forgotten is refused: it can be a replay.
	noncesKept = 64
)

// mdms is what the meter knows of its MDMS: the keys, the challenges and
// receipts that it accepted. A Set only checks and queues; the goroutine of
// Meter.serveLink records.
type mdms struct {
	keys  map[eventlog.KeyID]*ecdsa.PublicKey
	inbox chan eventlog.Payload // *ChallengeAccepted or *ReceiptAccepted

	mu        sync.Mutex // guards what follows
	rate, day *bucket    // of challenges
	nonces    []nonce    // oldest first, at most noncesKept
	forgotten int64      // newest issue time of a forgotten nonce, ms
	challenge []byte     // first 8 bytes of the last recorded nonce, 4 bytes sequence number
	receipts  map[uint32]bool
	receipt   []byte // segment 4, length 8 of the last accepted one
}

type nonce struct {
	value  [32]byte
	issued int64
}

func newMDMS(c *Config) (*mdms, error) {
	m := &mdms{
		keys:      map[eventlog.KeyID]*ecdsa.PublicKey{},
		inbox:     make(chan eventlog.Payload, inboxSize),
		rate:      newBucket(challengeBurst, c.ChallengeInterval),
		day:       newBucket(c.ChallengeDaily, 24*time.Hour/time.Duration(c.ChallengeDaily)),
		forgotten: -1 << 63,
		receipts:  map[uint32]bool{},
	}
	for _, k := range c.MDMSKeys {
		id, err := eventlog.KeyIDOf(k)
		if err != nil {
			return nil, err
		}
		m.keys[id] = k
	}
	return m, nil
}

// holds reports whether the MDMS gave a receipt for the segment.
func (d *mdms) holds(segment uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.receipts[segment]
}

// remember takes a record of the log into account: at start those found, later
// those made.
func (d *mdms) remember(r *eventlog.Record) {
	p, err := eventlog.DecodePayload(r)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch p := p.(type) {
	case *eventlog.ChallengeAccepted:
		d.learn(nonce{p.Nonce, p.Issued})
		d.challenge = binary.BigEndian.AppendUint32(append([]byte(nil), p.Nonce[:8]...), r.Seq)
	case *eventlog.ReceiptAccepted:
		d.receipts[p.Segment] = true
		d.receipt = receiptStatus(p.Segment, p.Length)
	case *eventlog.SegmentDropped:
		delete(d.receipts, p.Segment)
	}
}

func receiptStatus(segment uint32, length uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, segment), length)
}

// learn adds a nonce, unless it is known. It is called with mu held.
func (d *mdms) learn(n nonce) {
	if d.knows(n.value) {
		return
	}
	if len(d.nonces) == noncesKept {
		d.forgotten = max(d.forgotten, d.nonces[0].issued)
		d.nonces = append(d.nonces[:0], d.nonces[1:]...)
	}
	d.nonces = append(d.nonces, n)
}

func (d *mdms) knows(value [32]byte) bool {
	for i := range d.nonces {
		if d.nonces[i].value == value {
			return true
		}
	}
	return false
}

// forget takes back a nonce that could not be recorded.
func (d *mdms) forget(value [32]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.nonces {
		if d.nonces[i].value == value {
			d.nonces = append(d.nonces[:i], d.nonces[i+1:]...)
			return
		}
	}
}

// takeChallenge checks a challenge and queues it for the record. What is cheap
// is checked first. A nonce that is known is accepted again, and nothing
// happens.
func (m *Meter) takeChallenge(b []byte) bool {
	var c eventlog.Challenge
	if c.UnmarshalBinary(b) != nil || c.Meter != m.cfg.Meter {
		return false
	}
	d, key := m.mdms, m.mdms.keys[c.MDMS]
	if key == nil || c.Verify(key) != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	uptime := m.cfg.Uptime()
	switch {
	case d.knows(c.Nonce):
		return true
	case c.Issued <= d.forgotten, !d.rate.has(uptime), !d.day.has(uptime):
		return false
	}
	select {
	case d.inbox <- &eventlog.ChallengeAccepted{Nonce: c.Nonce, Issued: c.Issued, MDMS: c.MDMS}:
	default:
		return false
	}
	d.rate.take(uptime)
	d.day.take(uptime)
	d.learn(nonce{c.Nonce, c.Issued})
	return true
}

// takeReceipt checks a receipt and queues it for the record: it must say of a
// closed segment exactly what the next header says. A second one for a segment,
// or one for a segment that is gone, is accepted, and nothing happens.
func (m *Meter) takeReceipt(b []byte) bool {
	var r eventlog.Receipt
	if r.UnmarshalBinary(b) != nil || r.Meter != m.cfg.Meter {
		return false
	}
	d, key := m.mdms, m.mdms.keys[r.MDMS]
	gone := r.Segment > 0 && r.Segment < m.log.Oldest()
	if key == nil || !gone && !m.isClosed(r.Segment, r.Length, r.Digest) || r.Verify(key) != nil {
		return false
	}
	if gone {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.receipts[r.Segment] {
		return true
	}
	select {
	case d.inbox <- &eventlog.ReceiptAccepted{Segment: r.Segment, Length: r.Length, Digest: r.Digest, Millis: r.Millis, MDMS: r.MDMS}:
		return true
	default:
		return false
	}
}

// isClosed reports whether the log has a closed segment of that length and
// digest, all of whose bytes they are: a damaged one has more.
func (m *Meter) isClosed(segment uint32, length uint64, digest eventlog.Digest) bool {
	for _, c := range m.log.Closed() {
		if c.Segment == segment {
			size, ok := m.log.SegmentLength(segment)
			return ok && size == length && c.Length == length && c.Digest == digest
		}
	}
	return false
}

// serveLink records what takeChallenge, takeReceipt and linkSetsClock have
// accepted, until ctx ends.
func (m *Meter) serveLink(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-m.mdms.inbox:
			m.whileHeld(func() { m.recordMDMS(p) })
		case ahead := <-m.clockSets:
			m.whileHeld(func() {
				if err := m.setClock(m.Clock().Add(ahead), eventlog.ClockLink); err != nil {
					m.cfg.Logger.Error("set the clock", "err", err)
				}
			})
		}
	}
}

// recordMDMS is called with the log held.
func (m *Meter) recordMDMS(p eventlog.Payload) {
	switch p := p.(type) {
	case *eventlog.ChallengeAccepted:
		if _, err := m.appendSystem(eventlog.CodeChallenge, p); err != nil {
			m.mdms.forget(p.Nonce)
		}
	case *eventlog.ReceiptAccepted:
		if m.mdms.holds(p.Segment) || !m.isClosed(p.Segment, p.Length, p.Digest) {
			return // a second one was queued, or the segment went meanwhile
		}
		if _, err := m.appendSystem(eventlog.CodeReceipt, p); err == nil {
			m.makeRoom()
		}
	}
}
