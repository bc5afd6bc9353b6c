package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// The log of sealedRig, in bytes of segment 1: header, plain, fraud (first
// seal), fraud of 3 slots (second seal), plain.
const (
	firstSealed  = eventlog.HeaderSize + 2*64
	secondSealed = firstSealed + 3*64
	sealedSize   = secondSealed + 64
	// The first seal went to slot 0, the second one to slot 1.
	slot0, slot1 = 0, 4096
)

// recode gives a record or seal that was edited the checksum of its new bytes.
func recode(b []byte) {
	crc := crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc)
}

// flip returns an edit of one bit, with the checksum of the record or seal in
// b[from:to] made right again.
func flip(at, from, to int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 1
		recode(b[from:to])
		return b
	}
}

func put32(at int, v uint32, from, to int) func([]byte) []byte {
	return func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[at:], v)
		recode(b[from:to])
		return b
	}
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

func zero(from, to int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from:to]); return b }
}

// TestRecoveryNeverLaunders edits a log while the meter is off. Whatever a
// seal covered and no longer does must not be signed again: the segment stays
// as it is, and the next one says LOG_DAMAGED.
func TestRecoveryNeverLaunders(t *testing.T) {
	const seg, seals = "00000001.seg", "seals"
	cases := map[string]struct {
		file       string
		edit       func([]byte) []byte
		verifiable uint64
	}{
		"a signed payload byte":                               {seg, flip(eventlog.HeaderSize+64+30, eventlog.HeaderSize+64, firstSealed), 0},
		"a signed payload byte, no checksum":                  {seg, func(b []byte) []byte { b[eventlog.HeaderSize+30] ^= 1; return b }, 0},
		"a byte that only the newest seal signs":              {seg, flip(firstSealed+40, firstSealed, secondSealed), firstSealed},
		"a byte that only the newest seal signs, no checksum": {seg, func(b []byte) []byte { b[firstSealed+40] ^= 1; return b }, firstSealed},
		"the mark of a signed record":                         {seg, flip(eventlog.HeaderSize+24, eventlog.HeaderSize, eventlog.HeaderSize+64), 0},
		"the meter id":                                        {seg, flip(28+8, 0, eventlog.HeaderSize), 0},
		"the key id":                                          {seg, flip(28+24, 0, eventlog.HeaderSize), 0},
		"the scheme":                                          {seg, func(b []byte) []byte { b[28+23] ^= 3; recode(b[:eventlog.HeaderSize]); return b }, 0},
		"the set of specific events":                          {seg, flip(28+109, 0, eventlog.HeaderSize), 0},
		"the profile":                                         {seg, flip(28+104, 0, eventlog.HeaderSize), 0},
		"the segment number":                                  {seg, put32(28+56, 2, 0, eventlog.HeaderSize), 0},
		"the header":                                          {seg, zero(0, 64), 0},
		"the whole file":                                      {seg, zero(0, sealedSize), 0},
		"shorter than the newest seal":                        {seg, cut(secondSealed - 64), firstSealed},
		"shorter by one byte than the newest seal":            {seg, cut(secondSealed - 1), firstSealed},
		"cut at the first seal":                               {seg, cut(firstSealed), firstSealed},
		"shorter than the first seal":                         {seg, cut(eventlog.HeaderSize), 0},
		"empty":                                               {seg, cut(0), 0},
		"a record inserted": {seg, func(b []byte) []byte {
			return slices.Insert(b, firstSealed, b[eventlog.HeaderSize:eventlog.HeaderSize+64]...)
		}, firstSealed},
		"a signed record deleted":       {seg, func(b []byte) []byte { return slices.Delete(b, eventlog.HeaderSize, eventlog.HeaderSize+64) }, 0},
		"the sequence of a tail record": {seg, put32(secondSealed+4, 9, secondSealed, sealedSize), secondSealed},
		"the mark of a tail record":     {seg, flip(secondSealed+24, secondSealed, sealedSize), secondSealed},
		"an unknown system event in the tail": {seg, func(b []byte) []byte {
			b[secondSealed+24], b[secondSealed+26], b[secondSealed+2] = 1, 0xF0, 9
			recode(b[secondSealed:])
			return b
		}, secondSealed},
		"a second header in the tail":          {seg, func(b []byte) []byte { return append(b, header(b, 6)...) }, secondSealed},
		"a SEGMENT_END that skips a number":    {seg, inTail(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 3}, 1), secondSealed},
		"a SEGMENT_END that names its segment": {seg, inTail(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 1}, 1), secondSealed},
		"a boot counter that goes back":        {seg, inTail(eventlog.CodeBoot, &eventlog.Boot{}, 0), secondSealed},
		"a boot counter that leaps":            {seg, inTail(eventlog.CodeBoot, &eventlog.Boot{}, 1<<32-1), secondSealed},
		"more garbage than one record":         {seg, func(b []byte) []byte { return append(b, bytes.Repeat([]byte{1}, 257)...) }, secondSealed},
		"a torn record before a whole one":     {seg, func(b []byte) []byte { return append(append(b, make([]byte, 64)...), b[secondSealed:]...) }, secondSealed},
		"the signature of the newest seal":     {seals, flip(slot1+100, slot1, slot1+eventlog.SealSize), firstSealed},
		"the signature of the older seal":      {seals, flip(slot0+100, slot0, slot0+eventlog.SealSize), secondSealed},
		"the signed length of the newest seal": {seals, put32(slot1+16, secondSealed+64, slot1, slot1+eventlog.SealSize), firstSealed},
		"a signed length between records":      {seals, put32(slot1+16, firstSealed+64, slot1, slot1+eventlog.SealSize), firstSealed},
		"both seals zeroed":                    {seals, zero(0, slot1+eventlog.SealSize), 0},
		"the file of the seals cut":            {seals, cut(0), 0},
		"both seals torn":                      {seals, func(b []byte) []byte { b[slot0+100] ^= 1; b[slot1+100] ^= 1; return b }, 0},
		"a signature over the log by another key": {seals, func(b []byte) []byte {
			copy(b[slot1+72:], b[slot0+72:slot0+136])
			recode(b[slot1 : slot1+eventlog.SealSize])
			return b
		}, firstSealed},
	}
	for _, scheme := range schemes {
		for name, c := range cases {
			t.Run(scheme.String()+"/"+name, func(t *testing.T) {
				r, disk := sealedRig(t, scheme)
				r.close()
				r.open()
				if r.rec.Damaged != nil {
					t.Fatalf("the untouched log is damaged: %+v", r.rec)
				}
				r.close()
				edit(t, disk, c.file, c.edit)
				assertDamaged(t, r, disk, c.verifiable)
			})
		}
	}
}

// inTail returns an edit that appends a system event to the log of sealedRig.
func inTail(code uint16, p eventlog.Payload, boot uint32) func([]byte) []byte {
	return func(b []byte) []byte {
		payload, err := p.AppendBinary(nil)
		if err != nil {
			panic(err)
		}
		r := eventlog.Record{Class: eventlog.ClassSystem, Code: code, Seq: 6, Boot: boot, Flags: eventlog.FlagSpecific, Payload: payload}
		if b, err = r.AppendBinary(b); err != nil {
			panic(err)
		}
		return b
	}
}

// TestNothingFollowsASealedEnd: the meter stopped between the seal of SEGMENT_END
// and the next segment, and somebody put something after the end.
func TestNothingFollowsASealedEnd(t *testing.T) {
	for _, scheme := range schemes {
		record, err := (&eventlog.Record{Class: plain.Class, Code: plain.Code, Seq: 7, Boot: 1}).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, tail := range map[string][]byte{"a record": record, "a torn record": {1, 2, 3}} {
			t.Run(scheme.String()+"/"+name, func(t *testing.T) {
				r, disk := sealedRig(t, scheme)
				r.end(eventlog.EndRotation)
				if _, err := r.log.Append(r.stamp(), plain, nil); !errors.Is(err, eventlog.ErrEnded) {
					t.Errorf("append after the sealed end: %v", err)
				}
				sealed := uint64(len(r.bytes(1)))
				r.close()
				edit(t, disk, "00000001.seg", func(b []byte) []byte { return append(b, tail...) })
				assertDamaged(t, r, disk, sealed)
			})
		}
	}
}

// TestALateSealMakesNoEnd: SEGMENT_END got no seal in time, and the segment went
// on.
func TestALateSealMakesNoEnd(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.system(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
	late, err := r.sign()
	if err != nil {
		t.Fatal(err)
	}
	r.append(plain, nil)
	if err := r.log.StoreSeal(late); !errors.Is(err, eventlog.ErrBadSeal) {
		t.Errorf("got %v", err)
	}
	if err := r.log.NextSegment(r.stamp(), nil); !errors.Is(err, eventlog.ErrNotEnded) {
		t.Errorf("got %v", err)
	}
}

// header returns the header of b as a record with another sequence.
func header(b []byte, seq uint32) []byte {
	h := slices.Clone(b[:eventlog.HeaderSize])
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[28+100:], seq)
	recode(h)
	return h
}

// assertDamaged opens a log whose segment 1 was edited and goes on with it:
// nothing of segment 1 may be signed again, and nothing of it may change.
func assertDamaged(t *testing.T, r *rig, disk *durabletest.FS, verifiable uint64) {
	t.Helper()
	asFound, slotsFound := diskBytes(t, disk, "00000001.seg"), diskBytes(t, disk, "seals")
	r.open()
	d := r.rec.Damaged
	if d == nil {
		t.Fatalf("the log counts as sound: %+v", r.rec)
	}
	if len(r.rec.Notes) == 0 {
		t.Error("the operator is told nothing")
	}
	want := eventlog.LogDamaged{Segment: 1, Found: uint64(len(asFound)), Verifiable: verifiable, Counters: r.rec.Counters(false, 0)}
	if verifiable > 0 {
		want.Digest = sha256.Sum256(asFound[:verifiable])
	}
	if *d != want {
		t.Errorf("damage %+v, want %+v", *d, want)
	}
	if r.rec.Sealed != (verifiable > 0) || r.rec.Seal.SignedLength != verifiable {
		t.Errorf("the seal that stands: %+v", r.rec.Seal)
	}
	if _, _, _, ok := r.log.Pending(); ok {
		t.Error("a damaged segment asks for a seal")
	}
	if _, err := r.log.Append(r.stamp(), fraud, nil); !errors.Is(err, eventlog.ErrNotBegun) {
		t.Errorf("append to a damaged segment: %v", err)
	}
	counters := r.rec.Counters(true, 77)
	if err := r.log.Begin(r.stamp(), counters); err != nil {
		t.Fatal(err)
	}
	r.system(eventlog.CodeBoot, &eventlog.Boot{Counters: counters})
	s := r.seal()
	if s.Segment != 2 {
		t.Errorf("segment %d is sealed", s.Segment)
	}
	if !bytes.Equal(diskBytes(t, disk, "00000001.seg"), asFound) || !bytes.Equal(r.bytes(1), asFound) {
		t.Error("the damaged segment changed")
	}
	if !bytes.Equal(diskBytes(t, disk, "00000001.found"), slotsFound) {
		t.Error("the slots are not kept as found")
	}
	assertNextAfterDamage(t, r, want, counters)
	if kept, ok := r.log.SealOf(1); ok {
		var k eventlog.Seal
		if err := k.UnmarshalBinary(kept); err != nil || k.Segment != 1 || verifiable > 0 && k.SignedLength != verifiable {
			t.Errorf("the seal kept: %+v, %v", k, err)
		}
	} else if verifiable > 0 {
		t.Error("the seal of the damaged segment is lost")
	}
	r.reopen()
	if r.rec.Damaged != nil || r.rec.Seal != s || r.log.Newest() != 2 {
		t.Errorf("opened again: %+v", r.rec)
	}
}

// TestSealThatShowsTheDamageIsKept edits what both seals cover: the newer one
// is kept, in whichever slot it lies.
func TestSealThatShowsTheDamageIsKept(t *testing.T) {
	for name, slots := range map[string]func([]byte) []byte{
		"as stored": func(b []byte) []byte { return b }, "swapped": swapSlots,
	} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.close()
		edit(t, disk, "seals", slots)
		edit(t, disk, "00000001.seg", flip(eventlog.HeaderSize+30, eventlog.HeaderSize, eventlog.HeaderSize+64))
		r.open()
		r.begin()
		kept, _ := r.log.SealOf(1)
		var s eventlog.Seal
		if err := s.UnmarshalBinary(kept); err != nil || s.SignedLength != secondSealed {
			t.Errorf("%s: kept %+v, %v", name, s, err)
		}
	}
}

// assertNextAfterDamage checks the first records of segment 2.
func assertNextAfterDamage(t *testing.T, r *rig, want eventlog.LogDamaged, counters eventlog.Counters) {
	t.Helper()
	recs := r.records(2)
	h, err := eventlog.HeaderOf(&recs[0])
	if err != nil || h.PrevLength != want.Verifiable || h.PrevDigest != want.Digest || h.Segment != 2 {
		t.Errorf("header %+v, %v", h, err)
	}
	if h.FirstSeq != r.rec.LastSeq+1 {
		t.Errorf("first sequence %d after %d", h.FirstSeq, r.rec.LastSeq)
	}
	p, err := eventlog.DecodePayload(&recs[1])
	want.Counters = counters
	if got, ok := p.(*eventlog.LogDamaged); err != nil || !ok || *got != want {
		t.Errorf("second record %+v, %v; want %+v", p, err, want)
	}
	want2 := []eventlog.Closed{{Segment: 1, Length: want.Verifiable, Digest: want.Digest}}
	if !slices.Equal(r.log.Closed(), want2) {
		t.Errorf("closed %+v", r.log.Closed())
	}
}

// TestSequenceNeverRunsBackwards damages a log in every way of one flipped
// byte, and expects a sequence number that was never used.
func TestSequenceNeverRunsBackwards(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	for at := 0; at < sealedSize; at += 7 {
		r.cfg.FS = disk.Restart(0, 0)
		edit(t, r.cfg.FS, "00000001.seg", func(b []byte) []byte { b[at] ^= 0xFF; return b })
		r.open()
		r.begin()
		r.system(eventlog.CodeBoot, &eventlog.Boot{})
		// A flipped byte in the last record is a torn end like any other.
		if torn := at >= secondSealed; (r.rec.Damaged == nil) != torn {
			t.Errorf("byte %d: %+v", at, r.rec)
		}
		recs := r.records(r.log.Newest())
		if seq := recs[len(recs)-1].Seq; seq <= 4 || r.rec.Damaged != nil && seq <= 5 {
			t.Errorf("byte %d: sequence %d is used again", at, seq)
		}
		r.close()
	}
}
