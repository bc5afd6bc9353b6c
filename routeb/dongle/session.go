package dongle

import (
	"net/netip"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

func (t *text) joinCommand(a []string) answer {
	addr, ok := addrArg(a[0])
	if !ok {
		return fail(wrongArgument)
	}
	if t.cred.ID == "" || t.cred.Password == "" {
		return fail(cannot)
	}
	return answer{then: func() { t.startJoin(addr, false) }}
}

func (t *text) rejoin([]string) answer {
	if t.session == nil || t.session.expired {
		return fail(cannot)
	}
	addr := t.session.meter.MAC.LinkLocal()
	return answer{then: func() { t.startJoin(addr, true) }}
}

// startJoin runs PANA with whoever has that address, to renew the session or for a new one.
func (t *text) startJoin(addr netip.Addr, renew bool) {
	m := t.meter(addr)
	if m != nil && (hexOf(t.reg["S02"]) != uint64(m.Channel) || hexOf(t.reg["S03"]) != uint64(m.PAN)) {
		m = nil // it is not on our channel
	}
	start := func() {
		t.join(m, t.cred, renew, func(data []byte) {
			t.pana(m, data)
			t.event(skstack.EventSent, addr, sent)
		}, func(ok bool) {
			n := byte(skstack.EventRefused)
			if ok {
				n = skstack.EventJoined
			}
			t.event(n, addr, -1)
		})
	}
	if m == nil || !t.forgotten(addr) {
		start()
		return
	}
	t.event(skstack.EventSent, addr, solicited)
	t.later(solicit, func() {
		t.event(0x02, addr, -1)
		start()
	})
}

// terminate ends the session: OK, the meter's answer, EVENT 27; or EVENT 28 if the meter does not answer.
func (t *text) terminate([]string) answer {
	s := t.session
	if s == nil {
		return fail(cannot)
	}
	m, silent := s.meter, t.faults.hits(EndTimeout) || s.deaf
	addr := m.MAC.LinkLocal()
	var a answer
	if t.forgotten(addr) {
		a.lines = []string{t.eventText(skstack.EventSent, addr, solicited)}
	}
	m.release(t.cfg.MAC)
	t.end()
	a.then = func() {
		if silent {
			t.event(skstack.EventEndTimeout, addr, -1)
			return
		}
		t.later(panaStep, func() {
			t.pana(m, panaEndAnswer())
			t.event(skstack.EventEnded, addr, -1)
		})
	}
	return a
}
