package store

import (
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// into32 scans a blob of exactly 32 bytes.
type into32 struct{ dst *[32]byte }

func (d into32) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != 32 {
		return fmt.Errorf("mdms: %d bytes in the store where 32 belong", len(b))
	}
	*d.dst = [32]byte(b)
	return nil
}

// intoMeter scans the text form of a meter id.
type intoMeter struct{ dst *eventlog.MeterID }

func (d intoMeter) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("mdms: %T in the store where a meter id belongs", v)
	}
	return d.dst.UnmarshalText([]byte(s))
}

// intoTime scans ms since the Unix epoch; 0 is the zero time.
type intoTime struct{ dst *time.Time }

func (d intoTime) Scan(v any) error {
	ms, ok := v.(int64)
	if !ok {
		return fmt.Errorf("mdms: %T in the store where a time belongs", v)
	}
	*d.dst = time.Time{}
	if ms != 0 {
		*d.dst = time.UnixMilli(ms).UTC()
	}
	return nil
}

// millis is the inverse of intoTime.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
