package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

func TestFirstStart(t *testing.T) {
	r := newRig(t).open()
	if mode := must(os.Stat(r.cfg.Dir)).Mode().Perm(); mode != 0o700 {
		t.Errorf("state directory has mode %o", mode)
	}
	r.close()
	list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
	if diff := cmp.Diff(events(list), []string{"SEGMENT", "BOOT"}); diff != "" {
		t.Error(diff)
	}
	if seal.LastSeq != list[1].Seq {
		t.Errorf("the first seal covers up to %d, BOOT is %d", seal.LastSeq, list[1].Seq)
	}
	if b := find[*eventlog.Boot](t, list); !b.ModuleUp || b.Dropped != 0 {
		t.Errorf("BOOT says %+v", b)
	}
}

func TestFirstStartNeedsTheModule(t *testing.T) {
	for name, fault := range map[string]secureelementtest.Fault{
		"dead at once": secureelementtest.Dead, "dies while signing": secureelementtest.Lost, "garbles": secureelementtest.Garbled,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.module.Fail(fault)
			if m, err := device.Open(t.Context(), r.cfg); err == nil {
				m.Close()
				t.Fatal("a log was born without a seal")
			}
			if _, err := os.Stat(filepath.Join(r.cfg.Dir, "meter.json")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the state says that the log was born: %v", err)
			}
			r.module.Fail(secureelementtest.None)
			r.open().close()
			list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
			if list[0].Event().String() != "SEGMENT" || list[len(list)-1].Event().String() != "BOOT" || seal.LastSeq != list[len(list)-1].Seq {
				t.Errorf("after the second try: %v, sealed to %d", events(list), seal.LastSeq)
			}
		})
	}
}

// TestInterruptedFirstStarts: each of them had the module sign, and lost the
// answer. The meter that is born in the end is an honest one.
func TestInterruptedFirstStarts(t *testing.T) {
	r := newRig(t)
	r.module.Fail(secureelementtest.Lost)
	for range eventlog.MaxFirstStarts {
		if m, err := device.Open(t.Context(), r.cfg); err == nil {
			m.Close()
			t.Fatal("a log was born without a seal")
		}
	}
	r.module.Fail(secureelementtest.None)
	r.start().close()
	r.start()
	r.record(coverOpened)
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	if b, ok := list[1].payload.(*eventlog.Boot); !ok || b.ModuleCounter != eventlog.MaxFirstStarts {
		t.Errorf("the first BOOT says %+v", list[1].payload)
	}
}

func TestSecondProcessIsToldWhoHoldsTheDirectory(t *testing.T) {
	r := newRig(t).open()
	_, err := device.Open(t.Context(), r.cfg)
	if !errors.Is(err, device.ErrInUse) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) || strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line with the holder: %q", err)
	}
	r.close()
	r.open()
}

func TestOpenRefuses(t *testing.T) {
	other := must(eventlog.ParseMeterID("FFFFFF-MS0000000002"))
	born := func(t *testing.T) *rig {
		r := newRig(t).open()
		r.close()
		return r
	}
	cases := map[string]struct {
		prepare func(t *testing.T) *rig
		change  func(*rig)
		want    error
		text    string
	}{
		"no directory":          {nil, func(r *rig) { r.cfg.Dir = "" }, nil, "no state directory"},
		"no module":             {nil, func(r *rig) { r.cfg.Module = nil }, nil, "no secure element"},
		"no meter id":           {nil, func(r *rig) { r.cfg.Meter = eventlog.MeterID{} }, nil, "not printable"},
		"unknown release":       {nil, func(r *rig) { r.cfg.Release = 'Q' }, nil, "release"},
		"tiny segments":         {nil, func(r *rig) { r.cfg.SegmentSize = 64 }, nil, "segment size"},
		"reserve above store":   {nil, func(r *rig) { r.cfg.Reserve = 1 << 40 }, nil, "reserve"},
		"rare periodic seals":   {nil, func(r *rig) { r.cfg.PeriodicSeal = 25 * 3600e9 }, nil, "periodic seal"},
		"another meter's state": {born, func(r *rig) { r.cfg.Meter = other }, device.ErrOtherMeter, "MS0000000002"},
		"another key": {born, func(r *rig) {
			r.cfg.Module = secureelementtest.New(r.t, eventlog.SchemeCounter)
		}, device.ErrOtherKey, "sealed by"},
		"same key, other scheme": {born, func(r *rig) {
			r.cfg.Module = secureelementtest.NewWithKey(r.t, eventlog.SchemeDigest, r.module.Key())
		}, device.ErrOtherKey, "scheme"},
		"unreadable state": {born, func(r *rig) {
			if err := os.WriteFile(filepath.Join(r.cfg.Dir, "meter.json"), []byte("{\"version\":1,"), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, nil, "meter.json"},
		"directory is a file": {nil, func(r *rig) {
			r.cfg.Dir = filepath.Join(r.t.TempDir(), "file")
			if err := os.WriteFile(r.cfg.Dir, nil, 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, nil, "state directory"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if c.prepare != nil {
				r = c.prepare(t)
			}
			c.change(r)
			m, err := device.Open(t.Context(), r.cfg)
			if err == nil {
				m.Close()
				t.Fatal("it opened")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q does not say %q in one line", err, c.text)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	r.record(powerUp)
	r.close()
	r.start()
	r.record(coverOpened)
	r.close()
	list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
	if diff := cmp.Diff(events(list), []string{"SEGMENT", "BOOT", "1/40", "0/2", "BOOT", "1/40"}); diff != "" {
		t.Error(diff)
	}
	if got := list[5].Boot; got != 2 || list[1].Boot != 1 {
		t.Errorf("boot counters %d and %d", list[1].Boot, got)
	}
	if seal.LastSeq != list[5].Seq {
		t.Errorf("sealed up to %d", seal.LastSeq)
	}
	b := find[*eventlog.Boot](t, list)
	if b.SealCounter != 2 || b.ModuleCounter != 2 || b.SealLength == 0 {
		t.Errorf("BOOT says %+v after two seals", b)
	}
}

func TestTornEndIsDroppedAndSaid(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	r.close()
	appendTo(t, r, []byte{1, 1, 0, 2, 0, 0})
	r.start().close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	if b := find[*eventlog.Boot](t, list); b.Dropped != 6 {
		t.Errorf("BOOT says that %d bytes were dropped", b.Dropped)
	}
}

func appendTo(t *testing.T, r *rig, b []byte) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.cfg.Dir, "log", "00000001.seg"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestEditedLogIsNeverSignedAgain(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	r.close()
	path := filepath.Join(r.cfg.Dir, "log", "00000001.seg")
	b := must(os.ReadFile(path))
	edited := append([]byte(nil), b...)
	edited[3*64+64+8] ^= 1 // the time of the record after BOOT
	if err := os.WriteFile(path, edited, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.record(coverOpened)
	r.close()
	segments := readSegments(t, r.cfg.Dir)
	if len(segments) != 2 {
		t.Fatalf("%d segments", len(segments))
	}
	if string(segments[0].bytes) != string(edited) {
		t.Error("the damaged segment was not kept as found")
	}
	list := segments[1].entries(t, false)
	if diff := cmp.Diff(events(list), []string{"SEGMENT", "LOG_DAMAGED", "BOOT", "1/40"}); diff != "" {
		t.Error(diff)
	}
	d := find[*eventlog.LogDamaged](t, list)
	if d.Segment != 1 || d.Found != uint64(len(b)) || !d.ModuleUp {
		t.Errorf("LOG_DAMAGED says %+v", d)
	}
}
