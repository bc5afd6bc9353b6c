package device

import (
	"errors"
	"io/fs"
	"os"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

// StoredMeter returns the id of the meter whose state directory dir is; ok is
// false if no meter was ever started there. It reads only, and needs no lock.
func StoredMeter(dir string) (id eventlog.MeterID, ok bool, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	files, err := durable.Dir(dir)
	if err != nil {
		return id, false, err
	}
	s, born, err := loadState(files)
	return s.Meter, born, err
}
