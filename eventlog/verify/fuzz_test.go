package verify_test

import (
	"bytes"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// No bytes make VerifyRaw panic, and none that the meter did not sign are
// applied.
func FuzzVerifyRaw(f *testing.F) {
	m := eventlogtest.New("fuzz", eventlog.SchemeCounter)
	m.Fill(4)
	w := newWorld(f, m)
	w.accept(m.Bundle(), verify.Intact)
	known := len(w.bytes[1])
	m.Fill(3)
	m.Event(eventlogtest.Ordinary)
	m.Rotate()
	m.Fill(2)
	other := eventlogtest.New("other", eventlog.SchemeDigest)
	for _, u := range []*eventlog.Bundle{
		m.Bundle(), m.BundleFrom(1, known), m.BundleFrom(2, 0), m.BundleFrom(1, 192), other.Bundle(), parts(m, m.Segment(1).At(known, 0)),
	} {
		raw, err := u.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, true)
		f.Add(raw, false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, blank bool) {
		in := w.input(nil)
		if blank {
			in.Known = verify.Known{}
		}
		r, err := verify.VerifyRaw(in, raw)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Advance) > 0 && !r.Verdict.Applied() {
			t.Fatalf("%s advances", r.Verdict)
		}
		for _, a := range r.Advance {
			s := m.Segment(a.Head.Segment())
			if !bytes.Equal(a.Log, s.Log[a.From:a.Head.Length]) {
				t.Fatalf("bytes were applied that the meter did not sign")
			}
		}
	})
}
