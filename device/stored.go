package device

import (
	"cmp"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// LoggedMeter returns the id that the log in a state directory names: what is
// left of the meter where the state file is gone. sealed is false if there is no
// log, or what an interrupted first start has left. The id is that of the newest
// header that can be read, the zero id if there is none, and a hint: the
// signature over it is not verified here. It reads only, and needs no lock.
func LoggedMeter(dir string) (id eventlog.MeterID, sealed bool, err error) {
	path := filepath.Join(dir, logName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	files, err := durable.Dir(path)
	if err != nil {
		return id, false, err
	}
	names, err := files.List()
	if err != nil {
		return id, false, fmt.Errorf("device: list the log: %w", err)
	}
	var segments []string
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, segmentExt):
			segments = append(segments, name)
		case strings.HasSuffix(name, sealExt):
			sealed = true
		}
	}
	slices.SortFunc(segments, func(a, b string) int { return -cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	if sealed = sealed || len(segments) > 1; !sealed {
		if sealed, err = holdsSeal(files); err != nil || !sealed {
			return id, false, err
		}
	}
	for _, name := range segments {
		head := make([]byte, eventlog.HeaderSize)
		if err := readStart(files, name, head); err != nil {
			return id, sealed, err
		}
		if h, err := eventlog.ParseHeader(head); err == nil {
			return h.Meter, sealed, nil
		}
	}
	return id, sealed, nil
}

// Names of the log's files.
const (
	segmentExt  = ".seg"
	sealExt     = ".seal" // of a closed segment
	sealsName   = "seals" // the newest two, at 0 and sealSpacing
	sealSpacing = 4096
)

// holdsSeal reports whether a seal was ever stored beside the newest segment.
func holdsSeal(files durable.FS) (bool, error) {
	b := make([]byte, sealSpacing+eventlog.SealSize)
	if err := readStart(files, sealsName, b); err != nil {
		return false, err
	}
	var s eventlog.Seal
	return s.UnmarshalBinary(b[:eventlog.SealSize]) == nil || s.UnmarshalBinary(b[sealSpacing:]) == nil, nil
}

// readStart reads the beginning of a file into b. What the file does not have
// stays zero; so does all of b if there is no file.
func readStart(files durable.FS, name string, b []byte) error {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("device: log: %w", err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("device: log: %w", err)
	}
	return nil
}
