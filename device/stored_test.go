package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

func TestStoredMeter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if id, ok, err := device.StoredMeter(dir); ok || err != nil || id != (eventlog.MeterID{}) {
		t.Errorf("no directory: %v, %t, %v", id, ok, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if id, ok, err := device.StoredMeter(dir); ok || err != nil || id != (eventlog.MeterID{}) {
		t.Errorf("an empty directory: %v, %t, %v", id, ok, err)
	}
	r := newRig(t).open()
	if id, ok, err := device.StoredMeter(r.cfg.Dir); !ok || err != nil || id != meterID {
		t.Errorf("a running meter: %v, %t, %v", id, ok, err)
	}
	r.close()
	if err := os.WriteFile(filepath.Join(r.cfg.Dir, "meter.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := device.StoredMeter(r.cfg.Dir); ok || err == nil {
		t.Errorf("a state that cannot be read: %t, %v", ok, err)
	}
}

// TestLoggedMeter: a log that has a seal says whose it is when the state file is
// gone, and nobody else goes on with it.
func TestLoggedMeter(t *testing.T) {
	logged := func(dir string) (eventlog.MeterID, bool) {
		t.Helper()
		id, sealed, err := device.LoggedMeter(dir)
		if err != nil {
			t.Fatal(err)
		}
		return id, sealed
	}
	if id, sealed := logged(t.TempDir()); sealed || id != (eventlog.MeterID{}) {
		t.Errorf("an empty directory: %v, %t", id, sealed)
	}
	r := newRig(t).open()
	r.close()
	if id, sealed := logged(r.cfg.Dir); !sealed || id != meterID {
		t.Errorf("a log: %v, %t", id, sealed)
	}
	if err := os.Remove(filepath.Join(r.cfg.Dir, "meter.json")); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.Meter[14] ^= 1
	if m, err := device.Open(t.Context(), cfg); err == nil {
		m.Close()
		t.Error("another meter goes on with the log")
	} else if !errors.Is(err, device.ErrOtherMeter) || !strings.Contains(err.Error(), meterID.String()) {
		t.Errorf("error %v, want ErrOtherMeter with the id of the log", err)
	}
	segment, seals := filepath.Join(r.cfg.Dir, "log", "00000001.seg"), filepath.Join(r.cfg.Dir, "log", "seals")
	r.open()
	if s := r.Status(); s.Segment != 1 {
		t.Errorf("the same meter is in segment %d, want to go on in 1", s.Segment)
	}
	r.close()
	for _, spoil := range []struct {
		name   string
		do     func() error
		id     eventlog.MeterID
		sealed bool
	}{
		{"no header can be read", func() error { return os.Truncate(segment, 64) }, eventlog.MeterID{}, true},
		{"no seal was stored", func() error { return os.Truncate(seals, 0) }, eventlog.MeterID{}, false},
		{"no seals file", func() error { return os.Remove(seals) }, eventlog.MeterID{}, false},
		{"a segment was closed", func() error { return os.WriteFile(segment[:len(segment)-1]+"al", nil, 0o600) }, eventlog.MeterID{}, true},
	} {
		if err := spoil.do(); err != nil {
			t.Fatal(err)
		}
		if id, sealed := logged(r.cfg.Dir); sealed != spoil.sealed || id != spoil.id {
			t.Errorf("%s: %v, %t", spoil.name, id, sealed)
		}
	}
}

func TestStoredKey(t *testing.T) {
	r := newRig(t).open()
	pub, scheme, ok, err := device.StoredKey(r.cfg.Dir)
	if err != nil || !ok || !pub.Equal(r.module.PublicKey()) || scheme != eventlog.SchemeCounter {
		t.Errorf("a running meter: %v, %v, %t, %v", pub, scheme, ok, err)
	}
	if _, _, ok, err := device.StoredKey(t.TempDir()); ok || err != nil {
		t.Errorf("an empty directory: %t, %v", ok, err)
	}
}

func TestMinStoreSizeIsEnough(t *testing.T) {
	for _, segment := range []int64{device.MinSegmentSize, device.MinSegmentSize + 1, 1 << 20, device.MaxSegmentSize} {
		least := device.MinStoreSize(segment)
		for size, enough := range map[int64]bool{least: true, least - 8: false} {
			r := newRig(t, func(c *device.Config) { c.SegmentSize, c.StoreSize = segment, size })
			m, err := device.Open(t.Context(), r.cfg)
			if err == nil {
				m.Close()
			}
			if (err == nil) != enough {
				t.Errorf("segments of %d in a store of %d: %v", segment, size, err)
			}
		}
	}
}
