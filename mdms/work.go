package mdms

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// WorkKind says what a courier shall carry.
type WorkKind string

// The kinds of work.
const (
	WorkChallenge WorkKind = "challenge" // an encoded eventlog.Challenge, for property F7
	WorkReceipt   WorkKind = "receipt"   // an encoded eventlog.Receipt, for property F8
)

// Work is a signed message that a courier shall carry to a meter. Carrying it
// twice does no harm.
type Work struct {
	Meter   eventlog.MeterID `json:"meter"`
	Kind    WorkKind         `json:"kind"`
	Message []byte           `json:"message"` // base64 in JSON
}

// Bounds of one answer.
const (
	maxWork         = 64 // messages
	maxWorkPerMeter = 16
	maxPollMeters   = 64
	maxOutstanding  = 8 // challenges of one meter
)

// storePoll is how often a long poll looks for work that another process made.
const storePoll = 5 * time.Second

// Challenge asks a meter for a fresh seal: the next seal that covers the
// challenge's nonce proves that the meter was alive after now. Within
// Limits.ChallengeEvery the outstanding challenge is returned again, or, if it
// has been answered by then, the error is ErrTooSoon.
func (s *Server) Challenge(ctx context.Context, id eventlog.MeterID, reason string) (Work, error) {
	var work Work
	fresh := false
	err := s.store.Update(ctx, func(t *store.Tx) error {
		if _, err := t.Meter(ctx, id); err != nil {
			return unknownMeter(id, err)
		}
		var err error
		work, fresh, err = s.challenge(ctx, t, id, reason)
		return err
	})
	if err == nil && fresh {
		s.work.wake()
	}
	return work, err
}

// challenge returns the youngest outstanding challenge of a meter, or, if that
// is too old, a new one; fresh says which. It is part of a change. The error is
// ErrTooSoon if there is none outstanding and the last was settled a moment ago.
func (s *Server) challenge(ctx context.Context, t *store.Tx, id eventlog.MeterID, reason string) (w Work, fresh bool, err error) {
	now := s.now()
	last, err := t.LastChallenged(ctx, id)
	if err != nil {
		return Work{}, false, err
	}
	open, err := t.Outstanding(ctx, id)
	if err != nil {
		return Work{}, false, err
	}
	soon := now.Sub(last) < s.cfg.Limits.ChallengeEvery
	switch n := len(open); {
	case n > 0 && (soon || n >= maxOutstanding):
		return Work{id, WorkChallenge, open[n-1].Message}, false, nil
	case soon:
		again := last.Add(s.cfg.Limits.ChallengeEvery)
		return Work{}, false, fmt.Errorf("%w: the next one in %v, at %s", ErrTooSoon,
			again.Sub(now).Round(time.Second), again.UTC().Format(time.RFC3339))
	}
	c := eventlog.Challenge{Meter: id, Issued: now.UnixMilli()}
	if _, err := rand.Read(c.Nonce[:]); err != nil {
		return Work{}, false, fmt.Errorf("mdms: nonce: %w", err)
	}
	if err := c.Sign(s.key); err != nil {
		return Work{}, false, fmt.Errorf("mdms: sign challenge: %w", err)
	}
	message, err := c.AppendBinary(nil)
	if err != nil {
		return Work{}, false, err
	}
	if err := t.AddChallenge(ctx, store.Challenge{Meter: id, Nonce: c.Nonce, Issued: now, Reason: reason, Message: message}); err != nil {
		return Work{}, false, err
	}
	return Work{id, WorkChallenge, message}, true, t.Touch(ctx, id)
}

// receipt signs a receipt for a closed segment. All of it is verified: a head
// always begins at offset 0.
func (s *Server) receipt(ctx context.Context, t *store.Tx, id eventlog.MeterID, h *verify.Head) error {
	now := s.now()
	r := eventlog.Receipt{Meter: id, Segment: h.Segment(), Length: h.Length, Digest: h.Digest, Millis: now.UnixMilli()}
	if err := r.Sign(s.key); err != nil {
		return fmt.Errorf("mdms: sign receipt: %w", err)
	}
	message, err := r.AppendBinary(nil)
	if err != nil {
		return err
	}
	return t.AddReceipt(ctx, store.Receipt{Meter: id, Segment: h.Segment(), Issued: now, Message: message})
}

// Work returns what a courier shall carry: to the given meters, or, if there are
// none, to any. With wait > 0 it returns as soon as there is something that
// it has not told this courier lately, or, when wait is over, whatever there is.
func (s *Server) Work(ctx context.Context, courier string, wait time.Duration, meters ...eventlog.MeterID) ([]Work, error) {
	if wait <= 0 {
		return s.workFor(ctx, meters)
	}
	if !s.polls.enter(courier) {
		return nil, ErrBusy
	}
	defer s.polls.leave(courier)
	over := time.NewTimer(wait)
	defer over.Stop()
	look := time.NewTicker(storePoll)
	defer look.Stop()
	for {
		news := s.work.wait() // before the look, or a wake between them is lost
		work, err := s.workFor(ctx, meters)
		if err != nil {
			return nil, err
		}
		if s.told.fresh(courier, work, s.now(), s.cfg.Limits.PollRepeat) {
			s.told.note(courier, work, s.now())
			return work, nil
		}
		select {
		case <-news:
		case <-look.C:
		case <-over.C:
			return work, nil
		case <-s.work.ended:
			return work, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// workFor returns what is outstanding, challenges first.
func (s *Server) workFor(ctx context.Context, meters []eventlog.MeterID) ([]Work, error) {
	work := []Work{}
	err := s.store.Read(ctx, func(v *store.View) error {
		var err error
		if len(meters) == 0 {
			if meters, err = v.MetersWithWork(ctx, maxWork); err != nil {
				return err
			}
		}
		for _, id := range meters {
			if len(work) >= maxWork {
				break
			}
			if work, err = appendWork(ctx, v, work, id); err != nil {
				return err
			}
		}
		return nil
	})
	return work, err
}

func appendWork(ctx context.Context, v *store.View, work []Work, id eventlog.MeterID) ([]Work, error) {
	open, err := v.Outstanding(ctx, id)
	if err != nil {
		return nil, err
	}
	if n := len(open); n > 0 { // the answer to the youngest settles all
		work = append(work, Work{id, WorkChallenge, open[n-1].Message})
	}
	receipts, err := v.Receipts(ctx, id, maxWorkPerMeter)
	if err != nil {
		return nil, err
	}
	for _, r := range receipts {
		work = append(work, Work{id, WorkReceipt, r.Message})
	}
	return work, nil
}
