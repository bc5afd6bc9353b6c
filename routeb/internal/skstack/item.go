package skstack

import (
	"net/netip"
	"strings"
)

// Item is what a module writes: Line, Event, Datagram, Pan or Damage.
type Item interface{ item() }

// Line is a line that is none of the other items: an echo, a part of an answer, OK or FAIL. Surrounding spaces are cut.
type Line string

// Status says whether the line ends the answer to a command, and with what: "OK" or "FAIL" first, then what follows on
// the same line, such as "ER04" or the value of ROPT.
func (l Line) Status() (word, rest string, ok bool) {
	word, rest, _ = strings.Cut(string(l), " ")
	return word, strings.TrimSpace(rest), word == "OK" || word == "FAIL"
}

// Event is an EVENT line.
type Event struct {
	Number byte
	Addr   netip.Addr // the dongle's own, or the peer's; the zero Addr where the event has none
	Side   int        // 0 route B, 1 home area network; -1 on single-stack modules
	Param  int        // -1 where the event has none
}

// Numbers of the events that matter on route B.
const (
	EventBeacon       = 0x20 // a scan found a network; its description follows
	EventSent         = 0x21 // a datagram was sent: Param 0 sent, 1 failed, 2 neighbour solicitation sent instead
	EventScanDone     = 0x22
	EventRefused      = 0x24 // PANA failed: no session came about, or its renewal failed
	EventJoined       = 0x25 // PANA succeeded, also after an automatic renewal
	EventEnding       = 0x26 // the peer asked to end the session
	EventEnded        = 0x27 // the session ended
	EventEndTimeout   = 0x28 // the peer did not answer our end request; the session ended all the same
	EventExpired      = 0x29 // the session's lifetime is over
	EventLimited      = 0x32 // the legal sum of transmit time is used up
	EventLimitedClear = 0x33 // sending is allowed again
)

// Datagram is an ERXUDP line: a UDP datagram that the module received.
type Datagram struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	MAC              EUI64 // of the sender; FFFFFFFFFFFFFFFF from some modules during PANA
	LQI              int   // link quality, 0 to 255; -1 where the module does not say
	Encrypted        bool  // the frames on the air were encrypted
	Side             int   // as in Event
	Data             []byte
}

// Pan is an EPANDESC block: a network that a scan found.
type Pan struct {
	Channel byte // 0x21 to 0x3C
	ID      uint16
	Addr    EUI64
	LQI     byte
	Side    int    // as in Event
	PairID  string // the last 8 characters of the route-B id; empty in scan mode 3
}

// Damage says that bytes were lost or added on the serial line. The parser goes on at the next line.
type Damage string

func (Line) item()     {}
func (Event) item()    {}
func (Datagram) item() {}
func (Pan) item()      {}
func (Damage) item()   {}
