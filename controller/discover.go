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

// Found is a node that has told its instances.
type Found struct {
	Addr      net.Addr // where it takes requests
	Instances []echonet.EOJ
}

// meters returns the low-voltage meters of the node.
func (f Found) meters() []Meter {
	var out []Meter
	for _, o := range f.Instances {
		if o.Class() == echonet.LowVoltageMeter.Class() {
			out = append(out, Meter{Addr: f.Addr, Object: o})
		}
	}
	return out
}

// parseInstances reads the data of D5 or D6: count, then three bytes each. A
// list that ends early is read as far as it goes.
func parseInstances(edt []byte) []echonet.EOJ {
	if len(edt) == 0 {
		return nil
	}
	n, edt := int(edt[0]), edt[1:]
	var out []echonet.EOJ
	for ; n > 0 && len(edt) >= 3; n-- {
		out = append(out, echonet.EOJ(edt[:3]))
		edt = edt[3:]
	}
	return out
}

// serviceAddr returns where the node that a datagram came from takes requests:
// port 3610, except on loopback, where nodes share a host.
func serviceAddr(from net.Addr) net.Addr {
	u, ok := from.(*net.UDPAddr)
	if !ok || u.IP.IsLoopback() {
		return from
	}
	return &net.UDPAddr{IP: u.IP, Port: echonet.Port, Zone: u.Zone}
}

func sameNode(a, b net.Addr) bool {
	if a == nil || b == nil {
		return false
	}
	return a.String() == b.String()
}

const (
	askTimes   = 3 // a group answers no lost datagram
	askWait    = time.Second
	maxAnswers = 1024
)

// discoverer is a node that can also read instance lists (D6): some devices
// answer that and no request to announce them (D5).
type discoverer interface {
	Discover(ctx context.Context, targets []net.Addr, found func(from net.Addr, instances []echonet.EOJ)) error
}

// Discover asks the nodes of the groups for their instances and returns those
// with a low-voltage meter. It takes a few seconds. The answers come as
// notifications: the node's must reach Notify.
func (c *Controller) Discover(ctx context.Context, groups ...net.Addr) ([]Found, error) {
	answers := make(chan Found, maxAnswers)
	c.mu.Lock()
	c.seekers[answers] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.seekers, answers)
		c.mu.Unlock()
	}()
	for range askTimes {
		if err := c.ask(ctx, groups); err != nil {
			return nil, err
		}
	}
	var out []Found
	for {
		select {
		case f := <-answers:
			if len(f.meters()) > 0 && !contains(out, f) {
				out = append(out, f)
			}
		default:
			return out, nil
		}
	}
}

func contains(out []Found, f Found) bool {
	for _, o := range out {
		if sameNode(o.Addr, f.Addr) {
			return true
		}
	}
	return false
}

// ask asks the groups once and gives the nodes time to answer.
func (c *Controller) ask(ctx context.Context, groups []net.Addr) error {
	wait, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, g := range groups {
		all.Go(func() {
			// One of many may answer first, or none: either way others follow.
			_, err := c.cfg.Node.InfReq(wait, g, echonet.NodeProfile, epcInstances)
			var sna *echonet.SNAError
			if wait.Err() == nil && !errors.As(err, &sna) {
				errs[i] = err
			}
		})
	}
	if d, ok := c.cfg.Node.(discoverer); ok {
		all.Go(func() {
			// What fails here fails above too, and says so there.
			_ = d.Discover(wait, groups, func(from net.Addr, instances []echonet.EOJ) {
				c.tell(Found{Addr: serviceAddr(from), Instances: instances})
			})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("controller: look for meters: %w", err)
	}
	<-wait.Done()
	return ctx.Err()
}

// search looks for meters again and again: often until there is one.
func (c *Controller) search(ctx context.Context) {
	for ctx.Err() == nil && len(c.cfg.Groups) > 0 {
		if _, err := c.Discover(ctx, c.cfg.Groups...); err != nil && ctx.Err() == nil {
			c.cfg.Logger.Warn("search for meters", "err", err)
		}
		every := c.cfg.DiscoverEvery
		if len(c.all()) == 0 {
			every = min(every, 30*time.Second)
		}
		_ = sleep(ctx, every) // the loop looks at ctx
	}
}
