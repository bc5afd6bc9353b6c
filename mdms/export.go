package mdms

import (
	"context"
	"fmt"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Export returns the evidence of a meter as a bundle: the verified bytes of its
// segments, each with its last seal. Anybody can verify it without the MDMS.
// Segments that would make the bundle larger than eventlog.MaxBundle are left
// out, oldest first; the verifier then reports a gap. The error is ErrNotFound
// if the meter is not enrolled or has sent no evidence yet.
func (s *Server) Export(ctx context.Context, id eventlog.MeterID) ([]byte, error) {
	u := eventlog.Bundle{Meter: id, Newest: true}
	err := s.store.Read(ctx, func(v *store.View) error {
		row, err := v.Head(ctx, id)
		if err != nil {
			return unknownMeter(id, err)
		}
		if row.Segment == 0 {
			return fmt.Errorf("%w: meter %s has sent no evidence yet", ErrNotFound, id)
		}
		u.Collected = row.Since.UnixMilli()
		u.Parts, err = partsOf(ctx, v, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return u.AppendBinary(nil)
}

// exportRoom is what log bytes and seals may take of a bundle; the rest is for
// the heads of the parts.
const (
	exportRoom  = eventlog.MaxBundle - 64<<10
	exportParts = 1024
)

func partsOf(ctx context.Context, v *store.View, id eventlog.MeterID) ([]eventlog.Part, error) {
	heads, err := newestThatFit(ctx, v, id)
	if err != nil {
		return nil, err
	}
	parts := make([]eventlog.Part, len(heads))
	for i := range heads {
		p := &parts[i]
		p.Segment = heads[i].Segment()
		if p.Log, err = v.Log(ctx, id, p.Segment); err != nil {
			return nil, err
		}
		if p.Seal, err = heads[i].Seal.AppendBinary(nil); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// newestThatFit returns the states of the newest segments that fit one bundle,
// in ascending order.
func newestThatFit(ctx context.Context, v *store.View, id eventlog.MeterID) ([]verify.Head, error) {
	var heads []verify.Head
	after, size := uint32(0), uint64(0)
	for {
		page, err := v.Segments(ctx, id, after, pageSize)
		if err != nil {
			return nil, err
		}
		for _, h := range page {
			heads = append(heads, h)
			size += h.Length + eventlog.SealSize
		}
		for len(heads) > exportParts || size > exportRoom && len(heads) > 1 {
			size -= heads[0].Length + eventlog.SealSize
			heads = heads[1:]
		}
		if len(page) < pageSize {
			return heads, nil
		}
		after = page[len(page)-1].Segment()
	}
}
