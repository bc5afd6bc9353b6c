package device_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/meterseal/meterseal/device"
)

// FuzzStoredMeter: whatever is in the state file, it names a meter or is an
// error.
func FuzzStoredMeter(f *testing.F) {
	born := `{"version":1,"meter":"FFFFFF-MS0000000001","key":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",` +
		`"scheme":"counter","boot":3,"profile":1,"policy":{"version":2,"specific":[{"Class":1,"Code":40}]},"installed":"2026-01-01T00:00:00+09:00","clock_offset_ns":5,"location":"AA=="}`
	f.Add([]byte(born))
	f.Add([]byte(born[:len(born)/2]))
	f.Add([]byte(born + born))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version":1,"meter":"FFFFFF-MS0000000001","key":"AAAA","scheme":"counter","location":"AA=="}`))
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meter.json"), []byte(born), 0o600); err != nil {
		f.Fatal(err)
	}
	if id, ok, err := device.StoredMeter(dir); !ok || err != nil || id != meterID {
		f.Fatalf("the seed is no state: %v, %t, %v", id, ok, err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, "meter.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		id, ok, err := device.StoredMeter(dir)
		if ok == (err != nil) || ok && !id.Valid() {
			t.Errorf("%v, %t, %v", id, ok, err)
		}
	})
}
