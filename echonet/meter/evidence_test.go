package meter_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
)

// eventLog is an Evidence of one segment, 7, whose byte i is that of i/64.
type eventLog struct {
	size      uint64
	challenge []byte
	receipt   []byte
}

func newLog() *eventLog { return &eventLog{size: 3000} }

func (l *eventLog) Header() []byte { return bytes.Repeat([]byte{0xF0}, 44) }

func (l *eventLog) Seal() []byte { return bytes.Repeat([]byte{0xF1}, 140) }

func (l *eventLog) CheckCursor(c meter.Cursor) bool {
	return c.Object == meter.CursorLog && c.Segment == 7 && c.Offset <= l.size
}

func (l *eventLog) ReadWindow(c meter.Cursor, buf []byte) (int, bool) {
	if !l.CheckCursor(c) {
		return 0, false
	}
	n := 0
	for ; n < len(buf) && c.Offset+uint64(n) < l.size; n++ {
		buf[n] = byte((c.Offset + uint64(n)) / 64)
	}
	return n, true
}

func (l *eventLog) Challenge(edt []byte) bool {
	if len(edt) != 168 {
		return false
	}
	l.challenge = bytes.Clone(edt[32:44])
	return true
}

func (l *eventLog) LastChallenge() []byte { return l.challenge }

func (l *eventLog) Receipt(edt []byte) bool {
	if len(edt) != 180 {
		return false
	}
	l.receipt = bytes.Clone(edt[64:76])
	return true
}

func (l *eventLog) LastReceipt() []byte { return l.receipt }

func cursor(offset uint64) []byte {
	b, _ := meter.Cursor{Object: meter.CursorLog, Segment: 7, Offset: offset}.AppendBinary(nil)
	return b
}

var windows = []echonet.Property{{EPC: 0xF3}, {EPC: 0xF4}, {EPC: 0xF5}, {EPC: 0xF6}}

// collect checks four windows at an offset against the log.
func collect(t *testing.T, l *eventLog, offset uint64, ps []echonet.Property) {
	t.Helper()
	if len(ps) != 4 {
		t.Fatalf("got %d windows", len(ps))
	}
	for i, p := range ps {
		c, data, err := meter.ParseWindow(p.EDT)
		if err != nil {
			t.Fatal(err)
		}
		want := meter.Cursor{Object: meter.CursorLog, Segment: 7, Offset: offset + uint64(240*i)}
		if c != want {
			t.Errorf("window %d: got cursor %+v, want %+v", i, c, want)
		}
		buf := make([]byte, 240)
		n, _ := l.ReadWindow(want, buf)
		if !bytes.Equal(data, buf[:n]) {
			t.Errorf("window %d: got %d bytes, want %d", i, len(data), n)
		}
	}
}

func TestWindowsBySetGet(t *testing.T) {
	l := newLog()
	c := full('R')
	c.Evidence = l
	r := newRig(t, c)
	for _, offset := range []uint64{0, 960, 1920, 2880, 2999, 3000} {
		a := r.ask(r.peer, echonet.Frame{
			ESV: echonet.SetGet, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(offset)}}, GetProperties: windows,
		})
		if a.ESV != echonet.SetGetRes {
			t.Fatalf("offset %d: got %v", offset, a.ESV)
		}
		collect(t, l, offset, a.GetProperties)
	}
	// The cursor held for those messages only.
	r.want(0xF2, "00000000000000000000000000")
	r.want(0xF3, "00000000000000000000000000")
}

func TestWindowsBySetC(t *testing.T) {
	l := newLog()
	clock := &house{now: noon}
	c := full('R')
	c.Evidence, c.Now = l, clock.Clock
	r := newRig(t, c)
	for _, esv := range []echonet.ESV{echonet.SetC, echonet.SetI} {
		if esv == echonet.SetC {
			r.set(0xF2, cursor(960)...)
		} else {
			f := echonet.Frame{SEOJ: echonet.Controller, DEOJ: echonet.LowVoltageMeter, ESV: esv, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(960)}}}
			b, _ := f.AppendBinary(nil)
			r.peer.WriteTo(b, meterAddr)
		}
		a := r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: windows})
		collect(t, l, 960, a.Properties)
		r.want(0xF2, "0100000007"+"00000000000003c0")

		// Another controller has no cursor, and sets its own.
		other := r.listen("10.0.0.3:3610")
		if a := r.ask(other, echonet.Frame{ESV: echonet.Get, Properties: windows[:1]}); a.ESV != echonet.GetRes || len(a.Properties[0].EDT) != 13 {
			t.Errorf("another controller: got %v", a)
		}
		r.ask(other, echonet.Frame{ESV: echonet.SetC, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(0)}}})
		collect(t, l, 0, r.ask(other, echonet.Frame{ESV: echonet.Get, Properties: windows}).Properties)
		collect(t, l, 960, r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: windows}).Properties)
		other.Close()

		// A SetGet in between has a cursor of its own.
		g := r.ask(r.peer, echonet.Frame{
			ESV: echonet.SetGet, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(64)}}, GetProperties: windows,
		})
		collect(t, l, 64, g.GetProperties)
		collect(t, l, 960, r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: windows}).Properties)

		clock.change(func(h *house) { h.now = h.now.Add(60 * time.Second) })
		collect(t, l, 960, r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: windows}).Properties)
		clock.change(func(h *house) { h.now = h.now.Add(time.Second) })
		r.want(0xF2, "00000000000000000000000000")
	}
}

func TestCursorsOfSixteenSenders(t *testing.T) {
	r := newRig(t, full('R'))
	has := func(i int) bool {
		c := r.listen(fmt.Sprintf("10.0.1.%d:3610", i))
		defer c.Close()
		a := r.ask(c, echonet.Frame{ESV: echonet.Get, Properties: []echonet.Property{{EPC: 0xF2}}})
		return a.Properties[0].EDT[0] != 0
	}
	for i := range 17 {
		c := r.listen(fmt.Sprintf("10.0.1.%d:3610", i))
		r.ask(c, echonet.Frame{ESV: echonet.SetC, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(64)}}})
		c.Close()
		if i == 15 && !has(0) { // used: the next to go is 1
			t.Error("the first of 16 is gone")
		}
	}
	for i := range 17 {
		if got, want := has(i), i != 1; got != want {
			t.Errorf("sender %d: has a cursor %v, want %v", i, got, want)
		}
	}
}

func TestCursorIsRefused(t *testing.T) {
	r := newRig(t, full('R'))
	bad := map[string]meter.Cursor{
		"no object":          {Object: meter.CursorNone, Segment: 7},
		"an unknown object":  {Object: 4, Segment: 7},
		"an unknown segment": {Object: meter.CursorLog, Segment: 8},
		"past the end":       {Object: meter.CursorLog, Segment: 7, Offset: 3001},
		"far past the end":   {Object: meter.CursorLog, Segment: 7, Offset: 1<<64 - 1},
	}
	for name, c := range bad {
		edt, _ := c.AppendBinary(nil)
		if r.set(0xF2, edt...) {
			t.Errorf("%s: accepted", name)
		}
		a := r.ask(r.peer, echonet.Frame{ESV: echonet.SetGet, Properties: []echonet.Property{{EPC: 0xF2, EDT: edt}}, GetProperties: windows})
		if a.ESV != echonet.SetGetSNA || !bytes.Equal(a.Properties[0].EDT, edt) || len(a.GetProperties[0].EDT) != 13 {
			t.Errorf("%s: got %v", name, a)
		}
	}
	if r.set(0xF2, cursor(0)[:12]...) || r.set(0xF2, append(cursor(0), 0)...) {
		t.Error("a cursor of the wrong size was accepted")
	}
}

func TestChallengeAndReceipt(t *testing.T) {
	l := newLog()
	c := full('R')
	c.Evidence = l
	r := newRig(t, c)
	r.want(0xF7, "000000000000000000000000")
	r.want(0xF8, "000000000000000000000000")
	if !r.set(0xF7, bytes.Repeat([]byte{7}, 168)...) || !r.set(0xF8, bytes.Repeat([]byte{8}, 180)...) {
		t.Error("refused")
	}
	r.want(0xF7, "070707070707070707070707")
	r.want(0xF8, "080808080808080808080808")
	if r.set(0xF7, 1) || r.set(0xF8, 1) {
		t.Error("nonsense was accepted")
	}
}

// A Get of everything, as many controllers send it, fits one datagram, changes
// nothing, and stays Get_Res while another controller collects.
func TestGetOfEverything(t *testing.T) {
	for _, release := range []byte{'F', 'R'} {
		c := full(release)
		c.Location = append([]byte{1}, make([]byte, 16)...)
		r := newRig(t, c)
		// Histories at their largest.
		edt, _ := meter.Span{From: meter.DateTime{2026, 1, 2, 12, 0, 0}, N: 12}.AppendBinary(nil)
		r.set(meter.EPCHistory2At, edt...)
		edt[6] = 10
		r.set(meter.EPCHistory3At, edt...)
		other := r.listen("10.0.0.3:3610")
		r.ask(other, echonet.Frame{ESV: echonet.SetC, Properties: []echonet.Property{{EPC: 0xF2, EDT: cursor(0)}}})

		set, err := echonet.ParsePropertyMap(r.get(echonet.EPCGetMap))
		if err != nil {
			t.Fatal(err)
		}
		var all echonet.Frame
		all.ESV = echonet.Get
		for _, epc := range set.EPCs() {
			all.Properties = append(all.Properties, echonet.Property{EPC: epc})
		}
		a := r.ask(r.peer, all)
		size := 12
		evidence := 0
		for _, p := range a.Properties {
			size += 2 + len(p.EDT)
			if p.EPC >= 0xF0 {
				evidence += len(p.EDT)
			}
		}
		if a.ESV != echonet.GetRes || size > 1232 || evidence > 400 {
			t.Errorf("release %c: got %v, %d bytes, %d of them evidence", release, a.ESV, size, evidence)
		}
		a = a.Clone()
		if d := cmp.Diff(a.Properties, r.ask(r.peer, all).Properties); d != "" {
			t.Errorf("a second Get differs: %s", d)
		}
		t.Logf("release %c: %d properties, %d bytes", release, len(a.Properties), size)
	}
}

// Controllers that write and read in one message do not disturb each other, each
// over a link of its own.
func TestControllersAtATime(t *testing.T) {
	l := newLog()
	c := full('R')
	c.Source, c.Evidence = &house{now: noon}, l
	m, err := meter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, net: &memlink.Network{}}
	var wg sync.WaitGroup
	for i := range 4 {
		at := fmt.Sprintf("10.0.%d.1:3610", i)
		r.serve(at, echonet.Config{Objects: []echonet.Object{m}})
		peer := r.listen(fmt.Sprintf("10.0.%d.2:3610", i))
		wg.Go(func() {
			for n := range 200 {
				day, offset := byte((n+25*i)%100), uint64(n*i)
				f := echonet.Frame{
					TID: uint16(n), SEOJ: echonet.Controller, DEOJ: echonet.LowVoltageMeter, ESV: echonet.SetGet,
					Properties:    []echonet.Property{{EPC: 0xE5, EDT: []byte{day}}, {EPC: 0xF2, EDT: cursor(offset)}},
					GetProperties: append([]echonet.Property{{EPC: 0xE2}}, windows[:3]...),
				}
				b, err := f.AppendBinary(nil)
				if err != nil {
					t.Error(err)
					return
				}
				peer.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
				for {
					buf := make([]byte, 2000)
					size, _, err := peer.ReadFrom(buf)
					if err != nil {
						t.Error(err)
						return
					}
					var a echonet.Frame
					if a.UnmarshalBinary(buf[:size]) != nil || a.ESV != echonet.SetGetRes {
						continue // an announcement
					}
					h, err := meter.ParseDayHistory(a.GetProperties[0].EDT)
					w, _, err2 := meter.ParseWindow(a.GetProperties[1].EDT)
					if err != nil || err2 != nil || h.Day != int(day) || w.Offset != offset {
						t.Errorf("asked day %d, offset %d: got %d, %d", day, offset, h.Day, w.Offset)
					}
					break
				}
			}
		})
	}
	wg.Wait()
}

func TestWithoutEvidence(t *testing.T) {
	r := newRig(t, meter.Config{})
	for epc := 0xF0; epc <= 0xFF; epc++ {
		if r.get(byte(epc)) != nil || r.set(byte(epc), cursor(0)...) {
			t.Errorf("%02X is there", epc)
		}
	}
}

func TestParseWindow(t *testing.T) {
	for _, n := range []int{0, 12, 254} {
		if _, _, err := meter.ParseWindow(make([]byte, n)); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
	edt := append(cursor(5), 1, 2, 3)
	c, data, err := meter.ParseWindow(edt)
	if err != nil || c.Offset != 5 || !bytes.Equal(data, []byte{1, 2, 3}) || cap(data) != 3 {
		t.Errorf("got %+v, %x, %v", c, data, err)
	}
}
