package echonet

import (
	"errors"
	"fmt"
	"net"
)

// notifyOPC is how many properties one notification carries: a controller need
// not handle more (AIF 1.01, 2.4.4).
const notifyOPC = 2

// Notify sends the present values of properties of an own object to the group
// of every link and to the targets of Config.Announce. It returns the errors of
// those it could not reach.
func (n *Node) Notify(eoj EOJ, epcs ...byte) error {
	o, ok := n.objects.Load().byEOJ[eoj]
	if !ok {
		return fmt.Errorf("echonet: notify of %v: %w", eoj, ErrNoObject)
	}
	s := session{maps: o.Properties(), access: o.Begin(Request{ESV: INF, SEOJ: eoj})}
	readable := s.maps.Get.Union(s.maps.Announce).Union(mapProperties)
	var ps []Property
	for _, epc := range epcs {
		edt, ok := s.read(epc, readable)
		if !ok {
			return fmt.Errorf("echonet: notify of %v: property %02X has no value", eoj, epc)
		}
		ps = append(ps, Property{epc, append([]byte(nil), edt...)})
	}
	return n.NotifyValues(eoj, ps...)
}

// NotifyValues is Notify with values that the caller has.
func (n *Node) NotifyValues(eoj EOJ, ps ...Property) error {
	var errs []error
	for len(ps) > 0 {
		k := min(len(ps), notifyOPC)
		f := Frame{TID: n.freeTID(), SEOJ: eoj, DEOJ: NodeProfile, ESV: INF, Properties: ps[:k]}
		ps = ps[k:]
		b, err := n.encode(&f)
		if err != nil {
			return err
		}
		for _, p := range n.ports {
			if p.group != nil {
				errs = append(errs, n.transmit(p, b, p.group))
			}
		}
		for _, to := range n.cfg.Announce {
			p, err := n.route(to)
			if err == nil {
				err = n.transmit(p, b, to)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// InstancesChanged announces the instance list (D5) again: after the link came
// up anew. Serve and SetObjects announce it by themselves. More than 84
// instances take several messages.
func (n *Node) InstancesChanged() error {
	devices := n.objects.Load().devices()
	var errs []error
	for {
		k := min(len(devices), maxInstances)
		errs = append(errs, n.NotifyValues(NodeProfile, Property{0xD5, instanceList(devices[:k])}))
		if devices = devices[k:]; len(devices) == 0 {
			return errors.Join(errs...)
		}
	}
}

// notifyChanged announces properties that a Set has just changed.
func (n *Node) notifyChanged(o Object, epcs []byte) {
	if err := n.Notify(o.EOJ(), epcs...); err != nil {
		n.cfg.Logger.Warn("announce changed properties", "object", o.EOJ(), "err", err)
	}
}

// transmit sends a datagram for which nobody waits.
func (n *Node) transmit(p *port, b []byte, to net.Addr) error {
	n.count.sent.Add(1)
	if err := p.send(b, to, nil); err != nil {
		n.count.writeErrors.Add(1)
		return fmt.Errorf("echonet: send to %v: %w", to, err)
	}
	return nil
}

// ErrNoLink: no link of the node leads to that address.
var ErrNoLink = errors.New("echonet: no link leads there")

// route returns the link that fits an address best.
func (n *Node) route(to net.Addr) (*port, error) {
	var best *port
	score := 0
	for _, p := range n.ports {
		if s := p.reach(to); s > score {
			best, score = p, s
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: %v", ErrNoLink, to)
	}
	return best, nil
}
