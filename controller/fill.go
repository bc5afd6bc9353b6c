package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// held returns what a meter can still have of missing segments: of those from its
// oldest to the one before the open one.
func held(missing []Missing, s eventlog.Status) (out []Missing) {
	for _, m := range missing {
		if first := max(m.First, s.Oldest, 1); first > m.First || m.Last > first {
			m.First, m.From = first, 0 // From is of a single segment
		}
		if s.Segment > 0 && m.First <= min(m.Last, s.Segment-1) {
			m.Last = min(m.Last, s.Segment-1)
			out = append(out, m)
		}
	}
	return out
}

// Fill reads what the meter still has of segments that the MDMS misses, each with
// the seal that closed it: one request, one for each such segment, and one for
// each 960 bytes of log. Ranges are in ascending order; what is not is left out.
// Errors are those of Collect. What was read before an error is in the bundle.
func (c *Collector) Fill(ctx context.Context, missing []Missing) (Collected, error) {
	c.stats = Stats{}
	var got Collected
	err := c.ensure(ctx)
	if err == nil {
		c.stats = Stats{}
		err = c.fill(ctx, missing, &got)
	}
	got.Stats = c.stats
	return got, err
}

func (c *Collector) fill(ctx context.Context, missing []Missing, got *Collected) error {
	n, err := c.newest(ctx)
	got.Status = n.status
	if err != nil {
		return err
	}
	b := &eventlog.Bundle{Meter: c.id, Collected: n.read.UnixMilli()}
	if err := c.parts(ctx, held(missing, n.status), b, got); err != nil {
		if len(b.Parts) == 0 {
			return fmt.Errorf("controller: read missing segments: %w", err)
		}
		got.More = true // whole segments are worth having
	}
	if len(b.Parts) > 0 {
		got.Bundle = b
	}
	return nil
}

// parts adds missing segments to a bundle until it is full.
func (c *Collector) parts(ctx context.Context, missing []Missing, b *eventlog.Bundle, got *Collected) error {
	next, size := uint32(0), 0 // of the log: segments are read once, in order
	for _, m := range missing {
		for seg := max(m.First, next); seg <= m.Last; seg++ {
			if size >= c.cfg.Size || len(b.Parts) >= maxParts || len(got.Missing) >= maxMissing {
				got.More = true
				return nil
			}
			next = seg + 1
			p, head, err := c.closed(ctx, seg, Head{Segment: seg, Length: m.From})
			switch {
			case errors.Is(err, ErrRefused):
				got.Missing = append(got.Missing, seg)
				continue
			case err != nil:
				return err
			}
			if len(p.Log) > 0 {
				b.Parts, got.Head = append(b.Parts, p), head
				size += len(p.Log)
			}
		}
	}
	return nil
}

// fill collects what the MDMS misses below its head and the meter still has, and
// puts it in the spool: at once the first time, and after a rest when that did
// not help.
func (u *unit) fill(ctx context.Context, c *Collector) error {
	u.mu.Lock()
	d := &u.delivery
	missing := held(d.missing, u.state.Evidence.Log)
	if len(missing) == 0 || d.resting || u.ctl.spool.Full() {
		u.mu.Unlock()
		return nil
	}
	d.missing, d.resting = nil, true // until the MDMS says it again
	wait := d.refill.next()
	u.mu.Unlock()
	time.AfterFunc(wait, func() {
		u.mu.Lock()
		u.delivery.resting = false
		u.mu.Unlock()
		poke(u.looks)
	})
	got, err := c.Fill(ctx, missing)
	if err == nil && got.Bundle != nil {
		_, err = u.ctl.spool.Put(u.source, got.Bundle)
	}
	u.update(func(s *State) { s.Evidence.cost(got.Stats) })
	if err == nil {
		return nil
	}
	u.mu.Lock()
	if d.missing == nil {
		d.missing = missing
	}
	u.mu.Unlock()
	if errors.Is(err, ErrSpoolFull) {
		return nil // it is told, and there will be room
	}
	return u.failed(ctx, err)
}
