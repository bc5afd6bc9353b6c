package soft_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
)

// A signature through the process: without a counter the cost is ECDSA and two
// switches of process, with one it is mostly the disk.
func BenchmarkSign(b *testing.B) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		b.Run(scheme.String(), func(b *testing.B) {
			c := newKey(b, scheme)
			c.Rate, c.Burst = 1e9, 1e9
			m := open(b, c)
			var digest [32]byte
			for b.Loop() {
				if _, err := m.Sign(b.Context(), digest); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sign/s")
		})
	}
}

// The probe of the meter.
func BenchmarkInfo(b *testing.B) {
	m := open(b, newKey(b, eventlog.SchemeCounter))
	for b.Loop() {
		if _, err := m.Info(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
