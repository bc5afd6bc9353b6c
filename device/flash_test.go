package device_test

import (
	"crypto/ecdsa"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// TestFlashEditedWhileOff: whatever was done to the files while the meter was
// off, it signs nothing that its key had not signed before, and says what it found.
func TestFlashEditedWhileOff(t *testing.T) {
	const signed = 192 + 64 + 64 // header, BOOT, 1/40: the fields of the third record follow
	edit := func(f func(log []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "00000001.seg")
			if err := os.WriteFile(path, f(must(os.ReadFile(path))), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(pattern string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			names, _ := filepath.Glob(filepath.Join(dir, pattern))
			if len(names) == 0 {
				t.Fatalf("nothing matches %s", pattern)
			}
			for _, n := range names {
				if err := os.Remove(n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, tamper := range map[string]func(t *testing.T, dir string){
		"a signed record, checksum mended": edit(func(b []byte) []byte {
			return mend(b, signed-64, func(r []byte) { r[15] ^= 1 })
		}),
		"a signed record, checksum not mended": edit(func(b []byte) []byte {
			b[signed-64+15] ^= 1
			return b
		}),
		"the header, checksum mended": edit(func(b []byte) []byte {
			return mend(b, 0, func(r []byte) { r[28+109] ^= 1 })
		}),
		"signed records cut off":    edit(func(b []byte) []byte { return b[:signed-64] }),
		"a signed record taken out": edit(func(b []byte) []byte { return append(b[:signed-64:signed-64], b[signed:]...) }),
		"all bytes zero":            edit(func(b []byte) []byte { return make([]byte, len(b)) }),
		"an empty segment":          edit(func([]byte) []byte { return nil }),
		"the seals taken away":      remove("seals"),
		"the segment taken away":    remove("*.seg"),
		"all of the log taken away": remove("*"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).start()
			r.record(coverOpened)
			r.record(coverOpened)
			r.close()
			log := filepath.Join(r.cfg.Dir, "log")
			tamper(t, log)
			found, err := os.ReadFile(filepath.Join(log, "00000001.seg"))
			kept := err == nil
			r.steps = nil
			r.start()
			if rec := r.record(coverOpened); !rec.Sealed || rec.Segment != 2 {
				t.Errorf("the meter goes on with %+v", rec)
			}
			r.close()

			for _, s := range r.stepsSoFar() {
				if d, ok := s.(*device.Digested); ok && d.Segment == 1 {
					t.Errorf("%d bytes of the damaged segment were signed again", d.Length)
				}
			}
			if kept {
				if now := must(os.ReadFile(filepath.Join(log, "00000001.seg"))); !slices.Equal(now, found) {
					t.Error("the damaged segment was not kept as found")
				}
			}
			segment := must(os.ReadFile(filepath.Join(log, "00000002.seg")))
			list := (&segmentFile{number: 2, bytes: segment}).entries(t, false)
			if d := find[*eventlog.LogDamaged](t, list); d.Segment != 1 || list[1].payload != eventlog.Payload(d) {
				t.Errorf("segment 2 begins with %v", events(list))
			}
		})
	}
}

// mend changes the record at an offset and makes its checksum fit.
func mend(log []byte, at int, change func(record []byte)) []byte {
	r := log[at : at+int(log[at+1])*eventlog.SlotSize]
	change(r)
	binary.BigEndian.PutUint32(r[len(r)-4:], crc32.Checksum(r[:len(r)-4], crc32.MakeTable(crc32.Castagnoli)))
	return log
}

// TestOlderImageIsDamage: log and seals of an earlier moment are whole, but the
// module has counted on. The meter goes on in a new segment that says so.
func TestOlderImageIsDamage(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	r.close()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(r.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	r.start()
	for range 5 {
		r.record(coverOpened)
	}
	r.close()
	if err := os.RemoveAll(r.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.cfg.Dir, os.DirFS(image)); err != nil {
		t.Fatal(err)
	}
	r.start().close()
	segments := readSegments(t, r.cfg.Dir)
	newest := segments[len(segments)-1]
	list := newest.entries(t, false)
	if got := events(list); !slices.Equal(got, []string{"SEGMENT", "LOG_DAMAGED", "BOOT"}) {
		t.Errorf("the meter goes on with %v", got)
	}
	d := find[*eventlog.LogDamaged](t, list)
	if d.SealCounter != 2 || d.ModuleCounter < 7 || d.Verifiable == 0 {
		t.Errorf("LOG_DAMAGED says %+v", d)
	}
	var seal eventlog.Seal
	for _, s := range readSeals(t, r.cfg.Dir) {
		if s.Segment == newest.number {
			seal = s
		}
	}
	report := verdict(t, r.cfg.Dir, segments, seal, []*ecdsa.PublicKey{r.module.PublicKey()})
	if report.Verdict != verify.Gap || !slices.ContainsFunc(report.Findings, func(f verify.Finding) bool { return f.Code == verify.FindDamaged }) {
		t.Errorf("the MDMS finds %v: %+v", report.Verdict, report.Findings)
	}
}
