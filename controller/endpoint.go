package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// endpoint is one meter's object, as requests reach it.
type endpoint struct {
	node  Requester
	meter Meter
}

func (e endpoint) get(ctx context.Context, epcs ...byte) (ps []echonet.Property, err error) {
	err = e.request(ctx, true, func(ctx context.Context, peer net.Addr) (err error) {
		ps, err = e.node.Get(ctx, peer, e.meter.object(), epcs...)
		return err
	})
	return ps, err
}

func (e endpoint) infReq(ctx context.Context, eoj echonet.EOJ, epcs ...byte) error {
	return e.request(ctx, true, func(ctx context.Context, peer net.Addr) error {
		_, err := e.node.InfReq(ctx, peer, eoj, epcs...)
		return err
	})
}

func (e endpoint) setC(ctx context.Context, epc byte, edt []byte) error {
	return e.request(ctx, false, func(ctx context.Context, peer net.Addr) error {
		return e.node.SetC(ctx, peer, e.meter.object(), echonet.Property{EPC: epc, EDT: edt})
	})
}

func (e endpoint) setGet(ctx context.Context, epc byte, edt []byte, epcs ...byte) (ps []echonet.Property, err error) {
	err = e.request(ctx, false, func(ctx context.Context, peer net.Addr) (err error) {
		_, ps, err = e.node.SetGet(ctx, peer, e.meter.object(), []echonet.Property{{EPC: epc, EDT: edt}}, epcs)
		return err
	})
	return ps, err
}

const (
	linkWait  = time.Minute // for a link that is to join before a request
	linkTries = 3           // of a request that only reads
)

// request carries out a request. One that a loss of the link cuts off ends with
// it: what was asked before is not answered after. If it only reads it is made
// again when the link has joined; otherwise it may have been done, and the error
// is ErrLinkLost.
func (e endpoint) request(ctx context.Context, reads bool, do func(context.Context, net.Addr) error) error {
	for try := 1; ; try++ {
		peer := e.meter.addr()
		if peer == nil {
			return ErrNoAddress
		}
		if e.meter.Link == nil {
			return do(ctx, peer)
		}
		session, err := e.joined(ctx)
		if err != nil {
			return err
		}
		if peer = e.meter.addr(); peer == nil { // it may be another one now
			return ErrNoAddress
		}
		err = e.during(ctx, session, func(ctx context.Context) error { return do(ctx, peer) })
		if !errors.Is(err, ErrLinkLost) || !reads || try == linkTries {
			return err
		}
	}
}

// lasts reports whether the session that began at a time goes on. A link that
// says nothing of itself has one that never ends.
func (s LinkState) lasts(since time.Time) bool {
	return s.Name == "" && !s.Joined || s.Joined && s.Since.Equal(since)
}

// joined returns when the present session began. If there is none it waits for
// one, but not for long: the link may be away for days.
func (e endpoint) joined(ctx context.Context) (since time.Time, err error) {
	limit := time.NewTimer(linkWait)
	defer limit.Stop()
	for {
		changed := e.meter.Link.Changed() // before the look, or a change between them is lost
		if s := e.meter.Link.State(); s.lasts(s.Since) {
			return s.Since, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return time.Time{}, ErrLinkLost
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// during carries out a request of a session, and ends it with the session.
func (e endpoint) during(ctx context.Context, session time.Time, do func(context.Context) error) error {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			changed := e.meter.Link.Changed()
			if !e.meter.Link.State().lasts(session) {
				cancel()
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	err := do(ctx)
	cancel()
	watch.Wait()
	var sna *echonet.SNAError
	if err == nil || errors.As(err, &sna) || whole.Err() != nil || e.meter.Link.State().lasts(session) && !errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLinkLost, err)
}
