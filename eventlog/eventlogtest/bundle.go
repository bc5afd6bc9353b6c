package eventlogtest

import (
	"slices"

	"github.com/meterseal/meterseal/eventlog"
)

// Bundle returns everything that the meter holds, tail included, each segment
// with its newest seal, as an honest courier collects it now.
func (m *Meter) Bundle() *eventlog.Bundle { return m.BundleFrom(m.Segments[0].Number, 0) }

// BundleFrom returns what an honest courier collects who was asked for the
// bytes from an offset of a segment on.
func (m *Meter) BundleFrom(segment uint32, offset int) *eventlog.Bundle {
	u := &eventlog.Bundle{Meter: m.ID, Newest: true, Collected: m.Now.UnixMilli()}
	for _, s := range m.Segments {
		switch {
		case s.Number == segment:
			u.Parts = append(u.Parts, s.Part(offset))
		case s.Number > segment:
			u.Parts = append(u.Parts, s.Part(0))
		}
	}
	return u
}

// Part returns the segment's bytes from offset on with its newest seal, if it
// has one. It is a copy.
func (s *Segment) Part(offset int) eventlog.Part {
	p := eventlog.Part{Segment: s.Number, Offset: uint64(offset), Log: slices.Clone(s.Log[offset:])}
	if n := len(s.Seals); n > 0 {
		p.Seal = Encode(s.Seals[n-1])
	}
	return p
}

// At returns the segment's bytes from offset up to the signed length of its
// i-th seal, with that seal. It is a copy.
func (s *Segment) At(offset, i int) eventlog.Part {
	seal := s.Seals[i]
	return eventlog.Part{
		Segment: s.Number, Offset: uint64(offset),
		Log: slices.Clone(s.Log[min(offset, int(seal.SignedLength)):seal.SignedLength]), Seal: Encode(seal),
	}
}

// Encode returns the seal's bytes.
func Encode(s eventlog.Seal) []byte { return must(s.AppendBinary(nil)) }

// Decode returns the seal that bytes hold.
func Decode(b []byte) eventlog.Seal {
	var s eventlog.Seal
	if err := s.UnmarshalBinary(b); err != nil {
		panic(err)
	}
	return s
}
