package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
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

// TestSoundAfterHarmlessChanges edits what no signature covers, or only a
// hint; the log goes on.
func TestSoundAfterHarmlessChanges(t *testing.T) {
	const seg, seals = "00000001.seg", "seals"
	cases := map[string]struct {
		file    string
		edit    func([]byte) []byte
		signed  uint64
		dropped uint32
	}{
		"nothing":                   {seg, func(b []byte) []byte { return b }, secondSealed, 0},
		"slots swapped":             {seals, swapSlots, secondSealed, 0},
		"newest slot torn":          {seals, func(b []byte) []byte { b[slot1+100] ^= 1; return b }, firstSealed, 0},
		"newest slot zeroed":        {seals, zero(slot1, slot1+eventlog.SealSize), firstSealed, 0},
		"older slot zeroed":         {seals, zero(slot0, slot0+eventlog.SealSize), secondSealed, 0},
		"seals file cut in slot 1":  {seals, cut(slot1 + 70), firstSealed, 0},
		"last sequence of the seal": {seals, put32(slot1+20, 77, slot1, slot1+eventlog.SealSize), secondSealed, 0},
		"digest of the seal":        {seals, flip(slot1+50, slot1, slot1+eventlog.SealSize), secondSealed, 0},
		"key id of the seal":        {seals, flip(slot1+24, slot1, slot1+eventlog.SealSize), secondSealed, 0},
		"tail cut away":             {seg, cut(secondSealed), secondSealed, 0},
		"tail torn":                 {seg, cut(sealedSize - 1), secondSealed, 63},
		"tail checksum":             {seg, func(b []byte) []byte { b[sealedSize-1] ^= 1; return b }, secondSealed, 64},
		"zeros after the end":       {seg, func(b []byte) []byte { return append(b, make([]byte, 256)...) }, secondSealed, 256},
		"some bytes after the end":  {seg, func(b []byte) []byte { return append(b, 1, 2, 3) }, secondSealed, 3},
	}
	for _, scheme := range schemes {
		for name, c := range cases {
			t.Run(scheme.String()+"/"+name, func(t *testing.T) {
				r, disk := sealedRig(t, scheme)
				r.close()
				edit(t, disk, c.file, c.edit)
				r.open()
				if r.rec.Damaged != nil || !r.rec.Sealed || r.rec.Seal.SignedLength != c.signed || r.rec.Dropped != c.dropped {
					t.Fatalf("recovered %+v", r.rec)
				}
				kept := r.bytes(1)
				if r.rec.Seal.Digest != sha256.Sum256(kept[:c.signed]) || r.rec.Seal.LastSeq > 4 {
					t.Errorf("the fields of the seal are not those of the log: %+v", r.rec.Seal)
				}
				r.begin()
				r.system(eventlog.CodeBoot, &eventlog.Boot{Dropped: r.rec.Dropped, Counters: r.rec.Counters(true, r.counter)})
				s := r.seal()
				r.reopen()
				if r.rec.Seal != s || r.log.Newest() != 1 {
					t.Errorf("opened again: %+v", r.rec)
				}
				if after := r.bytes(1); !bytes.Equal(after[:len(kept)], kept) {
					t.Error("kept bytes changed")
				}
			})
		}
	}
}

func swapSlots(b []byte) []byte {
	older, newer := slices.Clone(b[slot0:slot0+eventlog.SealSize]), slices.Clone(b[slot1:])
	copy(b[slot0:], newer)
	copy(b[slot1:], older)
	return b
}

// TestRestoredOlderSeals puts an older pair of seals back. They verify, so the
// log goes on; that the secure element is ahead shows in the counters of BOOT.
func TestRestoredOlderSeals(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeCounter)
	older := diskBytes(t, disk, "seals")
	for range 3 {
		r.append(fraud, nil)
		r.seal()
	}
	r.close()
	edit(t, disk, "seals", func([]byte) []byte { return older })
	r.open()
	want := eventlog.Counters{ModuleUp: true, SealLength: secondSealed, SealCounter: 2, ModuleCounter: 5}
	if got := r.rec.Counters(true, r.counter); r.rec.Damaged != nil || got != want || r.rec.Uncovered != 3 {
		t.Errorf("counters %+v with %d uncovered records, %+v", got, r.rec.Uncovered, r.rec.Damaged)
	}
}

func TestCountersOfASilentModule(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	r.reopen()
	want := eventlog.Counters{SealLength: secondSealed, SealCounter: 2}
	if got := r.rec.Counters(false, 99); got != want {
		t.Errorf("counters %+v", got)
	}
}

// TestNothingLeft removes files while the meter is off.
func TestNothingLeft(t *testing.T) {
	for name, gone := range map[string][]string{
		"the log":               {"00000001.seg"},
		"the seals":             {"seals"},
		"the log and its seals": {"00000001.seg", "seals"},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeCounter)
			r.close()
			for _, file := range gone {
				if err := disk.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			r.open()
			if d := r.rec.Damaged; d == nil || d.Segment != 1 || d.Verifiable != 0 || r.rec.First {
				t.Fatalf("recovered %+v", r.rec)
			}
			r.begin()
			r.system(eventlog.CodeBoot, &eventlog.Boot{})
			if s := r.seal(); s.Segment != 2 {
				t.Errorf("segment %d is sealed", s.Segment)
			}
			if recs := r.records(2); len(gone) == 1 && recs[0].Seq <= 4 {
				t.Errorf("sequence %d is used again", recs[0].Seq)
			}
			r.reopen()
			if r.rec.Damaged != nil {
				t.Errorf("opened again: %+v", r.rec)
			}
		})
	}
}

// TestNumbersAreNotUsedAgain removes all but the seal kept for a segment.
func TestNumbersAreNotUsedAgain(t *testing.T) {
	for name, gone := range map[string][]string{
		"all segments":    {"00000001.seg", "00000002.seg", "00000003.seg", "seals"},
		"the newest ones": {"00000002.seg", "00000003.seg", "seals"},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.rotate()
			r.append(fraud, nil)
			r.rotate()
			r.close()
			for _, file := range gone {
				if err := disk.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			r.open()
			if r.rec.Damaged == nil {
				t.Fatalf("recovered %+v", r.rec)
			}
			r.begin()
			if r.log.Newest() != 4 {
				t.Errorf("newest segment %d", r.log.Newest())
			}
			r.reopen()
			if r.rec.Damaged != nil || r.log.Newest() != 4 {
				t.Errorf("opened again: %+v", r.rec)
			}
		})
	}
}

// TestSealOfAMissingSegmentMustBeGenuine leaves a seal of a segment that does
// not exist: only one that a key of the meter made counts.
func TestSealOfAMissingSegmentMustBeGenuine(t *testing.T) {
	for name, genuine := range map[string]bool{"genuine": true, "made up": false} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.close()
			edit(t, disk, "seals", func(b []byte) []byte {
				copy(b[slot0:], b[slot1:])
				binary.BigEndian.PutUint32(b[slot0+8:], 7)
				if !genuine {
					b[slot0+100] ^= 1
				}
				recode(b[slot0 : slot0+eventlog.SealSize])
				return b
			})
			r.open()
			if got := r.rec.Damaged != nil; got != genuine {
				t.Fatalf("damaged: %v, %+v", got, r.rec)
			}
			if genuine {
				r.begin()
				if r.log.Newest() != 8 || r.rec.Damaged.Segment != 7 {
					t.Errorf("newest segment %d after %+v", r.log.Newest(), r.rec.Damaged)
				}
				if got := r.log.Closed(); len(got) != 1 || got[0].Digest != sha256.Sum256(r.bytes(1)) {
					t.Errorf("closed %+v", got)
				}
			}
		})
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	foreign := []string{"README", "1.seg", "00000000.seg", "0000000x.seg", "00000001.bak", "notes.tmp"}
	for _, name := range foreign {
		if err := durable.WriteFile(disk, name, []byte("mine")); err != nil {
			t.Fatal(err)
		}
	}
	left := []string{"seals.tmp", "00000002.seg.tmp", "00000001.seal.tmp"}
	for _, name := range left {
		f, err := disk.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	if r.rec.Damaged != nil || len(r.rec.Notes) != len(foreign) {
		t.Errorf("recovered %+v", r.rec)
	}
	names, err := disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range foreign {
		if !slices.Contains(names, name) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range left {
		if slices.Contains(names, name) {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestFirstStart goes through what an interrupted first start may leave.
func TestFirstStart(t *testing.T) {
	fresh := func(t *testing.T) (*rig, *durabletest.FS) {
		disk := durabletest.New()
		return newRig(t, eventlog.SchemeDigest, disk), disk
	}
	t.Run("a record that was promised is kept", func(t *testing.T) {
		r, _ := fresh(t)
		r.append(plain, []byte("kept"))
		r.reopen()
		if recs := r.records(1); !r.rec.First || len(recs) != 2 || string(recs[1].Payload) != "kept" {
			t.Errorf("recovered %+v with %d records", r.rec, len(recs))
		}
	})
	t.Run("another key makes a clean start", func(t *testing.T) {
		r, _ := fresh(t)
		r.close()
		r.key = newKey(t)
		r.cfg.Key = &r.key.PublicKey
		r.open()
		r.begin()
		h, err := eventlog.ParseHeader(r.bytes(1))
		if err != nil || h.Key != keyID(t, r.key) || !r.rec.First || len(r.rec.Notes) == 0 {
			t.Errorf("header %+v, %v, %+v", h, err, r.rec)
		}
	})
	t.Run("garbage makes a clean start", func(t *testing.T) {
		r, disk := fresh(t)
		r.close()
		edit(t, disk, "00000001.seg", func(b []byte) []byte { return bytes.Repeat(b, 2) })
		r.reopen()
		if !r.rec.First || len(r.bytes(1)) != eventlog.HeaderSize {
			t.Errorf("recovered %+v", r.rec)
		}
	})
	t.Run("a stored seal ends it", func(t *testing.T) {
		r, disk := fresh(t)
		r.append(fraud, nil)
		r.seal()
		r.cfg.First = true
		r.close()
		edit(t, disk, "00000001.seg", func(b []byte) []byte { b[60] ^= 1; return b })
		r.open()
		if r.rec.First || r.rec.Damaged == nil {
			t.Errorf("recovered %+v", r.rec)
		}
	})
	t.Run("without a seal it ends with First", func(t *testing.T) {
		r, _ := fresh(t)
		r.append(fraud, nil)
		r.close()
		r.cfg.First = false
		r.open()
		if r.rec.First || r.rec.Damaged == nil || r.rec.Damaged.Verifiable != 0 {
			t.Errorf("recovered %+v", r.rec)
		}
	})
}

// TestUnsealedSegmentMustFollow stops the meter between the header of segment
// 2 and its first seal, and edits it.
func TestUnsealedSegmentMustFollow(t *testing.T) {
	const prev, seg, seals = "00000001.seg", "00000002.seg", "seals"
	cases := map[string]struct {
		file  string
		edit  func([]byte) []byte
		sound bool
	}{
		"nothing":                         {seg, func(b []byte) []byte { return b }, true},
		"the older slot":                  {seals, zero(slot1, slot1+eventlog.SealSize), true},
		"the slot of the last seal":       {seals, zero(slot0, slot0+eventlog.SealSize), false},
		"both slots":                      {seals, zero(0, slot1+eventlog.SealSize), false},
		"the link length":                 {seg, flip(28+67, 0, eventlog.HeaderSize), false},
		"the link digest":                 {seg, flip(28+68, 0, eventlog.HeaderSize), false},
		"the first sequence":              {seg, func(b []byte) []byte { return header(b, 99) }, false},
		"the profile":                     {seg, flip(28+104, 0, eventlog.HeaderSize), false},
		"the set":                         {seg, flip(28+109, 0, eventlog.HeaderSize), false},
		"the segment before":              {prev, flip(eventlog.HeaderSize+30, eventlog.HeaderSize, eventlog.HeaderSize+64), false},
		"the end of the segment before":   {prev, func(b []byte) []byte { return b[:len(b)-64] }, false},
		"a record after the closed end":   {prev, func(b []byte) []byte { return append(b, b[eventlog.HeaderSize:eventlog.HeaderSize+64]...) }, false},
		"the seals of the sealed segment": {seals, func(b []byte) []byte { return b[:0] }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeCounter)
			r.rotate()
			r.append(plain, nil)
			r.append(fraud, nil)
			r.close()
			edit(t, disk, c.file, c.edit)
			r.open()
			if got := r.rec.Damaged == nil; got != c.sound {
				t.Fatalf("sound: %v, %+v", got, r.rec)
			}
			if !c.sound {
				if r.rec.Damaged.Segment != 2 || r.rec.Damaged.Verifiable != 0 {
					t.Errorf("damage %+v", r.rec.Damaged)
				}
				return
			}
			// The seal that stands is of segment 1: all of segment 2 came after it.
			want := eventlog.Counters{ModuleUp: true, SealCounter: 3, ModuleCounter: 3}
			if got := r.rec.Counters(true, r.counter); got != want || r.rec.Uncovered != 2 || r.rec.Seal.Segment != 1 {
				t.Errorf("counters %+v, %+v", got, r.rec)
			}
		})
	}
	t.Run("the segment before is gone", func(t *testing.T) {
		r, disk := sealedRig(t, eventlog.SchemeCounter)
		r.rotate()
		r.close()
		if err := disk.Remove(prev); err != nil {
			t.Fatal(err)
		}
		r.open()
		if r.rec.Damaged == nil {
			t.Errorf("recovered %+v", r.rec)
		}
	})
}

// TestUnsealedAfterDamage stops the meter between LOG_DAMAGED and its seal.
func TestUnsealedAfterDamage(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", func(b []byte) []byte { b[firstSealed+40] ^= 1; return b })
	r.open()
	r.begin()
	r.append(plain, nil)
	r.close()
	whole := disk.Restart(0, 0)
	r.open()
	if r.rec.Damaged != nil || r.log.Newest() != 2 || r.rec.LastSeq != r.records(2)[2].Seq {
		t.Fatalf("recovered %+v", r.rec)
	}
	r.close()
	// A link that LOG_DAMAGED does not confirm is not believed.
	r.cfg.FS = whole
	edit(t, whole, "00000002.seg", flip(28+68, 0, eventlog.HeaderSize))
	r.open()
	if d := r.rec.Damaged; d == nil || d.Segment != 2 {
		t.Errorf("recovered %+v", r.rec)
	}
	r.begin()
	r.system(eventlog.CodeBoot, &eventlog.Boot{})
	r.seal()
	if r.log.Newest() != 3 {
		t.Errorf("newest segment %d", r.log.Newest())
	}
}

// TestExtraSegment puts a copy of a segment where the next one would be.
func TestExtraSegment(t *testing.T) {
	for _, name := range []string{"00000002.seg", "00000009.seg"} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		asFound := r.bytes(1)
		r.close()
		if err := durable.WriteFile(disk, name, asFound); err != nil {
			t.Fatal(err)
		}
		r.open()
		if r.rec.Damaged == nil || r.rec.Damaged.Segment == 1 {
			t.Fatalf("%s: recovered %+v", name, r.rec)
		}
		r.begin()
		r.system(eventlog.CodeBoot, &eventlog.Boot{})
		r.seal()
		if !bytes.Equal(diskBytes(t, disk, name), asFound) || !bytes.Equal(r.bytes(1), asFound) {
			t.Errorf("%s: what was found changed", name)
		}
	}
}

// TestMissingMiddleSegment removes a closed segment: the newest one is sound,
// the operator is told.
func TestMissingMiddleSegment(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.append(fraud, nil)
	r.rotate()
	r.append(fraud, nil)
	r.seal()
	one := r.bytes(1)
	r.close()
	if err := disk.Remove("00000002.seg"); err != nil {
		t.Fatal(err)
	}
	r.open()
	if r.rec.Damaged != nil || !strings.Contains(strings.Join(r.rec.Notes, "\n"), "segment 2 is missing") {
		t.Errorf("recovered %+v", r.rec)
	}
	want := []eventlog.Closed{{Segment: 1, Length: uint64(len(one)), Digest: sha256.Sum256(one)}}
	if !slices.Equal(r.log.Closed(), want) || r.log.Oldest() != 1 || r.log.Newest() != 3 {
		t.Errorf("closed %+v", r.log.Closed())
	}
}

// TestClosedSegmentsAreNotJudgedButNoted damages closed segments.
func TestClosedSegmentsAreNotJudgedButNoted(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.append(fraud, nil)
	r.seal()
	closed := r.log.Closed()
	r.close()
	edit(t, disk, "00000001.seg", cut(100))
	edit(t, disk, "00000001.seal", cut(30))
	r.open()
	if r.rec.Damaged != nil || len(r.rec.Notes) != 2 {
		t.Errorf("recovered %+v", r.rec)
	}
	if !slices.Equal(r.log.Closed(), closed) {
		t.Errorf("closed %+v, want %+v", r.log.Closed(), closed)
	}
	if n, _ := r.log.SegmentLength(1); n != 100 {
		t.Errorf("length %d", n)
	}
	if _, ok := r.log.SealOf(1); ok {
		t.Error("half a seal is served")
	}
}

// TestWrongPolicyIsAnError opens a sound log with another set of specific
// events: it is the configuration that is wrong.
func TestWrongPolicyIsAnError(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	before := diskBytes(t, disk, "00000001.seg")
	cfg := r.cfg
	cfg.Policy = eventlog.Policy{Version: 2}
	if _, _, err := eventlog.Open(cfg); !errors.Is(err, eventlog.ErrTerms) {
		t.Errorf("open: %v", err)
	}
	if !bytes.Equal(diskBytes(t, disk, "00000001.seg"), before) {
		t.Error("the log changed")
	}
}

// TestAnotherKeyContinuesInANewSegment is the re-enrolment of a meter whose
// secure element died: the new key signs nothing that the old one had signed.
func TestAnotherKeyContinuesInANewSegment(t *testing.T) {
	for name, former := range map[string]bool{"the former key is known": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.close()
			if former {
				r.cfg.Former = []*ecdsa.PublicKey{&r.key.PublicKey}
			}
			r.key = newKey(t)
			r.cfg.Key = &r.key.PublicKey
			verifiable := uint64(0)
			if former {
				verifiable = secondSealed
			}
			assertDamaged(t, r, disk, verifiable)
		})
	}
}

// TestOpenReportsAFailingDisk makes each operation of Open fail.
func TestOpenReportsAFailingDisk(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.append(fraud, nil)
	r.close()
	edit(t, disk, "00000002.seg", func(b []byte) []byte { return append(b, 1) })
	if f, err := disk.Create("seals.tmp"); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir(); err != nil {
		t.Fatal(err)
	}
	for op := 1; ; op++ {
		after := disk.Restart(0, 0)
		after.FailAt(op, syscall.EIO, 0)
		r.cfg.FS = after
		l, _, err := eventlog.Open(r.cfg)
		if err == nil {
			if op < 6 {
				t.Errorf("only %d operations could fail", op-1)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
}

// TestBeginReportsAFailingDisk makes each operation of Begin after a damage
// fail, and calls it again.
func TestBeginReportsAFailingDisk(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", func(b []byte) []byte { b[firstSealed+40] ^= 1; return b })
	if err := disk.Remove("seals"); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir(); err != nil {
		t.Fatal(err)
	}
	for op := 1; ; op++ {
		after := disk.Restart(0, 0)
		r.cfg.FS = after
		r.open()
		after.FailAt(len(after.Ops())+op, syscall.EIO, 0)
		err := r.log.Begin(r.stamp(), eventlog.Counters{})
		if err == nil {
			if op < 10 {
				t.Errorf("only %d operations could fail", op-1)
			}
			return
		}
		again := r.log.Begin(r.stamp(), eventlog.Counters{})
		if !errors.Is(err, syscall.EIO) || again != nil && !errors.Is(again, eventlog.ErrBroken) {
			t.Errorf("operation %d: %v, then %v", op, err, again)
		}
		r.cfg.FS = after.Reopen()
		r.open()
		r.begin()
		if r.log.Newest() != 2 {
			t.Errorf("operation %d: newest segment %d", op, r.log.Newest())
		}
	}
}

func TestNumbersRunOut(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	if err := durable.WriteFile(disk, "4294967295.seg", nil); err != nil {
		t.Fatal(err)
	}
	r.open()
	if r.rec.Damaged == nil || r.rec.Damaged.Segment != math.MaxUint32 {
		t.Fatalf("recovered %+v", r.rec)
	}
	if err := r.log.Begin(r.stamp(), eventlog.Counters{}); !errors.Is(err, eventlog.ErrExhausted) {
		t.Errorf("begin: %v", err)
	}
	r.close()
	if err := errors.Join(disk.Remove("4294967295.seg"), disk.SyncDir()); err != nil {
		t.Fatal(err)
	}
	// A header that nobody signed may claim any sequence number.
	for first, want := range map[uint32]error{math.MaxUint32: eventlog.ErrExhausted, math.MaxUint32 - 12: nil} {
		r.cfg.FS = disk.Restart(0, 0)
		edit(t, r.cfg.FS, "00000001.seg", func(b []byte) []byte { return header(b, first) })
		r.open()
		if err := r.log.Begin(r.stamp(), eventlog.Counters{}); !errors.Is(err, want) {
			t.Errorf("first sequence %d: begin: %v", first, err)
		}
		if want != nil {
			continue
		}
		var err error
		for range 20 {
			_, err = r.log.Append(r.stamp(), plain, nil)
		}
		if !errors.Is(err, eventlog.ErrExhausted) {
			t.Errorf("append: %v", err)
		}
	}
}

// TestUnreadableFileIsNoDamage makes each file that Open reads unreadable: that is an error of
// the disk, and no reason to begin a new segment.
func TestUnreadableFileIsNoDamage(t *testing.T) {
	for _, name := range []string{"00000001.seal", "00000002.seg", "00000003.seg", "seals"} {
		for _, sealed := range []bool{true, false} {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.rotate()
			r.append(fraud, nil)
			r.rotate()
			if sealed {
				r.append(fraud, nil)
				r.seal()
			}
			r.close()
			disk.FailReads(name, syscall.EIO)
			if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s, sealed %v: %v", name, sealed, err)
			}
			disk.FailReads(name, nil)
			r.open()
			if r.rec.Damaged != nil {
				t.Errorf("%s, sealed %v: recovered %+v", name, sealed, r.rec)
			}
		}
	}
}

// TestUnreadableFileBeforeADamagedOne looks for the last sequence number.
func TestUnreadableFileBeforeADamagedOne(t *testing.T) {
	for name, harm := range map[string]func(disk *durabletest.FS) error{
		"the newest segment is edited": func(disk *durabletest.FS) error {
			edit(t, disk, "00000002.seg", func(b []byte) []byte { b[60] ^= 1; return b })
			return nil
		},
		"the newest segment is gone": func(disk *durabletest.FS) error { return disk.Remove("00000002.seg") },
	} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.rotate()
		r.append(fraud, nil)
		r.seal()
		r.close()
		if err := harm(disk); err != nil {
			t.Fatal(err)
		}
		disk.FailReads("00000001.seg", syscall.EIO)
		if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		disk.FailReads("00000001.seg", nil)
		r.open()
		if d := r.rec.Damaged; d == nil || d.Segment != 2 || r.rec.LastSeq < 6 {
			t.Errorf("%s: recovered %+v", name, r.rec)
		}
	}
}

// TestUnreadableFirstStart does not remove what it cannot read.
func TestUnreadableFirstStart(t *testing.T) {
	disk := durabletest.New()
	r := newRig(t, eventlog.SchemeDigest, disk)
	r.close()
	disk.FailReads("00000001.seg", syscall.EIO)
	if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
		t.Errorf("open: %v", err)
	}
	disk.FailReads("00000001.seg", nil)
	if n := len(diskBytes(t, disk, "00000001.seg")); n != eventlog.HeaderSize {
		t.Errorf("%d bytes are left", n)
	}
}

// TestUnreadableSealsStayUnkept damages a log whose seals can no longer be
// copied: Begin fails and may be called again.
func TestUnreadableSealsStayUnkept(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", cut(firstSealed))
	r.open()
	disk.FailReads("seals", syscall.EIO)
	if err := r.log.Begin(r.stamp(), eventlog.Counters{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("begin: %v", err)
	}
	disk.FailReads("seals", nil)
	r.begin()
	if r.log.Newest() != 2 {
		t.Errorf("newest segment %d", r.log.Newest())
	}
}

// TestLongLog has a log that is larger than what recovery reads in one step,
// with records of all sizes.
func TestLongLog(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeCounter)
	for i := range 1500 {
		r.append(plain, make([]byte, i*7%eventlog.MaxPayload))
		if i%100 == 0 {
			r.append(fraud, nil)
			r.seal()
		}
	}
	all, status := r.bytes(1), r.log.Status()
	if len(all) < 3*64<<10 {
		t.Fatalf("only %d bytes", len(all))
	}
	r.reopen()
	if r.rec.Damaged != nil || !bytes.Equal(r.bytes(1), all) || r.log.Status() != status {
		t.Errorf("recovered %+v", r.rec)
	}
	r.close()
	disk.FailReads("00000001.seg", syscall.EIO)
	if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
		t.Errorf("open: %v", err)
	}
}
