package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	fixtures "github.com/meterseal/meterseal/fixtures/echonet"
)

var identity = echonet.Identity{Manufacturer: [3]byte{0, 0, 0x77}, Serial: "MS0000000001"}

// full is a meter with everything.
func full(release byte) meter.Config {
	return meter.Config{
		Identity: identity, Release: release, Scale: meter.Scale{Coefficient: 1, Exponent: -1},
		Digits: 6, Reverse: true, History2: true, Evidence: newLog(),
	}
}

// The golden messages of fixtures, byte for byte.
func TestGoldenFrames(t *testing.T) {
	r := newRig(t, meter.Config{Release: 'F', Digits: 6})
	for _, c := range fixtures.Meter() {
		r.peer.WriteTo(c.Request, meterAddr)
		want := c.Answer
		if want == nil { // silence: what comes next is the answer to what follows
			alive := fixtures.Meter()[0]
			r.peer.WriteTo(alive.Request, meterAddr)
			want = alive.Answer
		}
		if got := r.hear(r.peer); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.Name, got, want)
		}
	}
}

func TestD4(t *testing.T) {
	statement(t, "D4", "81 is settable, and its maker is told so that it survives a restart.")
	var kept []byte
	c := full('R')
	c.OnLocation = func(edt []byte) { kept = edt }
	r := newRig(t, c)
	if !r.set(meter.EPCLocation, 0x08) {
		t.Fatal("refused")
	}
	r.hear(r.peer) // the notification of the change
	c.Location = kept
	c.Source, c.Evidence = nil, nil
	newRig(t, c).want(meter.EPCLocation, "08")
	for _, bad := range [][]byte{{}, {1}, {8, 8}, append([]byte{2}, make([]byte, 16)...), make([]byte, 18)} {
		if r.set(meter.EPCLocation, bad...) {
			t.Errorf("% X was accepted", bad)
		}
	}
	if long := append([]byte{1}, make([]byte, 16)...); !r.set(meter.EPCLocation, long...) {
		t.Error("17 bytes were refused")
	}
}

func TestD5(t *testing.T) {
	statement(t, "D5", "88 is 41 and 89 says why while there is a fault; the change is notified.")
	synctest.Test(t, func(t *testing.T) {
		src := &house{now: noon}
		m, err := meter.New(meter.Config{Source: src})
		if err != nil {
			t.Fatal(err)
		}
		got := func(epc byte) string {
			edt, _ := m.Begin(echonet.Request{}).Get(epc)
			return hex.EncodeToString(edt)
		}
		if got(meter.EPCFault) != "42" || got(meter.EPCFaultCode) != "0000" {
			t.Errorf("got %s %s, want no fault", got(meter.EPCFault), got(meter.EPCFaultCode))
		}
		var told []byte
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx, func(_ echonet.EOJ, epcs ...byte) error { told = append(told, epcs...); return nil })
		}()
		synctest.Wait()
		src.change(func(h *house) { h.fault = 0x005A })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !bytes.Equal(told, []byte{meter.EPCFault}) {
			t.Errorf("notified % X, want 88", told)
		}
		if got(meter.EPCFault) != "41" || got(meter.EPCFaultCode) != "005a" {
			t.Errorf("got %s %s, want 41 005a", got(meter.EPCFault), got(meter.EPCFaultCode))
		}
		cancel()
		<-done
	})
}

func TestD6(t *testing.T) {
	statement(t, "D6", "82 names the release whose properties are there: F has none of C0, D0, EE and EF, R has all.")
	for _, tc := range []struct {
		release byte
		version string
	}{{'F', "00004600"}, {'R', "00005201"}} {
		r := newRig(t, full(tc.release))
		r.want(meter.EPCVersion, tc.version)
		for _, epc := range []byte{meter.EPCRouteBID, meter.EPCMinute, meter.EPCHistory3, meter.EPCHistory3At} {
			if got := r.get(epc) != nil; got != (tc.release == 'R') {
				t.Errorf("release %c: %02X readable: %v", tc.release, epc, got)
			}
		}
	}
}

// D1 and D2 for the meter: sizes of all properties by the class table.
func TestEveryPropertyHasItsSize(t *testing.T) {
	sizes := map[byte]int{
		0x80: 1, 0x81: 1, 0x82: 4, 0x88: 1, 0x89: 2, 0x8A: 3, 0x8D: 12, 0x97: 2, 0x98: 4, 0xC0: 16, 0xD0: 15, 0xD3: 4,
		0xD7: 1, 0xE0: 4, 0xE1: 1, 0xE2: 194, 0xE3: 4, 0xE4: 194, 0xE5: 1, 0xE7: 4, 0xE8: 4, 0xEA: 11, 0xEB: 11, 0xEC: 15,
		0xED: 7, 0xEE: 15, 0xEF: 7, 0xF0: 44, 0xF1: 140, 0xF2: 13, 0xF3: 13, 0xF4: 13, 0xF5: 13, 0xF6: 13, 0xF7: 12, 0xF8: 12,
	}
	r := newRig(t, full('R'))
	set, err := echonet.ParsePropertyMap(r.get(echonet.EPCGetMap))
	if err != nil {
		t.Fatal(err)
	}
	for epc := 0x80; epc < 0x100; epc++ {
		got := r.get(byte(epc))
		if (got != nil) != set.Has(byte(epc)) {
			t.Errorf("%02X: readable %v, in the map %v", epc, got != nil, set.Has(byte(epc)))
		}
		if want, ok := sizes[byte(epc)]; ok && len(got) != want || !ok && got != nil && (epc < 0x9D || epc > 0x9F) {
			t.Errorf("%02X: got %d bytes, want %d", epc, len(got), want)
		}
	}
	settable, err := echonet.ParsePropertyMap(r.get(echonet.EPCSetMap))
	if err != nil {
		t.Fatal(err)
	}
	if want := echonet.SetOf(0x81, 0xE5, 0xED, 0xEF, 0xF2, 0xF7, 0xF8); settable != want {
		t.Errorf("settable: got %v, want %v", settable, want)
	}
	for epc := 0x80; epc < 0x100; epc++ {
		if !settable.Has(byte(epc)) && r.set(byte(epc), 1) {
			t.Errorf("%02X was set", epc)
		}
	}
}

func TestM1(t *testing.T) {
	statement(t, "M1", "The meter is instance 01, the only one.")
	r := newRig(t, full('R'))
	r.peer.WriteTo([]byte{0x10, 0x81, 0, 1, 5, 0xFF, 1, 0x0E, 0xF0, 1, 0x62, 1, 0xD6, 0}, meterAddr)
	if got := hex.EncodeToString(r.hear(r.peer)); got != "108100010ef00105ff017201d60401028801" {
		t.Errorf("got %s", got)
	}
}

func TestM2(t *testing.T) {
	statement(t, "M2", "Six properties are answered in one message.")
	r := newRig(t, full('R'))
	a := r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: []echonet.Property{
		{EPC: 0x8D}, {EPC: 0xD3}, {EPC: 0xD7}, {EPC: 0xE1}, {EPC: 0xEA}, {EPC: 0xEB},
	}})
	if a.ESV != echonet.GetRes || len(a.Properties) != 6 {
		t.Errorf("got %v with %d properties", a.ESV, len(a.Properties))
	}
}

func TestM3(t *testing.T) {
	statement(t, "M3", "Every property, and all of them at a time, is answered at once, far inside 20 s.")
	r := newRig(t, full('R'))
	begin := time.Now()
	for epc := 0x80; epc < 0x100; epc++ {
		r.get(byte(epc))
	}
	if got := time.Since(begin); got > 10*time.Second {
		t.Errorf("128 requests took %v", got)
	}
}

func TestM4(t *testing.T) {
	statement(t, "M4", "EA and EB are notified within 5 minutes of :00 and :30, with the time of the boundary.")
	synctest.Test(t, func(t *testing.T) {
		src := &moving{house: house{}, offset: time.Until(noon)}
		m, err := meter.New(meter.Config{Source: src, Reverse: true})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			m.Run(ctx, func(eoj echonet.EOJ, epcs ...byte) error {
				for _, epc := range epcs {
					edt, _ := m.Begin(echonet.Request{}).Get(epc)
					reading, err := meter.ParseReading(edt)
					if len(edt) != 11 || err != nil {
						t.Errorf("%02X: %v", epc, err)
					}
					if late := src.Clock().Sub(reading.Time.In(jst)); late > 5*time.Minute {
						t.Errorf("%02X of %v is notified %v late", epc, reading.Time, late)
					}
					told = append(told, fmt.Sprintf("%02X %v", epc, reading.Time))
				}
				return nil
			})
		}()
		time.Sleep(time.Hour)
		cancel()
		<-done
		want := []string{
			"EA 2026-01-02 13:00:00", "EB 2026-01-02 13:00:00", "EA 2026-01-02 13:30:00", "EB 2026-01-02 13:30:00",
		}
		if fmt.Sprint(told) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", told, want)
		}
	})
}

// moving is a house whose clock runs.
type moving struct {
	house
	offset time.Duration
}

func (m *moving) Clock() time.Time { return time.Now().Add(m.offset).In(jst) }

func (m *moving) Energy() meter.Pair { return m.EnergyAt(m.Clock()) }

func TestM5(t *testing.T) {
	statement(t, "M5", "After SetC of E5, E2 and E4 show that day; outside 0-99 is refused; at first E5 is FF and the day of E2 00FF.")
	r := newRig(t, full('F'))
	r.want(meter.EPCDay, "ff")
	h, err := meter.ParseDayHistory(r.get(meter.EPCDayNormal))
	if err != nil || h.Day != meter.NoDay || h.Counts[0] != meter.NoData || h.Counts[47] != meter.NoData {
		t.Errorf("at first: got day %d, %v, %v", h.Day, h.Counts[0], err)
	}
	for _, day := range []byte{1, 99, 0} {
		if !r.set(meter.EPCDay, day) {
			t.Errorf("day %d is refused", day)
		}
		for _, epc := range []byte{meter.EPCDayNormal, meter.EPCDayReverse} {
			if got := r.get(epc); int(binary.BigEndian.Uint16(got)) != int(day) {
				t.Errorf("%02X: got day % X, want %d", epc, got[:2], day)
			}
		}
		r.want(meter.EPCDay, fmt.Sprintf("%02x", day))
	}
	for _, bad := range [][]byte{{100}, {0xFF}, {}, {0, 1}} {
		if r.set(meter.EPCDay, bad...) {
			t.Errorf("day % X was accepted", bad)
		}
	}
	r.want(meter.EPCDay, "00")
}

func TestM6(t *testing.T) {
	statement(t, "M6", "E2 ascends from 00:00; slots of the future, and those without a reading, have no data.")
	r := newRig(t, full('F')) // 12:34:56
	slot := func(day byte) [meter.Slots]meter.Count {
		r.set(meter.EPCDay, day)
		h, err := meter.ParseDayHistory(r.get(meter.EPCDayNormal))
		if err != nil {
			t.Fatal(err)
		}
		return h.Counts
	}
	today := slot(0)
	for i, got := range today {
		want := r.src.EnergyAt(time.Date(2026, 1, 2, 0, 30*i, 0, 0, jst)).Normal
		if i > 25 { // 13:00 and later
			want = meter.NoData
		}
		if got != want {
			t.Errorf("slot %d: got %d, want %d", i, got, want)
		}
	}
	if day := slot(32); day[0] != 0 || day[47] != 47*30 { // the first day of readings
		t.Errorf("got %v", day)
	}
	if day := slot(33); day[0] != meter.NoData || day[47] != meter.NoData {
		t.Errorf("got %v", day)
	}
}

func TestM7(t *testing.T) {
	statement(t, "M7", "ED takes minutes 00 and 30 and 1-12 items, EF any minute and 1-10; else they are refused.")
	r := newRig(t, full('R'))
	for _, tc := range []struct {
		epc byte
		edt string
		ok  bool
	}{
		{meter.EPCHistory2At, "07ea01020c0001", true},
		{meter.EPCHistory2At, "07ea01020c1e0c", true},
		{meter.EPCHistory2At, "07ea01020c1e0d", false}, // 13 items
		{meter.EPCHistory2At, "07ea01020c1e00", false}, // none
		{meter.EPCHistory2At, "07ea01020c0f01", false}, // minute 15
		{meter.EPCHistory2At, "07ea01020c3c01", false}, // minute 60
		{meter.EPCHistory2At, "07ea0102181e01", false}, // hour 24
		{meter.EPCHistory2At, "07ea021e0c0001", false}, // February 30
		{meter.EPCHistory2At, "000001020c0001", false}, // year 0
		{meter.EPCHistory2At, "ffffffffffff01", false}, // what was never set cannot be set
		{meter.EPCHistory2At, "07ea01020c00", false},
		{meter.EPCHistory2At, "07ea01020c000101", false},
		{meter.EPCHistory3At, "07ea01020c220a", true},
		{meter.EPCHistory3At, "07ea01020c3b01", true},
		{meter.EPCHistory3At, "07ea01020c220b", false}, // 11 items
		{meter.EPCHistory3At, "07ea01020c2200", false},
		{meter.EPCHistory3At, "07ea01020c3c01", false},
	} {
		edt, _ := hex.DecodeString(tc.edt)
		before := hex.EncodeToString(r.get(tc.epc))
		if got := r.set(tc.epc, edt...); got != tc.ok {
			t.Errorf("%02X = %s: accepted %v, want %v", tc.epc, tc.edt, got, tc.ok)
		}
		if tc.ok {
			before = tc.edt
		}
		r.want(tc.epc, before)
	}
}

func TestM8(t *testing.T) {
	statement(t, "M8", "A meter without reverse metering leaves E3, E4 and EB out of 9F and refuses them.")
	r := newRig(t, meter.Config{Release: 'F'})
	set, err := echonet.ParsePropertyMap(r.get(echonet.EPCGetMap))
	if err != nil {
		t.Fatal(err)
	}
	for _, epc := range []byte{meter.EPCReverse, meter.EPCDayReverse, meter.EPCHalfReverse} {
		if set.Has(epc) || r.get(epc) != nil {
			t.Errorf("%02X is there", epc)
		}
	}
	m := newRig(t, meter.Config{History2: true})
	m.set(meter.EPCHistory2At, 0x07, 0xEA, 1, 2, 12, 0, 1)
	h, err := meter.ParseHistory(m.get(meter.EPCHistory2), meter.History2Step, meter.History2Items)
	if err != nil || h.Items[0].Normal == meter.NoData || h.Items[0].Reverse != meter.NoData {
		t.Errorf("history 2: got %v, %v", h, err)
	}
}

func TestM9(t *testing.T) {
	statement(t, "M9", "The current of phase T is 7FFE on a single-phase two-wire meter.")
	newRig(t, meter.Config{TwoWire: true}).want(meter.EPCCurrents, "00147ffe")
	newRig(t, meter.Config{}).want(meter.EPCCurrents, "0014001f")
}

func TestM10(t *testing.T) {
	statement(t, "M10", "Energy starts again at 0 after as many digits as D7 says.")
	src := &house{now: installed, extra: 999_999}
	r := newRig(t, meter.Config{Source: src, Digits: 6, Reverse: true})
	r.want(meter.EPCNormal, "000f423f")
	src.change(func(h *house) { h.now = installed.Add(time.Minute) })
	r.want(meter.EPCNormal, "00000000")
	r.want(meter.EPCReverse, "000f423f")
	r.want(meter.EPCHalfNormal, "07e90c01000000"+"000f423f")
	if diff, ok := meter.Count(3).Since(999_998, 6); !ok || diff != 5 {
		t.Errorf("got %d, want 5", diff)
	}
}

func TestM11(t *testing.T) {
	statement(t, "M11", "A reading times D3 times E1 is an exact decimal.")
	for _, tc := range []struct {
		count meter.Count
		scale meter.Scale
		want  string
	}{
		{123456, meter.Scale{Exponent: -2}, "1234.56"},
		{123456, meter.Scale{Coefficient: 3, Exponent: -1}, "37036.8"},
		{7, meter.Scale{Exponent: -4}, "0.0007"},
		{7, meter.Scale{Exponent: 4}, "70000"},
		{0, meter.Scale{Exponent: 4}, "0"},
		{0, meter.Scale{Exponent: -1}, "0.0"},
		{99_999_999, meter.Scale{Coefficient: 999_999, Exponent: 4}, "999998990000010000"},
		{99_999_999, meter.Scale{Coefficient: 999_999, Exponent: -4}, "9999989900.0001"},
	} {
		got, err := tc.scale.Energy(tc.count)
		if err != nil || got.String() != tc.want {
			t.Errorf("%d at %+v: got %v, %v, want %s", tc.count, tc.scale, got, err, tc.want)
		}
	}
}

func TestM12(t *testing.T) {
	statement(t, "M12", "EA is not ahead of E0, nor more than half an hour behind it.")
	src := &house{now: noon}
	r := newRig(t, meter.Config{Source: src, Digits: 4})
	for range 500 {
		src.change(func(h *house) { h.now = h.now.Add(7 * time.Minute) })
		a := r.ask(r.peer, echonet.Frame{ESV: echonet.Get, Properties: []echonet.Property{{EPC: meter.EPCNormal}, {EPC: meter.EPCHalfNormal}}})
		now, err1 := meter.ParseCount(a.Properties[0].EDT)
		half, err2 := meter.ParseReading(a.Properties[1].EDT)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if diff, ok := now.Since(half.Normal, 4); !ok || diff > 30 {
			t.Fatalf("E0 = %d, EA = %d", now, half.Normal)
		}
	}
}

func TestM13(t *testing.T) {
	statement(t, "M13", "The time of D0 is a full minute, that of EA and EB a full half-hour.")
	r := newRig(t, full('R')) // 12:34:56
	n := noon.Sub(installed)
	reading := func(ago time.Duration) []byte {
		c := uint32((n - ago) / time.Minute)
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, c), c/2)
	}
	r.want(meter.EPCMinute, "07ea01020c2200"+hex.EncodeToString(reading(0)))
	r.want(meter.EPCHalfNormal, "07ea01020c1e00"+hex.EncodeToString(reading(4 * time.Minute)[:4]))
	r.want(meter.EPCHalfReverse, "07ea01020c1e00"+hex.EncodeToString(reading(4 * time.Minute)[4:]))
}

func TestM14(t *testing.T) {
	statement(t, "M14", "EC and EE descend in time; never set, they are 15 bytes without data.")
	r := newRig(t, full('R')) // 12:34:56
	const unset = "ffffffffffff01fffffffefffffffe"
	r.want(meter.EPCHistory2, unset)
	r.want(meter.EPCHistory3, unset)
	for _, tc := range []struct {
		at, epc byte
		span    meter.Span
		step    time.Duration
		most    int
	}{
		{meter.EPCHistory2At, meter.EPCHistory2, meter.Span{From: meter.DateTime{2026, 1, 2, 13, 0, 0}, N: 12}, meter.History2Step, meter.History2Items},
		{meter.EPCHistory3At, meter.EPCHistory3, meter.Span{From: meter.DateTime{2026, 1, 2, 12, 35, 0}, N: 10}, meter.History3Step, meter.History3Items},
	} {
		edt, _ := tc.span.AppendBinary(nil)
		if !r.set(tc.at, edt...) {
			t.Fatalf("%02X is refused", tc.at)
		}
		got := r.get(tc.epc)
		h, err := meter.ParseHistory(got, tc.step, tc.most)
		if err != nil || len(got) != 7+8*tc.span.N || h.Span != tc.span {
			t.Fatalf("%02X: got %v, %v", tc.epc, h, err)
		}
		for i, got := range h.Items {
			at := tc.span.From.In(jst).Add(-time.Duration(i) * tc.step)
			want := r.src.EnergyAt(at)
			if at.After(noon) {
				want = meter.Pair{Normal: meter.NoData, Reverse: meter.NoData}
			}
			if got != want {
				t.Errorf("%02X at %v: got %v, want %v", tc.epc, at, got, want)
			}
		}
	}
}
