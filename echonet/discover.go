package echonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// askQueue is how many answers of a group may wait for the caller.
const askQueue = 1024

// Ask sends a request to many: to the targets, which may be unicast or broadcast
// addresses, or with none to the group of every link. It calls each with every
// answer, from this goroutine, until ctx ends, which is no error. Each answer is
// the caller's; answers that come faster than they are taken are lost. Anyone may
// answer, and more than once.
//
// If f could not be sent to anybody Ask returns the error.
func (n *Node) Ask(ctx context.Context, f Frame, targets []net.Addr, each func(from net.Addr, f Frame)) error {
	return n.ask(ctx, f, targets, 1, each)
}

// ask is Ask with the request sent several times, a second apart.
func (n *Node) ask(ctx context.Context, f Frame, targets []net.Addr, times int, each func(net.Addr, Frame)) error {
	if !f.ESV.IsRequest() || f.ESV == INFC {
		return fmt.Errorf("echonet: ask with %v: %w", f.ESV, ErrService)
	}
	if f.SEOJ == (EOJ{}) {
		f.SEOJ = n.self()
	}
	w := &pending{group: true, sent: &f, reply: make(chan reply, askQueue)}
	if err := n.await(w); err != nil {
		return err
	}
	defer n.forget(w)
	b, err := n.encode(&f)
	if err != nil {
		return err
	}
	if err := n.broadcast(b, targets); err != nil {
		return err
	}
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.stopped:
			return ErrStopped
		case r := <-w.reply:
			each(r.from, r.f)
		case <-again.C:
			if times--; times > 0 {
				_ = n.broadcast(b, targets) // it went well before
			}
		}
	}
}

// broadcast sends to the targets, or to the groups. It fails if nothing was sent.
func (n *Node) broadcast(b []byte, targets []net.Addr) error {
	var errs []error
	sent := 0
	note := func(err error) {
		if err == nil {
			sent++
		} else {
			errs = append(errs, err)
		}
	}
	for _, to := range targets {
		to = withPort(to)
		p, err := n.route(to)
		if err == nil {
			err = n.transmit(p, b, to)
		}
		note(err)
	}
	for _, p := range n.ports {
		if len(targets) == 0 && p.group != nil {
			note(n.transmit(p, b, p.group))
		}
	}
	switch {
	case sent > 0:
		return nil
	case len(errs) == 0:
		return fmt.Errorf("%w: no link has a group, and no targets were given", ErrNoLink)
	}
	return errors.Join(errs...)
}

// discoverTimes is how often Discover asks: datagrams get lost.
const discoverTimes = 3

// maxFound bounds the nodes that one Discover tells apart.
const maxFound = 65536

// Discover asks nodes for their instance lists (D6), three times within two
// seconds, and calls found once for each node that answers, from this goroutine,
// until ctx ends. Targets are as for Ask.
func (n *Node) Discover(ctx context.Context, targets []net.Addr, found func(from net.Addr, instances []EOJ)) error {
	f := Frame{DEOJ: NodeProfile, ESV: Get, Properties: bare([]byte{0xD6})}
	seen := map[peerKey]bool{}
	return n.ask(ctx, f, targets, discoverTimes, func(from net.Addr, f Frame) {
		edt, _ := f.Find(0xD6)
		list, err := ParseInstanceList(edt)
		k := peerKey{HostOf(from), 0}
		if HostOf(from).IP().IsLoopback() {
			k = keyOf(from) // several nodes share that host
		}
		if err != nil || seen[k] || len(seen) >= maxFound {
			return
		}
		seen[k] = true
		found(from, list)
	})
}

// ErrInstanceList: bytes that are no instance list.
var ErrInstanceList = errors.New("echonet: instance list: malformed")

// ParseInstanceList reads the data of D5 or D6: a count, at most 84, and that
// many objects.
func ParseInstanceList(edt []byte) ([]EOJ, error) {
	if len(edt) == 0 || int(edt[0]) > maxInstances || len(edt) != 1+3*int(edt[0]) {
		return nil, ErrInstanceList
	}
	list := make([]EOJ, 0, edt[0])
	for b := edt[1:]; len(b) > 0; b = b[3:] {
		list = append(list, EOJ(b[:3]))
	}
	return list, nil
}
