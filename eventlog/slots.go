package eventlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/meterseal/meterseal/internal/durable"
)

const (
	sealsName = "seals"
	// slotSpacing keeps the two seals in different pages, so that a torn
	// write cannot reach both.
	slotSpacing = 4096
)

// slots is the file of the two newest seals, written in turn: while one is
// written the other one stands.
type slots struct {
	file durable.File // nil until it exists
	next int          // the slot to write: 0 or 1
}

// foundSeal is a slot whose content is whole. That its checksum matches proves
// nothing, but no torn write leaves it: it was stored, or somebody put it there.
type foundSeal struct {
	Seal
	slot int
	raw  []byte
}

// open opens the file, if it exists, and returns the whole seals in it.
func (s *slots) open(fsys durable.FS) ([]foundSeal, error) {
	f, err := fsys.Open(sealsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("eventlog: seals: %w", err)
	}
	s.file = f
	var found []foundSeal
	for i := range 2 {
		raw := make([]byte, SealSize)
		n, err := f.ReadAt(raw, int64(i*slotSpacing))
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("eventlog: seals: %w", err)
		}
		var seal Seal
		if n == SealSize && seal.UnmarshalBinary(raw) == nil {
			found = append(found, foundSeal{seal, i, raw})
		}
	}
	return found, nil
}

// create makes the file if it does not exist.
func (s *slots) create(fsys durable.FS) (err error) {
	if s.file != nil {
		return nil
	}
	if err := durable.WriteFile(fsys, sealsName, make([]byte, slotSpacing+SealSize)); err != nil {
		return err
	}
	s.file, err = fsys.Open(sealsName)
	return err
}

// store makes a seal durable in the next slot. ErrBroken: the sync failed.
func (s *slots) store(b []byte) error {
	if err := s.write(s.next, b); err != nil {
		return err
	}
	s.next ^= 1
	return nil
}

func (s *slots) write(slot int, b []byte) error {
	if _, err := s.file.WriteAt(b, int64(slot*slotSpacing)); err != nil {
		return fmt.Errorf("eventlog: store the seal: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("%w: seals: %w", ErrBroken, err)
	}
	return nil
}

func (s *slots) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
