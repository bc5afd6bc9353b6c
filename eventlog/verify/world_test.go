package verify_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// schemes are those that a key can have.
var schemes = []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter}

// world is a verifier with a memory: what an MDMS keeps of one meter.
type world struct {
	t   testing.TB
	reg verify.Registration

	heads  map[uint32]*verify.Head
	bytes  map[uint32][]byte
	seals  map[sealKey]*eventlog.Seal
	newest uint32

	nonces   []verify.Nonce
	limits   verify.Limits
	received time.Time

	// What was asked of the memory, and how it fails.
	bytesCalls, sealCalls  int
	segmentErr, bytesErr   error
	sealErr, belowErr      error
	forgetBytes, forgetAll bool
	pin                    *verify.Head // beside forgetAll: a head that somebody kept
}

// sealKey is what the seals of a meter are told apart by.
type sealKey struct {
	key     eventlog.KeyID
	counter uint64
}

var errStore = errors.New("the store is on fire")

// newWorld registers the meter's key and policy.
func newWorld(t testing.TB, m *eventlogtest.Meter) *world {
	w := &world{
		t: t, reg: verify.Registration{Meter: m.ID, Policy: new(m.Policy)},
		heads: map[uint32]*verify.Head{}, bytes: map[uint32][]byte{}, seals: map[sealKey]*eventlog.Seal{},
		received: eventlogtest.Epoch.Add(24 * time.Hour),
	}
	w.register(m.Key)
	return w
}

func (w *world) register(k *eventlogtest.Key) *verify.Key {
	key, err := verify.NewKey(k.PublicKey(), k.Scheme)
	if err != nil {
		w.t.Fatal(err)
	}
	w.reg.Keys = append(w.reg.Keys, key)
	return &w.reg.Keys[len(w.reg.Keys)-1]
}

// offline makes the verifier one that has the registered keys and nothing else.
func (w *world) offline() {
	w.forgetAll = true
	w.reg = verify.Registration{AnyMeter: true, Keys: w.reg.Keys}
}

// seal returns the meter's newest seal as a demand.
func (w *world) seal(m *eventlogtest.Meter) *verify.Head {
	w.t.Helper()
	pin, err := verify.Pin(&w.reg, m.Open().Part(0).Seal)
	if err != nil {
		w.t.Fatal(err)
	}
	return pin
}

func (w *world) input(u *eventlog.Bundle) *verify.Input {
	in := &verify.Input{
		Registration: w.reg, Nonces: w.nonces, Received: w.received, Limits: w.limits, Bundle: u,
	}
	if w.forgetAll {
		in.Known.Head = w.pin
		return in
	}
	in.Known = verify.Known{
		Head: w.heads[w.newest],
		Segment: func(n uint32) (*verify.Head, error) {
			return w.heads[n], w.segmentErr
		},
		Below: func(n uint32) (*verify.Head, error) {
			nearest := uint32(0)
			for i := range w.heads {
				if i < n {
					nearest = max(nearest, i)
				}
			}
			return w.heads[nearest], w.belowErr
		},
		Bytes: func(n uint32) ([]byte, error) {
			w.bytesCalls++
			if w.forgetBytes {
				return nil, nil
			}
			return w.bytes[n], w.bytesErr
		},
		SealAt: func(key eventlog.KeyID, counter uint64) (*eventlog.Seal, error) {
			w.sealCalls++
			return w.seals[sealKey{key, counter}], w.sealErr
		},
	}
	return in
}

// verify judges a bundle by way of its encoding and keeps nothing.
func (w *world) verify(u *eventlog.Bundle) *verify.Report {
	w.t.Helper()
	raw, err := u.AppendBinary(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := verify.VerifyRaw(w.input(u), raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// accept judges a bundle, demands the verdict, and keeps what it advances.
func (w *world) accept(u *eventlog.Bundle, want verify.Verdict) *verify.Report {
	w.t.Helper()
	r := w.verify(u)
	if r.Verdict != want {
		w.t.Fatalf("%s, want %s: %+v", r.Verdict, want, r.Findings)
	}
	w.apply(r)
	return r
}

func (w *world) apply(r *verify.Report) {
	for _, a := range r.Advance {
		n := a.Head.Segment()
		if a.From != uint64(len(w.bytes[n])) || a.From+uint64(len(a.Log)) != a.Head.Length {
			w.t.Fatalf("segment %d advances from %d by %d to %d, %d bytes are kept", n, a.From, len(a.Log), a.Head.Length, len(w.bytes[n]))
		}
		w.bytes[n] = slices.Concat(w.bytes[n], a.Log)
		w.heads[n] = &a.Head
		if a.Head.Seal.Counter > 0 {
			w.seals[sealKey{a.Head.Header.Key, a.Head.Seal.Counter}] = &a.Head.Seal
		}
		w.newest = max(w.newest, n)
	}
}

// intact judges a bundle and demands that it is INTACT, and nothing is found.
func (w *world) intact(u *eventlog.Bundle) {
	w.t.Helper()
	if r := w.accept(u, verify.Intact); len(r.Findings) > 0 {
		w.t.Fatalf("findings of an honest log: %+v", r.Findings)
	}
}

// codes are the codes of the report's findings, in order, without repeats.
func codes(r *verify.Report) []string {
	var c []string
	for _, f := range r.Findings {
		if !slices.Contains(c, f.Code) {
			c = append(c, f.Code)
		}
	}
	return c
}

// wantReport demands verdict and findings, and that nothing moves unless the
// verdict is applied.
func wantReport(t testing.TB, r *verify.Report, verdict verify.Verdict, findings ...string) {
	t.Helper()
	if r.Verdict != verdict {
		t.Errorf("got %s, want %s: %+v", r.Verdict, verdict, r.Findings)
	}
	if diff := cmp.Diff(findings, codes(r)); diff != "" {
		t.Errorf("findings (-want +got):\n%s%+v", diff, r.Findings)
	}
	if !r.Verdict.Applied() && len(r.Advance) > 0 {
		t.Errorf("%s advances the head", r.Verdict)
	}
}

func wantNeed(t testing.TB, r *verify.Report, want *verify.Position) {
	t.Helper()
	if diff := cmp.Diff(want, r.NeedFrom); diff != "" {
		t.Errorf("need from (-want +got):\n%s", diff)
	}
}
