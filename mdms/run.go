package mdms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// sweepEvery is how often the MDMS looks for meters that fell silent.
const sweepEvery = time.Minute

// sweepBatch bounds one look.
const sweepBatch = 500

// Run looks for meters whose head has not moved for Limits.StaleAfter, and for
// challenges that are not answered within Limits.ChallengeLife, until ctx ends.
// Either makes the meter STALE. Several processes may run it at once.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			// The store may be back in a minute; nothing is lost by waiting.
			s.log.Error("look for stale meters", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sweep looks once.
func (s *Server) Sweep(ctx context.Context) error {
	if err := s.sweepHeads(ctx); err != nil {
		return fmt.Errorf("mdms: stale meters: %w", err)
	}
	if err := s.sweepChallenges(ctx); err != nil {
		return fmt.Errorf("mdms: overdue challenges: %w", err)
	}
	return nil
}

func (s *Server) sweepHeads(ctx context.Context) error {
	now := s.now()
	for {
		var rows []store.Head
		err := s.store.Read(ctx, func(v *store.View) (err error) {
			rows, err = v.NewlyStale(ctx, now.Add(-s.cfg.Limits.StaleAfter), sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		moved := 0
		for _, row := range rows {
			switch err := s.markStale(ctx, row, now); {
			case errors.Is(err, store.ErrConflict):
				moved++ // it has just spoken, or is looked at again below
			case err != nil:
				return err
			}
		}
		if len(rows) < sweepBatch || moved == len(rows) {
			return nil
		}
	}
}

func (s *Server) markStale(ctx context.Context, row store.Head, now time.Time) error {
	detail := "nothing new since " + row.Since.Format(time.RFC3339)
	if row.Segment == 0 {
		detail = "no evidence since it was enrolled " + row.Since.Format(time.RFC3339)
	}
	return s.store.Update(ctx, func(t *store.Tx) error {
		row := row
		row.Stale = true
		if err := t.Swap(ctx, row); err != nil {
			return err
		}
		return t.RaiseAlert(ctx, store.Alert{
			Meter: row.Meter, Kind: verify.Stale.String(), Charge: verify.ChargeCourier, Detail: detail, Latest: now,
		})
	})
}

func (s *Server) sweepChallenges(ctx context.Context) error {
	now := s.now()
	for {
		var late []store.Challenge
		err := s.store.Read(ctx, func(v *store.View) (err error) {
			late, err = v.NewlyOverdue(ctx, now.Add(-s.cfg.Limits.ChallengeLife), sweepBatch)
			return err
		})
		if err != nil || len(late) == 0 {
			return err
		}
		for _, c := range late {
			err := s.store.Update(ctx, func(t *store.Tx) error {
				marked, err := t.MarkOverdue(ctx, c)
				if err != nil || !marked {
					return err // answered meanwhile
				}
				return t.RaiseAlert(ctx, store.Alert{
					Meter: c.Meter, Kind: verify.Stale.String(), Subject: subjectChallenge, Charge: verify.ChargeCourier, Latest: now,
					Detail: "the challenge of " + c.Issued.Format(time.RFC3339) + " (" + c.Reason + ") is not answered",
				})
			})
			if err != nil {
				return err
			}
		}
	}
}
