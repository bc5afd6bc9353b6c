package controller

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// unit is one meter of a controller: a goroutine that reads it and one that
// carries its evidence. The node sees to it that their requests take turns.
type unit struct {
	ctl        *Controller
	meter      Meter
	source     Source // of its bundles in the spool
	configured bool   // rather than found

	notes   chan []echonet.Property // announced values, to the reader
	rejoins chan struct{}           // the meter's node has announced itself, to the reader
	joins   chan struct{}           // the link has joined, to the reader
	started chan struct{}           // a start sequence is done, to the courier
	looks   chan struct{}           // there may be new evidence, to the courier
	work    chan Work               // to be carried, to the courier

	mu        sync.Mutex // guards what follows
	state     State
	collector eventlog.MeterID // whose evidence is collected; zero if nobody's
	delivery  delivery         // what the relay has said, for the courier

	observing sync.Mutex // held while Observe runs, so that calls keep their order
}

// newUnit returns the unit of the n-th meter.
func newUnit(c *Controller, m Meter, n int) *unit {
	u := &unit{
		ctl: c, meter: m, source: sourceOf(m, n),
		notes:   make(chan []echonet.Property, 16),
		rejoins: make(chan struct{}, 1),
		joins:   make(chan struct{}, 1),
		started: make(chan struct{}, 1),
		looks:   make(chan struct{}, 1),
		work:    make(chan Work, 64),
	}
	u.state.Object = m.object().String()
	return u
}

// sourceOf returns what tells the n-th meter's bundles from those of others, the
// same after a restart: the address where it is found, or, if that changes, its
// place in the configuration.
func sourceOf(m Meter, n int) Source {
	at := fmt.Sprintf("meter %d", n)
	if m.Locate == nil && m.Addr != nil {
		at = m.Addr.String()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v", at, m.object()))
	return Source(binary.BigEndian.Uint64(sum[:]))
}

// run reads and carries until ctx ends.
func (u *unit) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { u.read(ctx) })
	if u.ctl.client != nil {
		all.Go(func() { u.courier(ctx) })
	}
	if u.meter.Link != nil {
		all.Go(func() { u.watch(ctx) })
	}
	all.Wait()
}

// watch shows the state of the link, and tells the reader when it has joined.
func (u *unit) watch(ctx context.Context) {
	before := u.meter.Link.State() // a link that has joined before needs no telling
	for ctx.Err() == nil {
		changed := u.meter.Link.Changed() // before the look, or a change between them is lost
		now := u.meter.Link.State()
		u.update(func(*State) {})
		if now.Joined && (!before.Joined || now.Since != before.Since) {
			poke(u.joins)
		}
		before = now
		u.wait(ctx, changed, 0)
	}
}

// snapshot returns the state.
func (u *unit) snapshot() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

// update changes the state and shows it to the observer.
func (u *unit) update(change func(*State)) {
	u.observing.Lock()
	defer u.observing.Unlock()
	u.mu.Lock()
	change(&u.state)
	if a := u.meter.addr(); a != nil {
		u.state.Addr = a.String()
	}
	if u.meter.Link != nil {
		u.state.Link = u.meter.Link.State()
	}
	s := u.state
	u.mu.Unlock()
	u.ctl.cfg.Observe(s)
}

// collects returns the id of the meter whose evidence is collected, zero if none
// is.
func (u *unit) collects() eventlog.MeterID {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.collector
}

// notify takes announced values.
func (u *unit) notify(ps []echonet.Property) {
	if _, ok := echonet.Find(ps, meter.EPCEvidence); ok {
		poke(u.looks) // which does nothing for a meter without evidence
	}
	select {
	case u.notes <- ps:
	default: // they are read with the next poll
	}
}

// rejoin tells that the meter's node has announced itself.
func (u *unit) rejoin() { poke(u.rejoins) }

// Waits of the reader.
const (
	startBase = 5 * time.Second // after the first start sequence that failed
	restMin   = time.Minute     // between two start sequences that a node asks for
	silence   = 3               // polls in a row that fail before the meter is given up

	// A meter announces the value of a half-hour within 5 minutes
	// (AIF 1.01, 3.2.1); what has not come by then is asked for, by many
	// controllers not at the same moment.
	halfHourDue    = 5 * time.Minute
	halfHourSpread = time.Minute
)

// read starts the meter and polls it, again and again from the start.
func (u *unit) read(ctx context.Context) {
	r := NewReader(u.ctl.cfg.Node, u.meter, u.ctl.cfg.Now)
	wait := backoff{base: startBase}
	for ctx.Err() == nil {
		drain(u.rejoins)
		err := u.start(ctx, r)
		if err != nil {
			u.offline(ctx, err)
			u.pause(ctx, wait.next())
			continue
		}
		wait.reset()
		poke(u.started)
		u.poll(ctx, r)
	}
}

// start carries out the start sequence, from its beginning when the link joins
// meanwhile: what was asked before is lost.
func (u *unit) start(ctx context.Context, r *Reader) error {
	for {
		trial, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- r.Start(trial) }()
		select {
		case err := <-done:
			cancel()
			return err
		case <-u.joins:
			cancel()
			if err := <-done; ctx.Err() != nil {
				return err
			}
		}
	}
}

// offline marks the meter as one that does not answer.
func (u *unit) offline(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	was := u.snapshot()
	if was.Online || was.Since.IsZero() {
		if was.Online || !errors.Is(err, ErrNoAddress) { // which a link that has yet to join tells of itself
			u.ctl.cfg.Logger.Warn("meter does not answer", "addr", was.Addr, "err", err)
		}
		u.update(func(s *State) { s.Online, s.Since = false, u.ctl.cfg.Now() })
	}
}

// online takes what the reader knows.
func (u *unit) online(r Readings) {
	u.update(func(s *State) {
		if !s.Online {
			s.Online, s.Since = true, u.ctl.cfg.Now()
		}
		s.Readings = r
		s.Meter = eventlog.MeterID{}
		if len(r.Serial) == 12 {
			copy(s.Meter[:3], r.Manufacturer[:])
			copy(s.Meter[3:], r.Serial)
			if !s.Meter.Valid() { // not what the meter said
				s.Meter = eventlog.MeterID{}
			}
		}
	})
}

// pause waits, at most until the meter or its link joins.
func (u *unit) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-u.rejoins:
	case <-u.joins:
	}
}

// poll polls a meter that has been started, until it falls silent or joins anew.
func (u *unit) poll(ctx context.Context, r *Reader) {
	poll := time.NewTimer(0)
	defer poll.Stop()
	half := time.NewTimer(u.untilHalfHour())
	defer half.Stop()
	rest := time.NewTimer(restMin)
	defer rest.Stop()
	rejoins := (<-chan struct{})(nil) // not heard before rest is over
	failed := 0
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
			drain(u.rejoins)
			rejoins = u.rejoins
			continue
		case <-rejoins:
			return
		case <-u.joins:
			return
		case ps := <-u.notes:
			r.Take(ps)
		case <-poll.C:
			err = r.Poll(ctx)
			poll.Reset(u.ctl.cfg.PollEvery)
		case <-half.C:
			if u.missesHalfHour(r.Readings()) {
				err = r.PollHalfHour(ctx)
			}
			half.Reset(u.untilHalfHour())
		}
		if err == nil {
			failed = 0
			u.online(r.Readings())
			continue
		}
		if failed++; failed >= silence {
			u.offline(ctx, err)
			return
		}
	}
}

// untilHalfHour returns the time to the next moment at which a half-hour's value
// should have come.
func (u *unit) untilHalfHour() time.Duration {
	now := u.ctl.cfg.Now()
	due := now.Truncate(30 * time.Minute).Add(halfHourDue)
	if !due.After(now) {
		due = due.Add(30 * time.Minute)
	}
	return due.Sub(now) + rand.N(halfHourSpread)
}

// missesHalfHour reports whether the value of the last half-hour has not come.
// Which half-hour a value is of, its minute tells, whatever the time zone.
func (u *unit) missesHalfHour(r Readings) bool {
	boundary := u.ctl.cfg.Now().Truncate(30 * time.Minute)
	v := r.HalfImport
	return !v.OK() || v.Read.Before(boundary) || v.V.Time.Minute != boundary.Minute()
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}
