package eventlog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/meterseal/meterseal/internal/durable"
)

// Peek tells whose log lies in a directory without opening it: what is left of a
// meter whose own state is gone. sealed is false if no seal was ever stored: there
// is no log, or what an interrupted first start has left. The id is that of the
// newest header that can be read, the zero id if there is none, and a hint: the
// signature over it is not verified. Peek changes nothing.
func Peek(fsys durable.FS) (id MeterID, sealed bool, err error) {
	names, err := fsys.List()
	if err != nil {
		return id, false, fmt.Errorf("eventlog: list the log: %w", err)
	}
	var segments []uint32
	for _, name := range names {
		switch n, ext, _ := parseName(name); ext {
		case segmentExt:
			segments = append(segments, n)
		case sealExt:
			sealed = true
		}
	}
	if sealed = sealed || len(segments) > 1; !sealed {
		var seals slots
		found, err := seals.open(fsys)
		if err = errors.Join(err, seals.close()); err != nil || len(found) == 0 {
			return id, false, err
		}
	}
	slices.Sort(segments)
	for _, n := range slices.Backward(segments) {
		if id, err = peekMeter(fsys, n); err != nil || id != (MeterID{}) {
			return id, true, err
		}
	}
	return id, true, nil
}

// peekMeter returns the meter that a segment's header names, the zero id if there
// is no whole header.
func peekMeter(fsys durable.FS, segment uint32) (MeterID, error) {
	f, err := fsys.Open(fileName(segment, segmentExt))
	if err != nil {
		return MeterID{}, fmt.Errorf("eventlog: segment %d: %w", segment, err)
	}
	defer f.Close()
	b := make([]byte, HeaderSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return MeterID{}, fmt.Errorf("eventlog: segment %d: %w", segment, err)
	}
	h, err := ParseHeader(b)
	if err != nil {
		return MeterID{}, nil // no header names no meter
	}
	return h.Meter, nil
}
