package echonet

import (
	"context"
	"errors"
	"net"
	"time"
)

// maxDatagram is the largest datagram that is read. One that fills the buffer
// was cut, and is dropped.
const maxDatagram = 4096

// reader is what a goroutine that reads a link uses again and again.
type reader struct {
	in   [maxDatagram]byte
	size int // of the datagram that is handled
	f    Frame
	out  []byte
}

// leader is what callers who read a link use again and again.
type leader struct {
	in [maxDatagram]byte
	f  Frame
}

// datagram is one that a caller read in the place of Serve.
type datagram struct {
	b    []byte
	from net.Addr
}

// passedQueue is how many datagrams a caller reads for Serve, before Serve has
// to read itself.
const passedQueue = 64

// Waits after a failed read, so that a link that fails at once costs no
// processor.
const (
	readRetryMin = 10 * time.Millisecond
	readRetryMax = time.Second
)

// standby is how long Serve leaves a socket to callers after the last answer. A
// datagram that comes when none of them reads waits up to twice as long.
const standby = time.Millisecond

// read is the goroutine of Serve that reads a link. It holds p.reading all the
// time, also when it has ended, except while it stands by.
func (n *Node) read(ctx context.Context, p *port) {
	r := &reader{out: make([]byte, 0, n.cfg.MaxPayload)}
	wait := readRetryMin
	for ctx.Err() == nil {
		size, from, err := p.conn.ReadFrom(r.in[:])
		if err == nil {
			wait = readRetryMin
			if n.datagram(p, r, r.in[:size], from) && p.passed != nil && p.asked.Load() == 0 {
				n.standBy(ctx, p, r)
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		n.count.readErrors.Add(1)
		n.cfg.Logger.Warn("read", "link", p.local, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, readRetryMax)
	}
}

// standBy leaves the socket to callers (see lead) while they ask one request
// after the other, and handles what they read that is no answer.
func (n *Node) standBy(ctx context.Context, p *port, r *reader) {
	select {
	case <-p.back: // an old call
	default:
	}
	leads := p.leads.Load()
	p.reading.Unlock()
	tick := time.NewTicker(standby)
	defer tick.Stop()
	for asking := p.asked.Load() == 0; asking; { // or somebody came too early to read
		select {
		case d := <-p.passed:
			n.datagram(p, r, d.b, d.from)
		case <-tick.C:
			was := leads
			leads = p.leads.Load()
			asking = leads != was
		case <-p.back:
			asking = false
		case <-ctx.Done():
			asking = false
		}
	}
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // whoever reads now stops
	p.reading.Lock()
	_ = p.conn.SetReadDeadline(time.Time{})
	for len(p.passed) > 0 {
		d := <-p.passed
		n.datagram(p, r, d.b, d.from)
	}
}

// lead lets the caller of a request read the socket in the place of Serve, which
// spares the wake of another goroutine for each answer: most of the time that a
// request takes on a fast network. It is done while Serve stands by. lead returns
// true when w has its answer; it returns false if somebody else reads, if Serve
// wants the socket back, after two milliseconds, or if the read fails.
//
// Only answers are handled here. The rest is Serve's, so that objects are never
// called from within a request.
func (n *Node) lead(p *port, w *pending) bool {
	if p.passed == nil || w.sent.ESV == INFREQ || !p.reading.TryLock() {
		return false
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(2 * standby)) // the caller has a context and a time of his own
	for len(w.reply) == 0 && len(p.passed) < passedQueue {
		b := p.leader.in[:]
		size, from, err := p.conn.ReadFrom(b)
		if err != nil {
			break // Serve will see it too, or wants to read
		}
		if b = b[:size]; !n.answered(&p.leader.f, b, from) {
			p.passed <- datagram{append([]byte(nil), b...), from}
		}
	}
	p.leads.Add(1)
	p.reading.Unlock()
	if p.asked.Load() > 0 { // nobody reads for those who wait
		select {
		case p.back <- struct{}{}:
		default:
		}
	}
	return len(w.reply) > 0
}

// answered hands a datagram to the request that it answers, if it is a frame
// that answers one. A notification that answers a request is still to be told of.
// f is scratch.
func (n *Node) answered(f *Frame, b []byte, from net.Addr) bool {
	if len(b) == maxDatagram || n.own(from) || f.UnmarshalBinary(b) != nil || f.ESV == INF || !n.answer(from, f) {
		return false
	}
	n.count.received.Add(1)
	n.count.last.Store(n.cfg.Now().UnixNano())
	return true
}
