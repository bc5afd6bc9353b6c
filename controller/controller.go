package controller

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
)

// Controller reads meters and relays their evidence.
type Controller struct {
	cfg    Config
	spool  *Spool  // nil without an MDMS; set by Run before all else
	client *Client // likewise

	mu       sync.Mutex // guards what follows
	units    []*unit
	seekers  map[chan Found]bool        // who wants to hear of instances
	claims   map[eventlog.MeterID]*unit // which unit carries a meter's evidence
	carried  map[[32]byte]time.Time
	arrivals chan Found // of meters, to Run; nil when it does not run
	ready    chan struct{}
}

// New returns a controller, which does nothing until it is asked to.
func New(c Config) *Controller {
	ctl := &Controller{
		cfg:     c.withDefaults(),
		seekers: map[chan Found]bool{},
		claims:  map[eventlog.MeterID]*unit{},
		carried: map[[32]byte]time.Time{},
		ready:   make(chan struct{}, 1),
	}
	for i, m := range c.Meters {
		u := newUnit(ctl, m, i)
		u.configured = true
		ctl.units = append(ctl.units, u)
	}
	return ctl
}

// maxUnits bounds the meters that are discovered.
const maxUnits = 4096

// Run reads all meters, collects their evidence and relays it, until ctx ends;
// it returns nil then. It fails at once if the MDMS address or the spool is
// unusable. Run is called once.
func (c *Controller) Run(ctx context.Context) error {
	if c.cfg.MDMS != "" {
		var err error
		if c.client, err = NewClient(c.cfg.MDMS, c.cfg.HTTP); err != nil {
			return err
		}
		if c.spool, err = OpenSpool(c.cfg.Spool); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.client != nil {
		relay := Relay{Client: c.client, Spool: c.spool, Delivered: c.delivered, Logger: c.cfg.Logger}
		all.Go(func() { _ = relay.Run(ctx) }) // it fails never
		all.Go(func() { c.fetchWork(ctx) })
	}
	if len(c.cfg.Meters) > 0 {
		for _, u := range c.units {
			all.Go(func() { u.run(ctx) })
		}
		<-ctx.Done()
		return nil
	}
	arrivals := make(chan Found, 16)
	c.mu.Lock()
	c.arrivals = arrivals
	c.mu.Unlock()
	all.Go(func() { c.search(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-arrivals:
			for _, m := range f.meters() {
				if u := c.adopt(m); u != nil {
					all.Go(func() { u.run(ctx) })
				}
			}
		}
	}
}

// adopt makes a unit of a meter that is new here; nil if it is not.
func (c *Controller) adopt(m Meter) *unit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.units) >= maxUnits {
		return nil
	}
	for _, u := range c.units {
		if u.meter.object() == m.object() && sameNode(u.meter.addr(), m.addr()) {
			return nil
		}
	}
	u := newUnit(c, m, len(c.units))
	c.units = append(c.units, u)
	c.cfg.Logger.Info("meter found", "addr", m.Addr, "object", m.object())
	return u
}

// all returns the units.
func (c *Controller) all() []*unit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*unit(nil), c.units...)
}

// States returns the state of every meter.
func (c *Controller) States() []State {
	var out []State
	for _, u := range c.all() {
		out = append(out, u.snapshot())
	}
	return out
}

// Notify takes a notification that the node has received. It returns soon.
func (c *Controller) Notify(from net.Addr, f echonet.Frame) {
	if f.SEOJ.Class() == echonet.NodeProfile.Class() {
		c.notifyInstances(from, f)
		return
	}
	if u := c.unitAt(from, f.SEOJ); u != nil {
		u.notify(f.Properties)
	}
}

// notifyInstances takes an instance list: of a node that has joined, or that was
// asked.
func (c *Controller) notifyInstances(from net.Addr, f echonet.Frame) {
	edt, _ := f.Find(epcInstances)
	found := Found{Addr: serviceAddr(from), Instances: parseInstances(edt)}
	c.tell(found)
	if f.DEOJ == echonet.Controller {
		return // an answer; a node that joins speaks to all
	}
	for _, m := range found.meters() {
		if u := c.unitAt(from, m.object()); u != nil {
			u.rejoin()
		}
	}
}

// tell tells those who look for meters of a node.
func (c *Controller) tell(found Found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seeker := range c.seekers {
		select {
		case seeker <- found:
		default: // it has more to do already than it can remember
		}
	}
	if c.arrivals != nil {
		select {
		case c.arrivals <- found:
		default: // the next search finds it
		}
	}
}

// unitAt returns the unit of an object at the node that a datagram came from. A
// node may send from any port; only where several meters share a host does the
// port tell them apart.
func (c *Controller) unitAt(from net.Addr, object echonet.EOJ) *unit {
	var found *unit
	for _, u := range c.all() {
		addr := u.meter.addr()
		if addr == nil || u.meter.object() != object || echonet.HostOf(addr) != echonet.HostOf(from) {
			continue
		}
		if addr.String() == from.String() {
			return u
		}
		if found != nil {
			return nil // it could be either
		}
		found = u
	}
	return found
}

// claim gives a unit the evidence of a meter to carry, and takes what it had
// before. It reports false if another unit has that meter: whoever is on the link
// can say that it is any meter, so that the first one counts while it answers, and
// one that was configured before those that were found. The zero id is nobody's.
func (c *Controller) claim(u *unit, id eventlog.MeterID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for had, by := range c.claims {
		if by == u && had != id {
			delete(c.claims, had)
		}
	}
	if id == (eventlog.MeterID{}) {
		return true
	}
	other := c.claims[id]
	if other != nil && other != u {
		if other.configured && !u.configured || other.configured == u.configured && !other.snapshot().silent() {
			return false
		}
	}
	c.claims[id] = u
	return true
}

// unitOf returns the unit that carries the evidence of a meter, nil if none does.
func (c *Controller) unitOf(id eventlog.MeterID) *unit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.claims[id]
}

// unitFrom returns the unit that is a source of the spool, nil if there is none.
func (c *Controller) unitFrom(s Source) *unit {
	for _, u := range c.all() {
		if u.source == s {
			return u
		}
	}
	return nil
}

// delivered takes the relay's word of a bundle.
func (c *Controller) delivered(d Delivery) {
	log := c.cfg.Logger.Info
	if d.Answer.Outcome != Applied && d.Answer.Outcome != Duplicate {
		log = c.cfg.Logger.Warn
	}
	log("bundle delivered", "meter", d.Entry.Meter, "outcome", d.Answer.Outcome, "verdict", d.Answer.Verdict, "reason", d.Reason)
	if u := c.unitFrom(d.Entry.Source); u != nil && u.collects() == d.Entry.Meter {
		u.delivered(d)
	}
	c.dispatch(d.Answer.Work)
}

const (
	maxPollMeters = 64               // meters named in one question for work
	maxCarried    = 1024             // messages remembered
	carryAgain    = 10 * time.Minute // when a message that comes again is carried again
	workWait      = 60 * time.Second
)

// fetchWork asks the MDMS for work, and hands it to the units.
func (c *Controller) fetchWork(ctx context.Context) {
	fail, pace := backoff{base: time.Second}, backoff{base: time.Second, limit: 5 * time.Second}
	for ctx.Err() == nil {
		var ids []eventlog.MeterID
		for _, u := range c.all() {
			if id := u.collects(); id != (eventlog.MeterID{}) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
			case <-c.ready:
			}
			continue
		}
		if len(ids) > maxPollMeters {
			ids = nil // ask for all; what is for others is left out
		}
		work, err := c.client.Work(ctx, workWait, ids...)
		if err != nil {
			wait := fail.next()
			var status *HTTPError
			if errors.As(err, &status) {
				wait = min(max(wait, status.RetryAfter), maxBackoff)
			}
			if ctx.Err() == nil {
				c.cfg.Logger.Debug("no word of work", "err", err, "again_in", wait)
			}
			_ = sleep(ctx, wait) // the loop looks at ctx
			continue
		}
		fail.reset()
		if c.dispatch(work) {
			pace.reset()
		}
		_ = sleep(ctx, pace.next()) // whatever the MDMS answers, it is not asked all the time
	}
}

// dispatch hands work to the units. It reports whether some was new.
func (c *Controller) dispatch(work []Work) (news bool) {
	for _, w := range work {
		u := c.unitOf(w.Meter)
		if u == nil {
			continue
		}
		if err := w.check(); err != nil {
			c.cfg.Logger.Warn("work that is none", "err", err)
			continue
		}
		if !c.isNew(w) {
			continue
		}
		if !u.carry(w) {
			c.forget(w)
			continue
		}
		news = true
	}
	return news
}

// isNew reports whether a message was not carried lately, and remembers it.
func (c *Controller) isNew(w Work) bool {
	key := sha256.Sum256(w.Message)
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.carried[key]; ok && now.Sub(t) < carryAgain {
		return false
	}
	if len(c.carried) >= maxCarried {
		clear(c.carried) // carrying twice does no harm
	}
	c.carried[key] = now
	return true
}

// forget makes a message new again.
func (c *Controller) forget(w Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.carried, sha256.Sum256(w.Message))
}

// Read reads one meter once: what it is, and present values.
func (c *Controller) Read(ctx context.Context, m Meter) (Readings, error) {
	r := NewReader(c.cfg.Node, m, c.cfg.Now)
	err := r.identify(ctx)
	if err == nil {
		err = r.Poll(ctx)
	}
	return r.Readings(), err
}

// Collect collects evidence of one meter once, for whoever takes the bundle. It
// has nothing to do with spool and MDMS.
func (c *Controller) Collect(ctx context.Context, m Meter, w Want) (Collected, error) {
	return NewCollector(c.cfg.Node, m, c.cfg.Collect).Collect(ctx, w)
}

// History reads one day of a meter's history once: 0 for today to 99 days ago.
func (c *Controller) History(ctx context.Context, m Meter, ago int) (Day, error) {
	r := NewReader(c.cfg.Node, m, c.cfg.Now)
	if err := r.identify(ctx); err != nil {
		return Day{}, err
	}
	return r.Day(ctx, ago)
}
