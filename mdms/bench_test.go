package mdms_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/mdms"
)

// BenchmarkIngest is one bundle of 48 new records from the first byte to the
// durable answer, with one courier and with many at once. Every 24th record is
// specific.
func BenchmarkIngest(b *testing.B) {
	for _, couriers := range []int{1, 32} {
		b.Run(fmt.Sprintf("couriers=%d", couriers), func(b *testing.B) {
			r := newRig(b, mdms.Limits{})
			meters := make(chan *eventlogtest.Meter, couriers)
			for n := range couriers {
				m := numbered(b, n+1, eventlog.SchemeCounter)
				r.enrol(m)
				r.send("courier", m.Bundle())
				meters <- m
			}
			// Bundles are made before: signing is the meter's work.
			type job struct {
				from int
				body []byte
			}
			jobs := make([][]job, couriers)
			for n := range jobs {
				m := <-meters
				for range b.N/couriers + 1 {
					from := len(m.Open().Log)
					for i := range 48 {
						if i%24 == 23 {
							m.Event(eventlogtest.Specific)
						} else {
							m.Event(eventlogtest.Ordinary)
						}
					}
					jobs[n] = append(jobs[n], job{from, encode(b, m.BundleFrom(1, from))})
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			done := make(chan error, couriers)
			var left atomic.Int64
			left.Store(int64(b.N))
			for n := range jobs {
				go func() {
					for _, j := range jobs[n] {
						if left.Add(-1) < 0 {
							break
						}
						res, err := r.Ingest(b.Context(), "courier", j.body)
						if err != nil || res.Outcome != mdms.Applied {
							done <- fmt.Errorf("%+v, %w", res, err)
							return
						}
					}
					done <- nil
				}()
			}
			for range jobs {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
		})
	}
}

// BenchmarkDuplicate is a bundle that is known already: judged, not written.
func BenchmarkDuplicate(b *testing.B) {
	r := newRig(b, mdms.Limits{})
	m := numbered(b, 1, eventlog.SchemeCounter)
	r.enrol(m)
	m.Fill(48)
	body := encode(b, m.Bundle())
	r.send("courier", m.Bundle())
	b.ReportAllocs()
	for b.Loop() {
		res, err := r.Ingest(b.Context(), "courier", body)
		if err != nil || res.Outcome != mdms.Duplicate {
			b.Fatal(res, err)
		}
	}
}
