package device_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// flood makes an event happen n times and returns how many were recorded.
func (r *rig) flood(e eventlog.Event, n int) (recorded int) {
	r.t.Helper()
	for range n {
		switch _, err := r.Record(r.t.Context(), e, nil); {
		case err == nil:
			recorded++
		case !errors.Is(err, device.ErrSuppressed):
			r.t.Fatal(err)
		}
	}
	return recorded
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		if n := r.flood(noConnect, 10_000); n != 500 {
			t.Errorf("%d of 10,000 events recorded, the burst is 500", n)
		}
		if n := r.flood(coverOpened, 20); n != 20 {
			t.Errorf("%d of 20 fraud events recorded in a flood of others", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := r.flood(noConnect, 1000); n != 110 {
			t.Errorf("%d events recorded after 11 s at 600 a minute", n)
		}
		r.flood(coverOpened, 5000)
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
		var total uint32
		for _, e := range list {
			if p, ok := e.payload.(*eventlog.EventsSuppressed); ok {
				total += p.Count
				if p.Reason != eventlog.SuppressFlood {
					t.Errorf("reason %d", p.Reason)
				}
			}
		}
		fraud := 0
		for _, e := range list {
			if e.Event() == coverOpened {
				fraud++
			}
		}
		if want := uint32(9500 + 890 + 5020 - fraud); total != want {
			t.Errorf("%d events counted, %d were suppressed", total, want)
		}
		if fraud < 500 || fraud > 520+500 {
			t.Errorf("%d fraud events recorded", fraud)
		}
		if n := count(list, eventlog.CodeEventsSuppressed); n != 2 {
			t.Errorf("%d EVENTS_SUPPRESSED, want one for each 10 s of flood", n)
		}
	})
}

// TestReserve fills the store while the module is down, so that nothing can be
// closed and dropped.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *device.Config) {
			c.SegmentSize, c.StoreSize, c.Reserve = 8<<10, 48<<10, 8<<10
			c.FloodBurst = 10_000
		}).start()
		r.module.Fail(secureelementtest.Dead)
		n := r.flood(noConnect, 1000)
		if length := r.Status().Length; length < 40<<10-64 || length > 40<<10+256 {
			t.Errorf("%d ordinary events fill %d bytes, the reserve begins at %d", n, length, 40<<10)
		}
		security := eventlog.Event{Class: eventlog.ClassSecurity, Code: 1}
		if n := r.flood(security, 10) + r.flood(coverOpened, 10); n != 20 {
			t.Errorf("%d of 20 security and fraud events recorded in the reserve", n)
		}
		r.flood(coverOpened, 1000)
		if length := r.Status().Length; length > 48<<10 {
			t.Errorf("fraud events took the log to %d bytes of %d", length, 48<<10)
		}
		r.module.Fail(secureelementtest.None)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if rec, err := r.Record(t.Context(), coverOpened, nil); err != nil || rec.Segment < 2 {
			t.Errorf("the module is back, and the segment is not closed: %+v, %v", rec, err)
		}
		for range 100 {
			r.record(coverOpened)
		}
		if n := r.flood(noConnect, 10); n != 10 || r.Status().Oldest != 2 {
			t.Errorf("%d of 10 ordinary events recorded, the oldest segment is %d", n, r.Status().Oldest)
		}
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
		if p := find[*eventlog.EventsSuppressed](t, list); p.Reason != eventlog.SuppressReserve || p.Count == 0 {
			t.Errorf("EVENTS_SUPPRESSED says %+v", p)
		}
	})
}
