package controller_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/internal/echonettest"
	"github.com/meterseal/meterseal/internal/effort"
)

// grow appends n one-slot records; the last one is specific and sealed.
func grow(m *testMeter, n int) {
	m.change(func(l *eventlogtest.Meter) {
		for range n - 1 {
			l.Event(eventlogtest.Ordinary)
		}
		l.Event(eventlogtest.Specific)
	})
}

// collect collects and fails the test if that fails.
func collect(t testing.TB, c *controller.Collector, w controller.Want) controller.Collected {
	t.Helper()
	got, err := c.Collect(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCollectionTakesOneRoundTripPer960BytesAndOneMore(t *testing.T) {
	for _, records := range []int{1, 15, 16, 30, 31, 1000} {
		t.Run(fmt.Sprintf("%d records", records), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				node := pair(t, a, m)
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				copies := map[uint32][]byte{}
				first := collect(t, c, controller.Want{})
				holds(t, m, copies, first.Bundle)

				grow(m, records)
				a.forget()
				got := collect(t, c, controller.Want{Head: first.Head})
				holds(t, m, copies, got.Bundle)
				want := (64*records+959)/960 + 1
				if n := len(a.sentBy(2)); n != want || got.Stats.RoundTrips != want {
					t.Errorf("%d requests on the wire, %d counted, want %d", n, got.Stats.RoundTrips, want)
				}
				if n := got.Stats.Bytes; n != uint64(64*records) {
					t.Errorf("%d bytes read, want %d", n, 64*records)
				}
				if !got.Bundle.Newest {
					t.Error("the bundle does not say that its seal is the newest")
				}
			})
		})
	}
}

func TestNothingNewTakesOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		first := collect(t, c, controller.Want{})
		a.forget()
		got := collect(t, c, controller.Want{Head: first.Head})
		if got.Bundle != nil || got.Head != first.Head || len(a.sentBy(2)) != 1 {
			t.Errorf("bundle %v, head %v, %d requests", got.Bundle, got.Head, len(a.sentBy(2)))
		}
		fresh := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		if got := collect(t, fresh, controller.Want{Head: first.Head}); got.Bundle != nil {
			t.Error("a collector that knows the head only collects what is there already")
		}
	})
}

func TestSegmentsThatWereClosedMeanwhileComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 20)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		copies := map[uint32][]byte{}
		first := collect(t, c, controller.Want{})
		holds(t, m, copies, first.Bundle)

		grow(m, 5)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		grow(m, 30)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		grow(m, 3)
		got := collect(t, c, controller.Want{Head: first.Head})
		holds(t, m, copies, got.Bundle)
		if n := len(got.Bundle.Parts); n != 3 {
			t.Errorf("%d parts, want 3", n)
		}
		if _, err := got.Bundle.AppendBinary(nil); err != nil {
			t.Error(err)
		}
		for n, log := range copies {
			if s := m.log.Segment(n); len(s.Log) != len(log) {
				t.Errorf("segment %d: %d bytes of %d", n, len(log), len(s.Log))
			}
		}
	})
}

func TestASegmentThatIsThereInFullIsNotCollectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 20)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		first := m.log.Segment(1)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{Head: controller.Head{
			Segment: 1, Length: uint64(len(first.Log)), Digest: first.Digest(len(first.Log)),
		}})
		if p := got.Bundle.Parts; len(p) != 1 || p[0].Segment != 2 {
			t.Errorf("%d parts, the first of segment %d", len(p), p[0].Segment)
		}
	})
}

func TestALargeBacklogComesInSeveralBundles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		for range 9 {
			grow(m, 40)
			m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		}
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{Size: 5000})
		copies, bundles := map[uint32][]byte{}, 0
		for w := (controller.Want{}); ; bundles++ {
			got := collect(t, c, w)
			holds(t, m, copies, got.Bundle)
			if got.Bundle.Newest == got.More {
				t.Errorf("newest %v, more %v", got.Bundle.Newest, got.More)
			}
			if !got.More {
				break
			}
			w.Head = got.Head
		}
		if bundles < 3 || len(copies) != 10 {
			t.Errorf("%d bundles, %d segments", bundles, len(copies))
		}
	})
}

func TestASegmentThatIsDroppedMeanwhileIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		for range 4 {
			grow(m, 40)
			m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		}
		reads := 0
		m.onRead = func(m *testMeter, c meter.Cursor) {
			if reads++; reads == 12 { // in the middle of segment 1
				m.log.Drop(1, eventlog.DropFull)
				m.log.Drop(2, eventlog.DropFull)
			}
		}
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{})
		copies := map[uint32][]byte{}
		holds(t, m, copies, got.Bundle)
		if d := cmp.Diff([]uint32{1}, got.Missing); d != "" {
			t.Error(d)
		}
		if len(copies) != 3 || copies[3] == nil || copies[4] == nil || copies[5] == nil {
			t.Errorf("%d segments", len(copies))
		}
	})
}

func TestAClosedSegmentWithoutSealIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 10)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		m.cursor = true
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{})
		if d := cmp.Diff([]uint32{1}, got.Missing); d != "" || len(got.Bundle.Parts) != 1 || got.Bundle.Parts[0].Segment != 2 {
			t.Errorf("%d parts, missing %v", len(got.Bundle.Parts), got.Missing)
		}
	})
}

func TestALogThatGrowsWhileItIsReadDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 100)
		before := len(m.log.Open().Log)
		reads := 0
		m.onRead = func(m *testMeter, c meter.Cursor) {
			if reads++; reads == 20 {
				m.log.Rotate()
			}
			m.log.Event(eventlogtest.Specific, byte(reads))
		}
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{})
		holds(t, m, map[uint32][]byte{}, got.Bundle)
		if n := len(got.Bundle.Parts[0].Log); n != before {
			t.Errorf("%d bytes, want the %d that were sealed at first", n, before)
		}
	})
}

func TestTailIsAddedOnlyWhenItIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 7)
		m.change(func(l *eventlogtest.Meter) { l.Event(eventlogtest.Ordinary); l.Event(eventlogtest.Ordinary) })
		for _, tail := range []bool{false, true} {
			c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{Tail: tail})
			got := collect(t, c, controller.Want{})
			holds(t, m, map[uint32][]byte{}, got.Bundle)
			want := len(m.log.Open().Log)
			if !tail {
				want -= 128
			}
			if n := len(got.Bundle.Parts[0].Log); n != want {
				t.Errorf("tail %v: %d bytes, want %d", tail, n, want)
			}
		}
	})
}

func TestCertificateChainIsAddedIfThereIsOne(t *testing.T) {
	for _, size := range []int{0, 100, 959, 960, 961, 3000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				for i := range size {
					m.chain = append(m.chain, byte(i))
				}
				node := pair(t, a, m)
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{Chain: true})
				got := collect(t, c, controller.Want{})
				if string(got.Bundle.Chain) != string(m.chain) {
					t.Errorf("a chain of %d bytes, want %d", len(got.Bundle.Chain), size)
				}
			})
		})
	}
}

func TestAMeterThatIsBehindItsCopyShowsIt(t *testing.T) {
	for _, test := range []struct {
		name string
		head func(controller.Head) controller.Head
	}{
		{"longer copy", func(h controller.Head) controller.Head { h.Length += 640; return h }},
		{"later segment", func(h controller.Head) controller.Head { h.Segment += 2; h.Length = 192; return h }},
		{"other bytes", func(h controller.Head) controller.Head { h.Digest[0] ^= 1; return h }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				node := pair(t, a, m)
				grow(m, 5)
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				first := collect(t, c, controller.Want{})
				c.Forget()
				got := collect(t, c, controller.Want{Head: test.head(first.Head)})
				if got.Bundle == nil {
					t.Fatal("nothing is collected")
				}
				p := got.Bundle.Parts[0]
				if len(p.Log) != 0 || p.Offset != first.Head.Length || !got.Bundle.Newest {
					t.Errorf("%d bytes from %d, newest %v", len(p.Log), p.Offset, got.Bundle.Newest)
				}
				if _, err := got.Bundle.AppendBinary(nil); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheMDMSGetsAgainWhatItAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 30)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		collect(t, c, controller.Want{})
		for _, offset := range []uint64{0, 64, 1000, 1 << 50} {
			got := collect(t, c, controller.Want{Head: controller.Head{Segment: 1, Length: offset}, Again: true})
			want := min(offset, uint64(len(m.log.Open().Log))) / 64 * 64
			if p := got.Bundle.Parts[0]; p.Offset != want || int(p.Offset)+len(p.Log) != len(m.log.Open().Log) {
				t.Errorf("asked for %d: %d bytes from %d", offset, len(p.Log), p.Offset)
			}
		}
	})
}

func TestAMeterWithoutSealIsNotCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		m.log.Open().Seals = nil
		node := pair(t, a, m)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		if got, err := c.Collect(t.Context(), controller.Want{}); !errors.Is(err, controller.ErrNotSealed) || got.Bundle != nil {
			t.Errorf("error %v", err)
		}
	})
}

// isSet reports whether a frame writes.
func isSet(f echonet.Frame) bool {
	return f.ESV == echonet.SetI || f.ESV == echonet.SetC || f.ESV == echonet.SetGet
}

func TestAMeterOfAnotherMakerReceivesNoSet(t *testing.T) {
	f := func(epcs ...byte) (out []echonet.Entry) {
		for _, epc := range epcs {
			out = append(out, echonet.Entry{EPC: epc, Value: []byte("theirs"), Write: func([]byte) bool {
				t.Errorf("property %02X was written", epc)
				return true
			}})
		}
		return out
	}
	readOnly := f(0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8)
	for i := range readOnly {
		readOnly[i].Write = nil
	}
	for _, test := range []struct {
		name    string
		entries []echonet.Entry
		reads   []byte // properties of F0 to F8 that may be read
	}{
		{"no F properties", nil, nil},
		{"some F properties", f(0xF0, 0xF1, 0xF2), nil},
		{"all of them, none settable", readOnly, nil},
		{"all of them, settable", f(0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8), []byte{0xF0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAir()
				id := echonet.Identity{Manufacturer: [3]byte{0, 0, 6}, Serial: "THEIRS000001"}
				entries := append(echonet.SuperClass(id, echonet.Version('R', 1)), test.entries...)
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, entries...)}})
				node := a.node(t, 2, hems())
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				for range 2 {
					if _, err := c.Collect(t.Context(), controller.Want{}); !errors.Is(err, controller.ErrUnsupported) {
						t.Errorf("error %v", err)
					}
				}
				if err := c.Challenge(t.Context(), make([]byte, eventlog.ChallengeSize)); !errors.Is(err, controller.ErrUnsupported) {
					t.Errorf("error %v", err)
				}
				var reads []byte
				for _, f := range a.sentBy(2) {
					if isSet(f) {
						t.Errorf("a %v was sent", f.ESV)
					}
					for _, p := range f.Properties {
						if p.EPC >= 0xF0 {
							reads = append(reads, p.EPC)
						}
					}
				}
				if d := cmp.Diff(test.reads, reads); d != "" {
					t.Errorf("vendor properties read: %s", d)
				}
			})
		})
	}
}

// noSetGet is a meter's object that refuses everything in a SetGet.
type noSetGet struct{ echonet.Object }

func (o noSetGet) Begin(r echonet.Request) echonet.Access {
	if r.ESV == echonet.SetGet {
		return refusing{}
	}
	return o.Object.Begin(r)
}

type refusing struct{}

func (refusing) Get(byte) ([]byte, bool) { return nil, false }
func (refusing) Set(byte, []byte) bool   { return false }

func TestAMeterThatKnowsNoSetGetIsReadBySetCAndGet(t *testing.T) {
	for _, test := range []struct {
		name   string
		object func(echonet.Object) echonet.Object
		jam    func(echonet.Frame) bool
	}{
		{"refused", func(o echonet.Object) echonet.Object { return noSetGet{o} }, nil},
		{"unanswered", func(o echonet.Object) echonet.Object { return o }, func(f echonet.Frame) bool { return f.ESV == echonet.SetGet }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				a.jamming(test.jam)
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{test.object(meterObject(t, m.config()))}})
				node := a.node(t, 2, hems())
				grow(m, 50)
				m.change(func(l *eventlogtest.Meter) { l.Rotate() })
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				copies := map[uint32][]byte{}
				first := collect(t, c, controller.Want{})
				holds(t, m, copies, first.Bundle)

				grow(m, 50)
				a.forget()
				got := collect(t, c, controller.Want{Head: first.Head})
				holds(t, m, copies, got.Bundle)
				for _, f := range a.sentBy(2) {
					if f.ESV == echonet.SetGet {
						t.Fatal("a SetGet was sent to a meter that is known to take none")
					}
				}
				if n, want := len(a.sentBy(2)), 2*((50*64+959)/960)+1; n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			})
		})
	}
}

func TestAMeterThatOnlyFallsSilentIsNotTakenForOneWithoutSetGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		first := collect(t, c, controller.Want{})
		grow(m, 100)
		a.jamming(func(f echonet.Frame) bool { return f.ESV == echonet.SetGetRes })
		if _, err := c.Collect(t.Context(), controller.Want{Head: first.Head}); !errors.Is(err, echonet.ErrTimeout) {
			t.Fatalf("error %v", err)
		}
		a.jamming(nil)
		a.forget()
		collect(t, c, controller.Want{Head: first.Head})
		for _, f := range a.sentBy(2) {
			if f.ESV == echonet.SetC {
				t.Fatal("a SetC was sent")
			}
		}
	})
}

func TestABrokenCollectionGoesOnWhereItBroke(t *testing.T) {
	for _, test := range []struct {
		name  string
		pause time.Duration
		saved uint64 // bytes that are not read again
	}{
		{"at once", 0, 9600},
		{"an hour later, when the meter may be another one", time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				node := pair(t, a, m)
				grow(m, 300)
				answers := 0
				a.jamming(func(f echonet.Frame) bool {
					if f.ESV == echonet.SetGetRes {
						answers++
					}
					return answers > 10 && f.ESV == echonet.SetGetRes
				})
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				broken, err := c.Collect(t.Context(), controller.Want{})
				if err == nil || broken.Bundle != nil {
					t.Fatalf("bundle %v, error %v", broken.Bundle, err)
				}
				a.jamming(nil)
				grow(m, 10)
				time.Sleep(test.pause) // of the bubble
				got := collect(t, c, controller.Want{})
				holds(t, m, map[uint32][]byte{}, got.Bundle)
				if want := uint64(len(m.log.Open().Log)) - test.saved; got.Stats.Bytes != want {
					t.Errorf("%d bytes read the second time, want %d", got.Stats.Bytes, want)
				}
			})
		})
	}
}

func TestSegmentsThatWereReadBeforeABreakAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 60)
		m.change(func(l *eventlogtest.Meter) { l.Rotate() })
		grow(m, 60)
		m.onRead = func(_ *testMeter, c meter.Cursor) {
			if c.Object == meter.CursorLog && c.Segment == 2 {
				go a.jamming(func(f echonet.Frame) bool { return true })
			}
		}
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{})
		copies := map[uint32][]byte{}
		holds(t, m, copies, got.Bundle)
		if !got.More || got.Bundle.Newest || got.Head.Segment != 1 {
			t.Errorf("more %v, newest %v, head %v", got.More, got.Bundle.Newest, got.Head)
		}
		m.onRead = nil
		a.jamming(nil)
		rest := collect(t, c, controller.Want{Head: got.Head})
		holds(t, m, copies, rest.Bundle)
	})
}

func TestCollectionSurvivesABadLink(t *testing.T) {
	for seed := range uint64(effort.Times(8)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				a.faults = &faults{
					rnd:  rand.New(rand.NewPCG(seed, 1)),
					lost: 0.2, doubled: 0.3, late: 0.1, delay: 70 * time.Second, reorderWithin: 3 * time.Second,
				}
				node := pair(t, a, m)
				grow(m, 120)
				m.change(func(l *eventlogtest.Meter) { l.Rotate() })
				grow(m, 40)
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{Attempts: 10})
				copies := map[uint32][]byte{}
				var w controller.Want
				for range 4 {
					got := collect(t, c, w)
					holds(t, m, copies, got.Bundle)
					if got.More {
						t.Error("a collection broke off")
					}
					w.Head = got.Head
					grow(m, 20)
				}
				time.Sleep(5 * time.Minute) // of the bubble: late datagrams arrive before it ends
			})
		})
	}
}

func TestTwoControllersDoNotDisturbEachOther(t *testing.T) {
	for _, setGet := range []bool{true, false} {
		t.Run(fmt.Sprintf("SetGet %v", setGet), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				a.faults = &faults{rnd: rand.New(rand.NewPCG(1, 1)), reorderWithin: time.Second}
				object := meterObject(t, m.config())
				if !setGet {
					object = noSetGet{object}
				}
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{object}})
				grow(m, 200)
				m.change(func(l *eventlogtest.Meter) { l.Rotate() })
				grow(m, 100)
				nodes := []*echonet.Node{a.node(t, 2, hems()), a.node(t, 3, hems())}
				done := make(chan controller.Collected)
				for i, node := range nodes {
					go func() {
						c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
						// The second one begins elsewhere.
						got, err := c.Collect(t.Context(), controller.Want{Head: controller.Head{Segment: 1, Length: uint64(i) * 6400}})
						if err != nil {
							t.Error(err)
						}
						done <- got
					}()
				}
				for range nodes {
					got := <-done
					copies := map[uint32][]byte{1: m.log.Segment(1).Log[:got.Bundle.Parts[0].Offset]}
					holds(t, m, copies, got.Bundle)
					if got.Stats.Failures != 0 {
						t.Errorf("%d failures", got.Stats.Failures)
					}
				}
			})
		})
	}
}

// mixed is a node to whose requests another reader's windows come at first.
type mixed struct {
	controller.Requester
	left int // of these answers
}

func (r *mixed) SetGet(ctx context.Context, peer net.Addr, eoj echonet.EOJ, set []echonet.Property, get []byte) (s, g []echonet.Property, err error) {
	s, g, err = r.Requester.SetGet(ctx, peer, eoj, set, get)
	if r.left == 0 {
		return s, g, err
	}
	r.left--
	out := append([]echonet.Property(nil), g...)
	for i, p := range out {
		if p.EPC >= 0xF3 && p.EPC <= 0xF6 {
			edt := append([]byte(nil), p.EDT...)
			edt[len(edt)-1] ^= 1
			edt[12] ^= 64 // of the cursor
			out[i].EDT = edt
		}
	}
	return s, out, err
}

func TestAWindowOfAnotherReaderIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		grow(m, 100)
		c := controller.NewCollector(&mixed{node, 3}, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		got := collect(t, c, controller.Want{})
		holds(t, m, map[uint32][]byte{}, got.Bundle)
		if got.Stats.Failures != 3 {
			t.Errorf("%d failures, want 3", got.Stats.Failures)
		}
	})
}

func TestAHostileMeterCostsLittle(t *testing.T) {
	seal := func(edit func(*eventlog.Seal)) []byte {
		l := eventlogtest.New("meter", eventlog.SchemeDigest)
		s := l.Open().Seals[0]
		edit(&s)
		return eventlogtest.Encode(s)
	}
	status := func(edit func(*eventlog.Status)) []byte {
		s := eventlog.Status{Scheme: eventlog.SchemeDigest, Health: eventlog.HealthUp, Segment: 1, Oldest: 1, Length: 192, SignedLength: 192}
		edit(&s)
		b, _ := s.AppendBinary(nil)
		return b
	}
	plain := func(*eventlog.Seal) {}
	for _, test := range []struct {
		name         string
		status, seal []byte
		want         error
		requests     int
	}{
		{"a log of 2^62 bytes", status(func(*eventlog.Status) {}), seal(func(s *eventlog.Seal) { s.SignedLength = 1 << 62 }), controller.ErrTooLarge, 10},
		{"four thousand million segments", status(func(s *eventlog.Status) { s.Segment = 1<<32 - 1 }), seal(func(s *eventlog.Seal) { s.Segment = 1<<32 - 1 }), nil, 5000},
		{"no seal of ours", status(func(s *eventlog.Status) { s.SignedLength = 0 }), []byte("nonsense"), controller.ErrNotSealed, 10},
		{"bytes that are refused", status(func(*eventlog.Status) {}), seal(plain), nil, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAir()
				entries := echonet.SuperClass(echonet.Identity{Serial: "MS0000000001"}, echonet.Version('R', 1))
				for epc := byte(0xF0); epc <= 0xF8; epc++ {
					e := echonet.Entry{EPC: epc, Value: []byte{0}, Write: func([]byte) bool { return false }}
					switch epc {
					case 0xF0:
						e.Value = test.status
					case 0xF1:
						e.Value = test.seal
					}
					entries = append(entries, e)
				}
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, entries...)}})
				node := a.node(t, 2, hems())
				c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
				got, err := c.Collect(t.Context(), controller.Want{})
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if n := len(a.sentBy(2)); n > test.requests {
					t.Errorf("%d requests", n)
				}
				if got.Bundle != nil {
					if _, err := got.Bundle.AppendBinary(nil); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestMessagesOfTheMDMSReachTheMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, m := newAir(), newMeter(t, "meter")
		node := pair(t, a, m)
		c := controller.NewCollector(node, controller.Meter{Addr: at(1)}, controller.CollectConfig{})
		lost := 0
		a.jamming(func(f echonet.Frame) bool { lost++; return f.ESV == echonet.SetRes && lost < 8 })
		if err := c.Challenge(t.Context(), []byte("challenge")); err != nil {
			t.Error(err)
		}
		a.jamming(nil)
		if err := c.Receipt(t.Context(), []byte("receipt")); err != nil {
			t.Error(err)
		}
		challenges, receipts := m.taken()
		if len(challenges) == 0 || string(challenges[0]) != "challenge" || len(receipts) != 1 || string(receipts[0]) != "receipt" {
			t.Errorf("challenges %q, receipts %q", challenges, receipts)
		}
		m.change(func(*eventlogtest.Meter) { m.refuse = true })
		a.forget()
		if err := c.Receipt(t.Context(), []byte("receipt")); !errors.Is(err, controller.ErrRefused) {
			t.Errorf("error %v", err)
		}
		if n := len(a.sentBy(2)); n != 1 {
			t.Errorf("%d requests for a receipt that is refused, want 1", n)
		}
	})
}

func TestCollectionOverLoopback(t *testing.T) {
	m := newMeter(t, "meter")
	_, meterAddr := echonettest.Loopback(t, echonet.Config{Objects: []echonet.Object{meterObject(t, m.config())}})
	grow(m, 200)
	m.change(func(l *eventlogtest.Meter) { l.Rotate() })
	node, _ := echonettest.Loopback(t, hems())
	var last controller.Progress
	c := controller.NewCollector(node, controller.Meter{Addr: meterAddr}, controller.CollectConfig{
		Progress: func(p controller.Progress) { last = p },
	})
	got := collect(t, c, controller.Want{})
	holds(t, m, map[uint32][]byte{}, got.Bundle)
	if last.Meter != m.log.ID || last.Segment != 2 || last.Done != last.Total {
		t.Errorf("last progress %+v", last)
	}
}
