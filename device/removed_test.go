package device_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// forged is what a thief makes of coverOpened: specific as well, but harmless.
var forged = eventlog.Event{Class: eventlog.ClassFraud, Code: 42}

// forge makes each 1/40 of a segment, from an offset on, a forged event, with
// checksums that fit.
func forge(t *testing.T, path string, from int) {
	t.Helper()
	log := must(os.ReadFile(path))
	n := 0
	for at := 0; at < len(log); at += int(log[at+1]) * eventlog.SlotSize {
		if at < from || log[at+26] != byte(coverOpened.Class) {
			continue
		}
		mend(log, at, func(r []byte) { binary.BigEndian.PutUint16(r[2:], forged.Code) })
		n++
	}
	if n == 0 {
		t.Fatal("there is nothing to forge")
	}
	write(t, path, log)
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// forgetful is a module that has a history and does not tell it.
type forgetful struct{ secureelement.Module }

func (forgetful) History(context.Context) ([]eventlog.KeyUse, error) {
	return nil, secureelement.ErrUnavailable
}

// logOf returns the directory of the meter's log.
func (r *rig) logOf() string { return filepath.Join(r.cfg.Dir, "log") }

// assertNothingLaundered starts a meter whose flash was edited: no seal may cover
// a forged record, and the log says that it was damaged.
func assertNothingLaundered(t *testing.T, r *rig) {
	t.Helper()
	r.start()
	if rec := r.record(powerUp); rec.Segment == 0 {
		t.Errorf("the meter does not go on: %+v", rec)
	}
	r.close()
	damaged := false
	segments := readSegments(t, r.cfg.Dir)
	for _, s := range segments {
		covered := uint64(0)
		for _, seal := range slices.Concat(readSeals(t, r.cfg.Dir), keptSeal(t, r.cfg.Dir, s.number)) {
			if seal.Segment == s.number && seal.SignedLength <= uint64(len(s.bytes)) && fits(&seal, s.bytes, r.cfg.Module.PublicKey()) {
				covered = max(covered, seal.SignedLength)
			}
		}
		at := uint64(0)
		for _, e := range s.entries(t, true) {
			at += uint64(e.Size())
			if e.Event() == forged && at <= covered {
				t.Errorf("segment %d: the forged record %d is under a seal", s.number, e.Seq)
			}
			if d, ok := e.payload.(*eventlog.LogDamaged); ok && at <= covered {
				damaged = true
				if !d.ModuleUp || d.ModuleCounter == 0 {
					t.Errorf("LOG_DAMAGED says %+v", d)
				}
			}
		}
	}
	if !damaged {
		t.Error("no LOG_DAMAGED is under a seal")
	}
}

// fits reports whether a seal is the key's over the beginning of a log.
func fits(seal *eventlog.Seal, log []byte, pub *ecdsa.PublicKey) bool {
	return signedByOne(seal, []*ecdsa.PublicKey{pub}, sha256.Sum256(log[:seal.SignedLength]))
}

func keptSeal(t *testing.T, dir string, segment uint32) []eventlog.Seal {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log", fmt.Sprintf("%08d.seal", segment)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var s eventlog.Seal
	if err := errors.Join(err, s.UnmarshalBinary(b)); err != nil {
		t.Fatal(err)
	}
	return []eventlog.Seal{s}
}

// TestRemovedSealsLaunderNothing has a thief with the flash take away seals that
// nobody has collected, and edit what they covered.
func TestRemovedSealsLaunderNothing(t *testing.T) {
	for name, change := range map[string]func(*device.Config){
		"an older seal is put back":                  func(*device.Config) {},
		"and the module does not say what it signed": func(c *device.Config) { c.Module = forgetful{c.Module} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change).start()
			r.record(coverOpened)
			older := must(os.ReadFile(filepath.Join(r.logOf(), "seals")))
			length := r.Status().SignedLength
			for range 5 {
				r.record(coverOpened)
			}
			r.close()
			forge(t, filepath.Join(r.logOf(), "00000001.seg"), int(length))
			write(t, filepath.Join(r.logOf(), "seals"), older)
			assertNothingLaundered(t, r)
		})
	}
	t.Run("the seal of the segment before is put back", func(t *testing.T) {
		r := newRig(t, small).start()
		for r.Status().Segment < 2 {
			r.record(coverOpened)
		}
		for range 8 {
			r.record(coverOpened)
		}
		r.close()
		forge(t, filepath.Join(r.logOf(), "00000002.seg"), 0)
		slots := make([]byte, 4096+eventlog.SealSize)
		copy(slots, must(os.ReadFile(filepath.Join(r.logOf(), "00000001.seal"))))
		write(t, filepath.Join(r.logOf(), "seals"), slots)
		assertNothingLaundered(t, r)
	})
	t.Run("a segment that says LOG_DAMAGED is invented", func(t *testing.T) {
		r := newRig(t).start()
		r.record(coverOpened)
		r.close()
		s := readSegments(t, r.cfg.Dir)[0]
		list := s.entries(t, false)
		last := list[len(list)-1]
		h := s.header
		h.Segment, h.FirstSeq = 2, last.Seq+1
		var log []byte
		for i, rec := range []eventlog.Record{
			{Class: eventlog.ClassSystem, Code: eventlog.CodeSegment, Payload: must(h.AppendBinary(nil))},
			{Class: eventlog.ClassSystem, Code: eventlog.CodeLogDamaged, Payload: must((&eventlog.LogDamaged{Segment: 1}).AppendBinary(nil))},
			{Class: forged.Class, Code: forged.Code},
		} {
			rec.Seq, rec.Millis, rec.Boot, rec.Flags = h.FirstSeq+uint32(i), last.Millis, last.Boot, eventlog.FlagSpecific
			log = must(rec.AppendBinary(log))
		}
		write(t, filepath.Join(r.logOf(), "00000002.seg"), log)
		assertNothingLaundered(t, r)
	})
}

// TestNewestSealAloneTakenAway: the counter alone could not tell that from a
// power cut, but a module that remembers what it signed can.
func TestNewestSealAloneTakenAway(t *testing.T) {
	r := newRig(t, func(c *device.Config) { c.Module = newSoft(t, eventlog.SchemeCounter) }).start()
	r.record(coverOpened)
	r.record(coverOpened)
	older := must(os.ReadFile(filepath.Join(r.logOf(), "seals")))
	r.record(coverOpened)
	r.close()
	write(t, filepath.Join(r.logOf(), "seals"), older) // as a power cut may leave it
	r.start().close()
	if n := len(readSegments(t, r.cfg.Dir)); n != 1 {
		t.Errorf("the log that nobody edited goes on in segment %d", n)
	}

	older = must(os.ReadFile(filepath.Join(r.logOf(), "seals")))
	length := r.Status().SignedLength
	r.start()
	r.record(coverOpened)
	r.close()
	forge(t, filepath.Join(r.logOf(), "00000001.seg"), int(length))
	write(t, filepath.Join(r.logOf(), "seals"), older)
	assertNothingLaundered(t, r)
}

// TestFirstStartAdoptsNothing has a thief take the state and the seals away, so
// that the meter takes its log for the leftover of a first start.
func TestFirstStartAdoptsNothing(t *testing.T) {
	forget := func(t *testing.T, r *rig) {
		t.Helper()
		write(t, filepath.Join(r.logOf(), "seals"), make([]byte, 4096+eventlog.SealSize))
		if err := os.Remove(filepath.Join(r.cfg.Dir, "meter.json")); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a key that has signed often is refused", func(t *testing.T) {
		r := newRig(t).start()
		for range 20 {
			r.record(coverOpened)
		}
		r.close()
		forge(t, filepath.Join(r.logOf(), "00000001.seg"), 0)
		forget(t, r)
		m, err := device.Open(t.Context(), r.cfg)
		if err == nil {
			m.Close()
		}
		if !errors.Is(err, eventlog.ErrSignedBefore) || !strings.Contains(err.Error(), "new key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("what is left is removed", func(t *testing.T) {
		r := newRig(t).start()
		for range 6 {
			r.record(coverOpened)
		}
		r.close()
		forge(t, filepath.Join(r.logOf(), "00000001.seg"), 0)
		forget(t, r)
		r.start().close()
		list, _ := inspect(t, r.cfg.Dir, r.module.PublicKey())
		if got := events(list); !slices.Equal(got, []string{"SEGMENT", "BOOT"}) {
			t.Errorf("the log begins with %v", got)
		}
		if b := find[*eventlog.Boot](t, list); b.ModuleCounter != 7 {
			t.Errorf("BOOT says %+v", b)
		}
	})
	t.Run("a forged segment 1 in place of many", func(t *testing.T) {
		r := newRig(t, small).start()
		for r.Status().Segment < 3 {
			r.record(coverOpened)
		}
		r.close()
		for _, s := range readSegments(t, r.cfg.Dir)[1:] {
			if err := os.Remove(filepath.Join(r.logOf(), fmt.Sprintf("%08d.seg", s.number))); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range must(filepath.Glob(filepath.Join(r.logOf(), "*.seal"))) {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		forget(t, r)
		if _, err := device.Open(t.Context(), r.cfg); !errors.Is(err, eventlog.ErrSignedBefore) {
			t.Errorf("got %v", err)
		}
	})
}

// TestStartWithoutTheFileOfSeals: behind a damage the log is taken up without a
// seal, and the next one finds a file to be stored in.
func TestStartWithoutTheFileOfSeals(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	r.close()
	forge(t, filepath.Join(r.logOf(), "00000001.seg"), 0)
	r.start().close()
	for range 2 {
		if err := os.Remove(filepath.Join(r.logOf(), "seals")); err != nil {
			t.Fatal(err)
		}
		r.start()
		if rec := r.record(coverOpened); !rec.Sealed {
			t.Errorf("not sealed: %+v", rec)
		}
		r.close()
	}
}
