package mdms

import (
	"context"
	"fmt"
	"slices"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Subjects of alerts. The empty one is the meter as a whole.
const (
	subjectClaimed   = "claimed"   // ROLLED_BACK or GAP, by a courier's word
	subjectChallenge = "challenge" // STALE, since a challenge is not answered
	subjectCourier   = "courier"   // a verdict that no valid signature stands behind
	subjectSeal      = "seal"      // INCOMPLETE, by several couriers with the same seal
)

// notable are the findings of newly signed bytes that a person should see.
var notable = map[string]bool{
	verify.FindClock: true, verify.FindClockAhead: true, verify.FindSealOverdue: true, verify.FindCounterGap: true,
	verify.FindSealRemoved: true, verify.FindModuleFailed: true, verify.FindSuppressed: true, verify.FindDamaged: true,
	verify.FindKeyUnannounced: true, verify.FindSeqReused: true,
}

// apply makes the evidence part of what is known, all of it or nothing.
func (in *ingest) apply(ctx context.Context, t *store.Tx) error {
	r, id := in.report, in.meter()
	row := in.row
	newest := &r.Advance[len(r.Advance)-1].Head
	moves := newest.Segment() >= row.Segment // otherwise it fills a gap
	if moves {
		row.Segment, row.Since, row.Stale, row.Tail, row.Findings = newest.Segment(), in.now, false, r.Tail, bounded(signed(r.Findings))
		in.result.Head = headOf(newest)
	}
	if err := t.Swap(ctx, row); err != nil {
		return err
	}
	for i := range r.Advance {
		if err := in.advance(ctx, t, &r.Advance[i]); err != nil {
			return fmt.Errorf("mdms: apply segment %d of meter %s: %w", r.Advance[i].Head.Segment(), id, err)
		}
	}
	for _, step := range []func(context.Context, *store.Tx) error{in.settle, in.gaps, in.alerts} {
		if err := step(ctx, t); err != nil {
			return err
		}
	}
	if !moves {
		return nil
	}
	for _, settled := range []verify.Verdict{verify.Stale, verify.PolicyMismatch} {
		if err := t.CloseAlert(ctx, id, settled.String(), "", in.now); err != nil {
			return err
		}
	}
	return nil
}

// signed returns the findings that the meter's signature stands behind. Those of
// the tail do not: whoever carried it may have made it up, so they are told, and
// enter no state.
func signed(f []verify.Finding) []verify.Finding {
	return slices.DeleteFunc(slices.Clone(f), func(f verify.Finding) bool {
		return f.Code == verify.FindTailSpecific || f.Code == verify.FindTailBroken
	})
}

// advance keeps the new bytes of one segment and what follows from them.
func (in *ingest) advance(ctx context.Context, t *store.Tx, a *verify.Advance) error {
	id, h := in.meter(), &a.Head
	if err := t.AppendLog(ctx, id, h.Segment(), a.From, a.Log, in.now); err != nil {
		return err
	}
	if err := t.PutSegment(ctx, id, *h); err != nil {
		return err
	}
	if err := t.AddSeal(ctx, id, h.Header.Key, &h.Seal, in.now); err != nil {
		return err
	}
	if err := t.AddEvents(ctx, id, a); err != nil {
		return err
	}
	if err := t.FillGap(ctx, id, h.Segment(), in.now); err != nil {
		return err
	}
	if !h.Closed {
		return nil
	}
	if slices.ContainsFunc(in.keys, func(k store.Key) bool { return k.ID == h.NextKey }) {
		if err := changeKey(ctx, t, id, h); err != nil {
			return err
		}
	}
	in.news = true
	return in.s.receipt(ctx, t, id, h)
}

// changeKey bounds the two keys of a KEY_CHANGE that the registry agrees to: from
// the end of that segment on the old key seals nothing new, nor the new one
// anything old. A key that is not registered changes nothing, or the meter's word
// alone would take it a key away; nor does a change that was taken back, which a
// second KEY_CHANGE to the present key tells.
func changeKey(ctx context.Context, t *store.Tx, id eventlog.MeterID, closed *verify.Head) error {
	if closed.NextKey == closed.Header.Key {
		return nil
	}
	if err := t.EndKey(ctx, id, closed.Header.Key, closed.LastSeq, closed.Seal.Counter); err != nil {
		return err
	}
	return t.BeginKey(ctx, id, closed.NextKey, closed.LastSeq+1)
}

// settle closes challenges and receipts that the new records answer.
func (in *ingest) settle(ctx context.Context, t *store.Tx) error {
	id := in.meter()
	for _, a := range in.report.Answered {
		if err := t.AnswerChallenge(ctx, id, a.Nonce.Value, a.Nonce.Issued, in.now); err != nil {
			return err
		}
		for _, alert := range [][2]string{{verify.Stale.String(), subjectChallenge}, {verify.RolledBack.String(), subjectClaimed}} {
			if err := t.CloseAlert(ctx, id, alert[0], alert[1], in.now); err != nil {
				return err
			}
		}
	}
	for _, r := range in.report.Records() {
		if r.Class != eventlog.ClassSystem || r.Code != eventlog.CodeReceipt {
			continue
		}
		var p eventlog.ReceiptAccepted
		if err := p.UnmarshalBinary(r.Payload); err != nil {
			return err
		}
		if err := t.ConfirmReceipt(ctx, id, p.Segment, in.now); err != nil {
			return err
		}
	}
	for i := range in.report.Dropped { // what the meter has dropped needs no receipt
		if err := t.ConfirmReceipt(ctx, id, in.report.Dropped[i].Segment, in.now); err != nil {
			return err
		}
	}
	return nil
}

// gaps notes what is missing now, and by whose word. What only a courier says is
// an alert of its own, and laid on the courier: it closes when somebody brings
// the segments.
func (in *ingest) gaps(ctx context.Context, t *store.Tx) error {
	id, said := in.meter(), map[verify.Charge]bool{}
	for _, m := range in.report.Missing {
		said[m.By] = true
		if err := t.AddGap(ctx, id, m, in.now); err != nil {
			return err
		}
	}
	for i := range in.report.Dropped {
		owned, err := t.OwnGap(ctx, id, in.report.Dropped[i].Segment, in.now)
		if err != nil {
			return err
		}
		said[verify.ChargeMeter] = said[verify.ChargeMeter] || owned
	}
	for by, subject := range map[verify.Charge]string{verify.ChargeMeter: "", verify.ChargeCourier: subjectClaimed} {
		open, err := t.GapsBy(ctx, id, by, 1)
		if err != nil {
			return err
		}
		switch {
		case len(open) == 0:
			err = t.CloseAlert(ctx, id, verify.Gap.String(), subject, in.now)
		case said[by]:
			err = t.RaiseAlert(ctx, store.Alert{
				Meter: id, Kind: verify.Gap.String(), Subject: subject, Charge: by, Latest: in.now,
				Detail: fmt.Sprintf("segments %d to %d, from byte %d, by the %s's word", open[0].First, open[0].Last, open[0].From, by),
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alerts raises what the new records tell of.
func (in *ingest) alerts(ctx context.Context, t *store.Tx) error {
	id := in.meter()
	for _, f := range in.report.Findings {
		alert := store.Alert{Meter: id, Kind: f.Code, Charge: verify.ChargeMeter, Detail: clip(f.Detail), Latest: in.now}
		switch {
		case f.Code == verify.FindNonce:
			alert.Kind, alert.Subject, alert.Charge = verify.Stale.String(), subjectChallenge, verify.ChargeCourier
		case !notable[f.Code]:
			continue
		}
		if err := t.RaiseAlert(ctx, alert); err != nil {
			return err
		}
	}
	return nil
}
