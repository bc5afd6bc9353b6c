package eventlog_test

import (
	"crypto/ecdsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// forge changes when an event happened, in the segment file named, and makes the
// checksum fit.
func forge(t *testing.T, disk durable.FS, name string, at int) {
	t.Helper()
	edit(t, disk, name, flip(at+15, at, at+64))
}

// TestRemovedSeals has a thief take seals away that nobody had collected, and
// edit what they covered. The counter of the secure element gives it away:
// nothing of it is signed again.
func TestRemovedSeals(t *testing.T) {
	const first, second, seals = "00000001.seg", "00000002.seg", "seals"
	restore := func(t *testing.T, disk durable.FS, kept string) {
		seal := diskBytes(t, disk, kept)
		edit(t, disk, seals, func([]byte) []byte { return seal })
	}
	for name, c := range map[string]struct {
		live  func(r *rig)                                           // from sealedRig on, with two seals
		steal func(t *testing.T, disk *durabletest.FS, older []byte) // with the meter off, and those seals
		want  eventlog.LogDamaged
		next  uint32
	}{
		"older seals are put back and later records edited": {
			func(r *rig) {
				for range 3 {
					r.append(fraud, nil)
					r.seal()
				}
			},
			func(t *testing.T, disk *durabletest.FS, older []byte) {
				edit(t, disk, seals, func([]byte) []byte { return older })
				forge(t, disk, first, sealedSize)
			},
			eventlog.LogDamaged{Segment: 1, Verifiable: secondSealed, Counters: eventlog.Counters{SealLength: secondSealed, SealCounter: 2}},
			2,
		},
		"the seal of the segment before is put back": {
			func(r *rig) {
				r.rotate()
				r.append(fraud, nil)
				r.seal()
				r.append(fraud, nil)
				r.seal()
			},
			func(t *testing.T, disk *durabletest.FS, _ []byte) {
				restore(t, disk, "00000001.seal")
				forge(t, disk, second, eventlog.HeaderSize)
			},
			eventlog.LogDamaged{Segment: 2, Counters: eventlog.Counters{SealCounter: 3}},
			3,
		},
		"the segment after a closed one is taken away": {
			func(r *rig) { r.rotate(); r.seal() },
			func(t *testing.T, disk *durabletest.FS, _ []byte) {
				restore(t, disk, "00000001.seal")
				if err := errors.Join(disk.Remove(second), disk.Remove("00000001.seal")); err != nil {
					t.Fatal(err)
				}
			},
			eventlog.LogDamaged{Segment: 1, Verifiable: sealedSize + 64, Counters: eventlog.Counters{SealLength: sealedSize + 64, SealCounter: 3}},
			2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeCounter)
			older := diskBytes(t, disk, seals)
			c.live(r)
			r.close()
			c.steal(t, disk, older)
			damaged := diskBytes(t, disk, []string{first, second}[c.want.Segment-1])
			r.open()
			d := r.rec.Damaged
			if d == nil || !strings.Contains(r.rec.Notes[0], "seals are gone") {
				t.Fatalf("the operator is told %q", r.rec.Notes)
			}
			c.want.Found, c.want.Digest = uint64(len(damaged)), d.Digest
			if (c.want.Verifiable > 0) != (d.Digest != eventlog.Digest{}) {
				t.Errorf("digest %v of %d bytes", d.Digest, d.Verifiable)
			}
			if diff := cmp.Diff(*d, c.want); diff != "" {
				t.Error(diff)
			}
			r.begin()
			r.system(eventlog.CodeBoot, &eventlog.Boot{Counters: r.rec.Counters(true, r.counter)})
			if s := r.seal(); s.Segment != c.next {
				t.Errorf("segment %d is sealed", s.Segment)
			}
			r.reopen()
			if r.rec.Damaged != nil || r.log.Newest() != c.next {
				t.Errorf("opened again: %+v", r.rec)
			}
		})
	}
}

// TestNewestSealRemoved: one seal that is gone may be a power cut. If the secure
// element remembers what it signed, that has to be in the log.
func TestNewestSealRemoved(t *testing.T) {
	all := func(*rig) {}
	for name, c := range map[string]struct {
		edit    bool
		recall  func(r *rig)
		damaged bool
	}{
		"a power cut":            {false, all, false},
		"edited":                 {true, all, true},
		"edited, not remembered": {true, func(r *rig) { r.uses = nil }, false},
		"edited, given up":       {true, func(r *rig) { r.uses[2].Digest = eventlog.Digest{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeCounter)
			older := diskBytes(t, disk, "seals")
			r.append(fraud, nil)
			r.seal()
			r.close()
			edit(t, disk, "seals", func([]byte) []byte { return older })
			if c.edit {
				forge(t, disk, "00000001.seg", sealedSize)
			}
			c.recall(r)
			r.open()
			if damaged := r.rec.Damaged != nil; damaged != c.damaged {
				t.Errorf("damaged: %t: %q", damaged, r.rec.Notes)
			}
			if c.damaged && !strings.Contains(r.rec.Notes[0], "signed with counter 3 is not in it") {
				t.Errorf("the operator is told %q", r.rec.Notes)
			}
		})
	}
}

// TestRemovedSealsUnderANewKey: behind KEY_CHANGE the counter that it names
// counts, and only that of the key that seals.
func TestRemovedSealsUnderANewKey(t *testing.T) {
	for name, c := range map[string]struct {
		counter uint64 // of the new key
		other   bool   // the counter is that of some other key
		damaged bool
	}{
		"as announced":             {40, false, false},
		"one ahead":                {41, false, false},
		"two ahead":                {42, false, true},
		"two ahead, another key's": {42, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := sealedRig(t, eventlog.SchemeCounter)
			key := newKey(t)
			next := &eventlog.Change{Key: &key.PublicKey, Scheme: eventlog.SchemeCounter}
			r.system(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: keyID(t, key), Scheme: next.Scheme, Counter: 40})
			r.end(eventlog.EndKey)
			if err := r.log.NextSegment(r.stamp(), next); err != nil {
				t.Fatal(err)
			}
			r.append(fraud, nil)
			r.close()
			r.cfg.Former, r.cfg.Key = []*ecdsa.PublicKey{r.cfg.Key}, next.Key
			if !c.other {
				r.key = key
			}
			r.counter = c.counter
			r.cfg.Next = &eventlog.Change{Key: &r.key.PublicKey, Scheme: next.Scheme}
			r.open()
			if got := r.rec.Damaged != nil; got != c.damaged {
				t.Errorf("damaged %t: %q", got, r.rec.Notes)
			}
		})
	}
}

// TestSilentModuleProvesNothing: without its counter the log stands as it is.
func TestSilentModuleProvesNothing(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	r.close()
	r.cfg.Counter = nil
	if _, rec, err := eventlog.Open(r.cfg); err != nil || rec.Damaged != nil {
		t.Errorf("%+v, %v", rec, err)
	}
}

// TestFirstStartOfAKeyThatHasSigned: interrupted first starts cost a signature
// each; a key that has signed more often had a log.
func TestFirstStartOfAKeyThatHasSigned(t *testing.T) {
	for _, c := range []struct {
		scheme  eventlog.Scheme
		counter uint64
		want    error
	}{
		{eventlog.SchemeCounter, 0, nil},
		{eventlog.SchemeCounter, 16, nil},
		{eventlog.SchemeCounter, 17, eventlog.ErrSignedBefore},
		{eventlog.SchemeDigest, 17, nil},
	} {
		key := newKey(t)
		cfg := eventlog.Config{
			FS: durabletest.New(), Meter: meterID, Key: &key.PublicKey, Scheme: c.scheme, First: true,
			Counter: &eventlog.KeyCounter{Key: keyID(t, key), Counter: c.counter},
		}
		if _, _, err := eventlog.Open(cfg); !errors.Is(err, c.want) {
			t.Errorf("%v, counter %d: %v", c.scheme, c.counter, err)
		}
	}
}

// TestCounterOfAnHonestLife lives lives in which signatures are lost, and
// restarts. All that an honest secure element can have counted is explained,
// and one more is not.
func TestCounterOfAnHonestLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(&quietTB{t: t}, eventlog.SchemeCounter, durabletest.New())
		r.seal()
		most := r.counter // that can be explained
		asks := true      // a signature may be asked for
		use := func(rec eventlog.Record) {
			if rec.Specific() && asks {
				most, asks = most+1, false
			}
		}
		restart := func(code uint16, p eventlog.Payload) { asks = true; use(r.system(code, p)) }
		t.Repeat(map[string]func(*rapid.T){
			"plain event": func(*rapid.T) { use(r.append(plain, nil)) },
			"fraud":       func(*rapid.T) { use(r.append(fraud, nil)) },
			"the module fails": func(*rapid.T) {
				use(r.system(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailTimeout}))
			},
			"the module is back": func(*rapid.T) {
				restart(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: eventlog.Counters{ModuleUp: true, ModuleCounter: most}})
			},
			"seal": func(t *rapid.T) {
				if _, _, _, ok := r.log.Pending(); !ok {
					t.Skip("nothing is pending")
				}
				r.counter = most - uint64(rapid.IntRange(0, 1).Draw(t, "unused")) // sign counts one
				r.counter = max(r.counter, r.lastCounter())
				s := r.seal()
				most, asks = s.Counter, true
			},
			"rotate": func(t *rapid.T) {
				r.counter = most
				r.rotate()
				most, asks = r.counter, true
				use(r.records(r.log.Newest())[0])
			},
			"restart": func(t *rapid.T) {
				r.counter = most
				r.reopen()
				if r.rec.Damaged != nil {
					t.Fatalf("counter %d of an honest meter is damage: %q", most, r.rec.Notes)
				}
				r.close()
				r.counter++
				r.open()
				if r.rec.Damaged == nil {
					t.Fatalf("counter %d is explained, %d was all", r.counter, most)
				}
				r.counter--
				r.reopen()
				restart(eventlog.CodeBoot, &eventlog.Boot{Counters: r.rec.Counters(true, most)})
			},
		})
	})
}

// lastCounter returns the counter of the newest seal.
func (r *rig) lastCounter() uint64 {
	s, _, _ := r.log.Seal()
	return s.Counter
}

// TestNoFileOfSeals takes the file away wherever a log can be taken up without
// one: seals are stored all the same.
func TestNoFileOfSeals(t *testing.T) {
	for name, live := range map[string]func(r *rig, disk *durabletest.FS){
		"behind LOG_DAMAGED": func(r *rig, disk *durabletest.FS) {
			r.close()
			edit(r.t.(*testing.T), disk, "00000001.seg", flip(eventlog.HeaderSize+30, eventlog.HeaderSize, eventlog.HeaderSize+64))
			r.reopen()
		},
		"in a sealed segment": func(*rig, *durabletest.FS) {},
		"behind a closed one": func(r *rig, _ *durabletest.FS) { r.rotate() },
	} {
		t.Run(name, func(t *testing.T) {
			r, disk := sealedRig(t, eventlog.SchemeCounter)
			live(r, disk)
			r.close()
			if err := errors.Join(disk.Remove("seals"), disk.SyncDir()); err != nil {
				t.Fatal(err)
			}
			r.reopen()
			r.system(eventlog.CodeBoot, &eventlog.Boot{Counters: r.rec.Counters(true, r.counter)})
			s := r.seal()
			r.reopen()
			if r.rec.Seal != s {
				t.Errorf("the seal that stands: %+v", r.rec.Seal)
			}
		})
	}
}

// TestKeptSealOfTheDamagedSegment: the seal of a segment is kept when the next
// one is begun, whose number is then not used again.
func TestKeptSealOfTheDamagedSegment(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.seal()
	r.close()
	if err := errors.Join(disk.Remove("00000002.seg"), disk.Remove("seals")); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if !slices.Equal([]uint32{r.log.Oldest(), r.log.Newest()}, []uint32{1, 3}) {
		t.Errorf("segments %d to %d", r.log.Oldest(), r.log.Newest())
	}
}

// TestPowerCutsWhileDamageIsDeclared cuts the power in each operation of the
// start that finds seals removed. Whatever is left, the next start comes to the same:
// one LOG_DAMAGED, and nothing of segment 1 is signed again.
func TestPowerCutsWhileDamageIsDeclared(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeCounter)
	older := diskBytes(t, disk, "seals")
	for range 3 {
		r.append(fraud, nil)
		r.seal()
	}
	r.close()
	edit(t, disk, "seals", func([]byte) []byte { return older })
	forge(t, disk, "00000001.seg", sealedSize)
	asFound := diskBytes(t, disk, "00000001.seg")
	start := func(r *rig) error {
		r.cfg.Counter = r.asked()
		log, rec, err := eventlog.Open(r.cfg)
		if err != nil {
			return err
		}
		r.log, r.rec, r.boot = log, rec, rec.LastBoot+1
		c := rec.Counters(true, r.counter)
		if err := log.Begin(r.stamp(), c); err != nil {
			return err
		}
		if _, err := log.AppendPayload(r.stamp(), eventlog.CodeBoot, &eventlog.Boot{Counters: c}); err != nil {
			return err
		}
		s, err := r.sign()
		if err != nil {
			return err
		}
		return log.StoreSeal(s)
	}
	cuts := 0
	for op := 1; ; op++ {
		cut := *r
		d := disk.Restart(0, 0)
		cut.cfg.FS = d
		d.CutAt(op)
		err := start(&cut)
		if err == nil {
			break
		}
		if !errors.Is(err, durabletest.ErrPowerCut) {
			t.Fatalf("operation %d: %v", op, err)
		}
		for i := range d.Outcomes() {
			cuts++
			again := cut
			left := d.Restart(i, d.Torn())
			again.cfg.FS = left
			if err := start(&again); err != nil {
				t.Fatalf("after a cut in operation %d: %v", op, err)
			}
			if !slices.Equal(diskBytes(t, left, "00000001.seg"), asFound) {
				t.Errorf("after a cut in operation %d segment 1 is changed", op)
			}
			if s, _, _ := again.log.Seal(); s.Segment < 2 {
				t.Errorf("after a cut in operation %d segment %d is sealed", op, s.Segment)
			}
			damaged := 0
			for n := again.log.Newest(); n > 1; n-- {
				if _, ok := again.log.SegmentLength(n); !ok {
					continue
				}
				for _, rec := range again.records(n) {
					if rec.Class == eventlog.ClassSystem && rec.Code == eventlog.CodeLogDamaged {
						damaged++
					}
				}
			}
			if damaged != 1 {
				t.Errorf("after a cut in operation %d LOG_DAMAGED is there %d times", op, damaged)
			}
		}
	}
	if cuts < 10 {
		t.Errorf("only %d power cuts", cuts)
	}
}
