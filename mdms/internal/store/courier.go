package store

import (
	"context"
	"net/netip"
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

// Bounds are bounds on what is kept against couriers.
type Bounds struct {
	Each, Total Quota // of refused bundles: those of one courier, those of all
	Addresses   int   // couriers of one meter that have no name but their address
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
func (t *Tx) Charge(ctx context.Context, r Rejected, verdict string, b Bounds) error {
	if err := t.count(ctx, r, verdict, b.Addresses); err != nil || len(r.Body) == 0 {
		return err
	}
	scan := func(k *Quota, scan func(...any) error) error { return scan(&k.Bundles, &k.Bytes) }
	kept, err := one(ctx, &t.View, scan, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM rejected WHERE tenant = $1 AND courier = $2`, t.tenant, r.Courier)
	if err != nil || !b.Each.holds(kept, len(r.Body)) {
		return err
	}
	kept, err = one(ctx, &t.View, scan, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM rejected WHERE tenant = $1`, t.tenant)
	if err != nil || !b.Total.holds(kept, len(r.Body)) {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO rejected (tenant, meter, courier, digest, reason, size, body, received) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (tenant, meter, courier, digest) DO NOTHING`,
		t.tenant, r.Meter, r.Courier, r.Digest[:], r.Reason, len(r.Body), r.Body, millis(r.At))
	return err
}

// count counts a verdict against a courier. With a row that is new it bounds
// the rows of the meter.
func (t *Tx) count(ctx context.Context, r Rejected, verdict string, addresses int) error {
	n, err := t.exec(ctx, `UPDATE couriers SET count = count + 1, latest = $5 WHERE tenant = $1 AND meter = $2 AND courier = $3 AND verdict = $4`,
		t.tenant, r.Meter, r.Courier, verdict, millis(r.At))
	if err != nil || n > 0 {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO couriers (tenant, meter, courier, verdict, count, latest) VALUES ($1, $2, $3, $4, 1, $5)`,
		t.tenant, r.Meter, r.Courier, verdict, millis(r.At))
	if err != nil {
		return err
	}
	return t.forget(ctx, r.Meter, r.Courier, addresses)
}

// forget drops what stands against couriers of a meter that are known by their
// address only, all but so many that were charged last, the given one among
// them: whoever has one address may have many. Names are not made up as easily,
// and stay.
func (t *Tx) forget(ctx context.Context, meter, courier string, addresses int) error {
	latest, err := list(ctx, &t.View, func(c *string, scan func(...any) error) error { return scan(c) },
		`SELECT courier FROM couriers WHERE tenant = $1 AND meter = $2 GROUP BY courier ORDER BY courier = $3 DESC, MAX(latest) DESC, courier`,
		t.tenant, meter, courier)
	if err != nil {
		return err
	}
	for _, c := range latest {
		if _, err := netip.ParseAddr(c); err != nil {
			continue // a name
		}
		if addresses--; addresses >= 0 {
			continue
		}
		if _, err := t.exec(ctx, `DELETE FROM couriers WHERE tenant = $1 AND meter = $2 AND courier = $3`, t.tenant, meter, c); err != nil {
			return err
		}
	}
	return nil
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
