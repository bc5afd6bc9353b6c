package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
)

// requests shows frames as service and properties.
func requests(frames []echonet.Frame) (out []string) {
	for _, f := range frames {
		s := f.ESV.String()
		for _, p := range f.Properties {
			s += fmt.Sprintf(" %02X", p.EPC)
		}
		out = append(out, s)
	}
	return out
}

func TestStartSequenceIsThatOfTheInterface(t *testing.T) {
	t.Attr("statement", "C2 The start sequence reads the property maps before anything that is optional.")
	for _, test := range []struct {
		name string
		edit func(*meter.Config)
		want []string
	}{
		{"everything", func(*meter.Config) {}, []string{
			"INF_REQ D5", "Get 82 9D 9E 9F", "Get 8D D3 D7 E1 EA EB", "Get 8A", "Get E7 E8 E0 E3",
		}},
		{"one direction, no coefficient", func(c *meter.Config) { c.Reverse, c.Scale.Coefficient = false, 0 }, []string{
			"INF_REQ D5", "Get 82 9D 9E 9F", "Get 8D D7 E1 EA", "Get 8A", "Get E7 E8 E0",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				c := m.config()
				test.edit(&c)
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, c)}})
				node := a.node(t, 2, hems())
				synctest.Wait()
				a.forget()
				r := controller.NewReader(node, controller.Meter{Addr: at(1)}, nil)
				if err := r.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := r.Poll(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(test.want, requests(a.sentBy(2))); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestReadingsAreExact(t *testing.T) {
	for _, test := range []struct {
		name           string
		edit           func(*meter.Config)
		imported, sold string
	}{
		{"0.1 kWh", func(*meter.Config) {}, "12345.6", "78.9"},
		{"0.0001 kWh", func(c *meter.Config) { c.Scale.Exponent = -4 }, "12.3456", "0.0789"},
		{"10000 kWh times 999999", func(c *meter.Config) { c.Scale = meter.Scale{Coefficient: 999_999, Exponent: 4} }, "1234558765440000", "7889992110000"},
		{"no coefficient", func(c *meter.Config) { c.Scale = meter.Scale{Exponent: -1} }, "12345.6", "78.9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, m := newAir(), newMeter(t, "meter")
				c := m.config()
				test.edit(&c)
				a.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, c)}})
				r, err := controller.New(controller.Config{Node: a.node(t, 2, hems())}).Read(t.Context(), controller.Meter{Addr: at(1)})
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Import.V.String(); got != test.imported {
					t.Errorf("import %s, want %s", got, test.imported)
				}
				if got := r.Export.V.String(); got != test.sold {
					t.Errorf("export %s, want %s", got, test.sold)
				}
				if r.Power.V != 504 || r.CurrentR.V.String() != "2.0" || r.CurrentT.V.String() != "3.1" {
					t.Errorf("power %v, currents %v, %v", r.Power.V, r.CurrentR.V, r.CurrentT.V)
				}
				if r.Serial != "MS0000000001" || r.Manufacturer != [3]byte{255, 255, 255} || r.Release != 'R' || r.Digits != 6 {
					t.Errorf("%q of %X, release %c, %d digits", r.Serial, r.Manufacturer, r.Release, r.Digits)
				}
			})
		})
	}
}

func TestValuesThatAMeterDoesNotHaveAreNone(t *testing.T) {
	take := func(r *controller.Reader, hex map[byte]string) {
		var ps []echonet.Property
		for epc, edt := range hex {
			ps = append(ps, echonet.Property{EPC: epc, EDT: []byte(edt)})
		}
		r.Take(ps)
	}
	r := controller.NewReader(nil, controller.Meter{}, nil)
	take(r, map[byte]string{0xE0: "\x00\x00\x00\x64", 0xEA: "\x07\xEA\x01\x02\x03\x1E\x00\x00\x01\xE2\x3A"})
	if g := r.Readings(); g.Import.OK() || g.HalfImport.OK() {
		t.Error("energy without a unit")
	}
	take(r, map[byte]string{0x9F: "\x02\xD3\xE0", 0xE1: "\x03"})
	if r.Readings().Import.OK() {
		t.Error("energy without the coefficient that the meter has")
	}
	take(r, map[byte]string{0xD3: "\x00\x00\x00\x02"})
	if g := r.Readings(); g.Import.V.String() != "0.200" || g.HalfImport.V.Energy.String() != "246.900" ||
		g.HalfImport.V.Time.String() != "2026-01-02 03:30:00" {
		t.Errorf("import %v, half-hour %+v", g.Import.V, g.HalfImport.V)
	}
	take(r, map[byte]string{0xE7: "\x00\x00\x01\xF8", 0xE8: "\x00\x14\x7F\xFE", 0xE3: "\x00\x00\x00\x01"})
	if g := r.Readings(); g.Power.V != 504 || g.CurrentT.OK() || !g.CurrentR.OK() || !g.Export.OK() {
		t.Errorf("%+v", g)
	}
	take(r, map[byte]string{
		0xE7: "\x7F\xFF\xFF\xFE", 0xE8: "\x7F\xFF\x80\x00", 0xE0: "\xFF\xFF\xFF\xFE", 0xE3: "\x00",
		0xEA: "\x07\xEA\x0D\x02\x03\x1E\x00\x00\x01\xE2\x3A",
	})
	if g := r.Readings(); g.Power.OK() || g.CurrentR.OK() || g.CurrentT.OK() || g.Import.OK() || g.Export.OK() || g.HalfImport.OK() {
		t.Errorf("values that are none: %+v", g)
	}
}

func TestAnyMakersMeterWorksButForTheEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{air: newAir(), meter: newMeter(t, "meter")}
		h.vault = newVault(h.meter)
		c := h.meter.config()
		c.Evidence, c.Release = nil, 'F'
		h.node = h.air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, c)}})
		h.run(t, 2, nil)
		wait(time.Hour)
		s := h.state(t)
		if s.Evidence.Status != controller.EvidenceUnsupported || s.Evidence.Err != "" {
			t.Errorf("evidence %+v", s.Evidence)
		}
		if !s.Online || s.Import.V.String() != "12345.6" || time.Since(s.Power.Read) > 2*time.Minute || s.Release != 'F' {
			t.Errorf("readings %+v", s.Readings)
		}
		for _, f := range h.air.sentBy(2) {
			if isSet(f) {
				t.Fatalf("a %v was sent", f.ESV)
			}
		}
	})
}

func TestAMeterThatTakesOnePropertyAtATimeIsReadInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{air: newAir(), meter: newMeter(t, "meter")}
		h.vault = newVault(h.meter)
		h.air.jamming(func(f echonet.Frame) bool { return f.ESV == echonet.Get && len(f.Properties) > 1 })
		h.node = h.air.node(t, 1, echonet.Config{Objects: []echonet.Object{meterObject(t, h.meter.config())}})
		h.run(t, 2, nil)
		wait(time.Hour)
		if s := h.state(t); !s.Online || s.Import.V.String() != "12345.6" || s.Power.V != 504 {
			t.Errorf("state %+v", s)
		}
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

// starts counts the start sequences.
func starts(frames []echonet.Frame) (n int) {
	for _, f := range frames {
		if f.ESV == echonet.INFREQ {
			n++
		}
	}
	return n
}

func TestSilenceAndRejoinStartTheSequenceAgain(t *testing.T) {
	t.Attr("statement", "C9 After silence or a rejoin the start sequence begins again.")
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.MDMS = "" })
		wait(10 * time.Minute)
		if s := h.state(t); !s.Online || starts(h.air.sentBy(2)) != 1 {
			t.Fatalf("online %v, %d starts", s.Online, starts(h.air.sentBy(2)))
		}
		if err := h.node.InstancesChanged(); err != nil {
			t.Error(err)
		}
		wait(10 * time.Second)
		if n := starts(h.air.sentBy(2)); n != 2 {
			t.Errorf("%d starts after the meter has joined anew, want 2", n)
		}
		for range 100 { // a node that joins all the time
			if err := h.node.InstancesChanged(); err != nil {
				t.Error(err)
			}
			wait(time.Second)
		}
		if n := starts(h.air.sentBy(2)); n > 4 {
			t.Errorf("%d starts after 100 s of joining", n)
		}
		wait(5 * time.Minute)
		h.air.jamming(func(f echonet.Frame) bool { return f.ESV == echonet.GetRes })
		wait(30 * time.Minute)
		s := h.state(t)
		if s.Online {
			t.Error("online after half an hour of silence")
		}
		if since := time.Since(s.Since); since < 10*time.Minute || since > 29*time.Minute {
			t.Errorf("offline for %v", since)
		}
		h.air.jamming(nil)
		wait(20 * time.Minute)
		if s := h.state(t); !s.Online {
			t.Error("offline 20 minutes after the meter is back")
		}
	})
}

// testLink is a link with a session.
type testLink struct {
	mu      sync.Mutex // guards what follows
	state   controller.LinkState
	changed chan struct{}
}

func (l *testLink) State() controller.LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *testLink) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *testLink) set(s controller.LinkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	close(l.changed)
	l.changed = make(chan struct{})
}

func TestALinkThatJoinsAnewStartsTheSequenceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &testLink{state: controller.LinkState{Name: "joined", Joined: true}, changed: make(chan struct{})}
		address := at(9) // until the link has found the meter
		var mu sync.Mutex
		h := newHome(t, func(c *controller.Config) {
			c.Meters = []controller.Meter{{Link: link, Locate: func() net.Addr { mu.Lock(); defer mu.Unlock(); return address }}}
		})
		wait(time.Minute)
		mu.Lock()
		address = at(1)
		mu.Unlock()
		link.set(controller.LinkState{Name: "lost"})
		link.set(controller.LinkState{Name: "joined", Joined: true, RSSI: -60, Since: time.Now()})
		wait(2 * time.Minute)
		if s := h.state(t); !s.Online || s.Link.RSSI != -60 || s.Addr != at(1).String() {
			t.Errorf("online %v, link %+v, at %s", s.Online, s.Link, s.Addr)
		}
		before := starts(h.air.sentBy(2))
		link.set(controller.LinkState{Name: "lost"})
		wait(time.Second)
		if s := h.state(t); s.Link.Name != "lost" {
			t.Errorf("link %+v", s.Link)
		}
		link.set(controller.LinkState{Name: "joined", Joined: true})
		wait(time.Second)
		if n := starts(h.air.sentBy(2)) - before; n != 1 {
			t.Errorf("%d starts after a rejoin, want 1", n)
		}
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
	})
}

func TestAHalfHoursValueThatIsMissedIsAskedFor(t *testing.T) {
	t.Attr("statement", "C5 A half-hourly value that did not come is asked for five minutes later.")
	synctest.Test(t, func(t *testing.T) { // which begins at midnight
		h := newHome(t, func(c *controller.Config) { c.MDMS = "" })
		asked := func() (n int) {
			for _, r := range requests(h.air.sentBy(2)) {
				if r == "Get EA EB" {
					n++
				}
			}
			return n
		}
		wait(20 * time.Minute)
		if n := asked(); n != 0 {
			t.Errorf("asked %d times in the first half-hour", n)
		}
		wait(11 * time.Minute) // 00:31
		if err := h.node.Notify(echonet.LowVoltageMeter, meter.EPCHalfNormal, meter.EPCHalfReverse); err != nil {
			t.Error(err)
		}
		wait(20 * time.Minute)
		if n := asked(); n != 0 {
			t.Errorf("asked %d times for a value that had come", n)
		}
		wait(20 * time.Minute) // 01:11, nothing has come
		if n := asked(); n != 1 {
			t.Errorf("asked %d times for a value that had not come", n)
		}
		if v := h.state(t).HalfImport; v.V.Time.Minute != 0 || v.V.Energy.String() != "12345.0" {
			t.Errorf("half-hour %+v", v.V)
		}
	})
}

func TestOnlyTheMetersOwnNotificationsCount(t *testing.T) {
	t.Attr("statement", "C10 Notifications of unknown peers and objects are ignored.")
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.MDMS = "" })
		wait(time.Minute)
		power := []echonet.Property{{EPC: meter.EPCPower, EDT: []byte{0, 0, 0, 7}}}
		frame := echonet.Frame{SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.NodeProfile, ESV: echonet.INF, Properties: power}
		h.ctl.Notify(at(7), frame)
		other := frame
		other.SEOJ = echonet.LowVoltageMeter.WithInstance(2)
		h.ctl.Notify(at(1), other)
		synctest.Wait()
		if p := h.state(t).Power.V; p != 504 {
			t.Errorf("power %v of another node or object", p)
		}
		h.ctl.Notify(&net.UDPAddr{IP: addrOf(1).IP, Port: 51653}, frame) // a meter may send from any port
		synctest.Wait()
		if p := h.state(t).Power.V; p != 7 {
			t.Errorf("power %v", p)
		}
	})
}

func TestMetersAreFoundAndRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.Meters, c.Groups = nil, []net.Addr{memlink.Group} })
		id := echonet.Identity{}
		h.air.node(t, 5, echonet.Config{Objects: []echonet.Object{echonet.NewController(id)}}) // no meter
		wait(time.Minute)
		if s := h.state(t); !s.Online || s.Addr != at(1).String() {
			t.Errorf("online %v at %s", s.Online, s.Addr)
		}
		if n := h.vault.missing(t, h.meter); n != 0 {
			t.Errorf("%d bytes are missing", n)
		}
		second := h.meter.config()
		second.Evidence = nil
		h.air.node(t, 6, echonet.Config{Objects: []echonet.Object{meterObject(t, second)}})
		wait(time.Minute)
		if n := len(h.ctl.States()); n != 2 {
			t.Errorf("%d meters after another one has announced itself", n)
		}
		found, err := h.ctl.Discover(t.Context(), memlink.Group)
		if err != nil || len(found) != 2 {
			t.Fatalf("found %v, %v", found, err)
		}
		if d := cmp.Diff([]echonet.EOJ{echonet.LowVoltageMeter}, found[0].Instances); d != "" {
			t.Error(d)
		}
		h.air.jamming(func(echonet.Frame) bool { return true })
		if found, err := h.ctl.Discover(t.Context(), memlink.Group); err != nil || len(found) != 0 {
			t.Errorf("found %v, %v where nobody answers", found, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.ctl.Discover(ctx, memlink.Group); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestASearchDoesNotStartAMeterAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.MDMS, c.Meters, c.Groups = "", nil, []net.Addr{memlink.Group} })
		wait(time.Hour)
		maps := 0
		for _, r := range requests(h.air.sentBy(2)) {
			if r == "Get 82 9D 9E 9F" {
				maps++
			}
		}
		if s := h.state(t); !s.Online || maps != 1 {
			t.Errorf("online %v, started %d times in an hour", s.Online, maps)
		}
	})
}

func TestInstanceListsOfAnySortAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, func(c *controller.Config) { c.Meters = nil })
		synctest.Wait()
		for i, edt := range []string{"", "\x00", "\x01", "\x01\x02\x88", "\xFF\x02\x88\x01", "\x02\x02\x88\x01\x02\x88\x02", "\x01\x02\x88\x01\xFF"} {
			h.ctl.Notify(at(byte(20+i)), echonet.Frame{
				SEOJ: echonet.NodeProfile, DEOJ: echonet.NodeProfile, ESV: echonet.INF,
				Properties: []echonet.Property{{EPC: 0xD5, EDT: []byte(edt)}},
			})
		}
		synctest.Wait()
		got := map[string]bool{}
		for _, s := range h.ctl.States() {
			got[s.Object] = true
		}
		// The meter at 1 has announced itself, before or after the controller was there.
		if n := len(h.ctl.States()); n < 4 || n > 5 || !got["0288.02"] {
			t.Errorf("%d meters: %v", n, got)
		}
	})
}

// TestWhatAMeterIsCalledIsSafeToShow: a node on the link may say anything.
func TestWhatAMeterIsCalledIsSafeToShow(t *testing.T) {
	r := controller.NewReader(nil, controller.Meter{}, nil)
	for edt, want := range map[string]string{
		"MS0000000001":             "MS0000000001",
		"MS 1\x00\x00\x00        ": "MS 1",
		"\x1b]0;gotcha\x07":        "\uFFFD]0;gotcha\uFFFD",
		"a\r\nb\u202Ec\x9b":        "a\uFFFD\uFFFDb\uFFFDc\uFFFD",
	} {
		r.Take([]echonet.Property{{EPC: meter.EPCSerial, EDT: []byte(edt)}, {EPC: meter.EPCVersion, EDT: []byte("\x00\x00\x1b\x00")}})
		if g := r.Readings(); g.Serial != want || g.Release != 0 {
			t.Errorf("%q, release %q, want %q and none", g.Serial, g.Release, want)
		}
	}
	r.Take([]echonet.Property{{EPC: meter.EPCVersion, EDT: []byte("\x00\x00R\x00")}})
	if g := r.Readings(); g.Release != 'R' {
		t.Errorf("release %q", g.Release)
	}
}
