package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Relay posts what waits in a spool to the MDMS, oldest first, until it is
// acknowledged. Its fields are not changed once Run is called.
type Relay struct {
	// Client is the MDMS. Required.
	Client *Client
	// Spool is what is posted. Required.
	Spool *Spool
	// Delivered, if not nil, is told what became of each bundle, from the
	// relay's goroutine. After NeedFrom the bundle still waits, and is posted
	// again only when [Spool.Replace] has put a better one in its place, or
	// after a while.
	Delivered func(Delivery)
	// Logger gets what goes wrong. Default: discard.
	Logger *slog.Logger
}

// Delivery is what became of a bundle.
type Delivery struct {
	Entry  Entry
	Answer Answer
	// Reason says why the bundle was set aside as rejected.
	Reason string
}

// hold keeps a bundle from being posted again before it makes sense.
type hold struct {
	id   uint64
	over <-chan struct{} // closed when the bundle may be posted again
	wait backoff
}

// extend holds a bundle, each time for longer, and calls wake at the end.
func (h *hold) extend(id uint64, wake func()) {
	over := make(chan struct{})
	h.id, h.over = id, over
	time.AfterFunc(time.Minute+h.wait.next(), func() { close(over); wake() })
}

// Run posts until ctx ends, and returns nil then. While the MDMS does not
// answer, or asks for patience, it waits longer and longer, 15 minutes at most.
func (r *Relay) Run(ctx context.Context) error {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	p := poster{r, map[queue]*hold{}, make(chan struct{}, 1)}
	wait := backoff{base: time.Second}
	for ctx.Err() == nil {
		changed := r.Spool.Changed() // before the look, or a change between them is lost
		e, ok := p.next()
		if !ok {
			select {
			case <-ctx.Done():
			case <-changed:
			case <-p.wake:
			}
			continue
		}
		err := p.post(ctx, e)
		if err == nil {
			wait.reset()
			continue
		}
		pause := wait.next()
		var status *HTTPError
		if errors.As(err, &status) && status.RetryAfter > 0 {
			pause = min(max(pause, status.RetryAfter), maxBackoff)
		}
		if ctx.Err() == nil {
			r.Logger.Warn("bundle not delivered", "meter", e.Meter, "err", err, "again_in", pause)
		}
		_ = sleep(ctx, pause) // the loop looks at ctx
	}
	return nil
}

// poster is one run of a relay.
type poster struct {
	*Relay
	holds map[queue]*hold
	wake  chan struct{} // gets a value when a hold ends
}

// next returns the oldest bundle that may be posted: of each source and meter
// its oldest only, since later ones build on it.
func (p *poster) next() (Entry, bool) {
	seen := map[queue]bool{}
	for _, e := range p.Spool.Waiting() {
		if seen[e.queue()] {
			continue
		}
		seen[e.queue()] = true
		h := p.holds[e.queue()]
		if h == nil || h.id != e.ID {
			return e, true
		}
		select {
		case <-h.over:
			return e, true
		default:
		}
	}
	return Entry{}, false
}

// post posts one bundle and does what the answer asks for. An error means that
// the bundle waits on.
func (p *poster) post(ctx context.Context, e Entry) error {
	data, err := p.Spool.Read(e)
	if err != nil {
		return err
	}
	d := Delivery{Entry: e}
	d.Answer, err = p.Client.Post(ctx, data)
	var status *HTTPError
	switch {
	case errors.As(err, &status) && status.poison():
		d.Answer.Outcome = Rejected
		d.Reason = fmt.Sprintf("%d %s: %s", status.Status, http.StatusText(status.Status), status.Text)
	case err != nil:
		return err
	case d.Answer.Outcome == Rejected:
		d.Reason = d.Answer.Verdict
		if len(d.Answer.Findings) > 0 {
			d.Reason += ": " + d.Answer.Findings[0].Code + " " + d.Answer.Findings[0].Detail
		}
	}
	switch d.Answer.Outcome {
	case NeedFrom:
		h := p.holds[e.queue()]
		if h == nil {
			h = &hold{wait: backoff{base: time.Minute}}
			p.holds[e.queue()] = h
		}
		h.extend(e.ID, func() { poke(p.wake) })
	case Rejected:
		err = p.Spool.Reject(e, d.Reason)
	default:
		delete(p.holds, e.queue())
		err = p.Spool.Remove(e)
	}
	if err != nil {
		return err
	}
	if p.Delivered != nil {
		p.Delivered(d)
	}
	return nil
}

// poke sends on a channel of capacity 1 unless a value waits there.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
