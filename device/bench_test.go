package device_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

// BenchmarkRecordSealed is a specific event from Record to its durable seal: a
// real disk, and the module in a process of its own. Its cost does not depend
// on what is in the log already.
func BenchmarkRecordSealed(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("after=%d", n), func(b *testing.B) {
			m := benchMeter(b)
			for range n {
				if _, err := m.Record(b.Context(), powerUp, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if rec, err := m.Record(b.Context(), coverOpened, nil); err != nil || !rec.Sealed {
					b.Fatalf("%+v, %v", rec, err)
				}
			}
			if s := m.Status(); s.Segment != 1 || s.SignedLength != s.Length || int(s.LastSeq) < n {
				b.Fatalf("status %+v", s)
			}
		})
	}
}

// BenchmarkRecordOrdinary is an event that asks for no seal.
func BenchmarkRecordOrdinary(b *testing.B) {
	m := benchMeter(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Record(b.Context(), powerUp, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// benchMeter runs a meter whose segments do not end.
func benchMeter(b *testing.B) *device.Meter {
	b.Helper()
	m, err := device.Open(b.Context(), device.Config{
		Dir: b.TempDir(), Module: newSoft(b, eventlog.SchemeCounter), Meter: meterID, Policy: eventlog.DefaultPolicy(),
		SegmentSize: 1 << 30, StoreSize: 1 << 40, FloodBurst: 1 << 40, NoEventSocket: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		m.Close()
	})
	return m
}

// BenchmarkHistory is a day of half-hours that is not in the household's memory: what a
// Get of E2 costs at most.
func BenchmarkHistory(b *testing.B) {
	h := device.NewHousehold(device.HouseholdConfig{Installed: install})
	h.Energy(h.Installed().AddDate(0, 0, 100))
	day := 0
	for b.Loop() {
		day = (day + 7) % 99
		midnight := h.Installed().AddDate(0, 0, day)
		for slot := range 48 {
			if _, _, ok := h.Energy(midnight.Add(time.Duration(slot) * 30 * time.Minute)); !ok {
				b.Fatal("no energy")
			}
		}
	}
}
