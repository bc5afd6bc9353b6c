package routeb

import (
	"net/netip"
	"time"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// State is where a session stands.
type State int

// The states in the order in which a session first goes through them. From Joined a session goes to Lost and from there
// to whichever state is needed to join again.
const (
	NoPort   State = iota // the port is not open: no such device, no permission, in use
	Probing               // open; finding out what module it is
	Scanning              // looking for the meter
	Joining               // authenticating
	Joined                // datagrams flow
	Lost                  // the session ended; what comes next waits for its turn
	Closed                // by Close
)

var stateNames = [...]string{"no-port", "probing", "scanning", "joining", "joined", "lost", "closed"}

// String returns the name of the state: no-port, probing, scanning, joining, joined, lost or closed.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "unknown"
	}
	return stateNames[s]
}

// MarshalText returns the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// EUI64 is the MAC address of a Wi-SUN device. Its text form has 16 upper-case hex digits.
type EUI64 = skstack.EUI64

// Network is the meter's network as a scan finds it. It is worth keeping: with it the next scan takes 0.6 s.
type Network struct {
	Channel byte   // 33 to 60; channel n is at 922.5 MHz + 0.2 MHz * (n-33)
	PAN     uint16 // network id
	MAC     EUI64  // of the meter
	LQI     byte   // link quality of the beacon; signed dBm from J11 modules
}

// Module is what hangs on the serial port.
type Module struct {
	Family   string // "single-stack", "dual-stack" or "j11"
	Version  string // of the stack, such as "1.2.10"
	Firmware string // the vendor's name for the build, such as "rev26e"; may be empty
	Data     string // how the module is set to write received data: "binary", "hex"; may be empty
	MAC      EUI64  // its own
	Baud     int    // the rate at which it answers, bit/s
}

// Status is a moment of a session.
type Status struct {
	State    State
	Since    time.Time     // when the state began
	Expected time.Duration // how long the state takes at the most if all goes well; 0 = unknown
	Err      error         // why the last attempt failed or the session was lost; nil once joined
	Module   Module        // zero until probed
	Network  Network       // zero until found
	Meter    netip.Addr    // address of the meter; the zero Addr until found
	Power    float64       // of the last signal received from the meter, dBm; 0 = unknown
	Limited  bool          // the legal sum of transmit time is used up: the module sends nothing for now
}

// weakSignal is a rule of thumb in dBm: modules hear down to about -100.
const weakSignal = -85

// Weak says that the last signal of the meter was so weak that datagrams are likely to be lost.
func (s Status) Weak() bool { return s.Power != 0 && s.Power < weakSignal }

// Stats counts since Dial.
type Stats struct {
	Sent          uint64 // datagrams of WriteTo that left
	NotSent       uint64 // datagrams of WriteTo that did not leave
	Indeterminate uint64 // datagrams of WriteTo of which it is not known
	Retries       uint64 // attempts to send a datagram after the first
	Received      uint64 // datagrams for ReadFrom
	Dropped       uint64 // of these, how many nobody read in time
	Ignored       uint64 // datagrams of other senders, on other ports, or not encrypted
	Damaged       uint64 // times that bytes were lost on the serial line

	Opens    uint64 // times that the port was opened
	Resets   uint64 // times that the module was reset
	Scans    uint64
	Joins    uint64 // sessions that came about
	Renewals uint64 // automatic renewals of a session
	Losses   uint64 // sessions that ended other than by Close

	Joined    time.Time     // when the present session came about; zero if there is none
	SendTime  time.Duration // from the last WriteTo to the module's word that the datagram left
	RoundTrip time.Duration // from then to the next datagram received
}
