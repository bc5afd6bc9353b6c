package dongle

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/meterseal/meterseal/routeb"
)

const (
	firstChannel = 33
	lastChannel  = 60

	panaStep    = 500 * time.Millisecond // between the datagrams of an authentication
	joinFails   = 39 * time.Second       // the firmware tries 2+4+8+8+8+8 s
	greetAfter  = 3 * time.Second
	frameBytes  = 200 // of a datagram in one radio frame
	frameExtra  = 50  // bytes of headers in each
	headerBytes = 48  // IPv6 and UDP
	bitsPerSec  = 100_000
)

// radio is the module's radio, its PANA client and the meters around it. All methods are called by the loop's goroutine.
type radio struct {
	*loop
	cfg     Config
	faults  *injector
	host    host
	session *session // nil = none
	air     airtime
	joins   *timer // the next step of a join
	resets  int    // so far
}

// later has f run when d has passed, unless the module is reset before.
func (r *radio) later(d time.Duration, f func()) *timer {
	n := r.resets
	return r.after(d, func() {
		if r.resets == n {
			f()
		}
	})
}

// reset ends the session and whatever is under way, without a word to the host.
func (r *radio) reset() {
	r.end()
	r.resets++
}

// host is the language in which the module tells what happens on the air.
type host interface {
	received(m *Meter, dst netip.Addr, data []byte)
	renewed(m *Meter)
	over(m *Meter, event byte) // 0x24, 0x26 to 0x29 as in SKSTACK-IP
	limit(on bool)

	renews() bool // says whether the module renews a session by itself
	limits() bool // says whether the module stops when its transmit time is used up
}

// session is a session with a meter.
type session struct {
	meter   *Meter
	expired bool          // nothing is sent until it is renewed
	deaf    bool          // the meter has forgotten it
	timer   *timer        // renewal or end
	stop    chan struct{} // closed when the session ends
	done    chan struct{} // closed when nothing reads the meter's Conn any more
}

// meter returns the meter with that address; nil if none is in reach.
func (r *radio) meter(addr netip.Addr) *Meter {
	for _, m := range r.cfg.Meters {
		if m.MAC.LinkLocal() == addr {
			return m
		}
	}
	return nil
}

// scan calls found for each meter in its channel's turn, passed at the end of each turn, done at the end. pairID filters;
// "" = all meters. A second scan does not stop the first; a reset stops both.
func (r *radio) scan(channels []byte, dwell time.Duration, pairID string, found func(*Meter), passed func(ch byte), done func()) {
	nothing := r.faults.hits(NoBeacon)
	for i, ch := range channels {
		r.later(time.Duration(i+1)*dwell, func() {
			for _, m := range r.cfg.Meters {
				if m.Channel == ch && !nothing && (pairID == "" || pairID == m.Credentials.PairID()) {
					found(m)
				}
			}
			passed(ch)
		})
	}
	r.later(time.Duration(len(channels))*dwell, done)
}

// join authenticates. step is told of each PANA datagram received, done of the end. There is one join at a time: a new
// one ends another. A join that renews leaves the session with the meter as it is if it goes well, and ends it if not.
func (r *radio) join(m *Meter, cred routeb.Credentials, renew bool, step func(data []byte), done func(ok bool)) {
	r.joins.stop()
	var old *session
	if renew && r.session != nil && r.session.meter == m {
		old = r.session
	}
	fails := func() {
		if old != nil {
			m.release(r.cfg.MAC)
			r.end()
		}
		done(false)
	}
	refused, silent := r.faults.hits(Refuse), r.faults.hits(SilentJoin)
	switch {
	case silent:
		return
	case refused:
		r.joins = r.after(2*panaStep, fails)
		return
	case m == nil || m.Credentials != cred || !r.admitted(m):
		r.joins = r.after(joinFails, fails)
		return
	}
	datagrams := panaJoin(m.Credentials, m.Lifetime)
	var next func()
	next = func() {
		step(datagrams[0])
		if datagrams = datagrams[1:]; len(datagrams) > 0 {
			r.joins = r.after(panaStep, next)
			return
		}
		if old != nil {
			old.expired = false
			old.timer.stop()
			r.renewal(old)
		} else {
			r.begin(m)
		}
		done(true)
	}
	r.joins = r.after(panaStep, next)
}

// admitted says whether the meter opens or renews a session.
func (r *radio) admitted(m *Meter) bool {
	ok, err := m.admit(r.cfg.MAC, r.scale(m.Lifetime))
	if err != nil {
		r.cfg.Logger.Warn("dongle: lock of the meter", "err", err)
	}
	return ok
}

func (r *radio) begin(m *Meter) {
	r.end()
	s := &session{meter: m, stop: make(chan struct{}), done: make(chan struct{})}
	r.session = s
	r.renewal(s)
	if m.Conn == nil {
		close(s.done)
		return
	}
	// Whoever owns the Conn hears of its failures elsewhere; a meter that cannot be read is a silent one.
	_ = m.Conn.SetReadDeadline(time.Time{})
	r.spawn(func() { r.listen(s) })
	if len(r.cfg.Greeting) > 0 {
		r.after(greetAfter, func() {
			if r.session == s {
				r.toMeter(s, r.cfg.Greeting)
			}
		})
	}
}

// end forgets the session. The meter does not hear of it.
func (r *radio) end() {
	r.joins.stop()
	s := r.session
	if s == nil {
		return
	}
	r.session = nil
	s.timer.stop()
	close(s.stop)
	if s.meter.Conn != nil {
		_ = s.meter.Conn.SetReadDeadline(time.Unix(1, 0))
	}
	<-s.done
}

// finish ends the session on both sides and tells the host why.
func (r *radio) finish(event byte) {
	if s := r.session; s != nil {
		s.meter.release(r.cfg.MAC)
		r.end()
		r.host.over(s.meter, event)
	}
}

// renewal has the session renewed at 80 % of its lifetime.
func (r *radio) renewal(s *session) {
	life := s.meter.Lifetime
	s.timer = r.after(life*8/10, func() {
		if !r.host.renews() || r.faults.hits(NoRenewal) || s.deaf || !r.admitted(s.meter) {
			s.timer = r.after(life*2/10, func() { r.expire(s) })
			return
		}
		r.renewal(s)
		r.host.renewed(s.meter)
	})
}

// expire stops the session's traffic. It stays renewable.
func (r *radio) expire(s *session) {
	if r.session != s {
		return
	}
	s.expired = true
	s.timer.stop()
	s.meter.release(r.cfg.MAC)
	r.host.over(s.meter, 0x29)
}

// lapse lets the session expire and renews it later.
func (r *radio) lapse(s *session) {
	r.expire(s)
	r.after(10*time.Second, func() {
		if r.session == s && s.expired && r.admitted(s.meter) {
			s.expired = false
			r.renewal(s)
			r.host.renewed(s.meter)
		}
	})
}

// listen passes on what the meter sends.
func (r *radio) listen(s *session) {
	defer close(s.done)
	b := make([]byte, 64<<10)
	for {
		n, from, err := s.meter.Conn.ReadFrom(b)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				r.cfg.Logger.Warn("dongle: meter", "err", err)
			}
			return
		}
		if r.fromAnother(s.meter, from) {
			continue
		}
		data := slices.Clone(b[:n])
		select {
		case r.posts <- func() { r.fromMeter(s, data) }:
		case <-s.stop:
			return
		case <-r.ended:
			return
		}
	}
}

// fromAnother says whether what came on the meter's Conn came from another meter that shares it.
func (r *radio) fromAnother(m *Meter, from net.Addr) bool {
	return slices.ContainsFunc(r.cfg.Meters, func(o *Meter) bool {
		return o != m && o.Conn == m.Conn && from != nil && o.Addr.String() == from.String()
	})
}

func (r *radio) fromMeter(s *session, data []byte) {
	if len(data) > maxData {
		r.cfg.Logger.Warn("dongle: datagram of the meter is too long", "bytes", len(data))
		return
	}
	lost := r.faults.hits(Drop)
	if r.framesLost(len(data)) || lost {
		return
	}
	delay := max(r.cfg.Downlink, 0)
	if r.faults.hits(Delay) {
		delay += 5 * time.Second
	}
	if r.faults.hits(Late) {
		delay += 30 * time.Second
	}
	times := 1
	if r.faults.hits(Duplicate) {
		times = 2
	}
	r.after(delay, func() {
		for range times {
			if r.session == s && !s.expired && !s.deaf {
				r.host.received(s.meter, destination(data, r.cfg.MAC), data)
			}
		}
	})
}

// destination is where a meter sends a datagram: announcements of its node profile (ESV 73, 0EF001 to 0EF001) go to all
// nodes, anything else to the one dongle.
func destination(data []byte, mac routeb.EUI64) netip.Addr {
	announcement := []byte{0x0E, 0xF0, 1, 0x0E, 0xF0, 1, 0x73}
	if len(data) > 11 && slices.Equal(data[4:11], announcement) {
		return netip.IPv6LinkLocalAllNodes()
	}
	return mac.LinkLocal()
}

// silent says whether a datagram does not even get on the air. plain is one that need not be encrypted.
func (r *radio) silent(plain bool) bool {
	return r.air.over || !plain && (r.session == nil || r.session.expired)
}

// transmit sends a datagram and says whether the radio did. plain is one that need not be encrypted.
func (r *radio) transmit(to netip.Addr, port uint16, data []byte, plain bool) bool {
	if r.silent(plain) {
		return false
	}
	unsent := r.faults.hits(Unsent)
	r.account(len(data))
	if r.framesLost(len(data)) || unsent {
		return false
	}
	s := r.session
	if s == nil || s.expired {
		return to.IsMulticast() || r.meter(to) != nil // which acknowledges what it does not take
	}
	if to != s.meter.MAC.LinkLocal() && !to.IsMulticast() {
		return false // nobody acknowledges it
	}
	if !plain && port == echonet {
		r.toMeter(s, data)
	}
	return true
}

func (r *radio) toMeter(s *session, data []byte) {
	if s.meter.Conn == nil || s.deaf {
		return
	}
	if _, err := s.meter.Conn.WriteTo(data, s.meter.Addr); err != nil {
		r.cfg.Logger.Warn("dongle: meter", "err", err)
	}
}

func frames(n int) int { return (n + headerBytes + frameBytes - 1) / frameBytes }

func (r *radio) framesLost(n int) (lost bool) {
	for range frames(n) {
		lost = r.faults.hits(Frame) || lost
	}
	return lost
}

// airtime is the account of transmit time within the last hour.
type airtime struct {
	total time.Duration
	over  bool
}

const airWindow = time.Hour

func (r *radio) account(n int) {
	bits := (n + headerBytes + frames(n)*frameExtra) * 8
	d := time.Duration(bits) * time.Second / bitsPerSec
	r.air.total += d
	r.after(airWindow, func() {
		r.air.total -= d
		if r.air.over && r.air.total < r.cfg.TransmitLimit {
			r.limit(false)
		}
	})
	if r.exhausted() {
		r.limit(true)
	}
}

// exhausted says whether the transmit time is used up, and that matters.
func (r *radio) exhausted() bool {
	return r.host.limits() && r.cfg.TransmitLimit >= 0 && r.air.total >= r.cfg.TransmitLimit
}

// limitControl obeys a host that switches the limit on or off.
func (r *radio) limitControl() { r.limit(r.exhausted()) }

// limitFor lets the transmit time be used up for a minute.
func (r *radio) limitFor() {
	if !r.host.limits() {
		return
	}
	r.limit(true)
	r.after(time.Minute, func() { r.limit(false) })
}

func (r *radio) limit(on bool) {
	if r.air.over != on {
		r.air.over = on
		r.host.limit(on)
	}
}

// troubles lets happen what may happen to a session at a datagram of the host.
func (r *radio) troubles() {
	s := r.session
	for _, t := range []struct {
		fault Fault
		f     func()
	}{
		{Forget, func() { s.deaf = true; s.meter.release(r.cfg.MAC) }},
		{End24, func() { r.finish(0x24) }},
		{End26, func() { r.finish(0x26) }},
		{End27, func() { r.finish(0x27) }},
		{End28, func() { r.finish(0x28) }},
		{End29, func() { r.expire(s) }},
		{Lapse, func() { r.lapse(s) }},
		{Limit, r.limitFor},
	} {
		if r.faults.hits(t.fault) && s != nil {
			r.after(50*time.Millisecond, func() {
				if r.session == s {
					t.f()
				}
			})
		}
	}
}
