package bench

import (
	"context"
	"os"
	"testing"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func TestMain(m *testing.M) {
	if soft.Invoked() { // the soft module is this program again
		if err := soft.Serve(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// meter starts a meter with a soft module in a process of its own, on disk.
func meter(b *testing.B, scheme eventlog.Scheme) *device.Meter {
	b.Helper()
	dir := b.TempDir()
	cfg := soft.Config{
		Dir: dir + "/se", Passphrase: func() (soft.Secret, error) { return soft.Secret("bench test passphrase"), nil },
		Cost: soft.Cost{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}, Rate: 1e6, Burst: 1e6,
	}
	if err := soft.Create(b.Context(), cfg, scheme); err != nil {
		b.Fatal(err)
	}
	module, err := soft.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	id, err := eventlog.ParseMeterID("FFFFFF-MS0000000001")
	if err != nil {
		b.Fatal(err)
	}
	m, err := device.Open(b.Context(), device.Config{
		Dir: dir + "/meter", Module: module, Meter: id, Policy: eventlog.DefaultPolicy(),
		SegmentSize: 64 << 20, StoreSize: 1 << 30, FloodBurst: 1e8, FloodRate: 1e9,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	<-m.Ready()
	b.Cleanup(func() {
		stop()
		<-ended
		m.Close()
		module.Close()
	})
	return m
}

func durable(b *testing.B, scheme eventlog.Scheme) {
	m := meter(b, scheme)
	specific := eventlog.Event{Class: eventlog.ClassFraud, Code: 40}
	for b.Loop() {
		rec, err := m.Record(b.Context(), specific, nil)
		if err != nil || !rec.Sealed {
			b.Fatalf("recorded %+v: %v", rec, err)
		}
	}
}

// BenchmarkDurableEventCounter is an event of ours: appended, durable, signed by the
// module's process after its counter is durable, sealed, durable.
func BenchmarkDurableEventCounter(b *testing.B) { durable(b, eventlog.SchemeCounter) }

// BenchmarkDurableEventDigest is the same in the scheme without a counter.
func BenchmarkDurableEventDigest(b *testing.B) { durable(b, eventlog.SchemeDigest) }
