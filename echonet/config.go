package echonet

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// ReplyPolicy says to which port of the sender's address an answer goes.
type ReplyPolicy int

const (
	// ReplyAuto answers to port 3610, as the specification says, except that a
	// sender on loopback that uses another port gets the answer there: several
	// nodes share that host.
	ReplyAuto ReplyPolicy = iota
	// Reply3610 always answers to port 3610.
	Reply3610
	// ReplySource always answers to the port that the request came from, for
	// peers behind address translation.
	ReplySource
)

// String returns "auto", "3610" or "source".
func (p ReplyPolicy) String() string {
	switch p {
	case ReplyAuto:
		return "auto"
	case Reply3610:
		return "3610"
	case ReplySource:
		return "source"
	}
	return fmt.Sprintf("ReplyPolicy(%d)", int(p))
}

// ParseReplyPolicy reads what String writes.
func ParseReplyPolicy(s string) (ReplyPolicy, error) {
	for _, p := range []ReplyPolicy{ReplyAuto, Reply3610, ReplySource} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("echonet: reply policy %q: want auto, 3610 or source", s)
}

// replyTo returns where the answer to a datagram from that address goes.
func (p ReplyPolicy) replyTo(from net.Addr) net.Addr {
	u, ok := from.(*net.UDPAddr)
	if !ok || u.Port == Port || p == ReplySource || p == ReplyAuto && u.IP.IsLoopback() {
		return from
	}
	return &net.UDPAddr{IP: u.IP, Port: Port, Zone: u.Zone}
}

// Config is what a Node is made of. The zero value is a node without links,
// objects and identity.
type Config struct {
	// Links are how the node is reached. See Listen. They stay the caller's to
	// close; Node.Close does it for those who have no further use for them.
	Links []Link
	// Objects are what the node serves beside its node profile, in the order in
	// which the instance list shows them.
	Objects []Object
	// Identity is what the node profile says of the make.
	Identity Identity
	// NodeNumber is the number by which others tell nodes apart (EPC BF of the
	// node profile), which they may change. Default 8000. OnNodeNumber, if not
	// nil, is told of a change, so that it survives a restart; it returns at once.
	NodeNumber   [2]byte
	OnNodeNumber func(number [2]byte)
	// Reply says where answers go.
	Reply ReplyPolicy
	// Announce are unicast targets that get every notification too.
	Announce []net.Addr
	// MaxPayload is the size limit of a datagram that the node sends, in bytes.
	// Default 1232, what Wi-SUN carries. Of a Get whose answer would be larger,
	// those properties that do not fit are answered as refused. A request that is
	// larger itself may have an answer of its size.
	MaxPayload int
	// InFlight is how many requests to one peer may wait for their answers.
	// Default 1: a meter need not handle more.
	InFlight int
	// OPC is how many properties are put in one Get. Default 6, what every
	// meter handles (AIF 1.01, 2.4.4). For a peer that turns out to take fewer
	// the node remembers that.
	OPC int
	// Timeout is the wait for an answer with one property (default 20 s) and
	// TimeoutMany with several (default 60 s); AIF 1.01, 2.4.2.
	Timeout, TimeoutMany time.Duration
	// Retries is how many times a Get, an INFREQ or an INFC is sent again after
	// a timeout. Default 1, negative for none. A Set is never sent again.
	Retries int
	// OnNotify is called with every notification (INF and INFC) in the order of
	// arrival, from one goroutine; it may block and send requests. f shares no
	// memory with the node. A HEMS checks from and f.SEOJ: anyone may send one.
	OnNotify func(from net.Addr, f Frame)
	// OnDrop, if not nil, is told of every datagram that is dropped, and why,
	// from the reading goroutine. It returns at once and keeps nothing.
	OnDrop func(from net.Addr, datagram []byte, reason error)
	// Now is the clock of Stats. Default time.Now.
	Now func() time.Time
	// Logger gets what goes wrong on links. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxPayload = cmp.Or(c.MaxPayload, 1232)
	c.InFlight = cmp.Or(c.InFlight, 1)
	c.OPC = cmp.Or(c.OPC, 6)
	c.Timeout = cmp.Or(c.Timeout, 20*time.Second)
	c.TimeoutMany = cmp.Or(c.TimeoutMany, 60*time.Second)
	c.Retries = cmp.Or(c.Retries, 1)
	c.OPC = min(c.OPC, 255)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// check reports what of a configuration cannot work.
func (c Config) check() error {
	seen := map[EOJ]bool{}
	for _, o := range c.Objects {
		e := o.EOJ()
		switch {
		case e.Class() == NodeProfile.Class():
			return fmt.Errorf("echonet: object %v: the node makes its own node profile", e)
		case e.Instance() == 0 || e.Instance() > 0x7F:
			return fmt.Errorf("echonet: object %v: instance must be 01 to 7F", e)
		case seen[e]:
			return fmt.Errorf("echonet: object %v: given twice", e)
		}
		seen[e] = true
	}
	if len(c.Identity.Product) > 12 || len(c.Identity.Serial) > 12 {
		return errors.New("echonet: identity: product code and serial number hold 12 characters")
	}
	return nil
}
