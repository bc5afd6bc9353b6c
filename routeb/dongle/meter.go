package dongle

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
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
	// joined reads it and sets its read deadline. Meters of one dongle may share it: what comes from the address of
	// another of them is dropped. nil = a meter that never sends anything.
	Conn net.PacketConn
	// Addr is the address of the meter on Conn. Required with Conn.
	Addr net.Addr

	MAC      routeb.EUI64  // default 00005EEF100000A1, then 00005EEF100001A1 and so on: one that no other meter has
	Channel  byte          // 33 to 60, default 59. The J11 family hears the odd ones only
	PAN      uint16        // default 0x8888, then 0x8889 and so on
	LQI      byte          // link quality at the dongle, default 0xE1, which is -42 dBm
	Lifetime time.Duration // of a session, in the dongle's time, default 24 h

	// Lock names a file that is locked while a dongle has a session, so that it keeps out dongles of other programs that
	// name it too. It is made if it is missing, and never removed. Empty = only dongles that share the Meter see each
	// other. It has no effect where the system has no flock.
	Lock string

	mu     sync.Mutex // guards what follows
	holder routeb.EUI64
	until  time.Time   // the holder's session ends; zero if there is none
	lock   *os.File    // held; nil = none
	lapse  *time.Timer // gives the lock back when the session has ended with nobody there
}

func (m *Meter) setDefaults() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Channel = cmp.Or(m.Channel, 59)
	m.LQI = cmp.Or(m.LQI, 0xE1)
	m.Lifetime = cmp.Or(m.Lifetime, 24*time.Hour)
}

// setAddresses gives each meter that has none a MAC address and a PAN that no other of them has.
func setAddresses(meters []*Meter) error {
	macs, pans := make(map[routeb.EUI64]bool), make(map[uint16]bool)
	for _, m := range meters {
		m.mu.Lock()
		mac, pan := m.MAC, m.PAN
		m.mu.Unlock()
		if macs[mac] && mac != (routeb.EUI64{}) {
			return fmt.Errorf("dongle: meter: a second one with MAC address %s", mac)
		}
		macs[mac], pans[pan] = true, true
	}
	for _, m := range meters {
		m.setAddress(macs, pans)
	}
	return nil
}

// setAddress chooses what is missing among what is not taken.
func (m *Meter) setAddress(macs map[routeb.EUI64]bool, pans map[uint16]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 0; m.MAC == (routeb.EUI64{}); n++ {
		if mac := (routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, byte(n >> 8), byte(n), 0xA1}); !macs[mac] {
			m.MAC, macs[mac] = mac, true
		}
	}
	for pan := uint16(0x8888); m.PAN == 0; pan++ {
		if !pans[pan] {
			m.PAN, pans[pan] = pan, true
		}
	}
}

// admit opens or renews a dongle's session for d of real time, unless another dongle has one.
// The error says why the lock cannot be had, other than that somebody holds it.
func (m *Meter) admit(mac routeb.EUI64, d time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Before(m.until) && m.holder != mac {
		return false, nil
	}
	if ok, err := m.tryLock(); !ok {
		return false, err
	}
	m.holder, m.until = mac, now.Add(d)
	if m.lock != nil {
		if m.lapse != nil {
			m.lapse.Stop()
		}
		m.lapse = time.AfterFunc(d, m.unlockLapsed)
	}
	return true, nil
}

// tryLock takes the lock if there is one to take.
func (m *Meter) tryLock() (bool, error) {
	if m.Lock == "" || m.lock != nil {
		return true, nil
	}
	f, err := openLock(m.Lock)
	if err != nil {
		return false, err
	}
	if ok, err := lock(f); !ok {
		return false, errors.Join(err, f.Close())
	}
	m.lock = f
	return true, nil
}

func (m *Meter) unlockLapsed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !time.Now().Before(m.until) {
		m.unlock()
	}
}

func (m *Meter) unlock() {
	if m.lock != nil {
		m.lapse.Stop()
		_ = m.lock.Close() // nothing was written
		m.lock, m.lapse = nil, nil
	}
}

// release ends a dongle's session.
func (m *Meter) release(mac routeb.EUI64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder == mac {
		m.until = time.Time{}
		m.unlock()
	}
}
