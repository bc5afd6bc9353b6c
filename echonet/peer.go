package echonet

import (
	"context"
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
	slots   chan struct{} // one element per request under way
	users   int           // requests that hold or wait for a slot
	limit   int           // properties that one Get carries
	proven  int           // properties in one Get that it has handled
	strikes int           // larger Gets not answered by a node that was alive
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
				delete(n.peers, old) // any of them: its limit is learned again
				break
			}
		}
	}
	p := &peer{slots: make(chan struct{}, max(1, n.cfg.InFlight)), limit: n.cfg.OPC}
	n.peers[k] = p
	return p
}

// acquire waits until another request to that node may be sent.
func (n *Node) acquire(ctx context.Context, to net.Addr) (*peer, error) {
	n.mu.Lock()
	p := n.peerFor(keyOf(to))
	p.users++
	n.mu.Unlock()
	select {
	case p.slots <- struct{}{}:
		return p, nil
	case <-ctx.Done():
		n.leave(p)
		return nil, ctx.Err()
	}
}

// release lets the next request to that node go.
func (n *Node) release(p *peer) {
	<-p.slots
	n.leave(p)
}

func (n *Node) leave(p *peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.users--
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

// handled remembers that a peer handled a Get of k properties.
func (n *Node) handled(to net.Addr, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	p.proven = max(p.proven, k)
	p.strikes = 0
}

// takesOnly remembers that a Get of more than k properties is too much.
func (n *Node) takesOnly(to net.Addr, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	p.limit = max(1, min(p.limit, k))
}

// strike counts a Get of k properties that was not answered although the peer is
// alive. One may have been lost; two say that it was too much.
func (n *Node) strike(to net.Addr, k int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerFor(keyOf(to))
	if p.strikes++; p.strikes == 2 {
		p.strikes = 0
		p.limit = max(1, min(p.limit, k/2))
	}
}
