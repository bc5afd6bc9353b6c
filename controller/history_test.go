package controller_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// diary is a meter whose registers tell day and half-hour, with a clock that is
// set, and something that may happen before it takes a message.
type diary struct {
	*testMeter

	mu     sync.Mutex // guards what follows
	inner  echonet.Object
	now    time.Time
	before func(echonet.ESV) // called with mu held
	hide   byte              // a property that it does not have
}

// newDiary serves a diary at address 1, and returns a controller's node.
func newDiary(t *testing.T, edit func(*meter.Config)) (*diary, *air, *echonet.Node) {
	t.Helper()
	d := &diary{testMeter: newMeter(t, "meter"), now: time.Date(2026, 3, 1, 10, 40, 0, 0, time.UTC)}
	c := d.config()
	c.Source = d
	if edit != nil {
		edit(&c)
	}
	d.inner = meterObject(t, c)
	a := newAir()
	a.node(t, 1, echonet.Config{Objects: []echonet.Object{d}})
	return d, a, a.node(t, 2, hems())
}

func (d *diary) Clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// arrange changes the diary.
func (d *diary) arrange(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// shows is the register at a half-hour.
func shows(t time.Time) int { return t.YearDay()*100 + 2*t.Hour() + t.Minute()/30 }

func (d *diary) EnergyAt(t time.Time) meter.Pair {
	n := meter.Count(shows(t))
	return meter.Pair{Normal: n, Reverse: n + 100_000}
}

func (d *diary) EOJ() echonet.EOJ { return echonet.LowVoltageMeter }

func (d *diary) Properties() echonet.PropertyMaps {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.inner.Properties()
	if d.hide != 0 {
		m.Get.Remove(d.hide)
	}
	return m
}

func (d *diary) Begin(r echonet.Request) echonet.Access {
	d.mu.Lock()
	if r.From != nil && d.before != nil {
		d.before(r.ESV)
	}
	inner := d.inner
	d.mu.Unlock()
	return inner.Begin(r)
}

// started returns a reader that knows the diary.
func started(t *testing.T, node *echonet.Node) *controller.Reader {
	t.Helper()
	r := controller.NewReader(node, controller.Meter{Addr: at(1)}, nil)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// laid checks that a day of history is that of a date: by its name and by what
// its registers tell.
func laid(t *testing.T, d controller.Day, date, now time.Time) {
	t.Helper()
	if got := fmt.Sprintf("%d-%d-%d", d.Year, d.Month, d.Date); got != date.Format("2006-1-2") {
		t.Errorf("laid on %s, want %s", got, date.Format("2006-1-2"))
	}
	for i := range meter.Slots {
		slot := date.Add(time.Duration(i) * 30 * time.Minute)
		for name, s := range map[string]struct {
			got controller.Slot
			n   int
		}{"import": {d.Import[i], shows(slot)}, "export": {d.Export[i], shows(slot) + 100_000}} {
			want := fmt.Sprintf("%d.%d", s.n/10, s.n%10)
			if s.got.OK == slot.After(now) || s.got.OK && s.got.Energy.String() != want {
				t.Errorf("%s at %s: %v %v, want %s", name, slot, s.got.Energy, s.got.OK, want)
			}
		}
	}
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestADayOfHistoryIsLaidOnTheRightDay(t *testing.T) {
	t.Attr("statement", "C8 A day of history is laid on the right day: its own day and the meter's date are checked, around midnight too.")
	for _, test := range []struct {
		name    string
		ago     int
		arrange func(d *diary, a *air)
		want    time.Time
		tries   int // SetGets
	}{
		{"today", 0, nil, day(2026, 3, 1), 1},
		{"yesterday", 1, nil, day(2026, 2, 28), 1},
		{"99 days ago", 99, nil, day(2025, 11, 22), 1},
		{"midnight before the history is read", 1, func(d *diary, _ *air) {
			d.before = once(echonet.SetGet, func() { d.now = day(2026, 3, 2).Add(time.Second) })
		}, day(2026, 3, 1), 2},
		{"midnight after the history is read", 1, func(d *diary, _ *air) {
			gets := 0
			d.before = func(esv echonet.ESV) {
				if esv == echonet.Get {
					if gets++; gets == 2 {
						d.now = day(2026, 3, 2).Add(time.Second)
					}
				}
			}
		}, day(2026, 3, 1), 2},
		{"midnight when the answer is lost", 1, func(d *diary, a *air) {
			lost := false
			a.jamming(func(f echonet.Frame) bool {
				if f.ESV != echonet.SetGetRes || lost {
					return false
				}
				lost = true
				d.arrange(func() { d.now = day(2026, 3, 2).Add(time.Second) })
				return true
			})
		}, day(2026, 3, 1), 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, a, node := newDiary(t, nil)
				r := started(t, node)
				if test.arrange != nil {
					d.arrange(func() { test.arrange(d, a) })
				}
				a.forget()
				got, err := r.Day(t.Context(), test.ago)
				if err != nil {
					t.Fatal(err)
				}
				laid(t, got, test.want, d.Clock())
				tries := 0
				for _, f := range a.sentBy(2) {
					if f.ESV == echonet.SetGet {
						tries++
					}
				}
				if got.Ago != test.ago || tries != test.tries {
					t.Errorf("%d days ago, %d SetGets, want %d", got.Ago, tries, test.tries)
				}
			})
		})
	}
}

// once returns what happens before the first message of a kind.
func once(esv echonet.ESV, happen func()) func(echonet.ESV) {
	done := false
	return func(got echonet.ESV) {
		if got == esv && !done {
			done = true
			happen()
		}
	}
}

// TestHistoryIsReadWithoutSetGet: from a meter that refuses it or does not
// answer it, by SetC and Get.
func TestHistoryIsReadWithoutSetGet(t *testing.T) {
	for name, arrange := range map[string]func(d *diary, a *air){
		"refused":    func(d *diary, _ *air) { d.inner = noSetGet{d.inner} },
		"unanswered": func(_ *diary, a *air) { a.jamming(func(f echonet.Frame) bool { return f.ESV == echonet.SetGet }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, a, node := newDiary(t, nil)
				d.arrange(func() { arrange(d, a) })
				got, err := started(t, node).Day(t.Context(), 2)
				if err != nil {
					t.Fatal(err)
				}
				laid(t, got, day(2026, 2, 27), d.Clock())
			})
		})
	}
}

// TestAnotherControllersDayIsNotTaken: of a meter that takes no SetGet the day
// that is read may be that of another controller.
func TestAnotherControllersDayIsNotTaken(t *testing.T) {
	for _, test := range []struct {
		name  string
		times int // the other is faster
		err   error
	}{{"once", 1, nil}, {"each time", 1000, controller.ErrHistory}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _, node := newDiary(t, nil)
				object := d.inner
				d.arrange(func() { d.inner = noSetGet{object} })
				r := started(t, node)
				left, chosen := test.times, false
				d.arrange(func() {
					d.before = func(esv echonet.ESV) {
						if chosen && left > 0 { // between our SetC and our Get
							left--
							d.theirs(object, 7)
						}
						chosen = esv == echonet.SetC
					}
				})
				got, err := r.Day(t.Context(), 2)
				if !errors.Is(err, test.err) {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if err == nil {
					laid(t, got, day(2026, 2, 27), d.Clock())
				}
			})
		})
	}
}

// theirs lets another controller choose a day. d.mu is held.
func (d *diary) theirs(object echonet.Object, ago byte) {
	d.mu.Unlock() // the object asks for the time
	defer d.mu.Lock()
	object.Begin(echonet.Request{From: at(3), ESV: echonet.SetC}).Set(meter.EPCDay, []byte{ago})
}

func TestADayOfAMeterWithoutADateIsLaidNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, node := newDiary(t, nil)
		d.arrange(func() { d.hide = meter.EPCDate })
		got, err := started(t, node).Day(t.Context(), 1)
		if err != nil || got.Ago != 1 || got.Year != 0 || got.Month != 0 || got.Date != 0 {
			t.Fatalf("laid on %d-%d-%d, %v", got.Year, got.Month, got.Date, err)
		}
		if s := got.Import[3]; !s.OK || s.Energy.String() != "590.3" {
			t.Errorf("import %+v", s)
		}
	})
}

func TestAMeterOfOneDirectionHasNoExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, node := newDiary(t, func(c *meter.Config) { c.Reverse = false })
		got, err := started(t, node).Day(t.Context(), 1)
		if err != nil || !got.Import[47].OK {
			t.Fatalf("import %+v, %v", got.Import[47], err)
		}
		if got.Export != [meter.Slots]controller.Slot{} {
			t.Errorf("export %+v", got.Export)
		}
	})
}

// picky is a meter's object that keeps two days of history.
type picky struct{ echonet.Object }

type pickyAccess struct{ echonet.Access }

func (o picky) Begin(r echonet.Request) echonet.Access { return pickyAccess{o.Object.Begin(r)} }

func (a pickyAccess) Set(epc byte, edt []byte) bool {
	return (epc != meter.EPCDay || edt[0] <= 1) && a.Access.Set(epc, edt)
}

// bare is a meter's object without history.
type bare struct{ echonet.Object }

func (o bare) Properties() echonet.PropertyMaps {
	m := o.Object.Properties()
	m.Get.Remove(meter.EPCDayNormal, meter.EPCDayReverse, meter.EPCDay)
	return m
}

func TestADayThatAMeterDoesNotShow(t *testing.T) {
	for name, arrange := range map[string]func(d *diary){
		"it keeps no history":     func(d *diary) { d.inner = bare{d.inner} },
		"it does not go that far": func(d *diary) { d.inner = picky{d.inner} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _, node := newDiary(t, nil)
				d.arrange(func() { arrange(d) })
				if _, err := started(t, node).Day(t.Context(), 2); !errors.Is(err, controller.ErrHistory) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestADayThatCannotBeIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, node := newDiary(t, nil)
		r := started(t, node)
		a.forget()
		for _, ago := range []int{-1, 100, 256, 1 << 40} {
			if _, err := r.Day(t.Context(), ago); err == nil {
				t.Errorf("a day %d days ago", ago)
			}
		}
		if _, err := controller.NewReader(node, controller.Meter{Addr: at(1)}, nil).Day(t.Context(), 1); err == nil {
			t.Error("a day without the unit of its registers")
		}
		if n := len(a.sentBy(2)); n != 0 {
			t.Errorf("%d requests", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Day(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOneShotHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, node := newDiary(t, nil)
		c := controller.New(controller.Config{Node: node})
		got, err := c.History(t.Context(), controller.Meter{Addr: at(1)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		laid(t, got, day(2026, 2, 28), d.Clock())
		if _, err := c.History(t.Context(), controller.Meter{}, 1); !errors.Is(err, controller.ErrNoAddress) {
			t.Errorf("error %v", err)
		}
	})
}
