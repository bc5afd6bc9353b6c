package controller_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
)

func joinedAt(t time.Time) controller.LinkState {
	return controller.LinkState{Name: "joined", Joined: true, Since: t}
}

func newLink(s controller.LinkState) *testLink {
	return &testLink{state: s, changed: make(chan struct{})}
}

// What the meter was asked before the link was lost is asked again as soon as it
// is back, not when its time is over.
func TestAReadingComesRightAfterARejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newLink(joinedAt(time.Now()))
		h := newHome(t, func(c *controller.Config) {
			c.Meters = []controller.Meter{{Link: link, Locate: func() net.Addr { return at(1) }}}
		})
		wait(90 * time.Second)
		asked := time.Time{}
		h.air.jamming(func(f echonet.Frame) bool {
			if f.ESV == echonet.Get && asked.IsZero() {
				asked = time.Now()
			}
			return true
		})
		wait(70 * time.Second)
		if asked.IsZero() {
			t.Fatal("the meter was not asked within 70 s")
		}
		link.set(controller.LinkState{Name: "lost"})
		wait(6 * time.Second)
		h.air.jamming(nil)
		back := time.Now()
		link.set(joinedAt(back))
		wait(2 * time.Second)
		if read := h.state(t).Power.Read; read.Before(back) {
			t.Errorf("2 s after the rejoin the last reading is %v old", time.Since(read))
		}
	})
}

// A request that reads is made again in the next session; one that writes may
// have been done, and is not.
func TestALossOfTheLinkEndsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		air := newAir()
		air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, newMeter(t, "meter").config())}})
		c := hems()
		c.Links = []echonet.Link{{PacketConn: air.listen(t, 2), Group: memlink.Group}}
		node := echonettest.Serve(t, echonet.New(c))
		link := newLink(joinedAt(time.Now()))
		m := controller.Meter{Addr: at(1), Link: link}
		loseAfter := func(d time.Duration) {
			air.forget()
			air.jamming(func(echonet.Frame) bool { return true })
			time.AfterFunc(d, func() { link.set(controller.LinkState{Name: "lost"}) })
			time.AfterFunc(d+6*time.Second, func() {
				air.jamming(nil)
				link.set(joinedAt(time.Now()))
			})
		}
		count := func(esv echonet.ESV) (n int) {
			for _, f := range air.sentBy(2) {
				if f.ESV == esv {
					n++
				}
			}
			return n
		}

		r := controller.NewReader(node, m, nil)
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		loseAfter(time.Second)
		start := time.Now()
		if err := r.Poll(t.Context()); err != nil || time.Since(start) > 8*time.Second {
			t.Errorf("poll: %v after %v, want a value after 7s", err, time.Since(start))
		}
		if n := count(echonet.Get); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}

		col := controller.NewCollector(node, m, controller.CollectConfig{Attempts: 1})
		if err := col.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		loseAfter(time.Second)
		start = time.Now()
		if err := col.Receipt(t.Context(), []byte("receipt")); !errors.Is(err, controller.ErrLinkLost) || time.Since(start) != time.Second {
			t.Errorf("receipt: %v after %v, want %v after 1s", err, time.Since(start), controller.ErrLinkLost)
		}
		wait(10 * time.Second)
		if n := count(echonet.SetC); n != 1 {
			t.Errorf("written %d times, want once", n)
		}

		// Before the link joins nothing is sent, and nobody waits for ever.
		link.set(controller.LinkState{Name: "scanning"})
		air.forget()
		start = time.Now()
		if err := r.Poll(t.Context()); !errors.Is(err, controller.ErrLinkLost) || time.Since(start) > 2*time.Minute {
			t.Errorf("poll of a link that is away: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("poll: %v, want %v", err, context.DeadlineExceeded)
		}
		if n := len(air.sentBy(2)); n != 0 {
			t.Errorf("%d frames were sent to nobody", n)
		}
	})
}
