package device

import (
	"errors"
	"fmt"
	"io"

	"github.com/meterseal/meterseal/eventlog"
)

// recall reads all of the log for what the meter has to remember of its MDMS:
// the log itself is the memory.
func (m *Meter) recall() error {
	for _, c := range m.log.Closed() {
		if err := m.eachRecord(c.Segment, m.mdms.remember); err != nil {
			return err
		}
	}
	return m.eachRecord(m.log.Newest(), m.mdms.remember)
}

// eachRecord calls f with the records of a segment up to the first bytes that
// are none, as in a segment that is damaged. The record is f's only during the
// call.
func (m *Meter) eachRecord(segment uint32, f func(*eventlog.Record)) error {
	buf := make([]byte, 64<<10)
	var off uint64
	for {
		n, err := m.log.ReadAt(segment, buf, off)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("device: read the log: %w", err)
		}
		var r eventlog.Record
		used := 0
		size, bad := r.Next(buf[:n])
		for bad == nil {
			f(&r)
			used += size
			size, bad = r.Next(buf[used:n])
		}
		if used == 0 || !errors.Is(bad, eventlog.ErrShort) {
			return nil
		}
		off += uint64(used)
	}
}

// header returns the header of the newest segment.
func (m *Meter) header() (eventlog.Header, error) {
	var b [eventlog.HeaderSize]byte
	if _, err := m.log.ReadAt(m.log.Newest(), b[:], 0); err != nil {
		return eventlog.Header{}, fmt.Errorf("device: header of the newest segment: %w", err)
	}
	return eventlog.ParseHeader(b[:])
}

// traceBegun traces the records with which the log has begun a segment.
func (m *Meter) traceBegun() {
	segment, length := m.log.Newest(), uint64(0)
	err := m.eachRecord(segment, func(r *eventlog.Record) {
		length += uint64(r.Size())
		m.cfg.Trace(&Appended{Record: *r, Segment: segment, Length: length})
	})
	if err != nil {
		m.storageFailed(err)
	}
}
