package device_test

import (
	"os"
	"path/filepath"
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
