package device

import (
	"crypto/ecdsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

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

// StoredKey returns the public key of the secure element that seals the log in a
// state directory, and its scheme; ok is false if no meter was ever started
// there. It reads only, and needs no lock.
func StoredKey(dir string) (pub *ecdsa.PublicKey, scheme eventlog.Scheme, ok bool, err error) {
	files, err := durable.Dir(dir)
	if err != nil {
		return nil, 0, false, err
	}
	s, born, err := loadState(files)
	if err != nil || !born {
		return nil, 0, false, err
	}
	pub, err = s.publicKey()
	return pub, s.Scheme, true, err
}

// LoggedMeter returns the id that the log in a state directory names; see
// [eventlog.Peek]. It reads only, and needs no lock.
func LoggedMeter(dir string) (id eventlog.MeterID, sealed bool, err error) {
	path := filepath.Join(dir, logName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	files, err := durable.Dir(path)
	if err != nil {
		return id, false, err
	}
	return eventlog.Peek(files)
}
