package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

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

func TestCountersOfASilentModule(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	r.reopen()
	want := eventlog.Counters{SealLength: secondSealed, SealCounter: 2}
	if got := r.rec.Counters(false, 99); got != want {
		t.Errorf("counters %+v", got)
	}
}

// TestClockThatTheLogLeaves: behind CLOCK_SET it is the time that was set.
func TestClockThatTheLogLeaves(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.reopen()
	if r.rec.LastMillis != r.stamp().Millis {
		t.Errorf("%d", r.rec.LastMillis)
	}
	r.system(eventlog.CodeClockSet, &eventlog.ClockSet{Old: r.stamp().Millis, New: 77, Source: eventlog.ClockLocal})
	r.reopen()
	if r.rec.LastMillis != 77 {
		t.Errorf("%d", r.rec.LastMillis)
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
	t.Run("leftovers are removed, sound or not", func(t *testing.T) {
		r, _ := fresh(t)
		r.append(fraud, []byte("who wrote this?"))
		r.reopen()
		if recs := r.records(1); !r.rec.First || len(recs) != 1 || len(r.rec.Notes) != 1 {
			t.Errorf("recovered %+v with %d records", r.rec, len(recs))
		}
	})
	t.Run("another key makes a clean start", func(t *testing.T) {
		r, _ := fresh(t)
		r.close()
		r.cfg.Former = []*ecdsa.PublicKey{r.cfg.Key}
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
	t.Run("a seal kept for a segment ends it", func(t *testing.T) {
		r, disk := fresh(t)
		r.rotate()
		r.cfg.First = true
		r.close()
		if err := errors.Join(disk.Remove("seals"), disk.Remove("00000002.seg")); err != nil {
			t.Fatal(err)
		}
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
		"a bit of the older seal":         {seals, flip(slot1+100, slot1, slot1+eventlog.SealSize), false},
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
	t.Run("the segment before is sealed and has no end", func(t *testing.T) {
		r, disk := sealedRig(t, eventlog.SchemeCounter)
		r.append(fraud, nil)
		s := r.seal()
		h, err := eventlog.ParseHeader(r.bytes(1))
		if err != nil {
			t.Fatal(err)
		}
		r.close()
		h.Segment, h.PrevLength, h.PrevDigest, h.FirstSeq = 2, s.SignedLength, s.Digest, s.LastSeq+1
		forged := eventlog.Record{
			Class: eventlog.ClassSystem, Code: eventlog.CodeSegment, Seq: h.FirstSeq, Flags: eventlog.FlagSpecific,
			Payload: encode(t, &h),
		}
		if err := durable.WriteFile(disk, seg, encode(t, &forged)); err != nil {
			t.Fatal(err)
		}
		r.open()
		if r.rec.Damaged == nil {
			t.Errorf("recovered %+v", r.rec)
		}
	})
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
	// What LOG_DAMAGED does not confirm is not believed.
	damaged := [2]int{eventlog.HeaderSize, eventlog.HeaderSize + 128}
	for name, f := range map[string]func([]byte) []byte{
		"the link length":            flip(28+67, 0, eventlog.HeaderSize),
		"a damage that is to come":   put32(damaged[0]+28, 2, damaged[0], damaged[1]),
		"a damage of its own digest": flip(damaged[0]+28+20, damaged[0], damaged[1]),
		"a longer segment as found":  flip(damaged[0]+28+11, damaged[0], damaged[1]),
		"another seal that stands":   flip(damaged[0]+28+53+15, damaged[0], damaged[1]),
		"a later first sequence": func(b []byte) []byte {
			copy(b, header(b, binary.BigEndian.Uint32(b[4:])+1))
			for at := damaged[0]; at < len(b); at += int(b[at+1]) * 64 {
				end := at + int(b[at+1])*64
				binary.BigEndian.PutUint32(b[at+4:], binary.BigEndian.Uint32(b[at+4:])+1)
				recode(b[at:end])
			}
			return b
		},
	} {
		disk := whole.Restart(0, 0)
		r.cfg.FS = disk
		edit(t, disk, "00000002.seg", f)
		r.open()
		if d := r.rec.Damaged; d == nil || d.Segment != 2 {
			t.Errorf("%s: recovered %+v", name, r.rec)
		}
	}
	// A copy of the segment under another number is none.
	r.cfg.FS = whole.Restart(0, 0)
	if err := durable.WriteFile(r.cfg.FS, "00000003.seg", diskBytes(t, whole, "00000002.seg")); err != nil {
		t.Fatal(err)
	}
	r.open()
	if d := r.rec.Damaged; d == nil || d.Segment != 3 {
		t.Errorf("a copy: recovered %+v", r.rec)
	}
	r.cfg.FS = whole
	edit(t, whole, "00000002.seg", flip(28+68, 0, eventlog.HeaderSize))
	r.open()
	if d := r.rec.Damaged; d == nil || d.Segment != 2 {
		t.Errorf("the link digest: recovered %+v", r.rec)
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

// TestAnotherMeterIsDamage opens a log under the id of another meter with the
// same key.
func TestAnotherMeterIsDamage(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	r.cfg.Meter = mustMeter("FFFFFF-MS0000000002")
	assertDamaged(t, r, disk, 0)
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

// TestNumbersThatNobodySigned puts files there that leave no number to go on
// with. The error names the file, and without it the log goes on.
func TestNumbersThatNobodySigned(t *testing.T) {
	for _, name := range []string{"4294967295.seg", "4294967294.seal", "4294967295.seal"} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.close()
		if strings.HasSuffix(name, ".seal") { // it counts when the log is damaged
			edit(t, disk, "00000001.seg", cut(firstSealed))
		}
		if err := durable.WriteFile(disk, name, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, eventlog.ErrExhausted) || !strings.Contains(err.Error(), name[:10]) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(disk.Remove(name), disk.SyncDir()); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		r.close()
	}
}

// TestSequenceNumbersThatNobodySigned has a header claim the last sequence
// numbers. The log goes on with numbers that its bytes can explain.
func TestSequenceNumbersThatNobodySigned(t *testing.T) {
	last := func(segment uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			return put32(28+56, segment, 0, eventlog.HeaderSize)(header(b, math.MaxUint32-1))
		}
	}
	for name, c := range map[string]struct {
		files  map[string]func([]byte) []byte
		lowest uint32
	}{
		"segment 1":           {map[string]func([]byte) []byte{"00000001.seg": last(1)}, 5},
		"a segment after one": {map[string]func([]byte) []byte{"00000002.seg": last(2)}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.close()
			asFound := diskBytes(t, disk, "00000001.seg")
			for file, f := range c.files {
				if err := durable.WriteFile(disk, file, f(asFound)); err != nil {
					t.Fatal(err)
				}
			}
			r.reopen()
			if seq := r.append(plain, nil).Seq; r.rec.Damaged == nil || seq < c.lowest || seq > 1000 {
				t.Errorf("the log goes on with record %d: %+v", seq, r.rec)
			}
		})
	}
	// With nothing before it, nothing explains another number.
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	if err := durable.WriteFile(disk, "00000007.seg", last(7)(diskBytes(t, disk, "00000001.seg"))); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove("00000001.seg"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, eventlog.ErrExhausted) || !strings.Contains(err.Error(), "segment 7") {
		t.Errorf("got %v", err)
	}
}

// TestNumbersRunOut: a log that has used all numbers says so.
func TestNumbersRunOut(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	late := put32(28+56, 7, 0, eventlog.HeaderSize)(header(diskBytes(t, disk, "00000001.seg"), math.MaxUint32-12))
	if err := errors.Join(durable.WriteFile(disk, "00000007.seg", late), disk.Remove("00000001.seg")); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	var err error
	for range 20 {
		_, err = r.log.Append(r.stamp(), plain, nil)
	}
	if !errors.Is(err, eventlog.ErrExhausted) {
		t.Errorf("append: %v", err)
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
