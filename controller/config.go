package controller

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Config says what a controller does. With a Node alone it finds and reads
// meters that announce themselves.
type Config struct {
	// Node sends requests. Required. Its notifications go to
	// Controller.Notify, and among its objects is a controller:
	//
	//	var c *controller.Controller
	//	node := echonet.New(echonet.Config{
	//		Links:    links,
	//		Objects:  []echonet.Object{echonet.NewController(id)},
	//		OnNotify: func(from net.Addr, f echonet.Frame) { c.Notify(from, f) },
	//	})
	//	c = controller.New(controller.Config{Node: node})
	Node Requester
	// Meters are the meters to be read. Default: those that are discovered.
	Meters []Meter
	// Groups are where meters are looked for: the groups of the node's links.
	Groups []net.Addr
	// DiscoverEvery is the time between two searches. Default 10 min.
	DiscoverEvery time.Duration
	// PollEvery is the time between two readings of power, currents and
	// registers. Default 1 min.
	PollEvery time.Duration
	// MDMS is the address of the MDMS. Default: none, and no evidence is
	// collected by Run.
	MDMS string
	// HTTP speaks to the MDMS; its TLS configuration holds the client's
	// certificate. Default http.DefaultClient.
	HTTP *http.Client
	// Spool is where evidence waits for the MDMS.
	Spool SpoolConfig
	// Collect says how evidence is collected. Its clock is Now.
	Collect CollectConfig
	// CollectEvery is the time between two looks for new evidence, beside those
	// that the meter's announcements cause. Default 5 min.
	CollectEvery time.Duration
	// Observe, if not nil, is given the state of a meter after each change, one
	// call at a time for each meter. It returns soon.
	Observe func(State)
	// Now is the clock of all times that are kept or shown. Default time.Now.
	Now func() time.Time
	// Logger gets what someone may want to know. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.DiscoverEvery = cmp.Or(max(c.DiscoverEvery, 0), 10*time.Minute)
	c.PollEvery = cmp.Or(max(c.PollEvery, 0), time.Minute)
	c.CollectEvery = cmp.Or(max(c.CollectEvery, 0), 5*time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Observe == nil {
		c.Observe = func(State) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Collect.Now = c.Now
	return c
}
