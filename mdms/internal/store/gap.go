package store

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func scanGap(m *verify.Missing, scan func(...any) error) error {
	var from int64
	err := scan(&m.First, &m.Last, &from, &m.By)
	m.From = uint64(from)
	return err
}

// Gaps returns what is missing of a meter, lowest segment first, at most limit.
func (v *View) Gaps(ctx context.Context, id eventlog.MeterID, limit int) ([]verify.Missing, error) {
	return list(ctx, v, scanGap, `SELECT first, last, start, claimed_by FROM gaps WHERE tenant = $1 AND meter = $2 ORDER BY first LIMIT $3`,
		v.tenant, id.String(), limit)
}

// AddGap notes that segments are missing, except those that are held.
func (t *Tx) AddGap(ctx context.Context, id eventlog.MeterID, m verify.Missing, at time.Time) error {
	if m.From > 0 { // the end of a segment that is held
		return t.putGap(ctx, id, m, at)
	}
	held, err := list(ctx, &t.View, func(n *uint32, scan func(...any) error) error { return scan(n) },
		`SELECT segment FROM segments WHERE tenant = $1 AND meter = $2 AND segment >= $3 AND segment <= $4 ORDER BY segment`,
		t.tenant, id.String(), m.First, m.Last)
	if err != nil {
		return err
	}
	for _, n := range held {
		if n > m.First {
			if err := t.putGap(ctx, id, verify.Missing{First: m.First, Last: n - 1, By: m.By}, at); err != nil {
				return err
			}
		}
		m.First = n + 1
	}
	if m.First > m.Last {
		return nil
	}
	return t.putGap(ctx, id, m, at)
}

// FillGap notes that a segment is held now, to its end unless AddGap says
// otherwise afterwards.
func (t *Tx) FillGap(ctx context.Context, id eventlog.MeterID, segment uint32, at time.Time) error {
	gaps, err := list(ctx, &t.View, scanGap, `SELECT first, last, start, claimed_by FROM gaps
		WHERE tenant = $1 AND meter = $2 AND first <= $3 AND last >= $3`, t.tenant, id.String(), segment)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if _, err := t.exec(ctx, `DELETE FROM gaps WHERE tenant = $1 AND meter = $2 AND first = $3`, t.tenant, id.String(), g.First); err != nil {
			return err
		}
		if g.First < segment {
			if err := t.putGap(ctx, id, verify.Missing{First: g.First, Last: segment - 1, By: g.By}, at); err != nil {
				return err
			}
		}
		if g.Last > segment {
			if err := t.putGap(ctx, id, verify.Missing{First: segment + 1, Last: g.Last, By: g.By}, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tx) putGap(ctx context.Context, id eventlog.MeterID, m verify.Missing, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO gaps (tenant, meter, first, last, start, claimed_by, found) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant, meter, first) DO UPDATE SET last = EXCLUDED.last, start = EXCLUDED.start, claimed_by = EXCLUDED.claimed_by`,
		t.tenant, id.String(), m.First, m.Last, int64(m.From), string(m.By), millis(at))
	return err
}
