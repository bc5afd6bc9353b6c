package device

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/secureelement"
)

// Errors of Open.
var (
	// ErrInUse says that another process runs a meter on the state directory.
	ErrInUse = durable.ErrInUse
	// ErrOtherMeter says that the state directory belongs to another meter id.
	ErrOtherMeter = errors.New("device: the state directory belongs to another meter")
	// ErrOtherKey says that the module holds another key than the one that seals
	// the log. A key changes by ChangeKey, with both modules at hand.
	ErrOtherKey = errors.New("device: the secure element holds another key than the one that seals the log")
)

// load reads the state, or makes that of a first start.
func (m *Meter) load() (born bool, err error) {
	s, born, err := loadState(m.dir)
	if err != nil {
		return false, err
	}
	if born && s.Meter != m.cfg.Meter {
		return false, fmt.Errorf("%w: %v, not %v", ErrOtherMeter, s.Meter, m.cfg.Meter)
	}
	if !born {
		logged, sealed, err := LoggedMeter(m.cfg.Dir)
		if err != nil {
			return false, err
		}
		if sealed && logged != (eventlog.MeterID{}) && logged != m.cfg.Meter {
			return false, fmt.Errorf("%w: its log is that of %v, not of %v", ErrOtherMeter, logged, m.cfg.Meter)
		}
	}
	m.state = s
	home := &m.cfg.Household
	home.Seed = cmp.Or(home.Seed, seedOf(m.cfg.Meter))
	if home.Now == nil {
		home.Now = m.cfg.Now
	}
	if born {
		home.Installed = cmp.Or(home.Installed, s.Installed)
	}
	return born, nil
}

// start opens the log and makes the first records of this start. Where the
// module does not answer, they say so.
func (m *Meter) start(ctx context.Context, born bool) error {
	m.module = m.cfg.Module
	info, infoErr := m.probe(ctx, m.module)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("device: start: %w", err)
	}
	var counter *eventlog.KeyCounter
	if infoErr == nil && info.Scheme == eventlog.SchemeCounter {
		counter = m.keyCounter(ctx, info)
	}
	if !born {
		if infoErr != nil {
			return fmt.Errorf("device: the first start needs the secure element: %w", infoErr)
		}
		if err := m.newborn(info); err != nil {
			return err
		}
	}
	found, err := m.openLog(born, counter)
	if err != nil {
		return err
	}
	if m.info, err = m.terms(info, infoErr); err != nil {
		return err
	}
	m.setUp(infoErr == nil)
	m.state.Boot = min(max(m.state.Boot, found.LastBoot), math.MaxUint32-1) + 1
	m.notBefore = found.LastMillis
	if born {
		if err := m.state.save(m.dir); err != nil {
			return err
		}
	}
	if err := m.boot(found, info, infoErr); err != nil {
		return err
	}
	if m.object, err = m.newObject(); err != nil {
		return err
	}
	m.cfg.Logger.Info("meter started", "meter", m.cfg.Meter, "boot", m.state.Boot, "segment", m.log.Newest(), "module", m.up)
	if born {
		return nil
	}
	p, _ := m.pending()
	if err := m.sign(ctx, p); err != nil {
		return fmt.Errorf("device: the first seal: %w", err)
	}
	return m.state.save(m.dir)
}

// keyCounter returns what the module says of its counter and, if it remembers
// that, of what it signed.
func (m *Meter) keyCounter(ctx context.Context, info secureelement.Info) *eventlog.KeyCounter {
	c := &eventlog.KeyCounter{Key: info.Key, Counter: info.Counter}
	h, ok := m.module.(secureelement.Historian)
	if !ok {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.SignTimeout)
	defer cancel()
	uses, err := h.History(ctx)
	if err != nil {
		m.cfg.Logger.Warn("the secure element does not say what it signed last: only its counter is compared with the log", "err", err)
	}
	c.Uses = uses
	return c
}

// newborn fills the state of a first start.
func (m *Meter) newborn(info secureelement.Info) error {
	key, err := marshalKey(m.module.PublicKey())
	if err != nil {
		return err
	}
	m.state.Meter, m.state.Profile, m.state.Policy = m.cfg.Meter, m.cfg.Profile, m.cfg.Policy
	m.state.Policy.Version = cmp.Or(m.state.Policy.Version, 1)
	m.state.Key, m.state.Scheme = key, info.Scheme
	m.state.Installed = m.readings.home.Installed()
	return nil
}

// openLog opens the log under the terms of the state. The counter is that of the
// module, nil if it is not known.
func (m *Meter) openLog(born bool, counter *eventlog.KeyCounter) (*eventlog.Recovery, error) {
	dir, err := durable.Dir(filepath.Join(m.cfg.Dir, logName))
	if err != nil {
		return nil, err
	}
	key, err := m.state.publicKey()
	if err != nil {
		return nil, err
	}
	next, err := m.state.change()
	if err != nil {
		return nil, err
	}
	var former []*ecdsa.PublicKey
	for _, der := range m.state.Former {
		k, err := parseKey(der)
		if err != nil {
			return nil, err
		}
		former = append(former, k)
	}
	log, found, err := eventlog.Open(eventlog.Config{
		FS: dir, Meter: m.cfg.Meter, Key: key, Scheme: m.state.Scheme, Profile: m.state.Profile, Policy: m.state.Policy,
		First: !born, Counter: counter, Next: next, Former: former,
	})
	if err != nil {
		return nil, err
	}
	m.log = log
	for _, n := range found.Notes {
		m.cfg.Logger.Warn("log: " + n)
	}
	return found, nil
}

// terms returns key and scheme that seal the log from here on, and fails if the
// module holds another key.
func (m *Meter) terms(info secureelement.Info, infoErr error) (secureelement.Info, error) {
	pub, scheme := m.state.Key, m.state.Scheme
	s := m.log.Status()
	if n := m.state.Next; n != nil && n.Key != nil {
		key, err := keyID(n.Key)
		if err != nil {
			return info, err
		}
		if [8]byte(key[:8]) == s.KeyPrefix {
			pub, scheme = n.Key, n.Scheme
		}
	}
	key, err := keyID(pub)
	if err != nil {
		return info, err
	}
	held, err := eventlog.KeyIDOf(m.module.PublicKey())
	if err != nil {
		return info, err
	}
	if held != key || infoErr == nil && (info.Key != key || info.Scheme != scheme) {
		return info, fmt.Errorf("%w: it holds %v, the log is sealed by %v in scheme %v", ErrOtherKey, held, key, scheme)
	}
	info.Key, info.Scheme = key, scheme
	return info, nil
}

func keyID(der []byte) (eventlog.KeyID, error) {
	pub, err := parseKey(der)
	if err != nil {
		return eventlog.KeyID{}, err
	}
	return eventlog.KeyIDOf(pub)
}

// boot begins the log and records BOOT, with the failure of the module if it
// does not answer.
func (m *Meter) boot(found *eventlog.Recovery, info secureelement.Info, infoErr error) error {
	newest := m.log.Newest()
	counters := found.Counters(infoErr == nil, info.Counter)
	if err := m.log.Begin(m.stamp(), counters); err != nil {
		return err
	}
	if err := m.settleChange(); err != nil {
		return err
	}
	if err := m.recall(); err != nil {
		return err
	}
	if m.log.Newest() != newest {
		m.traceBegun()
	}
	if _, err := m.appendSystem(eventlog.CodeBoot, &eventlog.Boot{Dropped: found.Dropped, Counters: counters}); err != nil {
		return err
	}
	if err := m.takeBack(found); err != nil {
		return err
	}
	if infoErr != nil {
		m.recordFailure(&failure{reasonOf(infoErr), infoErr})
	}
	m.makeRoom()
	return nil
}

// settleChange decides on a change that was begun before this start. It is in
// force if the old key has sealed the end of its segment. Otherwise it is
// dropped: neither the state nor a tail that no seal covers shows who wanted it. A
// set of specific events that the configuration asks for is its operator's word.
func (m *Meter) settleChange() error {
	m.wanted = &m.cfg.Policy
	next, err := m.state.change()
	if next == nil || err != nil {
		return err
	}
	h, err := m.header()
	if err != nil {
		return err
	}
	done, err := inForce(&h, next)
	if err != nil {
		return err
	}
	if done {
		return m.saveState((*state).takeNext)
	}
	m.cfg.Logger.Warn("a change of key or specific set was not finished and is dropped: order it again")
	return m.saveState(func(s *state) error { s.Next = nil; return nil })
}

// takeBack records that what the newest segment announces does not come.
func (m *Meter) takeBack(found *eventlog.Recovery) error {
	if c := found.KeyChange; c != nil {
		m.cfg.Logger.Warn("the change of the key is taken back", "key", c.Key)
		s, _, _ := m.log.Seal()
		back := eventlog.KeyChange{Key: m.info.Key, Scheme: m.info.Scheme, Counter: s.Counter}
		if _, err := m.appendSystem(eventlog.CodeKeyChange, &back); err != nil {
			return err
		}
	}
	if c := found.PolicyChange; c != nil {
		m.cfg.Logger.Warn("the change of the specific set is taken back", "version", c.Version)
		p := m.policy()
		back := eventlog.PolicyChange{Old: c.New, New: p.Digest(), Version: p.Version}
		if _, err := m.appendSystem(eventlog.CodePolicyChange, &back); err != nil {
			return err
		}
	}
	return nil
}
