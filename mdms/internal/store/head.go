package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// Head is the row that changes to a meter's state go through.
type Head struct {
	Meter    eventlog.MeterID
	Rev      int64     // raised with each change of what a verdict rests on
	Segment  uint32    // newest with a verified seal, 0 = none
	Since    time.Time // when the head last moved, or the meter was enrolled
	Stale    bool      // that is too long ago, and the alert is raised
	Tail     int       // unsigned records that were seen beyond the head
	Findings []verify.Finding
}

const headColumns = `meter, rev, segment, since, stale, tail, findings`

func scanHead(h *Head, scan func(...any) error) error {
	var stale int64
	var findings []byte
	if err := scan(intoMeter{&h.Meter}, &h.Rev, &h.Segment, intoTime{&h.Since}, &stale, &h.Tail, &findings); err != nil {
		return err
	}
	h.Stale = stale != 0
	return json.Unmarshal(findings, &h.Findings)
}

// Head returns the head of a meter, or ErrNotFound.
func (v *View) Head(ctx context.Context, id eventlog.MeterID) (Head, error) {
	return one(ctx, v, scanHead, `SELECT `+headColumns+` FROM heads WHERE tenant = $1 AND meter = $2`, v.tenant, id.String())
}

// Heads returns heads in the order of the meter's text form, at most limit,
// beginning after the given one.
func (v *View) Heads(ctx context.Context, after string, limit int) ([]Head, error) {
	return list(ctx, v, scanHead, `SELECT `+headColumns+` FROM heads WHERE tenant = $1 AND meter > $2 ORDER BY meter LIMIT $3`,
		v.tenant, after, limit)
}

// AnyMeter reports whether the store has a meter, of whichever tenant.
func (v *View) AnyMeter(ctx context.Context) (bool, error) {
	n, err := value[int64](ctx, v, `SELECT COUNT(*) FROM (SELECT 1 FROM heads LIMIT 1) AS one`)
	return n > 0, err
}

// NewlyStale returns heads that have not moved since t and are not marked as
// stale, at most limit.
func (v *View) NewlyStale(ctx context.Context, t time.Time, limit int) ([]Head, error) {
	return list(ctx, v, scanHead, `SELECT `+headColumns+` FROM heads WHERE tenant = $1 AND stale = 0 AND since < $2 ORDER BY meter LIMIT $3`,
		v.tenant, millis(t), limit)
}

// Swap replaces a head and raises its revision. It returns ErrConflict if the
// head is not at revision h.Rev any more: what h was made of is out of date.
func (t *Tx) Swap(ctx context.Context, h Head) error {
	findings, err := json.Marshal(append([]verify.Finding{}, h.Findings...)) // [] rather than null
	if err != nil {
		return fmt.Errorf("mdms: findings: %w", err)
	}
	stale := 0
	if h.Stale {
		stale = 1
	}
	n, err := t.exec(ctx, `UPDATE heads SET rev = $3 + 1, segment = $4, since = $5, stale = $6, tail = $7, findings = $8
		WHERE tenant = $1 AND meter = $2 AND rev = $3`,
		t.tenant, h.Meter.String(), h.Rev, h.Segment, millis(h.Since), stale, h.Tail, findings)
	if err == nil && n == 0 {
		return ErrConflict
	}
	return err
}

// Unmoved returns ErrConflict if the head is not at revision h.Rev any more.
func (t *Tx) Unmoved(ctx context.Context, h Head) error {
	now, err := t.Head(ctx, h.Meter)
	if err == nil && now.Rev != h.Rev {
		return ErrConflict
	}
	return err
}

// Touch raises the revision of a head whose meter has changed elsewhere.
func (t *Tx) Touch(ctx context.Context, id eventlog.MeterID) error {
	_, err := t.exec(ctx, `UPDATE heads SET rev = rev + 1 WHERE tenant = $1 AND meter = $2`, t.tenant, id.String())
	return err
}

// Segment returns the verified state of a segment, or nil.
func (v *View) Segment(ctx context.Context, id eventlog.MeterID, segment uint32) (*verify.Head, error) {
	h, err := one(ctx, v, scanSegment, `SELECT midstate, head FROM segments WHERE tenant = $1 AND meter = $2 AND segment = $3`,
		v.tenant, id.String(), segment)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &h, err
}

// Below returns the verified state of the nearest segment below the given one;
// nil if there is none.
func (v *View) Below(ctx context.Context, id eventlog.MeterID, segment uint32) (*verify.Head, error) {
	h, err := one(ctx, v, scanSegment, `SELECT midstate, head FROM segments WHERE tenant = $1 AND meter = $2 AND segment < $3 ORDER BY segment DESC LIMIT 1`,
		v.tenant, id.String(), segment)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &h, err
}

// Segments returns the verified states of segments after the given one, in
// order, at most limit.
func (v *View) Segments(ctx context.Context, id eventlog.MeterID, after uint32, limit int) ([]verify.Head, error) {
	return list(ctx, v, scanSegment, `SELECT midstate, head FROM segments WHERE tenant = $1 AND meter = $2 AND segment > $3 ORDER BY segment LIMIT $4`,
		v.tenant, id.String(), after, limit)
}

func scanSegment(h *verify.Head, scan func(...any) error) error {
	var midstate, head []byte
	if err := scan(&midstate, &head); err != nil {
		return err
	}
	if err := json.Unmarshal(head, h); err != nil {
		return fmt.Errorf("mdms: state of a segment: %w", err)
	}
	h.Midstate = midstate
	return nil
}

// PutSegment keeps the new state of a segment.
func (t *Tx) PutSegment(ctx context.Context, id eventlog.MeterID, h verify.Head) error {
	midstate := h.Midstate
	h.Midstate = nil
	head, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("mdms: state of a segment: %w", err)
	}
	closed := 0
	if h.Closed {
		closed = 1
	}
	_, err = t.exec(ctx, `INSERT INTO segments (tenant, meter, segment, length, closed, midstate, head) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (tenant, meter, segment) DO UPDATE SET length = EXCLUDED.length, closed = EXCLUDED.closed, midstate = EXCLUDED.midstate, head = EXCLUDED.head
		WHERE segments.length < EXCLUDED.length`,
		t.tenant, id.String(), h.Segment(), int64(h.Length), closed, append([]byte{}, midstate...), head)
	return err
}
