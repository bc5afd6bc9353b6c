package store

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Rejected is a bundle that was refused, as it came.
type Rejected struct {
	Courier string
	Meter   string // as claimed; empty if it is not enrolled or the bundle did not parse
	Digest  [32]byte
	Reason  string
	Body    []byte
	At      time.Time
}

// Quota bounds what is kept of refused bundles.
type Quota struct {
	Bundles int64 // number of bundles
	Bytes   int64 // of all their bodies together
}

// holds reports whether one more bundle of that size fits beside what is kept.
func (q Quota) holds(kept Quota, size int) bool {
	return kept.Bundles < q.Bundles && kept.Bytes+int64(size) <= q.Bytes
}

// Charge counts a verdict against a courier, and keeps the body, if there is
// one, while neither the courier's quota nor that of all together is used up.
func (t *Tx) Charge(ctx context.Context, r Rejected, verdict string, each, total Quota) error {
	_, err := t.exec(ctx, `INSERT INTO couriers (tenant, meter, courier, verdict, count, latest) VALUES ($1, $2, $3, $4, 1, $5)
		ON CONFLICT (tenant, meter, courier, verdict) DO UPDATE SET count = couriers.count + 1, latest = EXCLUDED.latest`,
		t.tenant, r.Meter, r.Courier, verdict, millis(r.At))
	if err != nil || len(r.Body) == 0 {
		return err
	}
	scan := func(k *Quota, scan func(...any) error) error { return scan(&k.Bundles, &k.Bytes) }
	kept, err := one(ctx, &t.View, scan, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM rejected WHERE tenant = $1 AND courier = $2`, t.tenant, r.Courier)
	if err != nil || !each.holds(kept, len(r.Body)) {
		return err
	}
	kept, err = one(ctx, &t.View, scan, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM rejected WHERE tenant = $1`, t.tenant)
	if err != nil || !total.holds(kept, len(r.Body)) {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO rejected (tenant, meter, courier, digest, reason, size, body, received) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (tenant, meter, courier, digest) DO NOTHING`,
		t.tenant, r.Meter, r.Courier, r.Digest[:], r.Reason, len(r.Body), r.Body, millis(r.At))
	return err
}

// Charged is how often a courier earned a verdict.
type Charged struct {
	Courier string
	Meter   string
	Verdict string
	Count   int64
	Latest  time.Time
}

// Charges returns what stands against couriers, at most limit, beginning after
// the given row, in the order of meter, courier and verdict.
func (v *View) Charges(ctx context.Context, after Charged, limit int) ([]Charged, error) {
	return list(ctx, v, func(c *Charged, scan func(...any) error) error {
		return scan(&c.Meter, &c.Courier, &c.Verdict, &c.Count, intoTime{&c.Latest})
	}, `SELECT meter, courier, verdict, count, latest FROM couriers
		WHERE tenant = $1 AND (meter, courier, verdict) > ($2, $3, $4) ORDER BY meter, courier, verdict LIMIT $5`,
		v.tenant, after.Meter, after.Courier, after.Verdict, limit)
}

// Accusers returns how many couriers other than the given one have earned a
// verdict with evidence of the meter since then.
func (v *View) Accusers(ctx context.Context, meter, courier, verdict string, since time.Time) (int, error) {
	return value[int](ctx, v, `SELECT COUNT(*) FROM couriers WHERE tenant = $1 AND meter = $2 AND courier <> $3 AND verdict = $4 AND latest >= $5`,
		v.tenant, meter, courier, verdict, millis(since))
}

// maxDoubts bounds the couriers whose last doubtful seal of one meter is
// remembered.
const maxDoubts = 256

// Doubt notes that a courier brought a genuine seal over other bytes than the
// known ones. ask reports whether the courier may be asked to send the segment
// again from its beginning: not if it was asked after the time given. others is
// how many other couriers brought the same seal last.
func (t *Tx) Doubt(ctx context.Context, id eventlog.MeterID, courier string, seal [32]byte, at, after time.Time) (ask bool, others int, err error) {
	n, err := t.exec(ctx, `INSERT INTO rereads (tenant, meter, courier, asked, seal, seen) VALUES ($1, $2, $3, $4, $5, $4)
		ON CONFLICT (tenant, meter, courier) DO UPDATE SET asked = EXCLUDED.asked, seal = EXCLUDED.seal, seen = EXCLUDED.seen WHERE rereads.asked <= $6`,
		t.tenant, id.String(), courier, millis(at), seal[:], millis(after))
	if err == nil && n == 0 {
		_, err = t.exec(ctx, `UPDATE rereads SET seal = $4, seen = $5 WHERE tenant = $1 AND meter = $2 AND courier = $3`,
			t.tenant, id.String(), courier, seal[:], millis(at))
	}
	if err != nil {
		return false, 0, err
	}
	_, err = t.exec(ctx, `DELETE FROM rereads WHERE tenant = $1 AND meter = $2 AND courier NOT IN
		(SELECT courier FROM rereads WHERE tenant = $1 AND meter = $2 ORDER BY seen DESC, courier LIMIT $3)`, t.tenant, id.String(), maxDoubts)
	if err != nil {
		return false, 0, err
	}
	others, err = value[int](ctx, &t.View, `SELECT COUNT(*) FROM rereads WHERE tenant = $1 AND meter = $2 AND courier <> $3 AND seal = $4`,
		t.tenant, id.String(), courier, seal[:])
	return n == 1, others, err
}

// RejectedCount returns how many refused bundles of a courier are kept.
func (v *View) RejectedCount(ctx context.Context, courier string) (int64, error) {
	return value[int64](ctx, v, `SELECT COUNT(*) FROM rejected WHERE tenant = $1 AND courier = $2`, v.tenant, courier)
}
