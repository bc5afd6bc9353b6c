package device

import (
	"bytes"
	"context"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// Identity returns what the meter says of its make. The meter id stands in the
// manufacturer code (8A) and the serial number (8D).
func (m *Meter) Identity() echonet.Identity {
	return echonet.Identity{Manufacturer: m.cfg.Meter.Manufacturer(), Product: m.cfg.Product, Serial: m.cfg.Meter.Serial()}
}

// newObject makes the ECHONET Lite object 028801.
func (m *Meter) newObject() (*meter.Meter, error) {
	var setClock func(time.Time) bool
	if m.cfg.LinkClock {
		setClock = m.linkSetsClock
	}
	return meter.New(meter.Config{
		Source:     m.readings,
		Evidence:   evidence{m},
		Release:    m.cfg.Release,
		Identity:   m.Identity(),
		Scale:      scale,
		Reverse:    true,
		History2:   true,
		Location:   m.state.Location,
		OnLocation: m.rememberLocation,
		SetClock:   setClock,
	})
}

// Object returns the meter as an ECHONET Lite object, for a node of the
// caller's own. Serve does all that most callers need.
func (m *Meter) Object() echonet.Object { return m.object }

// Serve answers on links until ctx ends, and announces seals, faults and the half-hourly
// readings there. The links stay the caller's to close. It needs Run beside it, for
// the seals to come.
func (m *Meter) Serve(ctx context.Context, links []echonet.Link) error {
	node := echonet.New(echonet.Config{
		Links:    links,
		Objects:  []echonet.Object{m.object},
		Identity: m.Identity(),
		Reply:    m.cfg.Reply,
		Announce: m.cfg.Announce,
		Now:      m.cfg.Now,
		Logger:   m.cfg.Logger,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.announce(ctx, node)
	}()
	err := node.Serve(ctx)
	cancel()
	<-ended
	return err
}

// rememberLocation keeps the installation location over restarts. It is called
// while a message is answered, so it leaves the writing to Run. The same location
// again wears out no flash.
func (m *Meter) rememberLocation(edt []byte) {
	m.mu.Lock()
	same := bytes.Equal(m.state.Location, edt)
	m.state.Location = edt
	m.mu.Unlock()
	if !same {
		m.markDirty()
	}
}

// announceGap is the least time between two announcements of F0.
const announceGap = 10 * time.Second

// announce notifies others of what changes, until ctx ends: F0 after a new
// seal, at most once in 10 s and then with the newest one, 88 when a fault comes
// or goes, EA and EB every half-hour.
func (m *Meter) announce(ctx context.Context, node *echonet.Node) {
	eoj := m.object.EOJ()
	notify := func(epcs ...byte) {
		if err := node.Notify(eoj, epcs...); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Debug("announce", "err", err)
		}
	}
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	var (
		announced, _, _ = m.log.Seal()
		fault           = m.fault()
		half            = halfHour(m.Clock())
		last            time.Time // of the last announcement of F0
		news            = m.news.next()
		wait            <-chan time.Time
	)
	for {
		if seal, _, _ := m.log.Seal(); seal != announced && wait == nil {
			wait = time.After(max(0, announceGap-time.Since(last)))
		}
		if f := m.fault(); f != fault {
			fault = f
			notify(meter.EPCFault)
		}
		if h := halfHour(m.Clock()); h != half {
			half = h
			notify(meter.EPCHalfNormal, meter.EPCHalfReverse)
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
			news = m.news.next()
		case <-ticker.C:
		case <-wait:
			announced, _, _ = m.log.Seal()
			last, wait = time.Now(), nil
			notify(meter.EPCEvidence)
		}
	}
}

// halfHour numbers the half-hours of a clock.
func halfHour(t time.Time) int64 { return t.Unix() / int64(meter.History2Step/time.Second) }
