package verify_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// fourKiB is a meter whose open segment is exactly 4 KiB, all of it signed.
func fourKiB(scheme eventlog.Scheme) *eventlogtest.Meter {
	m := eventlogtest.New("flip", scheme)
	for len(m.Open().Log) < 4096-64 {
		m.Event(eventlogtest.Ordinary, 1, 2, 3)
	}
	m.Event(eventlogtest.Specific)
	return m
}

// Offsets in an encoded bundle of one part; see eventlog.Bundle.
const (
	bundleNewest    = 9  // bit 0
	bundleCollected = 26 // 8 bytes
)

// courierWord reports whether a bit of a bundle is only the courier's word
// about when and in what state he collected it. Without a state that is newer
// it cannot change the verdict.
func courierWord(bit int) bool {
	return bit == bundleNewest*8 || bit/8 >= bundleCollected && bit/8 < bundleCollected+8
}

func manySignatures(t *testing.T) {
	if testing.Short() {
		t.Skip("verifies thousands of signatures")
	}
}

func TestEveryBitOfABundleCounts(t *testing.T) {
	manySignatures(t)
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			t.Parallel()
			m := fourKiB(scheme)
			if len(m.Open().Log) != 4096 {
				t.Fatalf("the log has %d bytes", len(m.Open().Log))
			}
			w := newWorld(t, m)
			raw, err := m.Bundle().AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			w.forgetAll = true // so that inputs share nothing
			in := w.input(nil)
			if r, err := verify.VerifyRaw(in, raw); err != nil || r.Verdict != verify.Intact {
				t.Fatalf("the baseline: %v, %v", r, err)
			}
			var wg sync.WaitGroup
			for worker := range runtime.NumCPU() {
				in, raw := w.input(nil), slices.Clone(raw)
				wg.Go(func() {
					for bit := worker; bit < len(raw)*8; bit += runtime.NumCPU() {
						raw[bit/8] ^= 1 << (bit % 8)
						r, err := verify.VerifyRaw(in, raw)
						raw[bit/8] ^= 1 << (bit % 8)
						if err != nil {
							t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
						} else if r.Verdict.Applied() != courierWord(bit) {
							t.Errorf("bit %d of byte %d: %s", bit%8, bit/8, r.Verdict)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// The checksum of a seal is no security: the bits are caught without it.
func TestEveryBitOfASealWithARepairedChecksumCounts(t *testing.T) {
	manySignatures(t)
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			t.Parallel()
			m := fourKiB(scheme)
			w := newWorld(t, m)
			known := m.Clone()
			m.Fill(3)
			for _, tc := range []struct {
				name string
				w    *world
				u    *eventlog.Bundle
			}{
				{"full", w, m.Bundle()},
				{"incremental", func() *world { w := newWorld(t, m); w.intact(known.Bundle()); return w }(), m.BundleFrom(1, 4096)},
			} {
				in, seal := tc.w.input(tc.u), tc.u.Parts[0].Seal
				judge := func() verify.Verdict {
					r, err := verify.Verify(in)
					if err != nil {
						t.Fatal(err)
					}
					return r.Verdict
				}
				if v := judge(); v != verify.Intact {
					t.Fatalf("%s: the baseline is %s", tc.name, v)
				}
				good := slices.Clone(seal)
				for bit := range (len(seal) - 4) * 8 {
					seal[bit/8] ^= 1 << (bit % 8)
					eventlogtest.FixChecksum(seal)
					if v := judge(); v.Applied() {
						t.Errorf("%s: bit %d of byte %d: %s", tc.name, bit%8, bit/8, v)
					}
					copy(seal, good)
				}
			}
		})
	}
}

func TestEveryBitOfAnIncrementCounts(t *testing.T) {
	manySignatures(t)
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			t.Parallel()
			m := fourKiB(scheme)
			w := newWorld(t, m)
			w.intact(m.Bundle())
			m.Event(eventlogtest.Ordinary)
			m.Event(eventlogtest.Specific)
			u := m.BundleFrom(1, 4096)
			in := w.input(u)
			log := u.Parts[0].Log
			if r := w.verify(u); r.Verdict != verify.Intact {
				t.Fatalf("the baseline is %s", r.Verdict)
			}
			for bit := range len(log) * 8 {
				log[bit/8] ^= 1 << (bit % 8)
				r, err := verify.Verify(in)
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict != verify.Incomplete || *r.NeedFrom != (verify.Position{Segment: 1}) {
					t.Errorf("bit %d of byte %d: %s", bit%8, bit/8, r.Verdict)
				}
				log[bit/8] ^= 1 << (bit % 8)
			}
		})
	}
}

func TestEveryCutOfALogIsIncomplete(t *testing.T) {
	m := fourKiB(eventlog.SchemeDigest)
	w := newWorld(t, m)
	u := m.Bundle()
	log := u.Parts[0].Log
	for n := range len(log) {
		u.Parts[0].Log = log[:n]
		r, err := verify.Verify(w.input(u))
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != verify.Incomplete {
			t.Fatalf("cut at byte %d: %s", n, r.Verdict)
		}
	}
}
