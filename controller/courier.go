package controller

import (
	"context"
	"errors"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// delivery is what the relay has said of a meter's evidence.
type delivery struct {
	head  *Head   // what the MDMS has, nil if it has to be asked
	need  *Head   // what the MDMS asks for, nil if it asks for nothing
	rest  bool    // it is too early to collect that
	again backoff // between one such collection and the next

	missing []Missing // what the MDMS misses below its head
	missed  uint64    // how many segments that were when it was last said
	resting bool      // it is too early to collect that
	refill  backoff   // between one such collection and the next
}

// misses notes what the MDMS misses. u.mu is held.
func (u *unit) misses(list []Missing) {
	d, n := &u.delivery, uint64(0)
	for _, m := range list {
		n += uint64(m.Last) - uint64(m.First) + 1
	}
	if n < d.missed {
		d.refill.reset() // it is getting somewhere
	}
	d.missing, d.missed = list, n
}

// delivered takes the relay's word. It is called from the relay's goroutine.
func (u *unit) delivered(d Delivery) {
	u.mu.Lock()
	if n := d.Answer.NeedFrom; d.Answer.Outcome == NeedFrom {
		u.need(Head{Segment: n.Segment, Length: n.Offset})
	} else {
		u.delivery.head, u.delivery.need, u.delivery.rest = d.Answer.head(), nil, false
		if d.Answer.Outcome == Applied || d.Answer.Outcome == Duplicate {
			u.delivery.again.reset()
			u.misses(d.Answer.Missing)
		}
	}
	u.mu.Unlock()
	u.update(func(s *State) {
		e := &s.Evidence
		e.Outcome, e.Verdict, e.Findings, e.Delivered = d.Answer.Outcome, d.Answer.Verdict, d.Answer.Findings, u.ctl.cfg.Now()
		e.Waiting = u.waiting()
	})
	poke(u.looks)
}

// need notes what the MDMS asks for: to be collected at once the first time, and
// after a rest when that did not help. u.mu is held.
func (u *unit) need(h Head) {
	d := &u.delivery
	if d.rest {
		d.need = &h
		return
	}
	d.need, d.rest = &h, d.again.attempts > 0
	wait := d.again.next()
	if !d.rest {
		return
	}
	time.AfterFunc(wait, func() {
		u.mu.Lock()
		u.delivery.rest = false
		u.mu.Unlock()
		poke(u.looks)
	})
}

// waiting returns how many bundles of the meter wait. u.mu may be held.
func (u *unit) waiting() (n int) {
	for _, e := range u.ctl.spool.Waiting() {
		if e.Source == u.source && e.Meter == u.collector {
			n++
		}
	}
	return n
}

// carry takes a message for the meter; false if too many wait.
func (u *unit) carry(w Work) bool {
	select {
	case u.work <- w:
		return true
	default:
		return false
	}
}

// courier collects the meter's evidence after each start sequence, as long as
// the meter offers any.
func (u *unit) courier(ctx context.Context) {
	c := NewCollector(u.ctl.cfg.Node, u.meter, u.ctl.cfg.Collect)
	wait := backoff{base: startBase}
	var warned eventlog.MeterID // of that meter's other unit
	for ctx.Err() == nil {
		if !u.wait(ctx, u.started, 0) {
			return
		}
		err := c.Probe(ctx)
		for err != nil && !errors.Is(err, ErrUnsupported) && u.wait(ctx, u.started, wait.next()) {
			u.evidence(EvidenceFailing, err)
			err = c.Probe(ctx)
		}
		if err != nil {
			u.setCollector(eventlog.MeterID{})
			if ctx.Err() == nil {
				u.evidence(EvidenceUnsupported, nil)
			}
			continue
		}
		wait.reset()
		if !u.setCollector(c.Meter()) {
			if warned != c.Meter() {
				warned = c.Meter()
				u.ctl.cfg.Logger.Warn("a node says that it is a meter that another one is", "addr", u.snapshot().Addr, "meter", warned)
			}
			u.evidence(EvidenceTaken, nil)
			if u.wait(ctx, u.started, u.ctl.cfg.CollectEvery) { // the other may have gone by then
				poke(u.started)
			}
			continue
		}
		warned = eventlog.MeterID{}
		poke(u.ctl.ready)
		u.attend(ctx, c)
	}
}

// wait waits for a value of c, or for d unless it is 0. It returns false if ctx
// has ended.
func (u *unit) wait(ctx context.Context, c <-chan struct{}, d time.Duration) bool {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-c:
	case <-timer:
	}
	return true
}

// setCollector makes the unit carry the evidence of a meter, of none if id is
// zero. It reports false, and carries none, if another unit has that meter.
func (u *unit) setCollector(id eventlog.MeterID) bool {
	ok := u.ctl.claim(u, id)
	if !ok {
		id = eventlog.MeterID{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.collector != id {
		u.collector, u.delivery = id, delivery{again: backoff{base: 30 * time.Second}, refill: backoff{base: 30 * time.Second}}
	}
	return ok
}

func (u *unit) evidence(status EvidenceStatus, err error) {
	u.update(func(s *State) {
		s.Evidence.Status, s.Evidence.Err = status, ""
		if err != nil {
			s.Evidence.Err = err.Error()
		}
		s.Evidence.Waiting = u.waiting()
	})
}

// After a challenge the meter's answer is looked for soon and often: it comes
// when its secure element has signed, and an announcement can get lost.
const (
	hurryFirst = time.Second
	hurryLast  = time.Minute
)

// attend carries evidence and messages until the meter is started anew.
func (u *unit) attend(ctx context.Context, c *Collector) {
	fail := backoff{base: startBase}
	hurry := time.Duration(0)
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		room := u.ctl.spool.Changed() // before the look, or a change between them is lost
		if !u.ctl.spool.Full() {
			room = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-u.started:
			poke(u.started) // for the courier, who reads anew what the meter is
			return
		case w := <-u.work:
			if u.hand(ctx, c, w) && w.Kind == WorkChallenge {
				hurry = hurryFirst
				look.Reset(hurry)
			}
			continue
		case <-room:
		case <-u.looks:
		case <-look.C:
		}
		if u.ctl.unitOf(c.Meter()) != u { // it is found elsewhere now
			u.setCollector(eventlog.MeterID{})
			u.evidence(EvidenceTaken, nil)
			poke(u.started) // to look whether it comes back
			return
		}
		err := u.collect(ctx, c)
		if err == nil {
			err = u.fill(ctx, c)
		}
		next := u.ctl.cfg.CollectEvery
		switch {
		case errors.Is(err, ErrUnsupported):
			u.evidence(EvidenceUnsupported, nil)
			u.setCollector(eventlog.MeterID{})
			return // until the meter is started anew
		case err != nil:
			next = min(next, fail.next())
		default:
			fail.reset()
		}
		if hurry > 0 {
			next = min(next, hurry)
			if hurry *= 2; hurry > hurryLast {
				hurry = 0
			}
		}
		look.Reset(next)
	}
}

// hand gives a message to the meter. It reports whether the meter took it.
func (u *unit) hand(ctx context.Context, c *Collector, w Work) bool {
	give := c.Challenge
	if w.Kind == WorkReceipt {
		give = c.Receipt
	}
	err := give(ctx, w.Message)
	if ctx.Err() != nil {
		return false
	}
	result := WorkResult{Kind: w.Kind, Time: u.ctl.cfg.Now()}
	if err != nil {
		result.Err = err.Error()
		u.ctl.cfg.Logger.Warn("message not handed over", "meter", w.Meter, "kind", w.Kind, "err", err)
		if !errors.Is(err, ErrRefused) {
			u.ctl.forget(w) // the MDMS will give it again
		}
	}
	u.update(func(s *State) { s.Evidence.LastWork = result })
	return err == nil
}

// collect collects what is new and puts it in the spool.
func (u *unit) collect(ctx context.Context, c *Collector) error {
	for more := true; more; {
		if u.ctl.spool.Full() {
			u.evidence(EvidenceFull, nil)
			return nil
		}
		want, err := u.want(ctx)
		if errors.Is(err, errRest) {
			return nil
		}
		if err != nil {
			return u.failed(ctx, err)
		}
		got, err := c.Collect(ctx, want)
		if err == nil && got.Bundle != nil {
			if err = u.keep(ctx, got.Bundle, want); err != nil {
				c.Forget()
			}
		}
		u.update(func(s *State) { s.Evidence.add(got, err) })
		if err != nil {
			return u.failed(ctx, err)
		}
		more = got.More && got.Bundle != nil
	}
	u.evidence(EvidenceCurrent, nil)
	return nil
}

// add takes what a collection brought.
func (e *EvidenceState) add(got Collected, err error) {
	e.Log = got.Status
	e.cost(got.Stats)
	if err == nil {
		e.Collected = got.Head
	}
}

// cost adds what a collection cost.
func (e *EvidenceState) cost(s Stats) {
	e.Stats.RoundTrips += s.RoundTrips
	e.Stats.Failures += s.Failures
	e.Stats.Windows += s.Windows
	e.Stats.Bytes += s.Bytes
}

// failed shows why nothing was collected, and returns it.
func (u *unit) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrUnsupported):
	case errors.Is(err, ErrNotSealed):
		u.evidence(EvidenceNotSealed, nil)
	case errors.Is(err, ErrUnknownMeter):
		u.evidence(EvidenceNotEnrolled, err)
	default:
		u.evidence(EvidenceFailing, err)
	}
	return err
}

// errRest: it is too early to collect again what the MDMS asks for again.
var errRest = errors.New("controller: rest")

// want returns what to collect: what the MDMS asks for, or what comes after the
// bundles that wait, or after what it has.
func (u *unit) want(ctx context.Context) (Want, error) {
	u.mu.Lock()
	d, id := u.delivery, u.collector
	u.mu.Unlock()
	if d.rest {
		return Want{}, errRest
	}
	if d.need != nil {
		return Want{Head: *d.need, Again: true}, nil
	}
	if e, ok := u.ctl.spool.Last(u.source, id); ok && (d.head == nil || !e.Head.below(*d.head)) {
		return Want{Head: e.Head}, nil
	}
	if d.head != nil {
		return Want{Head: *d.head}, nil
	}
	head, missing, err := u.ctl.client.Head(ctx, id)
	if err != nil {
		return Want{}, err
	}
	u.mu.Lock()
	u.delivery.head = &head
	u.misses(missing)
	u.mu.Unlock()
	return Want{Head: head}, nil
}

// keep puts a bundle in the spool, waiting for room if need be. One that the
// MDMS has asked for takes the place of those that it could not use.
func (u *unit) keep(ctx context.Context, b *eventlog.Bundle, w Want) error {
	put := u.ctl.spool.Put
	if w.Again {
		put = u.ctl.spool.Replace
		u.setNeed(nil) // before the relay can see the bundle, and ask again
	}
	for {
		changed := u.ctl.spool.Changed() // before the try, or a change between them is lost
		_, err := put(u.source, b)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrSpoolFull) {
			u.evidence(EvidenceFull, nil)
			if u.wait(ctx, changed, 0) {
				continue
			}
			err = ctx.Err()
		}
		if w.Again {
			u.setNeed(&w.Head)
		}
		return err
	}
}

func (u *unit) setNeed(h *Head) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.delivery.need = h
}
