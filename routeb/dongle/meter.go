package dongle

import (
	"cmp"
	"net"
	"sync"
	"time"

	"github.com/meterseal/meterseal/routeb"
)

// Meter is a meter within reach. Several dongles may share one: it lets in one at a time. The fields must not change
// while a dongle runs.
type Meter struct {
	// Credentials are what a dongle must know to be let in. Required.
	Credentials routeb.Credentials
	// Conn carries what dongles send to the meter and what comes back. Its owner is the caller; a dongle that has
	// joined reads it and sets its read deadline. nil = a meter that never sends anything.
	Conn net.PacketConn
	// Addr is the address of the meter on Conn. Required with Conn.
	Addr net.Addr

	MAC      routeb.EUI64  // default 00005EEF100000A1
	Channel  byte          // 33 to 60, default 59
	PAN      uint16        // default 0x8888
	LQI      byte          // link quality at the dongle, default 0xE1, which is -42 dBm
	Lifetime time.Duration // of a session, in the dongle's time, default 24 h

	mu     sync.Mutex // guards what follows
	holder routeb.EUI64
	until  time.Time // the holder's session ends; zero if there is none
}

func (m *Meter) setDefaults() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.MAC = cmp.Or(m.MAC, routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xA1})
	m.Channel = cmp.Or(m.Channel, 59)
	m.PAN = cmp.Or(m.PAN, 0x8888)
	m.LQI = cmp.Or(m.LQI, 0xE1)
	m.Lifetime = cmp.Or(m.Lifetime, 24*time.Hour)
}

// admit opens or renews a dongle's session for d of real time, unless another dongle has one.
func (m *Meter) admit(mac routeb.EUI64, d time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Before(m.until) && m.holder != mac {
		return false
	}
	m.holder, m.until = mac, now.Add(d)
	return true
}

// release ends a dongle's session.
func (m *Meter) release(mac routeb.EUI64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder == mac {
		m.until = time.Time{}
	}
}
