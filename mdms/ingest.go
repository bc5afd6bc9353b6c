package mdms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// maxAttempts bounds how often a bundle is judged anew because another one of
// the same meter was faster.
const maxAttempts = 64

// maxProofs is how many proofs of each verdict are kept against one meter.
const maxProofs = 16

// Ingest judges a bundle that a courier brought, and applies it. When it
// returns, all that the result says is on disk. The error is not nil only
// if the bundle could not be judged: ErrBusy if the meter's head moves faster
// than the bundle can be judged, ErrInvalid if that would take more reading than
// Limits.LoadBytes, or what the store or ctx says.
//
// The result aliases nothing of body.
func (s *Server) Ingest(ctx context.Context, courier string, body []byte) (*Result, error) {
	for range maxAttempts {
		in := &ingest{s: s, courier: courier, body: body, now: s.now()}
		err := in.run(ctx)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.cfg.Trace != nil {
			s.cfg.Trace(courier, &in.result)
		}
		return &in.result, nil
	}
	return nil, fmt.Errorf("%w: the head of the meter moves too fast", ErrBusy)
}

// ingest is one attempt at one bundle.
type ingest struct {
	s       *Server
	courier string
	body    []byte
	now     time.Time

	bundle eventlog.Bundle
	known  bool         // the meter is enrolled
	keys   []store.Key  // registered for it
	row    store.Head   // of the meter, when the bundle was judged
	head   *verify.Head // newest verified state then; nil = none
	report *verify.Report

	result Result
	news   bool // there is work that nobody was told of
}

// meter is the meter that the bundle claims to be of.
func (in *ingest) meter() eventlog.MeterID { return in.bundle.Meter }

func (in *ingest) run(ctx context.Context) error {
	if err := in.judge(ctx); err != nil {
		return err
	}
	r := in.report
	in.result = Result{
		Verdict: r.Verdict, Charge: r.Charge, Proven: r.Proven, Tail: r.Tail, NeedFrom: r.NeedFrom, Findings: r.Findings,
		Head: headOf(in.head), Work: []Work{},
	}
	if in.meter().Valid() {
		in.result.Meter = in.meter()
	}
	if err := in.decide(ctx); err != nil {
		return err
	}
	if in.news {
		in.s.work.wake()
	}
	in.result.Findings = bounded(in.result.Findings)
	if !in.known {
		return nil
	}
	return in.s.store.Read(ctx, func(v *store.View) (err error) {
		if in.result.Work, err = appendWork(ctx, v, []Work{}, in.meter()); err != nil {
			return err
		}
		in.result.Missing, err = v.Gaps(ctx, in.meter(), maxMissing)
		return err
	})
}

// judge verifies the bundle against what is known of the meter. All of that is
// read in one view, and nothing is written.
func (in *ingest) judge(ctx context.Context) error {
	input := &verify.Input{Received: in.now, Limits: in.s.verifyLimits()}
	if in.bundle.UnmarshalBinary(in.body) != nil {
		in.bundle = eventlog.Bundle{}
		var err error
		in.report, err = verify.VerifyRaw(input, in.body) // says what is wrong with it
		return err
	}
	input.Bundle = &in.bundle
	return in.s.store.Read(ctx, func(v *store.View) error {
		if err := in.load(ctx, v, input); err != nil {
			return err
		}
		var err error
		in.report, err = verify.Verify(input)
		return err
	})
}

// load fills in what is known of the meter.
func (in *ingest) load(ctx context.Context, v *store.View, input *verify.Input) error {
	id := in.meter()
	m, err := v.Meter(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		input.Registration = verify.Registration{Meter: id} // no key will fit
		return nil
	}
	if err != nil {
		return err
	}
	in.known, in.keys = true, m.Keys
	if input.Registration, err = registration(m); err != nil {
		return err
	}
	if in.row, err = v.Head(ctx, id); err != nil {
		return err
	}
	if in.row.Segment != 0 {
		if in.head, err = v.Segment(ctx, id, in.row.Segment); err != nil {
			return err
		}
	}
	open, err := v.Outstanding(ctx, id)
	if err != nil {
		return err
	}
	for _, c := range open {
		input.Nonces = append(input.Nonces, verify.Nonce{Value: c.Nonce, Issued: c.Issued})
	}
	input.Known = verify.Known{
		Head:    in.head,
		Segment: func(n uint32) (*verify.Head, error) { return v.Segment(ctx, id, n) },
		Below:   func(n uint32) (*verify.Head, error) { return v.Below(ctx, id, n) },
		Bytes:   in.s.loader(ctx, v, id),
		SealAt: func(key eventlog.KeyID, counter uint64) (*eventlog.Seal, error) {
			return v.SealAt(ctx, id, key, counter)
		},
	}
	return nil
}

// loader returns a function that reads the stored bytes of segments, up to a
// limit of all together.
func (s *Server) loader(ctx context.Context, v *store.View, id eventlog.MeterID) func(uint32) ([]byte, error) {
	limit := s.cfg.Limits.LoadBytes
	left := limit
	return func(n uint32) ([]byte, error) {
		h, err := v.Segment(ctx, id, n)
		if err != nil || h == nil {
			return nil, err
		}
		if h.Length > left {
			return nil, fmt.Errorf("%w: to judge the bundle, more than %d stored bytes would have to be read: send fewer segments at once, or whole ones", ErrInvalid, limit)
		}
		left -= h.Length
		return v.Log(ctx, id, n)
	}
}

// decide chooses the outcome and makes it durable.
func (in *ingest) decide(ctx context.Context) error {
	r := in.report
	switch {
	case !in.known:
		in.result.Outcome = Rejected
		if in.result.Meter != (eventlog.MeterID{}) {
			in.note(FindingUnknownMeter, "the meter is not enrolled")
		}
		return in.update(ctx, in.refuse)
	case r.Verdict.Applied() && len(r.Advance) > 0:
		in.result.Outcome = Applied
		return in.update(ctx, in.apply)
	case r.Verdict.Applied():
		in.result.Outcome = Duplicate
		return in.duplicate(ctx)
	case r.Charge == verify.ChargeMeter:
		in.result.Outcome = Rejected
		if r.Verdict == verify.Forked {
			in.result.Outcome = Fork
		}
		return in.update(ctx, in.accuse)
	case r.Verdict == verify.RolledBack:
		// All of it is known; what is claimed of it starts a challenge.
		in.result.Outcome = Duplicate
		return in.update(ctx, in.claimed)
	case r.Verdict == verify.Incomplete:
		in.result.Outcome = NeedFrom
		return in.update(ctx, in.incomplete)
	}
	in.result.Outcome = Rejected
	return in.update(ctx, in.refuse)
}

// update makes a change that holds only while the meter is as it was when the
// bundle was judged.
func (in *ingest) update(ctx context.Context, do func(context.Context, *store.Tx) error) error {
	return in.s.store.Update(ctx, func(t *store.Tx) error {
		if in.known {
			if err := t.Unmoved(ctx, in.row); err != nil {
				return err
			}
		}
		return do(ctx, t)
	})
}

// note adds a finding of the MDMS itself.
func (in *ingest) note(code, detail string) {
	in.result.Findings = append(slices.Clone(in.result.Findings), verify.Finding{Code: code, Detail: detail})
}

// duplicate writes nothing, unless the tail behind the head has changed.
func (in *ingest) duplicate(ctx context.Context) error {
	r := in.report
	if in.head == nil || r.Segment != in.head.Segment() || r.SignedLength != in.head.Length || r.Tail == in.row.Tail {
		return nil
	}
	row := in.row
	row.Tail = r.Tail
	return in.s.store.Update(ctx, func(t *store.Tx) error { return t.Swap(ctx, row) })
}

// incomplete asks for what is missing. If the courier may not be asked, what it
// brought is kept: it may be half of the proof that the meter has two histories.
func (in *ingest) incomplete(ctx context.Context, t *store.Tx) error {
	in.result.Outcome, in.result.NeedFrom, in.result.Findings = NeedFrom, in.report.NeedFrom, in.report.Findings
	if err := in.reread(ctx, t); err != nil {
		return err
	}
	if in.result.Outcome == Rejected {
		return in.charge(ctx, t, in.body)
	}
	return in.charge(ctx, t, nil)
}

// reread takes back a request for bytes that are held, if the same courier had
// one lately: one that relabels seals must not keep a meter's link busy, nor use
// up what others may ask. A seal that two couriers bring is worth a person's look.
func (in *ingest) reread(ctx context.Context, t *store.Tx) error {
	need := in.report.NeedFrom
	if need == nil || need.Offset != 0 {
		return nil
	}
	held, err := t.Segment(ctx, in.meter(), need.Segment)
	if err != nil || held == nil {
		return err
	}
	ask, others, err := t.Doubt(ctx, in.meter(), in.courier, in.sealOf(need.Segment), in.now, in.now.Add(-in.s.cfg.Limits.RereadEvery))
	if err != nil {
		return err
	}
	if others > 0 {
		err := t.RaiseAlert(ctx, store.Alert{
			Meter: in.meter(), Kind: verify.Incomplete.String(), Subject: subjectSeal, Charge: verify.ChargeCourier, Latest: in.now,
			Detail: fmt.Sprintf("courier %s and %d others brought a genuine seal of other bytes than the known ones of segment %d: read the segment from its beginning",
				in.courier, others, need.Segment),
		})
		if err != nil {
			return err
		}
	}
	if ask {
		return nil
	}
	in.result.Outcome, in.result.NeedFrom = Rejected, nil
	in.note(FindingRereadLimit, fmt.Sprintf("segment %d was asked for from its beginning less than %s ago", need.Segment, in.s.cfg.Limits.RereadEvery))
	return nil
}

// sealOf returns the SHA-256 of the seal that the bundle has of a segment.
func (in *ingest) sealOf(segment uint32) [32]byte {
	for i := range in.bundle.Parts {
		if p := &in.bundle.Parts[i]; p.Segment == segment {
			return sha256.Sum256(p.Seal)
		}
	}
	return sha256.Sum256(nil)
}

// refuse charges the courier, and keeps the bundle while its quota lasts.
func (in *ingest) refuse(ctx context.Context, t *store.Tx) error {
	if err := in.charge(ctx, t, in.body); err != nil || !in.known {
		return err
	}
	if in.report.Verdict == verify.NotSealed {
		return nil // a new meter, most likely
	}
	return in.suspect(ctx, t)
}

// charge holds the verdict against the courier. What is not enrolled is all
// one meter here, since a courier can make up as many as it likes.
func (in *ingest) charge(ctx context.Context, t *store.Tx, body []byte) error {
	rejected := store.Rejected{
		Courier: in.courier, Digest: sha256.Sum256(in.body), Reason: reason(in.result.Findings), Body: body, At: in.now,
	}
	if in.known {
		rejected.Meter = in.meter().String()
	}
	l := &in.s.cfg.Limits
	return t.Charge(ctx, rejected, in.report.Verdict.String(), store.Bounds{
		Each:      store.Quota{Bundles: l.RejectedBundles, Bytes: l.RejectedBytes},
		Total:     store.Quota{Bundles: l.RejectedTotal, Bytes: l.RejectedTotalBytes},
		Addresses: l.Addresses,
	})
}

// suspect raises an alert that is laid on the courier: the meter's verdict stays
// as it is, but somebody should look. It is one for all couriers, since whoever
// has one address may have many.
func (in *ingest) suspect(ctx context.Context, t *store.Tx) error {
	verdict := in.report.Verdict.String()
	others, err := t.Accusers(ctx, in.meter().String(), in.courier, verdict, in.row.Since)
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("courier %s: %s", in.courier, reason(in.result.Findings))
	if others > 0 {
		detail = fmt.Sprintf("%s (since the head moved, %d other couriers brought the same)", detail, others)
	}
	return t.RaiseAlert(ctx, store.Alert{
		Meter: in.meter(), Kind: verdict, Subject: subjectCourier, Charge: verify.ChargeCourier, Detail: detail, Latest: in.now,
	})
}

// claimed takes a courier at its word that an old seal is the meter's newest,
// and lets the meter answer.
func (in *ingest) claimed(ctx context.Context, t *store.Tx) error {
	if err := in.charge(ctx, t, nil); err != nil {
		return err
	}
	err := t.RaiseAlert(ctx, store.Alert{
		Meter: in.meter(), Kind: verify.RolledBack.String(), Subject: subjectClaimed, Charge: verify.ChargeCourier,
		Detail: fmt.Sprintf("courier %s: %s", in.courier, reason(in.result.Findings)), Latest: in.now,
	})
	if err != nil {
		return err
	}
	_, in.news, err = in.s.challenge(ctx, t, in.meter(), "rollback claimed by "+in.courier)
	if errors.Is(err, ErrTooSoon) {
		return nil // the last answer is fresh enough
	}
	return err
}

// accuse keeps the proof that the meter's signature gives against it. Nothing
// that verified before changes.
func (in *ingest) accuse(ctx context.Context, t *store.Tx) error {
	in.result.NeedFrom, in.result.Findings = in.report.NeedFrom, in.report.Findings
	proof := store.Proof{Verdict: in.report.Verdict.String(), Bundle: in.body, Received: in.now}
	var seal eventlog.Seal
	last := in.bundle.Parts[len(in.bundle.Parts)-1]
	if seal.UnmarshalBinary(last.Seal) == nil {
		proof.Segment, proof.Length, proof.Digest = last.Segment, seal.SignedLength, seal.Digest
	}
	if in.head != nil {
		ours, err := in.head.Seal.AppendBinary(nil)
		if err != nil {
			return err
		}
		proof.Seal = ours
	}
	if err := t.AddProof(ctx, in.meter(), proof, maxProofs); err != nil {
		return err
	}
	err := t.RaiseAlert(ctx, store.Alert{
		Meter: in.meter(), Kind: proof.Verdict, Charge: verify.ChargeMeter, Detail: reason(in.report.Findings), Latest: in.now,
	})
	if err != nil || in.report.NeedFrom == nil {
		return err
	}
	in.result.Outcome = NeedFrom
	return in.reread(ctx, t)
}

// reason is the first finding in words: the one that decided.
func reason(f []verify.Finding) string {
	if len(f) == 0 {
		return ""
	}
	if f[0].Detail == "" {
		return f[0].Code
	}
	return f[0].Code + ": " + clip(f[0].Detail)
}

func (s *Server) verifyLimits() verify.Limits {
	l := &s.cfg.Limits
	return verify.Limits{MaxAge: l.StaleAfter, ChallengeWait: l.ChallengeLife, ClockSkew: l.ClockSkew}
}
