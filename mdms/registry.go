package mdms

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Enrolment is what the registry has to know of a meter before its evidence
// is believed.
type Enrolment struct {
	Meter     eventlog.MeterID
	PublicKey *ecdsa.PublicKey // on P-256; see ParsePublicKey
	Scheme    eventlog.Scheme  // digest or counter, fixed when the key was made
	// Counter is the secure element's counter when the key was enrolled.
	Counter uint64
	// Policy is the set of specific events that the meter has to seal.
	Policy eventlog.Policy
}

// Enrol registers a meter with its first key. Enrolling the same meter with the
// same key again changes the expected policy and nothing else. The error
// is ErrInvalid if the meter has another key already, or the key another meter.
func (s *Server) Enrol(ctx context.Context, e Enrolment) error {
	k, err := s.newKey(e.PublicKey, e.Scheme, e.Counter, 0)
	if err != nil {
		return err
	}
	if !e.Meter.Valid() {
		return fmt.Errorf("%w: %s is no meter id", ErrInvalid, e.Meter)
	}
	now := s.now()
	return s.store.Update(ctx, func(t *store.Tx) error {
		fresh, err := t.AddMeter(ctx, e.Meter, now)
		if err != nil {
			return err
		}
		if fresh {
			if err := addKey(ctx, t, e.Meter, k); err != nil {
				return err
			}
			if err := t.Audit(ctx, e.Meter, now, "enrol", "key %s, scheme %s, counter %d", k.ID, k.Scheme, k.Counter); err != nil {
				return err
			}
			return t.AddPolicy(ctx, e.Meter, e.Policy, now)
		}
		m, err := t.Meter(ctx, e.Meter)
		if err != nil {
			return err
		}
		for _, have := range m.Keys {
			if have.ID == k.ID && have.Scheme == k.Scheme && have.Counter == k.Counter {
				return s.expect(ctx, t, m, e.Policy)
			}
		}
		return fmt.Errorf("%w: meter %s is enrolled with another key, scheme or counter: a further key is added, not enrolled", ErrInvalid, e.Meter)
	})
}

// expect changes the policy that a meter has to follow from now on. Segments
// that began under the former one stay as good as they were.
func (s *Server) expect(ctx context.Context, t *store.Tx, m store.Meter, p eventlog.Policy) error {
	last := &m.Policies[len(m.Policies)-1]
	if last.Version == p.Version && last.Digest() == p.Digest() {
		return nil
	}
	if err := t.AddPolicy(ctx, m.ID, p, s.now()); err != nil {
		return err
	}
	if err := t.Audit(ctx, m.ID, s.now(), "policy", "version %d: %s", p.Version, p.String()); err != nil {
		return err
	}
	return t.Touch(ctx, m.ID)
}

// NewKey is a further key of a meter.
type NewKey struct {
	Meter     eventlog.MeterID
	PublicKey *ecdsa.PublicKey
	Scheme    eventlog.Scheme
	Counter   uint64 // of the secure element when the key was enrolled
	FirstSeq  uint32 // first sequence number that the key may seal; 0 = any
}

// AddKey registers a further key, so that a KEY_CHANGE to it is accepted. Only
// the registry decides: the meter's own word is not enough.
func (s *Server) AddKey(ctx context.Context, n NewKey) error {
	k, err := s.newKey(n.PublicKey, n.Scheme, n.Counter, n.FirstSeq)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(t *store.Tx) error {
		if _, err := t.Meter(ctx, n.Meter); err != nil {
			return unknownMeter(n.Meter, err)
		}
		if err := addKey(ctx, t, n.Meter, k); err != nil {
			return err
		}
		if err := announced(ctx, t, n.Meter, k.ID); err != nil {
			return err
		}
		if err := t.Audit(ctx, n.Meter, s.now(), "add-key", "key %s, scheme %s, counter %d, from sequence %d", k.ID, k.Scheme, k.Counter, k.FirstSeq); err != nil {
			return err
		}
		return t.Touch(ctx, n.Meter)
	})
}

// announced carries out a KEY_CHANGE that came before its key was registered, if
// nothing has come after it.
func announced(ctx context.Context, t *store.Tx, id eventlog.MeterID, key eventlog.KeyID) error {
	row, err := t.Head(ctx, id)
	if err != nil || row.Segment == 0 {
		return err
	}
	h, err := t.Segment(ctx, id, row.Segment)
	if err != nil || h == nil || !h.Closed || h.NextKey != key {
		return err
	}
	return changeKey(ctx, t, id, h)
}

// Revoke marks a key of a meter as revoked: what it sealed and the MDMS has not
// accepted before is not accepted any more, whatever sequence it claims.
func (s *Server) Revoke(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID) error {
	return s.store.Update(ctx, func(t *store.Tx) error {
		if _, err := t.Meter(ctx, id); err != nil {
			return unknownMeter(id, err)
		}
		done, err := t.RevokeKey(ctx, id, key, s.now())
		if err != nil {
			return err
		}
		if !done {
			return fmt.Errorf("%w: meter %s has no valid key %s", ErrInvalid, id, key)
		}
		if err := t.Audit(ctx, id, s.now(), "revoke-key", "key %s", key); err != nil {
			return err
		}
		return t.Touch(ctx, id)
	})
}

// newKey checks what is to be registered.
func (s *Server) newKey(pub *ecdsa.PublicKey, scheme eventlog.Scheme, counter uint64, from uint32) (store.Key, error) {
	id, err := eventlog.KeyIDOf(pub)
	if err != nil {
		return store.Key{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if scheme != eventlog.SchemeDigest && scheme != eventlog.SchemeCounter {
		return store.Key{}, fmt.Errorf("%w: scheme %s, want digest or counter", ErrInvalid, scheme)
	}
	if scheme == eventlog.SchemeDigest && counter != 0 {
		return store.Key{}, fmt.Errorf("%w: scheme digest has no counter", ErrInvalid)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return store.Key{}, fmt.Errorf("%w: public key: %w", ErrInvalid, err)
	}
	return store.Key{ID: id, SPKI: spki, Scheme: scheme, Counter: counter, FirstSeq: from, Added: s.now()}, nil
}

func addKey(ctx context.Context, t *store.Tx, id eventlog.MeterID, k store.Key) error {
	added, err := t.AddKey(ctx, id, k)
	if err != nil || added {
		return err
	}
	owner, err := t.KeyOwner(ctx, k.ID)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: key %s belongs to meter %s", ErrInvalid, k.ID, owner)
}

func unknownMeter(id eventlog.MeterID, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: meter %s is not enrolled", ErrNotFound, id)
	}
	return err
}

// registration returns the registry's word on a meter in the form that the
// verifier takes.
func registration(m store.Meter) (verify.Registration, error) {
	reg := verify.Registration{Meter: m.ID, Keys: make([]verify.Key, 0, len(m.Keys))}
	for _, k := range m.Keys {
		parsed, err := x509.ParsePKIXPublicKey(k.SPKI)
		if err != nil {
			return reg, fmt.Errorf("mdms: stored key %s: %w", k.ID, err)
		}
		pub, _ := parsed.(*ecdsa.PublicKey)
		key, err := verify.NewKey(pub, k.Scheme)
		if err != nil {
			return reg, fmt.Errorf("mdms: stored key %s: %w", k.ID, err)
		}
		key.StartCounter, key.LastCounter = k.Counter, k.LastCounter
		key.FirstSeq, key.LastSeq = k.FirstSeq, k.LastSeq
		key.Revoked = !k.Revoked.IsZero()
		reg.Keys = append(reg.Keys, key)
	}
	if n := len(m.Policies); n > 0 {
		reg.Policy, reg.FormerPolicies = &m.Policies[n-1], m.Policies[:n-1]
	}
	return reg, nil
}
