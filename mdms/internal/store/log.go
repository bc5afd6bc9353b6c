package store

import (
	"context"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// AppendLog keeps verified bytes of a segment. Bytes that are there already are
// an error: nothing that once verified is written over.
func (t *Tx) AppendLog(ctx context.Context, id eventlog.MeterID, segment uint32, start uint64, log []byte, at time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO log_chunks (tenant, meter, segment, start, bytes, received) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.tenant, id.String(), segment, int64(start), log, millis(at))
	return err
}

// Log returns the verified bytes of a segment from its beginning.
func (v *View) Log(ctx context.Context, id eventlog.MeterID, segment uint32) ([]byte, error) {
	type chunk struct {
		start int64
		bytes []byte
	}
	chunks, err := list(ctx, v, func(c *chunk, scan func(...any) error) error { return scan(&c.start, &c.bytes) },
		`SELECT start, bytes FROM log_chunks WHERE tenant = $1 AND meter = $2 AND segment = $3 ORDER BY start`, v.tenant, id.String(), segment)
	if err != nil {
		return nil, err
	}
	var log []byte
	for _, c := range chunks {
		if c.start != int64(len(log)) {
			return nil, fmt.Errorf("mdms: the stored log of meter %s, segment %d, has a hole at %d", id, segment, len(log))
		}
		log = append(log, c.bytes...)
	}
	return log, nil
}

// AddSeal keeps a seal that verified.
func (t *Tx) AddSeal(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID, s *eventlog.Seal, at time.Time) error {
	b, err := s.AppendBinary(nil)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO seals (tenant, meter, key_id, counter, segment, length, digest, seal, received) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (tenant, meter, key_id, counter, segment, length, digest) DO NOTHING`,
		t.tenant, id.String(), key[:], int64(s.Counter), s.Segment, int64(s.SignedLength), s.Digest[:], b, millis(at))
	return err
}

// SealAt returns a kept seal with that counter, or nil.
func (v *View) SealAt(ctx context.Context, id eventlog.MeterID, key eventlog.KeyID, counter uint64) (*eventlog.Seal, error) {
	seals, err := list(ctx, v, func(s *eventlog.Seal, scan func(...any) error) error {
		var b []byte
		if err := scan(&b); err != nil {
			return err
		}
		return s.UnmarshalBinary(b)
	}, `SELECT seal FROM seals WHERE tenant = $1 AND meter = $2 AND key_id = $3 AND counter = $4 ORDER BY segment, length LIMIT 1`,
		v.tenant, id.String(), key[:], int64(counter))
	if err != nil || len(seals) == 0 {
		return nil, err
	}
	return &seals[0], nil
}

// AddEvents keeps a row for each specific record in the newly signed bytes of
// a segment.
func (t *Tx) AddEvents(ctx context.Context, id eventlog.MeterID, a *verify.Advance) error {
	for log := a.Log; len(log) > 0; {
		var r eventlog.Record
		n, err := r.Next(log)
		if err != nil {
			return fmt.Errorf("mdms: a verified record of meter %s: %w", id, err)
		}
		log = log[n:]
		if !r.Specific() {
			continue
		}
		_, err = t.exec(ctx, `INSERT INTO events (tenant, meter, segment, seq, class, code, profile, at, boot, uptime, flags, payload)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			t.tenant, id.String(), a.Head.Segment(), r.Seq, int64(r.Class), r.Code, int64(a.Head.Header.Profile),
			r.Millis, r.Boot, r.Uptime, r.Flags, append([]byte{}, r.Payload...))
		if err != nil {
			return err
		}
	}
	return nil
}
