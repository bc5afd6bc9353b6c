package verify_test

import (
	"bytes"
	"slices"
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

// Whatever stands in a segment: a record that decodes encodes to the same
// bytes, its payload too, and of a sealed segment no other bytes are applied
// than those that were sealed.
func FuzzSegment(f *testing.F) {
	for _, scheme := range schemes {
		m := eventlogtest.New("fuzz", scheme)
		m.Fill(4)
		m.AppendSystem(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailTimeout})
		m.System(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.Counters()})
		m.Reboot()
		m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Specific))
		m.Damage(eventlog.HeaderSize)
		m.Reboot()
		m.ChangeKey(eventlogtest.NewKey("next", scheme))
		for _, s := range m.Segments {
			f.Add(s.Log)
		}
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		log = slices.Clone(log)
		sound := 0
		for rest := log; len(rest) >= eventlog.SlotSize; {
			if n := int(rest[1]) * eventlog.SlotSize; n > 0 && n <= len(rest) {
				eventlogtest.FixChecksum(rest[:n])
			}
			var r eventlog.Record
			n, err := r.Next(rest)
			if err != nil {
				break
			}
			again, err := r.AppendBinary(nil)
			if err != nil || !bytes.Equal(again, rest[:n]) {
				t.Fatalf("%x decodes and encodes to %x, %v", rest[:n], again, err)
			}
			if p, err := eventlog.DecodePayload(&r); err == nil && p != nil {
				again, err := p.AppendBinary(nil)
				if err != nil || !bytes.Equal(again, r.Payload) {
					t.Fatalf("payload %x decodes and encodes to %x, %v", r.Payload, again, err)
				}
			}
			rest, sound = rest[n:], sound+n
		}
		h, err := eventlog.ParseHeader(log)
		if err != nil {
			return
		}
		for _, scheme := range schemes {
			m := eventlogtest.New("fuzz", scheme)
			w := newWorld(t, m)
			w.accept(m.Bundle(), verify.Intact)
			m.Segments = []*eventlogtest.Segment{{Number: h.Segment, Log: log[:sound]}}
			m.Seal()
			for _, known := range []verify.Known{{}, w.input(nil).Known} {
				in := w.input(segment(m, h.Segment))
				in.Known = known
				r, err := verify.Verify(in)
				if err != nil {
					t.Fatal(err)
				}
				for _, a := range r.Advance {
					if !bytes.Equal(a.Log, log[a.From:sound]) {
						t.Fatal("other bytes were applied than were sealed")
					}
				}
			}
		}
	})
}
