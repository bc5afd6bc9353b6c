package echonet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// ErrTimeout: no answer came in time. A Set may have been done all the same. See
// also ErrLinkBusy.
var ErrTimeout = errors.New("echonet: no answer")

// ErrStopped: the node serves no longer, so that no answer can come.
var ErrStopped = errors.New("echonet: node stopped")

// SNAError says what a peer refused. What it did not refuse was done, or is in
// the data returned with the error.
type SNAError struct {
	EOJ     EOJ    // the object asked
	ESV     ESV    // the answer's service, such as GetSNA
	Refused []byte // EPCs in the order asked; those of the Set list first
}

// Error implements error.
func (e *SNAError) Error() string {
	return fmt.Sprintf("echonet: %v of %v refused % X", e.ESV, e.EOJ, e.Refused)
}

// pending is a request that waits for its answer, in Node.pending by its TID.
type pending struct {
	group bool  // anyone may answer, and many do
	host  Host  // who may answer, otherwise
	port  *port // that the request leaves by; nil for a group
	sent  *Frame
	reply chan reply
}

type reply struct {
	from net.Addr
	f    Frame
}

// answeredBy reports whether f answers the request, by host, objects and
// service family. The source port means nothing.
func (w *pending) answeredBy(host Host, f *Frame) bool {
	done, refused := w.sent.ESV.answers()
	return (w.group || w.host == host) &&
		w.sent.DEOJ.Matches(f.SEOJ) && w.sent.SEOJ == f.DEOJ &&
		(f.ESV == done || f.ESV == refused && refused != 0)
}

// answer hands an answer to the request that waits for it, if there is one.
func (n *Node) answer(from net.Addr, f *Frame) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.pending[f.TID]
	if w == nil || !w.answeredBy(HostOf(from), f) {
		return false
	}
	if w.group && len(w.reply) == cap(w.reply) {
		return false // more answers of a group than are taken
	}
	w.reply <- reply{from, f.Clone()}
	n.count.matched.Add(1)
	if !w.group {
		n.remove(w)
	}
	return true
}

// await registers a request under a TID that no other one has.
func (n *Node) await(w *pending) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range 1 << 16 {
		n.nextTID++
		if _, used := n.pending[n.nextTID]; !used {
			w.sent.TID = n.nextTID
			n.pending[n.nextTID] = w
			if w.port != nil {
				w.port.asked.Add(1)
			}
			return nil
		}
	}
	return errors.New("echonet: 65536 requests are waiting already")
}

func (n *Node) forget(w *pending) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending[w.sent.TID] == w { // not answered, which frees the TID
		n.remove(w)
	}
}

// remove is called with n.mu held.
func (n *Node) remove(w *pending) {
	delete(n.pending, w.sent.TID)
	if w.port != nil {
		w.port.asked.Add(-1)
	}
}

// freeTID returns a TID for a message that nobody answers.
func (n *Node) freeTID() uint16 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nextTID++
	return n.nextTID
}

// self returns the object that requests come from: a controller if the node has
// one, or else the node profile.
func (n *Node) self() EOJ {
	if n.objects.Load().has(Controller) {
		return Controller
	}
	return NodeProfile
}

// Request sends f to a peer and returns its answer, which may be an SNA. TID is
// the node's choice; a zero SEOJ means the node's controller object or else its
// node profile; a peer without a port is asked at 3610. Of the requests to one
// peer as many are under way at a time as Config.InFlight says; others wait.
//
// A SetI has no answer if all is well: Request returns a zero Frame as soon as
// it is sent. After ErrTimeout a Set may have been done; to send it again is the
// caller's decision.
func (n *Node) Request(ctx context.Context, peer net.Addr, f Frame) (Frame, error) {
	if !f.ESV.IsRequest() {
		return Frame{}, fmt.Errorf("echonet: request with %v: %w", f.ESV, ErrService)
	}
	if peer == nil {
		return Frame{}, fmt.Errorf("echonet: %v to nobody: %w", f.ESV, ErrNoLink)
	}
	if f.SEOJ == (EOJ{}) {
		f.SEOJ = n.self()
	}
	peer = withPort(peer)
	answer, err := n.request(ctx, peer, &f)
	if err != nil {
		return Frame{}, fmt.Errorf("echonet: %v to %v at %v: %w", f.ESV, f.DEOJ, peer, err)
	}
	return answer, nil
}

// withPort puts the standard port in an address that has none.
func withPort(peer net.Addr) net.Addr {
	if u, ok := peer.(*net.UDPAddr); ok && u.Port == 0 {
		return &net.UDPAddr{IP: u.IP, Port: Port, Zone: u.Zone}
	}
	return peer
}

func (n *Node) request(ctx context.Context, to net.Addr, f *Frame) (Frame, error) {
	p, err := n.route(to)
	if err != nil {
		return Frame{}, err
	}
	held, err := n.acquire(ctx, to)
	if err != nil {
		return Frame{}, err
	}
	defer n.release(held)
	w := &pending{host: HostOf(to), port: p, sent: f, reply: make(chan reply, 1)}
	if err := n.await(w); err != nil {
		return Frame{}, err
	}
	defer n.forget(w)
	b, err := n.encode(f)
	if err != nil {
		return Frame{}, err
	}
	attempts := 1
	switch f.ESV {
	case Get, INFREQ, INFC:
		attempts += max(0, n.cfg.Retries)
	}
	for range attempts {
		answer, err := n.attempt(ctx, p, to, b, w)
		if !errors.Is(err, ErrTimeout) {
			return answer, err
		}
	}
	return Frame{}, ErrTimeout
}

// encode returns the bytes of a frame that the node sends.
func (n *Node) encode(f *Frame) ([]byte, error) {
	b, err := f.AppendBinary(nil)
	if err == nil && len(b) > n.cfg.MaxPayload {
		err = fmt.Errorf("%w: %d bytes, at most %d", ErrOversize, len(b), n.cfg.MaxPayload)
	}
	return b, err
}

// attempt sends a request once and waits for the answer.
func (n *Node) attempt(ctx context.Context, p *port, to net.Addr, b []byte, w *pending) (Frame, error) {
	if err := ctx.Err(); err != nil {
		return Frame{}, err
	}
	n.count.sent.Add(1)
	var sent chan error // tells that the request has left, if it has to wait its turn
	if !p.direct {
		sent = make(chan error, 1)
	}
	err := p.send(b, to, sent)
	switch {
	case sent != nil: // the error comes by the channel
	case errors.Is(err, os.ErrDeadlineExceeded): // of wake
		return Frame{}, ErrStopped
	case err != nil:
		n.count.writeErrors.Add(1)
		return Frame{}, err
	case w.sent.ESV == SetI:
		return Frame{}, nil
	case n.lead(p, w):
		return (<-w.reply).f, nil
	}
	limit := n.timeout(w.sent)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var result <-chan error = sent
	for {
		select {
		case r := <-w.reply:
			return r.f, nil
		case err := <-result:
			if err != nil && !mayBeSent(err) {
				n.count.writeErrors.Add(1)
				return Frame{}, err
			}
			if w.sent.ESV == SetI {
				return Frame{}, nil
			}
			result = nil
			timer.Reset(limit) // the wait begins when the request has left
		case <-timer.C:
			if result != nil && p.withdraw(sent) {
				return Frame{}, ErrLinkBusy
			}
			return Frame{}, ErrTimeout
		case <-ctx.Done():
			p.withdraw(sent)
			return Frame{}, ctx.Err()
		case <-n.stopped:
			return Frame{}, ErrStopped
		}
	}
}

// mayBeSent reports whether a failed write may have reached the peer.
func mayBeSent(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (n *Node) timeout(f *Frame) time.Duration {
	if len(f.Properties)+len(f.GetProperties) > 1 {
		return n.cfg.TimeoutMany
	}
	return n.cfg.Timeout
}

// SetC writes properties of a peer's object and waits until it says so. If some
// are refused the error is an *SNAError, and the others were written.
func (n *Node) SetC(ctx context.Context, peer net.Addr, eoj EOJ, ps ...Property) error {
	a, err := n.Request(ctx, peer, Frame{DEOJ: eoj, ESV: SetC, Properties: ps})
	if err != nil {
		return err
	}
	if a.ESV == SetCSNA {
		return &SNAError{eoj, a.ESV, refusedSet(ps, a.Properties)}
	}
	return nil
}

// SetI writes properties of a peer's object and waits for nothing.
func (n *Node) SetI(ctx context.Context, peer net.Addr, eoj EOJ, ps ...Property) error {
	_, err := n.Request(ctx, peer, Frame{DEOJ: eoj, ESV: SetI, Properties: ps})
	return err
}

// SetGet writes, then reads, in one message. setRes is the answer's first list:
// accepted properties without data, refused ones with it. If anything is
// refused the error is an *SNAError, and getRes holds what could be read.
func (n *Node) SetGet(ctx context.Context, peer net.Addr, eoj EOJ, set []Property, get []byte) (setRes, getRes []Property, err error) {
	f := Frame{DEOJ: eoj, ESV: SetGet, Properties: set, GetProperties: bare(get)}
	a, err := n.Request(ctx, peer, f)
	if err != nil {
		return nil, nil, err
	}
	read := withData(a.GetProperties)
	if a.ESV == SetGetSNA {
		refused := refusedSet(set, a.Properties)
		return a.Properties, read, &SNAError{eoj, a.ESV, append(refused, refusedGet(get, read)...)}
	}
	return a.Properties, read, nil
}

// InfReq asks a peer's object for a notification of properties and returns what
// it says. If some are refused the error is an *SNAError.
func (n *Node) InfReq(ctx context.Context, peer net.Addr, eoj EOJ, epcs ...byte) ([]Property, error) {
	a, err := n.Request(ctx, peer, Frame{DEOJ: eoj, ESV: INFREQ, Properties: bare(epcs)})
	if err != nil {
		return nil, err
	}
	read := withData(a.Properties)
	if a.ESV == INFSNA {
		return read, &SNAError{eoj, a.ESV, refusedGet(epcs, read)}
	}
	return read, nil
}

// NotifyConfirmed sends values of an own object to one peer's object and waits
// until it confirms them (INFC).
func (n *Node) NotifyConfirmed(ctx context.Context, peer net.Addr, from, to EOJ, ps ...Property) error {
	_, err := n.Request(ctx, peer, Frame{SEOJ: from, DEOJ: to, ESV: INFC, Properties: ps})
	return err
}

// withData returns the properties that have data.
func withData(ps []Property) []Property {
	var out []Property
	for _, p := range ps {
		if len(p.EDT) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// refusedSet returns the codes of set that the answer does not show as accepted.
func refusedSet(set, answer []Property) []byte {
	var out []byte
	for _, p := range set {
		if edt, ok := Find(answer, p.EPC); !ok || len(edt) > 0 {
			out = append(out, p.EPC)
		}
	}
	return out
}

// refusedGet returns the codes asked for that were not read.
func refusedGet(asked []byte, read []Property) []byte {
	var out []byte
	for _, epc := range asked {
		if _, ok := Find(read, epc); !ok {
			out = append(out, epc)
		}
	}
	return out
}
