package routeb

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"
)

// rung is a step of the ladder that a session climbs to come back. Each includes those below it.
type rung int

const (
	renew  rung = iota // wait for the module to renew the session by itself
	rejoin             // join the network that is known
	rescan             // look for it
	reset              // reset the module
	reopen             // close the port, forget everything, open it again
)

const (
	firstPause = time.Second // before coming back from a loss: events of the ending still arrive
	minBackoff = 5 * time.Second
	maxBackoff = time.Minute

	// A meter that has answered none of so many datagrams for so long has lost the session without saying so.
	silentSends = 3
	silentTime  = time.Minute

	limitCheck = time.Minute // how often a module is asked whether it may send again
)

// scanDurations are tried in turn: about half of all scans miss a beacon.
var scanDurations = [...]int{4, 5, 6, 7}

// session is the one goroutine that owns the port. Its methods are called by that goroutine only.
type session struct {
	conn *Conn
	cfg  Config
	log  *slog.Logger

	line    *line
	modem   modem
	baud    int      // at which the module answered last; 0 = unknown
	network *Network // where to join; nil = scan
	fresh   bool     // network comes from a scan since the last reset
	lost    error    // why the session ended; nil while it lives

	entered    time.Time // when the session began
	heard      bool      // a datagram came in it
	unanswered int       // datagrams sent since the last one received
	since      time.Time // when the first of them was sent
	sentAt     time.Time // when the last of them was
	limited    bool
	checkAt    time.Time // when to ask next whether it may send
}

// run keeps a session until ctx ends, or until Dial has had its number of attempts.
func (s *session) run(ctx context.Context) {
	defer close(s.conn.done)
	defer s.shut()
	at, attempts := reopen, 0
	failures, reached := 0, NoPort // at the same stage: one that gets further is worth another try soon
	floor := renew                 // rises with each session in which nothing was heard: the rung that led to it was not enough
	for {
		err := s.climb(ctx, at)
		if err != nil {
			attempts++
			if stage := s.conn.Status().State; stage > reached {
				failures, reached = 0, stage
			}
			failures++
			at = max(firstRung(err), min(at+1, reopen))
		} else {
			failures, reached = 0, NoPort
			err = s.serve(ctx)
			if floor = min(floor+1, reopen); s.heard || s.cfg.Now().Sub(s.entered) >= silentTime && !errors.Is(err, ErrSilent) {
				floor = renew
			}
			at = max(firstRung(err), floor)
		}
		if ctx.Err() != nil {
			return
		}
		if s.givesUp(err, attempts) {
			s.conn.mu.Lock()
			s.conn.status.Err = err // of which shut tells
			s.conn.mu.Unlock()
			return
		}
		s.tell(err)
		if s.pause(ctx, failures) != nil {
			at = reopen
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// givesUp reports whether Dial has had enough.
func (s *session) givesUp(err error, attempts int) bool {
	n := s.cfg.DialAttempts
	if n == 0 || isClosed(s.conn.joined) {
		return false
	}
	return attempts >= n || s.conn.Status().State == NoPort || errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrNoBeacon)
}

// tell has everybody know that there is no session, and why.
func (s *session) tell(err error) {
	level := slog.LevelWarn
	if last := s.conn.Status().Err; last != nil && last.Error() == err.Error() {
		level = slog.LevelDebug // as before
	}
	s.log.Log(context.Background(), level, "routeb: lost", "err", err)
	s.conn.update(func(st *Status) {
		st.Err, st.Expected = err, 0
		if st.State == Joined {
			s.conn.stats.Losses++
		}
		if st.State != NoPort {
			st.State = Lost
		}
	})
}

// shut ends the session as it should be: a meter that is not told keeps other dongles out.
func (s *session) shut() {
	if s.line != nil {
		if s.conn.Status().State == Joined {
			if err := s.modem.leave(context.Background()); err != nil {
				s.log.Info("routeb: leave", "err", err)
			}
		}
		s.line.close()
	}
	s.setLost()
	s.conn.update(func(st *Status) { st.State, st.Expected = Closed, 0 })
}

// firstRung is the lowest rung that can help against what went wrong.
func firstRung(why error) rung {
	switch {
	case errors.Is(why, ErrUnplugged):
		return reopen
	case errors.Is(why, errStuck):
		return reset
	case errors.Is(why, ErrExpired):
		return renew
	}
	return rejoin
}

// pause waits before the next attempt and returns an error if the port is gone.
func (s *session) pause(ctx context.Context, failures int) error {
	d := firstPause
	if failures > 0 {
		d = min(minBackoff<<min(failures-1, 8), maxBackoff)
	}
	if s.line != nil {
		if err := s.line.await(ctx, d, s.modem.feed, func() bool { return false }); !errors.Is(err, errTimeout) {
			return err
		}
		return nil
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return nil
}

// climb joins the meter, beginning at the given rung.
func (s *session) climb(ctx context.Context, at rung) error {
	if at == renew {
		if err := s.modem.renewed(ctx); err != nil {
			return err
		}
		s.enter()
		return nil
	}
	switch at {
	case reopen:
		if err := s.open(ctx); err != nil {
			return err
		}
	case reset:
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	if at >= rescan {
		s.fresh = false
	}
	if s.network == nil || !s.fresh {
		if err := s.find(ctx); err != nil {
			return err
		}
	}
	s.conn.update(func(st *Status) { st.State, st.Expected = Joining, joinTime })
	if err := s.modem.join(ctx, *s.network); err != nil {
		s.network = nil
		return err
	}
	s.conn.count(func(st *Stats) { st.Joins++ })
	s.enter()
	return nil
}

// open opens the port and finds out what is there, at which rate.
func (s *session) open(ctx context.Context) error {
	if s.line != nil {
		s.line.close()
		s.line = nil
	}
	if s.cfg.Baud != 0 {
		return s.openAt(ctx, s.cfg.Baud, true)
	}
	rates := bauds[:]
	if s.baud != 0 {
		rates = append([]int{s.baud}, rates...)
	}
	for i, baud := range rates {
		if i > 0 && baud == rates[0] {
			continue
		}
		err := s.openAt(ctx, baud, i == 0)
		if !errors.Is(err, ErrNoAnswer) {
			return err
		}
		s.log.Info("routeb: no answer", "baud", baud)
	}
	return ErrNoAnswer
}

// openAt opens the port at a rate. If the module is likely to be there it takes more trouble to wake it.
func (s *session) openAt(ctx context.Context, baud int, likely bool) error {
	s.conn.update(func(st *Status) { st.State, st.Expected = NoPort, 0 })
	port, err := s.cfg.Open(s.cfg.Port, baud)
	if err != nil {
		return err
	}
	s.conn.count(func(st *Stats) { st.Opens++ })
	s.line = newLine(port)
	if err := s.identify(ctx, likely); err != nil {
		s.line.close()
		s.line = nil
		return err
	}
	s.baud = baud
	s.conn.update(func(st *Status) { st.Module.Baud = baud })
	return nil
}

// identify tries the languages that modules speak.
func (s *session) identify(ctx context.Context, likely bool) error {
	text := newSK(s.line, s.cfg, s)
	s.modem = text
	if !likely {
		if err := text.hello(ctx); err != nil {
			return err
		}
		return s.probe(ctx)
	}
	languages := []modem{text, newBin(s.line, s.cfg, s)}
	if s.conn.Status().Module.Family == "j11" {
		slices.Reverse(languages)
	}
	var err error
	for _, s.modem = range languages {
		if err = s.probe(ctx); !errors.Is(err, ErrNoAnswer) {
			return err
		}
	}
	return err
}

func (s *session) probe(ctx context.Context) error {
	s.conn.update(func(st *Status) { st.State, st.Expected = Probing, resetTime })
	s.setLimited(false)
	module, err := s.modem.probe(ctx)
	if err != nil {
		return err
	}
	s.conn.count(func(st *Stats) { st.Resets++ })
	s.log.Info("routeb: module", "family", module.Family, "version", module.Version, "mac", module.MAC)
	s.conn.update(func(st *Status) {
		module.Baud = st.Module.Baud
		st.Module = module
	})
	return nil
}

// find looks for the meter: first where it was, then everywhere.
func (s *session) find(ctx context.Context) error {
	if s.network != nil {
		found, err := s.scan(ctx, 6, s.network)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(found, func(n Network) bool { return n.MAC == s.network.MAC && n.PAN == s.network.PAN })
		if i >= 0 {
			s.found(found[i])
			return nil
		}
		s.network = nil
	}
	for _, d := range scanDurations {
		found, err := s.scan(ctx, d, nil)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			s.found(slices.MaxFunc(found, s.stronger))
			return nil
		}
	}
	return ErrNoBeacon
}

func (s *session) stronger(a, b Network) int {
	return cmp.Compare(s.modem.power(a.LQI), s.modem.power(b.LQI))
}

func (s *session) scan(ctx context.Context, duration int, only *Network) ([]Network, error) {
	s.conn.count(func(st *Stats) { st.Scans++ })
	expected := s.modem.scanTime(duration, only)
	now := s.cfg.Now()
	s.conn.update(func(st *Status) { st.State, st.Since, st.Expected = Scanning, now, expected })
	return s.modem.scan(ctx, duration, only)
}

func (s *session) found(n Network) {
	s.log.Info("routeb: found", "channel", n.Channel, "pan", n.PAN, "meter", n.MAC, "lqi", n.LQI)
	s.network, s.fresh = &n, true
	s.conn.update(func(st *Status) {
		st.Network, st.Meter, st.Power = n, n.MAC.LinkLocal(), s.modem.power(n.LQI)
	})
}

// enter begins a session.
func (s *session) enter() {
	now := s.cfg.Now()
	s.entered, s.heard, s.unanswered = now, false, 0
	c := s.conn
	c.mu.Lock()
	c.lost = make(chan struct{})
	c.stats.Joined = now
	c.mu.Unlock()
	c.update(func(st *Status) { st.State, st.Expected, st.Err = Joined, 0, nil })
	if !isClosed(c.joined) {
		close(c.joined)
	}
}

// serve moves datagrams until the session ends, and says why it did.
func (s *session) serve(ctx context.Context) error {
	defer func() {
		if ctx.Err() == nil { // shut still has to leave
			s.setLost()
		}
	}()
	for {
		if s.lost != nil {
			return s.lost
		}
		select {
		case b, ok := <-s.line.chunks:
			if !ok {
				return s.line.err
			}
			s.modem.feed(b)
		case w := <-s.conn.writes:
			err := s.send(ctx, w)
			w.err <- err
			if errors.Is(err, errStuck) || errors.Is(err, ErrUnplugged) {
				return err
			}
			if s.lost == nil && s.unanswered >= silentSends && s.cfg.Now().Sub(s.since) >= silentTime {
				return ErrSilent
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) setLost() {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		close(c.lost)
		c.lost = nil
	}
	c.stats.Joined = time.Time{}
}

// send sends a datagram, again if the radio fails. It is not cut short by Close: the module counts the bytes.
func (s *session) send(ctx context.Context, w write) (err error) {
	whole := context.WithoutCancel(ctx)
	if err := s.checkLimit(whole); err != nil {
		s.conn.count(func(st *Stats) { st.NotSent++ })
		return err
	}
	start := s.cfg.Now()
	for try := 1; ; try++ {
		err = s.modem.send(whole, w.to, w.data)
		if !errors.Is(err, ErrRadio) || try == radioTries || s.lost != nil || s.limited {
			break
		}
		s.conn.count(func(st *Stats) { st.Retries++ })
		wait := s.line.await(ctx, radioPause*time.Duration(try), s.modem.feed, func() bool { return s.lost != nil || s.limited })
		if !errors.Is(wait, errTimeout) {
			break // closed, or no session to send in
		}
	}
	now := s.cfg.Now()
	var timeout net.Error
	s.conn.count(func(st *Stats) {
		switch {
		case err == nil:
			st.Sent++
			st.SendTime = now.Sub(start)
		case errors.As(err, &timeout) && timeout.Timeout():
			st.Indeterminate++
		default:
			st.NotSent++
		}
	})
	if errors.Is(err, ErrRadio) {
		s.checkAt = now // perhaps it is the limit, whose event was missed
	}
	if s.unanswered == 0 {
		s.since = now
	}
	s.unanswered++
	s.sentAt = now
	return err
}

// checkLimit refuses while the transmit time is used up. The event that says so may be missed, and so may the one that
// takes it back: a module in doubt is asked.
func (s *session) checkLimit(ctx context.Context) error {
	now := s.cfg.Now()
	if !s.checkAt.IsZero() && !now.Before(s.checkAt) {
		on, err := s.modem.limited(ctx)
		if err == nil {
			s.setLimited(on)
		}
	}
	if s.limited {
		return ErrLimited
	}
	return nil
}

func (s *session) setLimited(on bool) {
	s.checkAt = time.Time{}
	if on {
		s.checkAt = s.cfg.Now().Add(limitCheck)
	}
	if s.limited == on {
		return
	}
	s.limited = on
	s.conn.update(func(st *Status) { st.Limited = on })
}

func (s *session) received(d datagram) {
	if s.network == nil || d.from != s.network.MAC.LinkLocal() || d.srcPort != port3610 || d.dstPort != port3610 ||
		!d.encrypted {
		s.conn.count(func(st *Stats) { st.Ignored++ })
		return
	}
	s.heard = true
	now := s.cfg.Now()
	s.conn.mu.Lock()
	s.conn.stats.Received++
	if s.unanswered > 0 {
		s.conn.stats.RoundTrip = now.Sub(s.sentAt)
	}
	if d.power != 0 {
		s.conn.status.Power = d.power
	}
	s.conn.mu.Unlock()
	s.unanswered = 0
	s.conn.deliver(packet{from: d.from, data: d.data})
}

func (s *session) damaged() { s.conn.count(func(st *Stats) { st.Damaged++ }) }

func (s *session) ended(why error) {
	if s.lost == nil {
		s.lost = why
	}
}

func (s *session) rejoined() {
	s.lost = nil
	if s.conn.Status().State == Joined {
		s.conn.count(func(st *Stats) { st.Renewals++ })
	}
}

func (s *session) limit(on bool) { s.setLimited(on) }
