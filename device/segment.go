package device

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// ErrModuleDown says that something needs the secure element, which does not
// answer at present.
var ErrModuleDown = errors.New("device: the secure element does not answer")

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

// change is an ordered change of policy or key. It is kept until the segment
// that follows it has begun.
type change struct {
	ending
	info   secureelement.Info   // of the new key; zero if the key stays
	module secureelement.Module // that holds the new key; nil if it is not at hand
}

// keyChange describes a change to the key pub.
func keyChange(pub *ecdsa.PublicKey, info secureelement.Info, module secureelement.Module) *change {
	return &change{
		ending: ending{
			reason:  eventlog.EndKey,
			code:    eventlog.CodeKeyChange,
			payload: &eventlog.KeyChange{Key: info.Key, Scheme: info.Scheme, Counter: info.Counter},
			next:    &eventlog.Change{Key: pub, Scheme: info.Scheme},
		},
		info: info, module: module,
	}
}

// policyChange describes a change from one set of specific events to another.
func policyChange(from, to eventlog.Policy) *change {
	return &change{ending: ending{
		reason:  eventlog.EndPolicy,
		code:    eventlog.CodePolicyChange,
		payload: &eventlog.PolicyChange{Old: from.Digest(), New: to.Digest(), Version: to.Version},
		next:    &eventlog.Change{Policy: &to},
	}}
}

// ChangePolicy changes the set of specific events: POLICY_CHANGE, the end of
// the segment, and a new one under the new set, whose version is the next one.
// A set that is in force already changes nothing. If the secure element fails
// underway, the error says so and the change takes effect when it is back, at the
// latest after the next start with the same Config.Policy.
func (m *Meter) ChangePolicy(ctx context.Context, p eventlog.Policy) error {
	return m.command(ctx, func(ctx context.Context) error { return m.changePolicy(ctx, p) })
}

func (m *Meter) changePolicy(ctx context.Context, p eventlog.Policy) error {
	old := m.policy()
	p = eventlog.NewPolicy(old.Version+1, p.Specific...)
	if p.Digest() == old.Digest() {
		return nil
	}
	return m.begin(ctx, policyChange(old, p))
}

// ChangeKey has the key of another module seal the log from now on: KEY_CHANGE
// and the end of the segment, sealed by the present key, then a new segment
// whose seal proves that the new key is there. On success the Meter uses
// module, and the present one may be closed. The next start needs the new
// one. If the present module fails underway, the error says so, and the change
// takes effect when it is back; until then the Meter needs both.
//
// The MDMS accepts the change only for a key that it knows already.
func (m *Meter) ChangeKey(ctx context.Context, module secureelement.Module) error {
	return m.command(ctx, func(ctx context.Context) error { return m.changeKey(ctx, module) })
}

func (m *Meter) changeKey(ctx context.Context, module secureelement.Module) error {
	info, err := m.probe(ctx, module)
	if err != nil {
		return fmt.Errorf("device: the new secure element: %w", err)
	}
	if info.Key == m.info.Key {
		return fmt.Errorf("device: the new secure element holds the present key %v", info.Key)
	}
	return m.begin(ctx, keyChange(module.PublicKey(), info, module))
}

// begin takes up a change. It is remembered before its record is written: a
// start that finds the record, or the segment after it, knows what it meant.
func (m *Meter) begin(ctx context.Context, c *change) error {
	if m.change != nil || m.ended {
		return errors.New("device: the end of a segment is under way")
	}
	if !m.moduleUp() || !m.retry.IsZero() {
		return ErrModuleDown
	}
	if err := m.saveState(func(s *state) error { return s.setNext(c.next, c.info.Counter) }); err != nil {
		return err
	}
	m.change = c
	if err := m.finishChange(ctx); err != nil {
		return fmt.Errorf("device: the change is under way and waits for the secure element: %w", err)
	}
	return nil
}

// finishChange ends the segment and puts the change into force.
func (m *Meter) finishChange(ctx context.Context) error {
	c := m.change
	if err := m.closeSegment(ctx, c.ending); err != nil {
		return err
	}
	m.change = nil
	if c.next.Key != nil {
		m.info = c.info
	}
	if c.module != nil {
		m.module = c.module
	}
	m.cfg.Logger.Info("terms of the log changed", "segment", m.log.Newest(), "reason", c.reason, "key", m.info.Key)
	return m.saveState((*state).takeNext)
}

// unfinished returns the change that an earlier start has left, ready to be
// finished. The module of a new key is not at hand: when the present one has
// ended the segment, its part is done.
func (m *Meter) unfinished(next *eventlog.Change) (*change, error) {
	if next.Key == nil {
		return policyChange(m.state.Policy, *next.Policy), nil
	}
	id, err := eventlog.KeyIDOf(next.Key)
	if err != nil {
		return nil, err
	}
	return keyChange(next.Key, secureelement.Info{Key: id, Scheme: next.Scheme, Counter: m.state.Next.Counter}, nil), nil
}

// inForce reports whether the segment with the header h is under the terms of
// a change.
func inForce(h *eventlog.Header, c *eventlog.Change) (bool, error) {
	if c.Policy != nil && (h.PolicyVersion != c.Policy.Version || h.PolicyDigest != c.Policy.Digest()) {
		return false, nil
	}
	if c.Key == nil {
		return true, nil
	}
	id, err := eventlog.KeyIDOf(c.Key)
	return id == h.Key && c.Scheme == h.Scheme, err
}

// policy returns the set of specific events in force.
func (m *Meter) policy() eventlog.Policy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Policy
}

// PublicKey returns the key that seals the newest segment.
func (m *Meter) PublicKey() *ecdsa.PublicKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	pub, err := m.state.publicKey()
	if err != nil {
		panic(err) // it was parsed or made by this program
	}
	return pub
}

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
