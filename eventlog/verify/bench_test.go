package verify_test

import (
	"crypto/ecdsa"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// year is how many 30-minute records a year has.
const year = 17520

// yearlong is a meter with a year of records of one slot, and a verifier that
// knows all but the newest n of them.
func yearlong(b *testing.B, n int) (*world, *eventlog.Bundle) {
	m := eventlogtest.New("bench", eventlog.SchemeDigest)
	for range year - n - 2 {
		m.Append(m.Next(eventlogtest.Ordinary, make([]byte, 24)))
	}
	m.Event(eventlogtest.Specific)
	w := newWorld(b, m)
	w.received = m.Now.AddDate(1, 0, 0)
	known := 0
	if n > 0 {
		w.accept(m.Bundle(), verify.Intact)
		known = len(w.bytes[1])
		for range n - 1 {
			m.Append(m.Next(eventlogtest.Ordinary, make([]byte, 24)))
		}
		m.Event(eventlogtest.Specific)
	}
	return w, m.BundleFrom(1, known)
}

func benchmark(b *testing.B, w *world, u *eventlog.Bundle, records int) {
	in := w.input(u)
	b.ReportAllocs()
	for b.Loop() {
		r, err := verify.Verify(in)
		if err != nil || r.Verdict != verify.Intact || len(r.Findings) > 0 {
			b.Fatalf("%+v, %v", r, err)
		}
		got := 0
		for _, a := range r.Advance {
			got += len(a.Log) / eventlog.SlotSize
		}
		if got != records {
			b.Fatalf("%d new slots, want %d", got, records)
		}
	}
}

// BenchmarkBareECDSA is the yardstick: one P-256 verification and nothing else.
func BenchmarkBareECDSA(b *testing.B) {
	key := eventlogtest.NewKey("bench", eventlog.SchemeDigest)
	sig := key.SignDigest(eventlog.Digest{1}, 0)
	der, hash := sig.AppendDER(nil), eventlog.Digest{1}
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(key.PublicKey(), hash[:], der) {
			b.Fatal("the signature does not hold")
		}
	}
}

// BenchmarkIncremental verifies 48 new records on a year's log.
func BenchmarkIncremental(b *testing.B) {
	w, u := yearlong(b, 48)
	benchmark(b, w, u, 48)
}

// BenchmarkFullYear verifies a year's log from its first byte.
func BenchmarkFullYear(b *testing.B) {
	w, u := yearlong(b, 0)
	benchmark(b, w, u, year+2) // the header takes three slots
}

func TestCostDoesNotGrowWithTheRecords(t *testing.T) {
	measure := func(n int) float64 {
		m := eventlogtest.New("bench", eventlog.SchemeDigest)
		for range n {
			m.Append(m.Next(eventlogtest.Ordinary, make([]byte, 24)))
		}
		m.Event(eventlogtest.Specific)
		w := newWorld(t, m)
		in := w.input(m.Bundle())
		return testing.AllocsPerRun(10, func() {
			if r, err := verify.Verify(in); err != nil || r.Verdict != verify.Intact {
				t.Fatalf("%+v, %v", r, err)
			}
		})
	}
	few, many, long := measure(10), measure(4000), measure(5000)
	if few != many {
		t.Errorf("%g allocations for 10 records, %g for 4,000", few, many)
	}
	// From 256 KiB on a second goroutine reads them.
	if n := long - many; n < 1 || n > 4 {
		t.Errorf("%g allocations for 4,000 records, %g for 5,000", many, long)
	}
}
