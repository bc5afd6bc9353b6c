package store

import (
	"cmp"
	"context"
	"slices"
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

const gapColumns = `first, last, start, claimed_by`

// Gaps returns what is missing of a meter, lowest segment first, at most limit.
// No two ranges overlap.
func (v *View) Gaps(ctx context.Context, id eventlog.MeterID, limit int) ([]verify.Missing, error) {
	return list(ctx, v, scanGap, `SELECT `+gapColumns+` FROM gaps WHERE tenant = $1 AND meter = $2 ORDER BY first LIMIT $3`,
		v.tenant, id.String(), limit)
}

// GapsBy returns what is missing by the word of one side, at most limit.
func (v *View) GapsBy(ctx context.Context, id eventlog.MeterID, by verify.Charge, limit int) ([]verify.Missing, error) {
	return list(ctx, v, scanGap, `SELECT `+gapColumns+` FROM gaps WHERE tenant = $1 AND meter = $2 AND claimed_by = $3 ORDER BY first LIMIT $4`,
		v.tenant, id.String(), string(by), limit)
}

// gapsIn returns the gaps that a range of segments touches.
func (v *View) gapsIn(ctx context.Context, id eventlog.MeterID, first, last uint32) ([]verify.Missing, error) {
	return list(ctx, v, scanGap, `SELECT `+gapColumns+` FROM gaps WHERE tenant = $1 AND meter = $2 AND first <= $4 AND last >= $3`,
		v.tenant, id.String(), first, last)
}

// AddGap notes that segments are missing, except those that are held. What the
// meter has signed of a segment stands, whatever a courier says later.
func (t *Tx) AddGap(ctx context.Context, id eventlog.MeterID, m verify.Missing, at time.Time) error {
	if m.From > 0 { // the end of a segment that is held
		return t.putGap(ctx, id, m, at)
	}
	except, err := list(ctx, &t.View, func(h *verify.Missing, scan func(...any) error) error {
		err := scan(&h.First)
		h.Last = h.First
		return err
	}, `SELECT segment FROM segments WHERE tenant = $1 AND meter = $2 AND segment >= $3 AND segment <= $4`,
		t.tenant, id.String(), m.First, m.Last)
	if err != nil {
		return err
	}
	if m.By == verify.ChargeMeter {
		err = t.carve(ctx, id, m.First, m.Last, at)
	} else {
		var noted []verify.Missing
		noted, err = t.gapsIn(ctx, id, m.First, m.Last)
		except = append(except, noted...)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(except, func(a, b verify.Missing) int { return cmp.Compare(a.First, b.First) })
	for _, e := range except {
		if e.First > m.First {
			if err := t.putGap(ctx, id, verify.Missing{First: m.First, Last: e.First - 1, By: m.By}, at); err != nil {
				return err
			}
		}
		if e.Last >= m.Last {
			return nil
		}
		m.First = max(m.First, e.Last+1)
	}
	return t.putGap(ctx, id, m, at)
}

// OwnGap notes that the meter itself says that a segment is gone. It reports
// whether only a courier had said so before.
func (t *Tx) OwnGap(ctx context.Context, id eventlog.MeterID, segment uint32, at time.Time) (bool, error) {
	gaps, err := t.gapsIn(ctx, id, segment, segment)
	if err != nil || len(gaps) == 0 || gaps[0].By == verify.ChargeMeter {
		return false, err
	}
	if err := t.carve(ctx, id, segment, segment, at); err != nil {
		return false, err
	}
	return true, t.putGap(ctx, id, verify.Missing{First: segment, Last: segment, From: gaps[0].From, By: verify.ChargeMeter}, at)
}

// FillGap notes that a segment is held now, to its end unless AddGap says
// otherwise afterwards.
func (t *Tx) FillGap(ctx context.Context, id eventlog.MeterID, segment uint32, at time.Time) error {
	return t.carve(ctx, id, segment, segment, at)
}

// carve takes a range of segments out of what is missing.
func (t *Tx) carve(ctx context.Context, id eventlog.MeterID, first, last uint32, at time.Time) error {
	gaps, err := t.gapsIn(ctx, id, first, last)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if _, err := t.exec(ctx, `DELETE FROM gaps WHERE tenant = $1 AND meter = $2 AND first = $3`, t.tenant, id.String(), g.First); err != nil {
			return err
		}
		if g.First < first {
			if err := t.putGap(ctx, id, verify.Missing{First: g.First, Last: first - 1, By: g.By}, at); err != nil {
				return err
			}
		}
		if g.Last > last {
			if err := t.putGap(ctx, id, verify.Missing{First: last + 1, Last: g.Last, By: g.By}, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tx) putGap(ctx context.Context, id eventlog.MeterID, m verify.Missing, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO gaps (tenant, meter, first, last, start, claimed_by, found) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant, meter, first) DO UPDATE SET last = EXCLUDED.last, start = EXCLUDED.start,
			claimed_by = CASE WHEN gaps.claimed_by = $8 THEN gaps.claimed_by ELSE EXCLUDED.claimed_by END`,
		t.tenant, id.String(), m.First, m.Last, int64(m.From), string(m.By), millis(at), string(verify.ChargeMeter))
	return err
}
