package device_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

func TestPeriodicSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.record(powerUp) // a tail
		time.Sleep(24*time.Hour - 2*time.Second)
		synctest.Wait()
		if n := r.Status().LastSeq; n != 3 {
			t.Fatalf("%d records before the day is over", n)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		s := r.Status()
		if s.LastSeq != 4 || s.SignedLength != s.Length {
			t.Errorf("after a day: %+v", s)
		}
		time.Sleep(12 * time.Hour)
		r.record(coverOpened) // a seal puts the next one off
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if n := r.Status().LastSeq; n != 5 {
			t.Errorf("%d records 23 h after a seal", n)
		}
		r.told("0/2", "PERIODIC_SEAL", "1/40")
	})
}

func TestPeriodicSealWaitsForTheModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *device.Config) { c.PeriodicSeal = time.Hour }).start()
		r.module.Fail(secureelementtest.Dead)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		r.module.Fail(secureelementtest.None)
		time.Sleep(time.Minute)
		r.told("PERIODIC_SEAL", "SE_FAILED", "SE_RESTORED")
	})
}

// TestWallClockSchedulesNothing sets the clock ahead by a year and back again.
func TestWallClockSchedulesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		at := r.Clock()
		for _, d := range []time.Duration{365 * 24 * time.Hour, -2 * 365 * 24 * time.Hour} {
			if err := r.SetClock(t.Context(), r.Clock().Add(d), eventlog.ClockLocal); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		if got := r.Clock().Sub(at); got != 10*time.Second-365*24*time.Hour {
			t.Errorf("the clock moved by %v", got)
		}
		r.close()
		r.start() // the clock is remembered
		if got := r.Clock().Sub(at); got != 10*time.Second-365*24*time.Hour {
			t.Errorf("after a restart the clock is %v off", got)
		}
		list := r.told("CLOCK_SET", "CLOCK_SET", "BOOT")
		set := find[*eventlog.ClockSet](t, list)
		if set.New-set.Old != -2*365*24*3600*1000 || set.Source != eventlog.ClockLocal {
			t.Errorf("CLOCK_SET says %+v", set)
		}
		if got := list[4].Time(); !got.Equal(r.Clock().Round(time.Millisecond)) {
			t.Errorf("BOOT at %v, the clock shows %v", got, r.Clock())
		}
		if list[4].Flags&eventlog.FlagClockUntrusted != 0 {
			t.Error("a clock that goes on from CLOCK_SET is not trusted at start")
		}
	})
}

func TestHostClockThatJumpsIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var jump atomic.Int64
		r := newRig(t)
		began := time.Now()
		r.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(jump.Load())).Round(0) }
		r.cfg.Uptime = func() time.Duration { return time.Since(began) }
		r.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		jump.Store(int64(time.Hour))
		r.record(powerUp) // at once: the clock is noted before the event
		time.Sleep(time.Minute)
		synctest.Wait()
		list := r.told("CLOCK_SET", "0/2")
		set := find[*eventlog.ClockSet](t, list)
		if n := count(list, eventlog.CodeClockSet); n != 1 || set.Source != eventlog.ClockSync || set.New-set.Old != 3600*1000 {
			t.Errorf("%d CLOCK_SET, the last one %+v", n, set)
		}
	})
}

// TestTimeNeverGoesBackInSilence moves the host's clock in small steps and in
// large ones, on and off, while the meter runs and while it is off. The time of a record
// is never before that of the last one, unless CLOCK_SET says so, or the meter
// itself does not trust it.
func TestTimeNeverGoesBackInSilence(t *testing.T) {
	type step struct {
		off     bool // while the meter is off
		by      time.Duration
		passing time.Duration // what goes by after it
	}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			rapid.IntRange(0, 4).Draw(t, "off") == 0,
			time.Duration(rapid.IntRange(-5000, 4000).Draw(t, "ms")) * time.Millisecond,
			time.Duration(rapid.IntRange(0, 1500).Draw(t, "ms passing")) * time.Millisecond,
		}
	}), 1, 30)
	rapid.Check(t, func(rt *rapid.T) {
		life := steps.Draw(rt, "life")
		ok := t.Run("life", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ahead atomic.Int64
				r := newRig(t)
				began := time.Now()
				r.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())).Round(0) }
				r.cfg.Uptime = func() time.Duration { return time.Since(began) }
				r.start()
				for _, s := range life {
					if s.off {
						r.close()
						began = time.Now()
					}
					ahead.Add(int64(s.by))
					if s.off {
						r.start()
					}
					r.record(coverOpened)
					time.Sleep(s.passing)
				}
				r.close()
				list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
				assertTimeGoesOn(t, list)
			})
		})
		if !ok {
			rt.Fatalf("steps of the clock: %+v", life)
		}
	})
}

func assertTimeGoesOn(t *testing.T, list []entry) {
	t.Helper()
	last := list[0].Millis
	for _, e := range list {
		if e.Millis < last && e.Flags&eventlog.FlagClockUntrusted == 0 {
			t.Errorf("record %d, %v, is %d ms before what was told before it", e.Seq, e.Event(), last-e.Millis)
		}
		last = e.Millis
		if set, ok := e.payload.(*eventlog.ClockSet); ok {
			last = set.New
		}
	}
}

// TestSmallStepsBackAreHeld: below two seconds nothing is said; what adds up to
// more is.
func TestSmallStepsBackAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		r := newRig(t)
		began := time.Now()
		r.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())).Round(0) }
		r.cfg.Uptime = func() time.Duration { return time.Since(began) }
		r.start()
		for range 3 {
			r.record(powerUp)
			ahead.Add(int64(-1500 * time.Millisecond))
		}
		r.record(powerUp)
		r.close()
		ahead.Add(int64(-time.Second)) // while it is off
		r.start()
		time.Sleep(3 * time.Second)
		r.record(powerUp)
		list := r.told("0/2", "0/2", "CLOCK_SET", "0/2", "0/2", "BOOT", "0/2")
		if list[3].Millis != list[2].Millis {
			t.Errorf("a step back of 1.5 s moved the time by %d ms", list[3].Millis-list[2].Millis)
		}
		set := find[*eventlog.ClockSet](t, list)
		if set.Old != list[3].Millis || set.Old-set.New != 3000 {
			t.Errorf("CLOCK_SET says %+v", set)
		}
		untrusted := func(e entry) bool { return e.Flags&eventlog.FlagClockUntrusted != 0 }
		if !untrusted(list[7]) || untrusted(list[8]) {
			t.Errorf("behind the log: trusted %t; when it has passed it: trusted %t", !untrusted(list[7]), !untrusted(list[8]))
		}
		assertTimeGoesOn(t, list)
	})
}

func TestClockRefusesTimesThatNothingCanHold(t *testing.T) {
	r := newRig(t).start()
	for _, year := range []int{0, 1969, 2200, 10_000} {
		if err := r.SetClock(t.Context(), time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC), eventlog.ClockLocal); err == nil {
			t.Errorf("set to the year %d", year)
		}
	}
	if s := r.Status(); s.LastSeq != 2 {
		t.Errorf("the log says of it: %+v", s)
	}
}

// TestLinkClock: other nodes set the clock only where the configuration lets
// them, and the log tells of it.
func TestLinkClock(t *testing.T) {
	for name, allowed := range map[string]bool{"refused": false, "allowed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *device.Config) { c.LinkClock = allowed }).start()
				at := r.Clock()
				if got := r.Object().Properties().Set.Has(meter.EPCTime); got != allowed {
					t.Fatalf("97 is in the Set map: %t", got)
				}
				if !allowed {
					r.close()
					return
				}
				if !r.set(meter.EPCDate, []byte{0x07, 0xEA, 12, 24}) {
					t.Error("the date was refused")
				}
				synctest.Wait()
				moved := r.Clock().Sub(at)
				r.close()
				list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
				y, mo, d := at.Add(moved).Date()
				set := find[*eventlog.ClockSet](t, list)
				if y != 2026 || mo != 12 || d != 24 || set.Source != eventlog.ClockLink || set.New-set.Old != moved.Milliseconds() {
					t.Errorf("moved to %d-%d-%d, CLOCK_SET says %+v", y, mo, d, set)
				}
			})
		})
	}
}

// TestAcceleratedRun lives a day in a minute and a half: uptime follows the clock that is
// given, and so do periodic seals.
func TestAcceleratedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newRig(t, func(c *device.Config) {
			c.Now = func() time.Time { return start.Add(1000 * time.Since(start)) }
		}).start()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		list := r.told("PERIODIC_SEAL")
		if up := list[2].Uptime; up < 24*3600 || up > 24*3600+2000 {
			t.Errorf("uptime %d s", up)
		}
	})
}
