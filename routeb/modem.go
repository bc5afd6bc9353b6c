package routeb

import (
	"context"
	"net/netip"
	"time"
)

// modem is the language that a module speaks. One goroutine uses it. Whatever arrives while a method waits, and what feed
// is given, goes to the sink.
type modem interface {
	// probe resets the module, asks what it is and gives it the credentials. An error that wraps ErrNoAnswer says that
	// nothing there speaks this language.
	probe(ctx context.Context) (Module, error)
	// scanTime is how long scan takes.
	scanTime(duration int, only *Network) time.Duration
	// scan looks once for networks with our pairing id, on one channel or on all. Each step of duration doubles the
	// time on a channel.
	scan(ctx context.Context, duration int, only *Network) ([]Network, error)
	// join opens a session.
	join(ctx context.Context, n Network) error
	// renewed waits for the module to renew an expired session by itself.
	renewed(ctx context.Context) error
	// send sends a datagram and returns when the module knows what became of it. The errors are those of WriteTo, or
	// wrap errStuck if the module must be reset.
	send(ctx context.Context, to netip.Addr, data []byte) error
	// limited asks whether the transmit time is used up.
	limited(ctx context.Context) (bool, error)
	// leave ends the session.
	leave(ctx context.Context) error
	// power is the signal strength of a beacon in dBm.
	power(quality byte) float64
	feed(b []byte)
}

// sink is who is told of what happens unasked.
type sink interface {
	received(d datagram)
	damaged()
	ended(why error) // ErrRefused, ErrEnded or ErrExpired
	rejoined()       // the module renewed the session
	limit(on bool)
}

type datagram struct {
	from             netip.Addr
	srcPort, dstPort uint16
	encrypted        bool
	power            float64 // dBm; 0 = unknown
	data             []byte
}

// Times that a module may take, from section "the session in time" of docs/route-b.md.
const (
	commandTime = 2 * time.Second
	helloTime   = time.Second
	resetTime   = 3 * time.Second
	sendTime    = 10 * time.Second
	joinTime    = 60 * time.Second // the firmware itself tries for about 40 s
	leaveTime   = 15 * time.Second
	renewTime   = 60 * time.Second
	scanMargin  = 10 * time.Second
	lateBeacon  = 500 * time.Millisecond // after the end of a scan
	quietTime   = 200 * time.Millisecond
	drainLimit  = 3 * time.Second
	radioTries  = 4 // a datagram that the radio failed to deliver is sent again up to three times
	radioPause  = time.Second
)
