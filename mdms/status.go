package mdms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Bounds of what a Status lists.
const (
	maxMissing = 256 // ranges
	maxAlerts  = 256
)

// Meter returns what the MDMS thinks of a meter. The error is ErrNotFound if
// it is not enrolled.
func (s *Server) Meter(ctx context.Context, id eventlog.MeterID) (*Status, error) {
	var st *Status
	err := s.store.Read(ctx, func(v *store.View) error {
		m, err := v.Meter(ctx, id)
		if err != nil {
			return unknownMeter(id, err)
		}
		row, err := v.Head(ctx, id)
		if err != nil {
			return err
		}
		standing, err := v.Standing(ctx, id, id)
		if err != nil {
			return err
		}
		if st, err = statusOf(ctx, v, row, standing); err != nil {
			return err
		}
		st.EnrolledAt = m.Enrolled
		for _, k := range m.Keys {
			st.Keys = append(st.Keys, KeyStatus{ID: k.ID, Scheme: k.Scheme, AddedAt: k.Added, RevokedAt: k.Revoked})
		}
		if st.Missing, err = v.Gaps(ctx, id, maxMissing); err != nil {
			return err
		}
		open, err := v.OpenAlerts(ctx, id, maxAlerts)
		for _, a := range open {
			st.Alerts = append(st.Alerts, alertOf(a))
		}
		return err
	})
	return st, err
}

// Meters returns the status of meters, without keys, findings, alerts and what is
// missing, in the order of their text form, beginning after the given one.
func (s *Server) Meters(ctx context.Context, after string, limit int) ([]Status, error) {
	all := []Status{}
	err := s.store.Read(ctx, func(v *store.View) error {
		rows, err := v.Heads(ctx, after, limit)
		if err != nil || len(rows) == 0 {
			return err
		}
		standing, err := v.Standing(ctx, rows[0].Meter, rows[len(rows)-1].Meter)
		if err != nil {
			return err
		}
		for _, row := range rows {
			n := 0
			for n < len(standing) && standing[n].Meter == row.Meter {
				n++
			}
			st, err := statusOf(ctx, v, row, standing[:n])
			if err != nil {
				return err
			}
			st.Findings = []verify.Finding{}
			all, standing = append(all, *st), standing[n:]
		}
		return nil
	})
	return all, err
}

// statusOf makes a meter's status of its head and the alerts that say something
// of it. Its verdict is the first, in the order of docs/verdicts.md, of the one
// on its newest evidence and those that the alerts stand for.
func statusOf(ctx context.Context, v *store.View, row store.Head, standing []store.Alert) (*Status, error) {
	st := &Status{Meter: row.Meter, Tail: row.Tail, Findings: bounded(row.Findings)}
	var verdict verify.Verdict
	if row.Segment != 0 {
		head, err := v.Segment(ctx, row.Meter, row.Segment)
		if err != nil {
			return nil, err
		}
		st.Head, st.AcceptedAt, st.VerdictAt = headOf(head), row.Since, row.Since
		if verdict = verify.Intact; row.Tail > 0 {
			verdict = verify.IntactWithTail
		}
	}
	for _, a := range standing {
		var alert verify.Verdict
		if alert.UnmarshalText([]byte(a.Kind)) != nil {
			continue // a finding
		}
		if verdict == 0 || alert < verdict || alert == verdict && a.Charge == verify.ChargeMeter {
			verdict, st.VerdictAt, st.Charge = alert, a.Opened, a.Charge
		}
	}
	if verdict != 0 {
		st.Verdict = verdict.String()
	}
	return st, nil
}

// alertStates are the states of an alert as they are written.
var alertStates = map[store.AlertStatus]string{
	store.AlertOpen: "open", store.AlertAcknowledged: "acknowledged", store.AlertClosed: "closed",
}

func alertOf(a store.Alert) Alert {
	return Alert{
		Meter: a.Meter, ID: a.ID, Kind: a.Kind, Subject: a.Subject, Charge: a.Charge, Detail: a.Detail, Status: alertStates[a.Status],
		Count: a.Count, OpenedAt: a.Opened, LatestAt: a.Latest, ClosedAt: a.Closed,
	}
}

// cursor names the alert in a list.
func (a *Alert) cursor() string { return a.Meter.String() + "/" + a.ID }

// Alerts returns alerts in the order of meter and id; closed ones only if all is
// set. after is METER/ID of the last one of the page before, or empty.
func (s *Server) Alerts(ctx context.Context, after string, all bool, limit int) ([]Alert, error) {
	// The serial number of a meter may hold a slash, an alert id does not.
	meter, id := after, ""
	if i := strings.LastIndexByte(after, '/'); i >= 0 {
		meter, id = after[:i], after[i+1:]
	}
	alerts := []Alert{}
	err := s.store.Read(ctx, func(v *store.View) error {
		rows, err := v.Alerts(ctx, meter, id, all, limit)
		for _, a := range rows {
			alerts = append(alerts, alertOf(a))
		}
		return err
	})
	return alerts, err
}

// errProven refuses to close an alert over HTTP.
var errProven = errors.New("mdms: the meter's own signature proves this: it can be acknowledged here, and closed only with access to the store")

// mayClose allows what HTTP may close: not what the meter's signature proves.
func mayClose(a store.Alert) error {
	var verdict verify.Verdict
	if a.Charge == verify.ChargeMeter && verdict.UnmarshalText([]byte(a.Kind)) == nil && !verdict.Applied() {
		return errProven
	}
	return nil
}

// SetAlert moves an alert to the state open, acknowledged or closed. Closing
// the alert of a verdict takes that verdict off the meter, a proven one too,
// which HTTP does not allow.
func (s *Server) SetAlert(ctx context.Context, id eventlog.MeterID, alert, state string) error {
	return s.setAlert(ctx, id, alert, state, func(store.Alert) error { return nil })
}

// setAlert is SetAlert for those alerts whose closing is allowed.
func (s *Server) setAlert(ctx context.Context, id eventlog.MeterID, alert, state string, mayClose func(store.Alert) error) error {
	var status store.AlertStatus
	for k, name := range alertStates {
		if name == state {
			status = k
		}
	}
	if status == 0 {
		return fmt.Errorf("%w: the state of an alert is open, acknowledged or closed, not %q", ErrInvalid, state)
	}
	return s.store.Update(ctx, func(t *store.Tx) error {
		now, err := t.Alert(ctx, id, alert)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: meter %s has no alert %s", ErrNotFound, id, alert)
		}
		if err != nil {
			return err
		}
		if status == store.AlertClosed {
			if err := mayClose(now); err != nil {
				return err
			}
		}
		if err := t.SetAlert(ctx, id, alert, status, s.now()); err != nil {
			return err
		}
		return t.Audit(ctx, id, s.now(), "alert", "%s is %s", alert, state)
	})
}

// Charge is how often a courier earned a verdict that no valid signature
// stands behind.
type Charge struct {
	Courier string    `json:"courier"`
	Meter   string    `json:"meter"` // empty: one that is not enrolled
	Verdict string    `json:"verdict"`
	Count   int64     `json:"count"`
	Latest  time.Time `json:"latest"`
}

// Charges returns what stands against couriers, in the order of meter, courier
// and verdict, beginning after the given one.
func (s *Server) Charges(ctx context.Context, after Charge, limit int) ([]Charge, error) {
	var charges []Charge
	err := s.store.Read(ctx, func(v *store.View) error {
		rows, err := v.Charges(ctx, store.Charged(after), limit)
		for _, c := range rows {
			charges = append(charges, Charge(c))
		}
		return err
	})
	return charges, err
}

// Proof is a refused bundle that the meter's own signature speaks against it
// with, such as the second of two histories.
type Proof struct {
	Verdict  string
	Bundle   []byte // as received
	Seal     []byte // of what the MDMS held then, encoded; empty = nothing
	Received time.Time
}

// Proofs returns the proofs against a meter, oldest first. At most 16 of each
// verdict are kept.
func (s *Server) Proofs(ctx context.Context, id eventlog.MeterID) ([]Proof, error) {
	var proofs []Proof
	err := s.store.Read(ctx, func(v *store.View) error {
		rows, err := v.Proofs(ctx, id, maxPage)
		for _, p := range rows {
			proofs = append(proofs, Proof{p.Verdict, p.Bundle, p.Seal, p.Received})
		}
		return err
	})
	return proofs, err
}

// RejectedCount returns how many refused bundles of a courier are kept.
func (s *Server) RejectedCount(ctx context.Context, courier string) (n int64, err error) {
	err = s.store.Read(ctx, func(v *store.View) error {
		n, err = v.RejectedCount(ctx, courier)
		return err
	})
	return n, err
}
