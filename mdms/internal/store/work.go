package store

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Challenge is a challenge that was issued.
type Challenge struct {
	Meter   eventlog.MeterID
	Nonce   [32]byte
	Issued  time.Time
	Reason  string
	Message []byte // the encoded eventlog.Challenge
}

// Receipt is a receipt that was issued.
type Receipt struct {
	Meter   eventlog.MeterID
	Segment uint32
	Issued  time.Time
	Message []byte // the encoded eventlog.Receipt
}

// The states of a challenge. What is not answered is still wanted when it is
// overdue.
const (
	challengeOverdue    = 2
	challengeAnswered   = 3
	challengeSuperseded = 4 // a later one was answered
)

func scanChallenge(c *Challenge, scan func(...any) error) error {
	return scan(intoMeter{&c.Meter}, into32{&c.Nonce}, intoTime{&c.Issued}, &c.Reason, &c.Message)
}

// AddChallenge keeps a challenge as outstanding.
func (t *Tx) AddChallenge(ctx context.Context, c Challenge) error {
	_, err := t.exec(ctx, `INSERT INTO challenges (tenant, meter, nonce, issued, reason, message, status, settled) VALUES ($1, $2, $3, $4, $5, $6, 1, 0)`,
		t.tenant, c.Meter.String(), c.Nonce[:], millis(c.Issued), c.Reason, c.Message)
	return err
}

// Outstanding returns the challenges of a meter that are not answered, oldest
// first.
func (v *View) Outstanding(ctx context.Context, id eventlog.MeterID) ([]Challenge, error) {
	return list(ctx, v, scanChallenge, `SELECT meter, nonce, issued, reason, message FROM challenges
		WHERE tenant = $1 AND meter = $2 AND status < 3 ORDER BY issued, nonce`, v.tenant, id.String())
}

// LastChallenged returns when the youngest challenge of a meter was issued,
// settled or not; the zero time if there is none.
func (v *View) LastChallenged(ctx context.Context, id eventlog.MeterID) (time.Time, error) {
	return one(ctx, v, func(at *time.Time, scan func(...any) error) error { return scan(intoTime{at}) },
		`SELECT COALESCE(MAX(issued), 0) FROM challenges WHERE tenant = $1 AND meter = $2`, v.tenant, id.String())
}

// NewlyOverdue returns challenges of any meter that were issued before t, are
// not answered, and are not marked as overdue yet, at most limit.
func (v *View) NewlyOverdue(ctx context.Context, t time.Time, limit int) ([]Challenge, error) {
	return list(ctx, v, scanChallenge, `SELECT meter, nonce, issued, reason, message FROM challenges
		WHERE tenant = $1 AND status = 1 AND issued < $2 ORDER BY meter, nonce LIMIT $3`, v.tenant, millis(t), limit)
}

// MarkOverdue marks a challenge as overdue. It reports false if it is marked
// or answered already.
func (t *Tx) MarkOverdue(ctx context.Context, c Challenge) (bool, error) {
	n, err := t.exec(ctx, `UPDATE challenges SET status = $4 WHERE tenant = $1 AND meter = $2 AND nonce = $3 AND status = 1`,
		t.tenant, c.Meter.String(), c.Nonce[:], challengeOverdue)
	return n == 1, err
}

// AnswerChallenge settles a challenge: the meter's sealed log holds its nonce.
// That settles every challenge that was issued before it too.
func (t *Tx) AnswerChallenge(ctx context.Context, id eventlog.MeterID, nonce [32]byte, issued, at time.Time) error {
	_, err := t.exec(ctx, `UPDATE challenges SET status = CASE WHEN nonce = $3 THEN $5 ELSE $6 END, settled = $7
		WHERE tenant = $1 AND meter = $2 AND status < 3 AND (nonce = $3 OR issued < $4)`,
		t.tenant, id.String(), nonce[:], millis(issued), challengeAnswered, challengeSuperseded, millis(at))
	return err
}

func scanReceipt(r *Receipt, scan func(...any) error) error {
	return scan(intoMeter{&r.Meter}, &r.Segment, intoTime{&r.Issued}, &r.Message)
}

// AddReceipt keeps a receipt. A segment has one: a second is ignored.
func (t *Tx) AddReceipt(ctx context.Context, r Receipt) error {
	_, err := t.exec(ctx, `INSERT INTO receipts (tenant, meter, segment, issued, message, confirmed) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (tenant, meter, segment) DO NOTHING`, t.tenant, r.Meter.String(), r.Segment, millis(r.Issued), r.Message)
	return err
}

// Receipts returns the receipts of a meter that its log does not confirm yet,
// at most limit, oldest segment first.
func (v *View) Receipts(ctx context.Context, id eventlog.MeterID, limit int) ([]Receipt, error) {
	return list(ctx, v, scanReceipt, `SELECT meter, segment, issued, message FROM receipts
		WHERE tenant = $1 AND meter = $2 AND confirmed = 0 ORDER BY segment LIMIT $3`, v.tenant, id.String(), limit)
}

// ConfirmReceipt notes that the meter recorded the receipt of a segment.
func (t *Tx) ConfirmReceipt(ctx context.Context, id eventlog.MeterID, segment uint32, at time.Time) error {
	_, err := t.exec(ctx, `UPDATE receipts SET confirmed = $4 WHERE tenant = $1 AND meter = $2 AND segment = $3 AND confirmed = 0`,
		t.tenant, id.String(), segment, millis(at))
	return err
}

// MetersWithWork returns meters that have an unanswered challenge or an
// unconfirmed receipt, at most limit, in the order of their text form.
func (v *View) MetersWithWork(ctx context.Context, limit int) ([]eventlog.MeterID, error) {
	return list(ctx, v, func(id *eventlog.MeterID, scan func(...any) error) error { return scan(intoMeter{id}) },
		`SELECT meter FROM challenges WHERE tenant = $1 AND status < 3
		UNION SELECT meter FROM receipts WHERE tenant = $1 AND confirmed = 0
		ORDER BY meter LIMIT $2`, v.tenant, limit)
}
