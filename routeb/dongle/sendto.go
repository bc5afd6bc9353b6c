package dongle

import (
	"net/netip"
	"time"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

const (
	solicit = 100 * time.Millisecond  // until the neighbour answers
	givesUp = 6500 * time.Millisecond // when no neighbour answers
	answers = time.Second             // by which OK comes late
)

// Parameters of EVENT 21.
const (
	sent      = 0
	notSent   = 1
	solicited = 2
)

// sendTo sends a datagram: [echo], EVENT 21, OK.
func (t *text) sendTo(cmd *sendCommand, data []byte) {
	t.cfg.Logger.Debug("dongle: datagram of the host", "to", cmd.to, "port", cmd.port, "bytes", len(data))
	shown := ""
	if t.faults.hits(EchoData) {
		shown = string(data[:min(5, len(data))])
	}
	switch {
	case t.echo():
		t.write(cmd.header + shown + "\r\n")
	case t.dual:
		t.write("\r\n")
	}
	if t.udpPorts[cmd.handle-1] == 0 {
		t.refuse(cannot)
		return
	}
	if t.faults.hits(Unplug) {
		t.unplug()
		return
	}
	if t.faults.hits(Freeze) {
		t.frozen = true
		t.after(time.Minute, func() { t.frozen = false; t.done() })
		return
	}
	okFirst, okLast := t.faults.hits(OKFirst), t.faults.hits(OKLast)
	noResult, onlyNS := t.faults.hits(NoResult), t.faults.hits(OnlyNS)
	ok := func() {
		t.line("OK")
		t.done()
	}
	t.after(max(t.cfg.Uplink, 0), func() {
		if okFirst {
			ok()
		}
		finish := func() {
			result := notSent
			if t.transmit(cmd.to, cmd.port, data, cmd.plain) {
				result = sent
			}
			if !noResult && !onlyNS {
				t.event(skstack.EventSent, cmd.to, result)
			}
			switch {
			case okFirst:
			case okLast:
				t.after(answers, ok)
			default:
				ok()
			}
			t.troubles()
		}
		silent := t.silent(cmd.plain)
		switch {
		case !silent && t.absent(cmd.to):
			t.event(skstack.EventSent, cmd.to, solicited)
			t.later(givesUp, finish)
			return
		case !silent && t.forgotten(cmd.to), onlyNS:
			t.event(skstack.EventSent, cmd.to, solicited)
			t.event(0x02, cmd.to, -1)
		}
		finish()
	})
}

// absent says whether nobody will answer to that address when asked for a MAC address. A neighbour in the cache is not
// asked.
func (t *text) absent(addr netip.Addr) bool {
	return !addr.IsMulticast() && t.meter(addr) == nil && !t.knows(addr)
}

// forgotten says whether a neighbour must be asked for its MAC address first. A group needs none.
func (t *text) forgotten(addr netip.Addr) bool {
	forget := t.faults.hits(Neighbour)
	m := t.meter(addr)
	if addr.IsMulticast() || m == nil || t.knows(addr) && !forget {
		return false
	}
	t.remember(neighbour{addr, m.MAC})
	return true
}
