package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// AlertStatus is the state of an alert in its life cycle.
type AlertStatus int

// The states of an alert.
const (
	AlertOpen         AlertStatus = 1
	AlertAcknowledged AlertStatus = 2 // a person has seen it
	AlertClosed       AlertStatus = 3
)

// Alert is something that a person should look at. What happens again raises
// the count of its alert; a closed alert opens again.
type Alert struct {
	Meter   eventlog.MeterID
	ID      string // 16 hexadecimal digits; unique for the meter
	Kind    string // a verdict, or the kind of a finding
	Subject string // what it concerns; empty = the meter as a whole
	Charge  verify.Charge
	Detail  string
	Status  AlertStatus
	Count   int64
	Opened  time.Time
	Latest  time.Time
	Closed  time.Time
}

func alertID(kind, subject string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + subject))
	return hex.EncodeToString(sum[:8])
}

func scanAlert(a *Alert, scan func(...any) error) error {
	return scan(intoMeter{&a.Meter}, &a.ID, &a.Kind, &a.Subject, &a.Charge, &a.Detail, &a.Status, &a.Count,
		intoTime{&a.Opened}, intoTime{&a.Latest}, intoTime{&a.Closed})
}

const alertColumns = `meter, alert, kind, subject, charge, detail, status, count, opened, latest, closed`

// RaiseAlert opens the alert of (a.Kind, a.Subject), or counts it once more.
// Of a it takes Meter, Kind, Subject, Charge, Detail and Latest.
func (t *Tx) RaiseAlert(ctx context.Context, a Alert) error {
	_, err := t.exec(ctx, `INSERT INTO alerts (tenant, meter, alert, kind, subject, charge, detail, status, count, opened, latest, closed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 1, $8, $8, 0)
		ON CONFLICT (tenant, meter, alert) DO UPDATE SET charge = EXCLUDED.charge, detail = EXCLUDED.detail, latest = EXCLUDED.latest,
			count = alerts.count + 1, closed = 0,
			status = CASE WHEN alerts.status = 3 THEN 1 ELSE alerts.status END,
			opened = CASE WHEN alerts.status = 3 THEN EXCLUDED.opened ELSE alerts.opened END`,
		t.tenant, a.Meter.String(), alertID(a.Kind, a.Subject), a.Kind, a.Subject, string(a.Charge), a.Detail, millis(a.Latest))
	return err
}

// CloseAlert closes the alert of (kind, subject) if it is open.
func (t *Tx) CloseAlert(ctx context.Context, id eventlog.MeterID, kind, subject string, at time.Time) error {
	_, err := t.exec(ctx, `UPDATE alerts SET status = 3, closed = $4 WHERE tenant = $1 AND meter = $2 AND alert = $3 AND status <> 3`,
		t.tenant, id.String(), alertID(kind, subject), millis(at))
	return err
}

// Alert returns an alert of a meter, or ErrNotFound.
func (v *View) Alert(ctx context.Context, id eventlog.MeterID, alert string) (Alert, error) {
	return one(ctx, v, scanAlert, `SELECT `+alertColumns+` FROM alerts WHERE tenant = $1 AND meter = $2 AND alert = $3`,
		v.tenant, id.String(), alert)
}

// SetAlert moves an alert to another state.
func (t *Tx) SetAlert(ctx context.Context, id eventlog.MeterID, alert string, status AlertStatus, at time.Time) error {
	var closed time.Time
	if status == AlertClosed {
		closed = at
	}
	_, err := t.exec(ctx, `UPDATE alerts SET status = $4, closed = $5 WHERE tenant = $1 AND meter = $2 AND alert = $3`,
		t.tenant, id.String(), alert, int64(status), millis(closed))
	return err
}

// Alerts returns alerts in the order of meter and alert id, at most limit,
// beginning after the given one; closed ones only if all is set.
func (v *View) Alerts(ctx context.Context, afterMeter, afterID string, all bool, limit int) ([]Alert, error) {
	q := `SELECT ` + alertColumns + ` FROM alerts WHERE tenant = $1 AND (meter, alert) > ($2, $3) AND status <> 3 ORDER BY meter, alert LIMIT $4`
	if all {
		q = `SELECT ` + alertColumns + ` FROM alerts WHERE tenant = $1 AND (meter, alert) > ($2, $3) ORDER BY meter, alert LIMIT $4`
	}
	return list(ctx, v, scanAlert, q, v.tenant, afterMeter, afterID, limit)
}

// OpenAlerts returns the alerts of a meter that are not closed, at most limit.
func (v *View) OpenAlerts(ctx context.Context, id eventlog.MeterID, limit int) ([]Alert, error) {
	return list(ctx, v, scanAlert, `SELECT `+alertColumns+` FROM alerts WHERE tenant = $1 AND meter = $2 AND status <> 3 ORDER BY alert LIMIT $3`,
		v.tenant, id.String(), limit)
}

// Standing returns the alerts that are not closed and say something of meters:
// those that are laid on them, and, whoever is charged, those of GAP and STALE,
// which are open as long as something is missing. It is for meters from first to
// last in the order of their text form.
func (v *View) Standing(ctx context.Context, first, last eventlog.MeterID) ([]Alert, error) {
	return list(ctx, v, scanAlert, `SELECT `+alertColumns+` FROM alerts
		WHERE tenant = $1 AND meter >= $2 AND meter <= $3 AND status <> 3 AND (charge = $4 OR kind = $5 OR kind = $6) ORDER BY meter, alert`,
		v.tenant, first.String(), last.String(), string(verify.ChargeMeter), verify.Gap.String(), verify.Stale.String())
}
