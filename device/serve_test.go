package device_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/echonettest"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// hems is a controller on the same network in memory.
type hems struct {
	*echonet.Node
	t     *testing.T
	meter net.Addr

	mu    sync.Mutex
	heard []notification
}

// notification is one property that the meter announced, and when.
type notification struct {
	at  time.Time
	epc byte
	edt []byte
}

// serve puts the meter on a network and a controller beside it.
func (r *rig) serve() *hems {
	r.t.Helper()
	var network memlink.Network
	link := func(at string) []echonet.Link {
		return []echonet.Link{{PacketConn: echonettest.Listen(r.t, &network, at), Group: memlink.Group}}
	}
	h := &hems{t: r.t, meter: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:3610"))}
	h.Node = echonettest.Serve(r.t, echonet.New(echonet.Config{
		Links:   link("10.0.0.2:3610"),
		Objects: []echonet.Object{echonet.NewController(echonet.Identity{Serial: "HEMS"})},
		OnNotify: func(_ net.Addr, f echonet.Frame) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, p := range f.Properties {
				h.heard = append(h.heard, notification{time.Now(), p.EPC, bytes.Clone(p.EDT)})
			}
		},
	}))
	ctx, cancel := context.WithCancel(context.Background())
	served, meterLinks := make(chan error, 1), link("10.0.0.1:3610")
	go func() { served <- r.Serve(ctx, meterLinks) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			r.t.Error(err)
		}
	})
	return h
}

// read reads properties in one message.
func (h *hems) read(epcs ...byte) map[byte][]byte {
	h.t.Helper()
	f := echonet.Frame{SEOJ: echonet.Controller, DEOJ: echonet.LowVoltageMeter, ESV: echonet.Get}
	for _, epc := range epcs {
		f.Properties = append(f.Properties, echonet.Property{EPC: epc})
	}
	answer, err := h.Request(h.t.Context(), h.meter, f)
	if err != nil {
		h.t.Fatalf("Get % X: %v", epcs, err)
	}
	if answer.ESV != echonet.GetRes {
		h.t.Fatalf("Get % X: %v", epcs, answer.ESV)
	}
	values := map[byte][]byte{}
	for _, p := range answer.Properties {
		values[p.EPC] = p.EDT
	}
	return values
}

// announcements returns what was heard of one property.
func (h *hems) announcements(epc byte) (list []notification) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.heard {
		if n.epc == epc {
			list = append(list, n)
		}
	}
	return list
}

func TestReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		h := r.serve()
		time.Sleep(37 * time.Minute)
		now := r.Clock()

		v := h.read(meter.EPCNormal, meter.EPCReverse, meter.EPCPower, meter.EPCCurrents, meter.EPCUnit, meter.EPCSerial)
		normal := must(meter.ParseCount(v[meter.EPCNormal]))
		reverse := must(meter.ParseCount(v[meter.EPCReverse]))
		if normal < 30_000 || reverse < 10_000 { // 0.01 kWh, after 100 days
			t.Errorf("registers %d and %d", normal, reverse)
		}
		watts := must(meter.ParsePower(v[meter.EPCPower]))
		phaseR, phaseT, err := meter.ParseCurrents(v[meter.EPCCurrents])
		if err != nil {
			t.Fatal(err)
		}
		if d := int(watts) - 10*int(phaseR+phaseT); d < -10 || d > 10 {
			t.Errorf("%d W with %d and %d tenths of an ampere", watts, phaseR, phaseT)
		}
		if unit := must(meter.ParseUnit(v[meter.EPCUnit])); unit != -2 {
			t.Errorf("unit 10^%d kWh", unit)
		}
		if string(v[meter.EPCSerial]) != "MS0000000001" {
			t.Errorf("serial number %q", v[meter.EPCSerial])
		}

		// The day before yesterday, today, and the last half-hour agree.
		for _, day := range []byte{0, 2, 99} {
			if err := h.SetC(t.Context(), h.meter, echonet.LowVoltageMeter, echonet.Property{EPC: meter.EPCDay, EDT: []byte{day}}); err != nil {
				t.Fatal(err)
			}
			hist := must(meter.ParseDayHistory(h.read(meter.EPCDayNormal)[meter.EPCDayNormal]))
			if hist.Day != int(day) {
				t.Errorf("history of day %d, asked for %d", hist.Day, day)
			}
			last := meter.Count(0)
			for slot, c := range hist.Counts {
				future := day == 0 && slot > (now.Hour()*60+now.Minute())/30
				if (c == meter.NoData) != future {
					t.Fatalf("day %d, slot %d: %d", day, slot, c)
				}
				if !future && (c < last || c > normal) {
					t.Fatalf("day %d, slot %d: %d after %d, the register shows %d", day, slot, c, last, normal)
				}
				if !future {
					last = c
				}
			}
			if day == 0 {
				half := must(meter.ParseReading(h.read(meter.EPCHalfNormal)[meter.EPCHalfNormal]))
				if half.Normal != last {
					t.Errorf("EA %d, the last slot of today %d", half.Normal, last)
				}
			}
		}
		// Ten minutes, newest first.
		from := now.Truncate(time.Minute)
		span := must(meter.Span{From: meter.DateTimeOf(from), N: 10}.AppendBinary(nil))
		if err := h.SetC(t.Context(), h.meter, echonet.LowVoltageMeter, echonet.Property{EPC: meter.EPCHistory3At, EDT: span}); err != nil {
			t.Fatal(err)
		}
		minutes := must(meter.ParseHistory(h.read(meter.EPCHistory3)[meter.EPCHistory3], meter.History3Step, meter.History3Items))
		for i, p := range minutes.Items {
			if p.Normal == meter.NoData || i > 0 && (p.Normal > minutes.Items[i-1].Normal || p.Reverse > minutes.Items[i-1].Reverse) {
				t.Errorf("minute %d: %+v after %+v", i, p, minutes.Items[max(i-1, 0)])
			}
		}
	})
}

// TestRegistersSurviveARestart: and neither a clock that is set nor the log
// makes them go back.
func TestRegistersSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		time.Sleep(5 * time.Hour)
		energy := func() (meter.Count, meter.Count) {
			return must(meter.ParseCount(r.get(meter.EPCNormal))), must(meter.ParseCount(r.get(meter.EPCReverse)))
		}
		n0, r0 := energy()
		if err := r.SetClock(t.Context(), r.Clock().AddDate(0, 0, -30), eventlog.ClockLocal); err != nil {
			t.Fatal(err)
		}
		if n1, r1 := energy(); n1 != n0 || r1 != r0 {
			t.Errorf("the clock was set, and the registers moved from %d, %d to %d, %d", n0, r0, n1, r1)
		}
		r.close()
		r.start()
		if n1, r1 := energy(); n1 != n0 || r1 != r0 {
			t.Errorf("after a restart the registers show %d, %d, not %d, %d", n1, r1, n0, r0)
		}
	})
}

func TestGetOfEverythingFitsOneMessage(t *testing.T) {
	for _, release := range []byte{'F', 'R'} {
		t.Run(string(release), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *device.Config) { c.Release = release }).start()
				h := r.serve()
				var all, evidence []byte
				for _, epc := range r.Object().Properties().Get.EPCs() {
					all = append(all, epc)
					if epc >= 0xF0 {
						evidence = append(evidence, epc)
					}
				}
				if n := size(h.read(evidence...)); n > 400 || len(evidence) != 9 {
					t.Errorf("%d properties of evidence take %d bytes", len(evidence), n)
				}
				if n := size(h.read(all...)); n > 1232 {
					t.Errorf("all properties take %d bytes", n)
				}
			})
		})
	}
}

// size returns the size of a message with those properties.
func size(values map[byte][]byte) int {
	n := 12
	for _, v := range values {
		n += 2 + len(v)
	}
	return n
}

// TestEvidenceIsCollected reads seal and log as a controller does, while the
// log grows.
func TestEvidenceIsCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *device.Config) { c.Chain = bytes.Repeat([]byte("chain"), 100) }).start()
		h := r.serve()
		for range 60 {
			r.record(coverOpened)
		}
		v := h.read(meter.EPCEvidence, meter.EPCSeal)
		var status eventlog.Status
		var seal eventlog.Seal
		if err := status.UnmarshalBinary(v[meter.EPCEvidence]); err != nil {
			t.Fatal(err)
		}
		if err := seal.UnmarshalBinary(v[meter.EPCSeal]); err != nil {
			t.Fatal(err)
		}
		r.record(coverOpened)
		log, trips := h.collect(meter.Cursor{Object: meter.CursorLog, Segment: seal.Segment}, seal.SignedLength)
		if want := int(seal.SignedLength+959) / 960; trips > want {
			t.Errorf("%d round trips, %d are enough", trips, want)
		}
		file := readSegments(t, r.cfg.Dir)[0].bytes
		if !bytes.Equal(log, file[:seal.SignedLength]) || status.SignedLength != seal.SignedLength {
			t.Error("what was collected is not the log")
		}
		if got, _ := h.collect(meter.Cursor{Object: meter.CursorChain}, 500); !bytes.Equal(got, r.cfg.Chain) {
			t.Error("what was collected is not the certificate chain")
		}
		if got, _ := h.collect(meter.Cursor{Object: meter.CursorSeal, Segment: 1}, eventlog.SealSize); !bytes.Equal(got, r.get(meter.EPCSeal)) {
			t.Error("the seal of the newest segment is not the newest seal")
		}
		for name, c := range map[string]meter.Cursor{
			"no such segment": {Object: meter.CursorLog, Segment: 2},
			"segment 0":       {Object: meter.CursorLog},
			"past the end":    {Object: meter.CursorLog, Segment: 1, Offset: uint64(len(file)) + 1},
			"far past":        {Object: meter.CursorLog, Segment: 1, Offset: 1 << 63},
			"no such object":  {Object: 9, Segment: 1},
			"seal past":       {Object: meter.CursorSeal, Segment: 1, Offset: 141},
		} {
			if r.set(meter.EPCCursor, must(c.AppendBinary(nil))) {
				t.Errorf("cursor %s: accepted", name)
			}
		}
	})
}

// collect reads length bytes at a cursor over SetGet.
func (h *hems) collect(c meter.Cursor, length uint64) (data []byte, trips int) {
	h.t.Helper()
	for uint64(len(data)) < length {
		c.Offset = uint64(len(data))
		set := []echonet.Property{{EPC: meter.EPCCursor, EDT: must(c.AppendBinary(nil))}}
		_, windows, err := h.SetGet(h.t.Context(), h.meter, echonet.LowVoltageMeter, set,
			[]byte{meter.EPCWindow0, meter.EPCWindow0 + 1, meter.EPCWindow0 + 2, meter.EPCWindow3})
		if err != nil {
			h.t.Fatal(err)
		}
		trips++
		for i, w := range windows {
			at, b, err := meter.ParseWindow(w.EDT)
			if err != nil || at != c.Window(i) {
				h.t.Fatalf("window %d of %+v: %+v, %v", i, c, at, err)
			}
			data = append(data, b...)
		}
	}
	return data[:length], trips
}

// TestSealsAreAnnounced: at most once in ten seconds, the first at once, the
// last one never lost.
func TestSealsAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		h := r.serve()
		time.Sleep(time.Minute)
		began := time.Now()
		for range 23 { // one a second
			r.record(coverOpened)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		list := h.announcements(meter.EPCEvidence)
		for len(list) > 0 && list[0].at.Before(began) {
			list = list[1:] // that of BOOT
		}
		if len(list) < 3 || len(list) > 4 {
			t.Fatalf("%d announcements of 23 seals in 23 s", len(list))
		}
		if d := list[0].at.Sub(began); d > 100*time.Millisecond {
			t.Errorf("the first one after %v", d)
		}
		for i := 1; i < len(list); i++ {
			if d := list[i].at.Sub(list[i-1].at); d < 10*time.Second {
				t.Errorf("two announcements %v apart", d)
			}
		}
		var s eventlog.Status
		if err := s.UnmarshalBinary(list[len(list)-1].edt); err != nil || s.SignedLength != r.Status().SignedLength {
			t.Errorf("the last one says %d bytes are signed, it is %d: %v", s.SignedLength, r.Status().SignedLength, err)
		}
	})
}

func TestFaultIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		h := r.serve()
		time.Sleep(time.Second)
		r.module.Fail(secureelementtest.Dead)
		r.record(coverOpened)
		synctest.Wait()
		if v := h.read(meter.EPCFault, meter.EPCFaultCode); v[meter.EPCFault][0] != 0x41 || binary.BigEndian.Uint16(v[meter.EPCFaultCode]) != 0x5A {
			t.Errorf("fault % X", v)
		}
		r.module.Fail(secureelementtest.None)
		time.Sleep(10 * time.Second)
		var got []byte
		for _, n := range h.announcements(meter.EPCFault) {
			got = append(got, n.edt...)
		}
		if string(got) != "\x41\x42" {
			t.Errorf("announced % X", got)
		}
	})
}

func TestHalfHoursAreAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		h := r.serve()
		time.Sleep(3*time.Hour + time.Minute)
		for _, epc := range []byte{meter.EPCHalfNormal, meter.EPCHalfReverse} {
			list := h.announcements(epc)
			if len(list) != 6 {
				t.Errorf("%02X: %d announcements in 3 h", epc, len(list))
			}
			for _, n := range list {
				reading := must(meter.ParseReading(n.edt))
				due := reading.Time.In(r.Clock().Location())
				if late := n.at.Sub(due); late < 0 || late > 5*time.Minute || due.Minute()%30 != 0 {
					t.Errorf("%02X: %v announced %v late", epc, due, late)
				}
			}
		}
	})
}

// TestReadingsNeverWaitForTheLog: the module hangs while a segment is being
// closed, so that nobody can append.
func TestReadingsNeverWaitForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		r := newRig(t, small, brisk).start()
		h := r.serve()
		for r.Status().Length < 4<<10-64 {
			r.record(powerUp)
		}
		r.module.Fail(secureelementtest.Hung)
		r.record(powerUp)
		synctest.Wait() // SEGMENT_END waits for its seal
		blocked := make(chan error)
		go func() {
			_, err := r.Record(t.Context(), powerUp, nil)
			blocked <- err
		}()
		synctest.Wait()
		began := time.Now()
		h.read(meter.EPCNormal, meter.EPCPower, meter.EPCCurrents, meter.EPCHalfNormal)
		h.read(meter.EPCEvidence, meter.EPCSeal)
		h.collect(meter.Cursor{Object: meter.CursorLog, Segment: 1}, 512)
		r.set(meter.EPCChallenge, a.challenge(meterID, 1, 1))
		if took := time.Since(began); took != 0 {
			t.Errorf("answers took %v", took)
		}
		select {
		case err := <-blocked:
			t.Fatalf("the log was not held: %v", err)
		default:
		}
		if err := <-blocked; err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("the event was recorded after %v: %v", time.Since(began), err)
		}
	})
}

// TestSameLocationWritesNothing: anybody on the link may set it, as often as
// they like.
func TestSameLocationWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		path := filepath.Join(r.cfg.Dir, "meter.json")
		set := func(location byte) os.FileInfo {
			t.Helper()
			if !r.set(meter.EPCLocation, []byte{location}) {
				t.Error("the location was refused")
			}
			synctest.Wait()
			return must(os.Stat(path))
		}
		first := set(0x08)
		if again := set(0x08); !os.SameFile(first, again) {
			t.Error("the same location was written again")
		}
		if other := set(0x10); os.SameFile(first, other) {
			t.Error("another location was not written")
		}
		r.close()
	})
}

func TestLocationSurvivesARestart(t *testing.T) {
	r := newRig(t).start()
	if !r.set(meter.EPCLocation, []byte{0x08}) {
		t.Fatal("refused")
	}
	r.close()
	r.start()
	if got := r.get(meter.EPCLocation); len(got) != 1 || got[0] != 0x08 {
		t.Errorf("location % X after a restart", got)
	}
}
