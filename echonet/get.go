package echonet

import (
	"context"
	"errors"
	"net"
	"slices"
)

// Get reads properties of a peer's object, in several messages if the peer
// takes no larger ones. The result is in the order asked. If some are refused
// it holds the others, and the error is an *SNAError; after another error it
// holds what was read before.
func (n *Node) Get(ctx context.Context, peer net.Addr, eoj EOJ, epcs ...byte) ([]Property, error) {
	g := getter{n: n, peer: withPort(peer), eoj: eoj}
	err := g.all(ctx, unique(epcs))
	var ps []Property
	sna := &SNAError{EOJ: eoj, ESV: GetSNA}
	for _, epc := range epcs {
		if edt, ok := Find(g.values, epc); ok {
			ps = append(ps, Property{epc, edt})
		} else {
			sna.Refused = append(sna.Refused, epc)
		}
	}
	switch {
	case err != nil:
		return ps, err
	case len(sna.Refused) > 0:
		return ps, sna
	}
	return ps, nil
}

// unique returns the codes without repetitions.
func unique(epcs []byte) []byte {
	var out []byte
	for _, epc := range epcs {
		if !slices.Contains(out, epc) {
			out = append(out, epc)
		}
	}
	return out
}

// getter is one call of Node.Get.
type getter struct {
	n      *Node
	peer   net.Addr
	eoj    EOJ
	values []Property // what was read
}

// all reads the properties in as many messages as it takes.
func (g *getter) all(ctx context.Context, epcs []byte) error {
	for len(epcs) > 0 {
		limit, _ := g.n.limits(g.peer)
		k := min(len(epcs), limit)
		if err := g.batch(ctx, epcs[:k]); err != nil {
			return err
		}
		epcs = epcs[k:]
	}
	return nil
}

// batch reads properties in one message. What the answer lacks the peer may
// refuse, or have been asked too much at a time: a smaller message tells.
func (g *getter) batch(ctx context.Context, epcs []byte) error {
	_, proven := g.n.limits(g.peer)
	missing, large, err := g.once(ctx, epcs)
	switch {
	case errors.Is(err, ErrTimeout) && len(epcs) > max(1, proven):
		return g.silence(ctx, epcs)
	case err != nil:
		return err
	}
	got := len(epcs) - len(missing)
	if len(missing) > 0 && len(epcs) > 1 && (large || len(epcs) > proven) {
		before := len(g.values)
		if err := g.smaller(ctx, missing, got); err != nil {
			return err
		}
		if len(g.values) > before {
			if !large && len(missing) > 1 && slices.Equal(missing, epcs[got:]) {
				g.n.takesOnly(g.peer, smallerThan(len(epcs), got))
			}
			return nil
		}
	}
	g.n.handled(g.peer, len(epcs))
	return nil
}

// smaller asks again for what a message lacked of whose properties got were
// answered.
func (g *getter) smaller(ctx context.Context, missing []byte, got int) error {
	if got > 0 {
		g.n.handled(g.peer, got)
	}
	limit := smallerThan(len(missing), got)
	for len(missing) > 0 {
		k := min(limit, len(missing))
		if err := g.batch(ctx, missing[:k]); err != nil {
			return err
		}
		missing = missing[k:]
	}
	return nil
}

// smallerThan returns how many properties to ask for after a message of n of which
// got were answered: as many, or half if it was none.
func smallerThan(n, got int) int {
	if got > 0 {
		return got
	}
	return (n + 1) / 2
}

// silence handles a peer that did not answer several properties: it is gone, or
// the message was lost, or it takes only fewer at a time.
func (g *getter) silence(ctx context.Context, epcs []byte) error {
	if _, _, err := g.once(ctx, epcs[:1]); err != nil {
		return err
	}
	g.n.strike(g.peer, len(epcs))
	return g.all(ctx, epcs[1:])
}

// once sends one Get and keeps the values of its answer. missing are the codes
// that it lacks; large says that the answer may have been cut by its size.
func (g *getter) once(ctx context.Context, epcs []byte) (missing []byte, large bool, err error) {
	a, err := g.n.Request(ctx, g.peer, Frame{DEOJ: g.eoj, ESV: Get, Properties: bare(epcs)})
	if err != nil {
		return nil, false, err
	}
	size := headerSize
	for _, p := range a.Properties {
		size += 2 + len(p.EDT)
	}
	for _, epc := range epcs {
		edt, ok := Find(a.Properties, epc)
		if ok && (len(edt) > 0 || a.ESV == GetRes) {
			g.values = append(g.values, Property{epc, edt})
		} else {
			missing = append(missing, epc)
		}
	}
	return missing, size > g.n.cfg.MaxPayload/2, nil
}

// bare returns properties without data, as requests that read have them.
func bare(epcs []byte) []Property {
	ps := make([]Property, len(epcs))
	for i, epc := range epcs {
		ps[i].EPC = epc
	}
	return ps
}
