package echonet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Node is an ECHONET Lite node: it serves its objects and sends requests to
// other nodes. Its methods may be called concurrently.
type Node struct {
	cfg     Config
	err     error // of the configuration; Serve returns it
	ports   []*port
	count   counters
	objects atomic.Pointer[table]
	profile *profile

	notify  chan notification // to the goroutine that calls OnNotify; nil without
	served  atomic.Bool       // Serve was called
	stopped chan struct{}     // closed when Serve ends

	mu      sync.Mutex // guards what follows
	nextTID uint16
	pending map[uint16]*pending
	peers   map[peerKey]*peer
}

type notification struct {
	from net.Addr
	f    Frame
}

// notifyQueue is how many notifications may wait for OnNotify.
const notifyQueue = 256

// New returns a node, which does nothing until Serve is called. What is wrong
// with a configuration Serve reports.
func New(c Config) *Node {
	n := &Node{
		cfg:     c.withDefaults(),
		err:     c.check(),
		stopped: make(chan struct{}),
		nextTID: uint16(rand.Uint32()),
		pending: map[uint16]*pending{},
		peers:   map[peerKey]*peer{},
	}
	if c.OnNotify != nil {
		n.notify = make(chan notification, notifyQueue)
	}
	n.profile = newProfile(n, c.Identity)
	n.objects.Store(newTable(n.profile, c.Objects))
	nets := localPrefixes()
	for _, l := range c.Links {
		n.ports = append(n.ports, newPort(l, nets))
	}
	return n
}

// table is an immutable list of objects, the node profile first.
type table struct {
	objects []Object
	byEOJ   map[EOJ]Object
}

func newTable(profile Object, devices []Object) *table {
	t := &table{byEOJ: map[EOJ]Object{}}
	for _, o := range append([]Object{profile}, devices...) {
		t.objects = append(t.objects, o)
		t.byEOJ[o.EOJ()] = o
	}
	return t
}

// devices returns the objects without the node profile.
func (t *table) devices() []Object { return t.objects[1:] }

// has reports whether the destination e names an object of the table.
func (t *table) has(e EOJ) bool {
	if _, ok := t.byEOJ[e]; ok {
		return true
	}
	if e.Instance() != 0 {
		return false
	}
	for _, o := range t.objects {
		if e.Matches(o.EOJ()) {
			return true
		}
	}
	return false
}

// Objects returns what the node serves beside its node profile.
func (n *Node) Objects() []Object {
	return append([]Object(nil), n.objects.Load().devices()...)
}

// SetObjects changes what the node serves beside its node profile, and announces
// the new instance list. On error nothing changes.
func (n *Node) SetObjects(objects ...Object) error {
	c := n.cfg
	c.Objects = objects
	if err := c.check(); err != nil {
		return err
	}
	n.objects.Store(newTable(n.profile, objects))
	return n.InstancesChanged()
}

// Close closes the links, for a node whose links nobody else uses.
func (n *Node) Close() error {
	var errs []error
	for _, p := range n.ports {
		if err := p.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Serve announces the instance list, then reads all links, answers requests and
// hands out answers and notifications, until ctx ends, which is no error, or all
// links are closed, which is net.ErrClosed. It can be called once; requests that
// still wait when it ends fail with ErrStopped. All that it started has ended
// when it returns. The links are still open, and another Node may serve them.
func (n *Node) Serve(ctx context.Context) error {
	if n.err != nil {
		return n.err
	}
	if n.served.Swap(true) {
		return errors.New("echonet: node served twice")
	}
	defer close(n.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers, others sync.WaitGroup
	others.Go(func() { <-ctx.Done(); n.wake() })
	if n.cfg.OnNotify != nil {
		others.Go(func() { n.deliver(ctx) })
	}
	for _, p := range n.ports {
		readers.Go(func() { n.read(ctx, p) })
	}
	if err := n.InstancesChanged(); err != nil {
		n.cfg.Logger.Warn("announce instance list", "err", err)
	}
	if len(n.ports) == 0 {
		<-ctx.Done()
	}
	readers.Wait()
	var err error
	if ctx.Err() == nil {
		err = fmt.Errorf("echonet: all links closed: %w", net.ErrClosed)
	}
	cancel()
	others.Wait()
	for _, p := range n.ports {
		p.stop()
		_ = p.conn.SetDeadline(time.Time{}) // as it was before wake
	}
	return err
}

// wake makes blocked reads and writes of all links return.
func (n *Node) wake() {
	past := time.Unix(1, 0)
	for _, p := range n.ports {
		if p.conn.SetDeadline(past) != nil {
			_ = p.conn.Close() // the only other way
		}
	}
}

// deliver calls OnNotify.
func (n *Node) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-n.notify:
			n.cfg.OnNotify(m.from, m.f)
		}
	}
}

// Reasons for which OnDrop is called, beside those of Frame.UnmarshalBinary.
var (
	// ErrOversize: a datagram of 4096 bytes or more.
	ErrOversize = errors.New("echonet: datagram too large")
	// ErrNoObject: the destination object is none of this node.
	ErrNoObject = errors.New("echonet: no such object")
	// ErrUnasked: an answer that nobody waits for.
	ErrUnasked = errors.New("echonet: answer to no request")
	// ErrMulticast: a service that is for one node only came by multicast.
	ErrMulticast = errors.New("echonet: individual service by multicast")
)

// datagram handles one datagram of any content. It reports whether that answered
// a request of ours.
func (n *Node) datagram(p *port, r *reader, b []byte, from net.Addr) bool {
	if n.own(from) {
		return false
	}
	n.count.received.Add(1)
	r.size = len(b)
	if len(b) == maxDatagram {
		n.drop(from, b, ErrOversize)
		return false
	}
	if err := r.f.UnmarshalBinary(b); err != nil {
		n.drop(from, b, err)
		return false
	}
	n.count.last.Store(n.cfg.Now().UnixNano())
	var err error
	switch f := &r.f; {
	case f.ESV == INF:
		err = n.inf(from, f)
	case f.ESV == INFC:
		err = n.infc(p, r, from)
	case f.ESV.IsRequest():
		err = n.serve(p, r, from)
	default:
		if n.answer(from, f) {
			return true
		}
		n.count.unmatched.Add(1)
		err = ErrUnasked
	}
	if err != nil {
		n.drop(from, b, err)
	}
	return false
}

func (n *Node) drop(from net.Addr, b []byte, reason error) {
	n.count.dropped.Add(1)
	if n.cfg.OnDrop != nil {
		n.cfg.OnDrop(from, b, reason)
	}
}

// own reports whether a datagram came from this node itself: its own multicast.
func (n *Node) own(from net.Addr) bool {
	ap, ok := addrPortOf(from)
	for _, p := range n.ports {
		switch {
		case p.heard || p.local == nil || ok != p.at.IsValid():
		case ok && p.at == ap, !ok && p.local.String() == from.String():
			return true
		}
	}
	return false
}
