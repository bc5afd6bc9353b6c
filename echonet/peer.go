package echonet

import (
	"context"
	"errors"
	"net"
)

// peerKey is a node that we ask: host and, where several share it, port.
type peerKey struct {
	host Host
	port uint16
}

func keyOf(a net.Addr) peerKey {
	ap, _ := addrPortOf(a)
	return peerKey{HostOf(a), ap.Port()}
}

// peer is what is remembered of a node that we ask.
type peer struct {
	slots  chan struct{} // one element per request under way
	users  int           // requests that hold or wait for a slot
	limit  int           // properties in one Get that it takes
	proven int           // properties in one Get that it has answered in full
}

// maxPeers bounds what is remembered.
const maxPeers = 16384

// peerFor returns what is remembered of a node. n.mu is held.
func (n *Node) peerFor(k peerKey) *peer {
	if p := n.peers[k]; p != nil {
		return p
	}
	if len(n.peers) >= maxPeers {
		for old, p := range n.peers {
			if p.users == 0 {
				delete(n.peers, old) // any: its limit is learned again
				break
			}
		}
	}
	p := &peer{slots: make(chan struct{}, max(1, n.cfg.InFlight)), limit: n.cfg.OPC}
	n.peers[k] = p
	return p
}

// acquire waits until another request to that node may be sent.
func (n *Node) acquire(ctx context.Context, to net.Addr) (release func(), err error) {
	n.mu.Lock()
	p := n.peerFor(keyOf(to))
	p.users++
	n.mu.Unlock()
	leave := func() {
		n.mu.Lock()
		p.users--
		n.mu.Unlock()
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// OPCLimit returns how many properties one Get to that peer carries, as far as
// is known by now.
func (n *Node) OPCLimit(peer net.Addr) int {
	limit, _ := n.limits(withPort(peer))
	return limit
}

func (n *Node) limits(to net.Addr) (limit, proven int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	return p.limit, p.proven
}

// answeredFully remembers that a Get of k properties was.
func (n *Node) answeredFully(to net.Addr, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	p.proven = max(p.proven, k)
}

// takesOnly remembers that a Get of more than k properties fails.
func (n *Node) takesOnly(to net.Addr, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	p.limit = max(1, min(p.limit, k))
}

// getter is one call of Node.Get.
type getter struct {
	n      *Node
	ctx    context.Context //nolint:containedctx // lives for one call
	peer   net.Addr
	eoj    EOJ
	values map[byte][]byte
}

// all reads the properties in as many messages as it takes.
func (g *getter) all(epcs []byte) error {
	for len(epcs) > 0 {
		limit, _ := g.n.limits(g.peer)
		k := min(len(epcs), limit)
		if err := g.batch(epcs[:k]); err != nil {
			return err
		}
		epcs = epcs[k:]
	}
	return nil
}

// batch reads properties in one message. What a peer leaves out it may refuse,
// or have had too many to answer: which of the two, a smaller message tells.
func (g *getter) batch(epcs []byte) error {
	answer, size, err := g.once(epcs)
	switch {
	case errors.Is(err, ErrTimeout) && len(epcs) > 1:
		return g.silence(epcs)
	case err != nil:
		return err
	}
	missing := g.take(epcs, answer)
	if len(missing) == 0 {
		g.n.answeredFully(g.peer, len(epcs))
		return nil
	}
	got := len(epcs) - len(missing)
	_, proven := g.n.limits(g.peer)
	if len(epcs) == 1 || len(epcs) <= proven && size < g.n.cfg.MaxPayload/2 {
		return nil
	}
	return g.again(missing, got)
}

// again asks for what a larger message left out.
func (g *getter) again(missing []byte, got int) error {
	k := max(1, min(got, len(missing)))
	if got == 0 {
		k = max(1, len(missing)/2)
	}
	for len(missing) > 0 {
		part := missing[:min(k, len(missing))]
		missing = missing[len(part):]
		before := len(g.values)
		if err := g.batch(part); err != nil {
			return err
		}
		if len(g.values) > before {
			g.n.takesOnly(g.peer, max(got, len(part)))
		}
	}
	return nil
}

// silence handles a peer that does not answer several properties: it may be
// gone, or take only one at a time.
func (g *getter) silence(epcs []byte) error {
	answer, _, err := g.once(epcs[:1])
	if err != nil {
		return err
	}
	g.take(epcs[:1], answer)
	g.n.takesOnly(g.peer, len(epcs)/2)
	return g.all(epcs[1:])
}

// once sends one Get. size is that of the answer's data in bytes.
func (g *getter) once(epcs []byte) (answer []Property, size int, err error) {
	f := Frame{DEOJ: g.eoj, ESV: Get, Properties: make([]Property, len(epcs))}
	for i, epc := range epcs {
		f.Properties[i].EPC = epc
	}
	a, err := g.n.Request(g.ctx, g.peer, f)
	for _, p := range a.Properties {
		size += 2 + len(p.EDT)
	}
	return a.Properties, size, err
}

// take keeps the values of an answer and returns the codes it lacks.
func (g *getter) take(epcs []byte, answer []Property) (missing []byte) {
	for _, epc := range epcs {
		if edt, ok := Find(answer, epc); ok && len(edt) > 0 {
			g.values[epc] = edt
		} else {
			missing = append(missing, epc)
		}
	}
	return missing
}
