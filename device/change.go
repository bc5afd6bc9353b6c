package device

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// ErrModuleDown says that something needs the secure element, which does
// not answer at present.
var ErrModuleDown = errors.New("device: the secure element does not answer")

// change is an ordered change of policy or key. It is kept until the segment
// that follows it has begun.
type change struct {
	ending
	info   secureelement.Info   // of the new key; zero if the key stays
	module secureelement.Module // that holds the new key; nil if the key stays
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
// latest after the next start with the same Config.Policy. Run must be running.
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
// takes effect when it is back; until then the Meter needs both, and a restart
// takes the change back.
//
// Run must be running. The MDMS accepts the change only for a key that it knows
// already. A key that was replaced does not come back.
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
	switch former, err := m.wasInForce(module.PublicKey()); {
	case err != nil:
		return err
	case former:
		return fmt.Errorf("device: key %v was replaced earlier and does not come back: make a new one", info.Key)
	}
	return m.begin(ctx, keyChange(module.PublicKey(), info, module))
}

// wasInForce reports whether a key sealed earlier segments.
func (m *Meter) wasInForce(pub *ecdsa.PublicKey) (bool, error) {
	der, err := marshalKey(pub)
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.state.Former, func(k []byte) bool { return bytes.Equal(k, der) }), err
}

// begin takes up a change. It is remembered before its record is written: a
// start that finds the segment after it knows what it meant.
func (m *Meter) begin(ctx context.Context, c *change) error {
	if m.change != nil || m.ended {
		return errors.New("device: the end of a segment is under way")
	}
	if !m.moduleUp() || !m.retry.IsZero() {
		return ErrModuleDown
	}
	if err := m.saveState(func(s *state) error { return s.setNext(c.next) }); err != nil {
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
	if c.module != nil {
		m.info, m.module = c.info, c.module
	}
	m.cfg.Logger.Info("terms of the log changed", "segment", m.log.Newest(), "reason", c.reason, "key", m.info.Key)
	return m.saveState((*state).takeNext)
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
