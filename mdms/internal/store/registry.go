package store

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Meter is a meter of the registry.
type Meter struct {
	ID       eventlog.MeterID
	Enrolled time.Time
	// Policies: the last one is expected, those before it were.
	Policies []eventlog.Policy
	Keys     []Key // oldest first
}

// Key is a key of a meter.
type Key struct {
	ID                eventlog.KeyID
	SPKI              []byte // SubjectPublicKeyInfo, DER
	Scheme            eventlog.Scheme
	Counter           uint64 // of the secure element at enrolment
	LastCounter       uint64 // last one that is accepted, 0 = no bound
	FirstSeq, LastSeq uint32 // records that the key may seal, 0 = no bound
	Added             time.Time
	Revoked           time.Time // zero = not revoked
}

// Meter returns what the registry holds of a meter, or ErrNotFound.
func (v *View) Meter(ctx context.Context, id eventlog.MeterID) (Meter, error) {
	m, err := one(ctx, v, func(m *Meter, scan func(...any) error) error { return scan(intoMeter{&m.ID}, intoTime{&m.Enrolled}) },
		`SELECT meter, enrolled FROM meters WHERE tenant = $1 AND meter = $2`, v.tenant, id.String())
	if err != nil {
		return Meter{}, err
	}
	m.Policies, err = list(ctx, v, scanPolicy,
		`SELECT version, policy FROM meter_policies WHERE tenant = $1 AND meter = $2 ORDER BY entry`, v.tenant, id.String())
	if err != nil {
		return Meter{}, err
	}
	m.Keys, err = list(ctx, v, scanKey, `SELECT key_id, spki, scheme, counter, last_counter, first_seq, last_seq, added, revoked
		FROM meter_keys WHERE tenant = $1 AND meter = $2 ORDER BY added, key_id`, v.tenant, id.String())
	return m, err
}

func scanPolicy(p *eventlog.Policy, scan func(...any) error) error {
	var version uint32
	var text string
	if err := scan(&version, &text); err != nil {
		return err
	}
	var err error
	*p, err = eventlog.ParsePolicy(version, text)
	return err
}

func scanKey(k *Key, scan func(...any) error) error {
	var counter, last int64
	err := scan(into32{(*[32]byte)(&k.ID)}, &k.SPKI, &k.Scheme, &counter, &last, &k.FirstSeq, &k.LastSeq, intoTime{&k.Added}, intoTime{&k.Revoked})
	k.Counter, k.LastCounter = uint64(counter), uint64(last)
	return err
}

// AddMeter registers a meter and gives it an empty head. It reports false if
// the meter is there already.
func (t *Tx) AddMeter(ctx context.Context, id eventlog.MeterID, at time.Time) (bool, error) {
	n, err := t.exec(ctx, `INSERT INTO meters (tenant, meter, enrolled) VALUES ($1, $2, $3) ON CONFLICT (tenant, meter) DO NOTHING`,
		t.tenant, id.String(), millis(at))
	if err != nil || n == 0 {
		return false, err
	}
	_, err = t.exec(ctx, `INSERT INTO heads (tenant, meter, rev, segment, since, stale, tail, findings)
		VALUES ($1, $2, 1, 0, $3, 0, 0, $4)`, t.tenant, id.String(), millis(at), []byte("[]"))
	return true, err
}

// AddPolicy makes p the policy that a meter is expected to follow.
func (t *Tx) AddPolicy(ctx context.Context, id eventlog.MeterID, p eventlog.Policy, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO meter_policies (tenant, meter, entry, version, policy, added)
		SELECT $1, $2, COALESCE(MAX(entry), 0) + 1, $3, $4, $5 FROM meter_policies WHERE tenant = $1 AND meter = $2`,
		t.tenant, id.String(), p.Version, p.String(), millis(at))
	return err
}

// KeyOwner returns the meter that a key is registered for, or ErrNotFound.
func (v *View) KeyOwner(ctx context.Context, key eventlog.KeyID) (eventlog.MeterID, error) {
	return one(ctx, v, func(id *eventlog.MeterID, scan func(...any) error) error { return scan(intoMeter{id}) },
		`SELECT meter FROM key_owners WHERE tenant = $1 AND key_id = $2`, v.tenant, key[:])
}

// AddKey registers a key for a meter. It reports false, and writes nothing, if
// the key is registered already, for whichever meter.
func (t *Tx) AddKey(ctx context.Context, id eventlog.MeterID, k Key) (bool, error) {
	n, err := t.exec(ctx, `INSERT INTO key_owners (tenant, key_id, meter) VALUES ($1, $2, $3) ON CONFLICT (tenant, key_id) DO NOTHING`,
		t.tenant, k.ID[:], id.String())
	if err != nil || n == 0 {
		return false, err
	}
	_, err = t.exec(ctx, `INSERT INTO meter_keys (tenant, meter, key_id, spki, scheme, counter, last_counter, first_seq, last_seq, added, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)`,
		t.tenant, id.String(), k.ID[:], k.SPKI, int64(k.Scheme), int64(k.Counter), int64(k.LastCounter), k.FirstSeq, k.LastSeq, millis(k.Added))
	return true, err
}

// EndKey bounds a key that was replaced: it seals nothing beyond the given
// record and counter.
func (t *Tx) EndKey(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID, lastSeq uint32, lastCounter uint64) error {
	_, err := t.exec(ctx, `UPDATE meter_keys SET last_seq = $4, last_counter = $5 WHERE tenant = $1 AND meter = $2 AND key_id = $3`,
		t.tenant, id.String(), key[:], lastSeq, int64(lastCounter))
	return err
}

// BeginKey bounds a key that replaced another: it seals nothing before the
// given record.
func (t *Tx) BeginKey(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID, firstSeq uint32) error {
	_, err := t.exec(ctx, `UPDATE meter_keys SET first_seq = $4 WHERE tenant = $1 AND meter = $2 AND key_id = $3`,
		t.tenant, id.String(), key[:], firstSeq)
	return err
}

// RevokeKey marks a key as revoked. It reports false if the meter has no such
// key that is not revoked yet.
func (t *Tx) RevokeKey(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID, at time.Time) (bool, error) {
	n, err := t.exec(ctx, `UPDATE meter_keys SET revoked = $4 WHERE tenant = $1 AND meter = $2 AND key_id = $3 AND revoked = 0`,
		t.tenant, id.String(), key[:], millis(at))
	return n == 1, err
}

// Audit notes an act on a meter that a person will want to look up.
func (t *Tx) Audit(ctx context.Context, id eventlog.MeterID, at time.Time, action, format string, args ...any) error {
	last, err := value[int64](ctx, &t.View, `SELECT COALESCE(MAX(entry), 0) FROM audit WHERE tenant = $1 AND meter = $2`, t.tenant, id.String())
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO audit (tenant, meter, entry, at, action, detail) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.tenant, id.String(), last+1, millis(at), action, fmt.Sprintf(format, args...))
	return err
}
