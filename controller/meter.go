package controller

import (
	"context"
	"net"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// Requester sends requests to other nodes. An [echonet.Node] is one: it keeps to
// one request at a time per meter, waits as long as the meter-HEMS interface
// says, repeats a lost Get, and learns how many properties a meter takes in one.
type Requester interface {
	Get(ctx context.Context, peer net.Addr, eoj echonet.EOJ, epcs ...byte) ([]echonet.Property, error)
	SetC(ctx context.Context, peer net.Addr, eoj echonet.EOJ, ps ...echonet.Property) error
	SetGet(ctx context.Context, peer net.Addr, eoj echonet.EOJ, set []echonet.Property, get []byte) (setRes, getRes []echonet.Property, err error)
	InfReq(ctx context.Context, peer net.Addr, eoj echonet.EOJ, epcs ...byte) ([]echonet.Property, error)
}

// Meter is where a meter is found.
type Meter struct {
	// Addr is the address of the meter's node; port 3610 if it names none.
	// Required, unless Locate is given.
	Addr net.Addr
	// Locate, if not nil, is asked for the address before each request: behind
	// a Wi-SUN dongle it may change with a rejoin. It returns at once, and nil
	// while there is none.
	Locate func() net.Addr
	// Object is the meter's object. Default 0288.01.
	Object echonet.EOJ
	// Link, if not nil, is the link that leads to this meter alone.
	Link Link
}

// Link is what a controller sees of a link with a session, such as Wi-SUN
// Route B.
type Link interface {
	// State returns the present state, at once.
	State() LinkState
	// Changed returns a channel that gets a value, or is closed, at the next
	// change of state. Each call may return another one.
	Changed() <-chan struct{}
}

// LinkState is the state of a link. The zero value is that of a link that says
// nothing.
type LinkState struct {
	Name   string    // such as "scanning", "joining", "joined", "lost"
	Joined bool      // requests can reach the meter
	Since  time.Time // of the state; another one while Joined means joined anew
	RSSI   int       // of the last datagram, dBm; 0 if not known
}

func (m Meter) addr() net.Addr {
	if m.Locate != nil {
		return m.Locate()
	}
	return m.Addr
}

func (m Meter) object() echonet.EOJ {
	if m.Object == (echonet.EOJ{}) {
		return echonet.LowVoltageMeter
	}
	return m.Object
}
