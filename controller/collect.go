package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// Head is how far somebody's copy of a meter's log goes.
type Head struct {
	Segment uint32          // 0: nothing
	Length  uint64          // bytes of that segment
	Digest  eventlog.Digest // of those bytes; zeros if not known
}

// below reports whether a copy at head h has less of a log than one at head o.
func (h Head) below(o Head) bool {
	return h.Segment < o.Segment || h.Segment == o.Segment && h.Length < o.Length
}

// Want says what a collection is for. The zero value asks for the log from its
// oldest segment on.
type Want struct {
	// Head is what is there already: only what is beyond it is read.
	Head Head
	// Again asks for the newest seal even if it is the one that was collected
	// last, or the one at Head: the MDMS needs more bytes below it.
	Again bool
}

// Collected is what one collection brought.
type Collected struct {
	// Bundle is the evidence; nil if there is nothing new.
	Bundle *eventlog.Bundle
	// Head is where the next collection begins.
	Head Head
	// More says that the bundle ends before the meter's newest seal: it is full,
	// or the collection broke off behind it.
	More bool
	// Status is what the meter said of its log.
	Status eventlog.Status
	// Missing are segments that the meter's status listed, and that it had no
	// more when they were asked for, or no seal of.
	Missing []uint32
	// Stats says what it cost, also when it failed.
	Stats Stats
}

const (
	// maxParts leaves a bundle room for its newest segment.
	maxParts = 1000
	// maxMissing bounds what a meter can make us ask for in vain.
	maxMissing = 1024
	// bundleOverhead is more than a bundle holds beside log bytes and chain.
	bundleOverhead = 64 + (maxParts+1)*(18+255)
	// chainLimit is the largest certificate chain in bytes.
	chainLimit = 64 << 10
	// logLimit is how many log bytes fit any bundle.
	logLimit = eventlog.MaxBundle - bundleOverhead - chainLimit
)

// Collect reads what the meter has beyond w.Head, up to its newest seal: one
// request for status and seal, one for each 960 bytes of log, and one for the
// seal of each earlier segment. The seal is read before the bytes; what it
// covers never changes afterwards, so that a log that grows meanwhile disturbs
// nothing. Earlier segments come first, each with the seal that closed it.
//
// Errors: ErrUnsupported, ErrNotSealed, ErrTooLarge, or what the last of several
// attempts failed of. What was read before an error is not read again by a
// Collect that follows soon.
func (c *Collector) Collect(ctx context.Context, w Want) (Collected, error) {
	c.stats = Stats{}
	got := Collected{Head: w.Head}
	err := c.ensure(ctx)
	if err == nil {
		c.stats = Stats{}
		err = c.collect(ctx, w, &got)
	}
	got.Stats = c.stats
	return got, err
}

// Forget makes the collector collect again what it has collected last: the
// bundle was lost.
func (c *Collector) Forget() { c.last = nil }

// newest is the meter's newest seal.
type newest struct {
	status eventlog.Status
	seal   []byte
	head   Head      // what it covers
	read   time.Time // before the request: the seal may be newer, never older
}

// newest reads status and seal. Of a seal of a scheme unknown here the status
// says what it covers.
func (c *Collector) newest(ctx context.Context) (newest, error) {
	n := newest{read: c.cfg.Now()}
	ps, err := c.read(ctx, meter.EPCEvidence, meter.EPCSeal)
	if err != nil {
		return n, fmt.Errorf("controller: read the newest seal: %w", err)
	}
	if n.status, err = statusOf(ps); err != nil {
		c.support = supportNone
		return n, err
	}
	n.seal, _ = echonet.Find(ps, meter.EPCSeal)
	if len(n.seal) == 0 {
		return n, ErrNotSealed
	}
	if n.head = headOf(n.seal); n.head.Segment == 0 {
		n.head = Head{Segment: n.status.Segment, Length: n.status.SignedLength}
	}
	if n.head.Segment == 0 || n.head.Length == 0 {
		return n, ErrNotSealed
	}
	return n, nil
}

// headOf returns what a seal covers, by its own word; the zero Head if it is no
// seal that we know.
func headOf(seal []byte) Head {
	var s eventlog.Seal
	if s.UnmarshalBinary(seal) != nil {
		return Head{}
	}
	return Head{s.Segment, s.SignedLength, s.Digest}
}

// has reports whether a copy at head h holds what a seal at head s covers, as
// far as heads tell.
func (h Head) has(s Head) bool {
	return h.Segment == s.Segment && h.Length == s.Length &&
		(h.Digest == s.Digest || h.Digest == eventlog.Digest{} || s.Digest == eventlog.Digest{})
}

func (c *Collector) collect(ctx context.Context, w Want, got *Collected) error {
	n, err := c.newest(ctx)
	got.Status = n.status
	if err != nil {
		return err
	}
	if !w.Again && (bytes.Equal(n.seal, c.last) || w.Head.has(n.head)) {
		return nil
	}
	if w.Again {
		c.part = partial{}
	}
	b := &eventlog.Bundle{Meter: c.id, Collected: n.read.UnixMilli()}
	if err := c.earlier(ctx, w, n, b, got); err != nil {
		if len(b.Parts) == 0 {
			return err
		}
		got.More = true // a bundle of whole segments is worth having
	}
	if !got.More {
		if err := c.finish(ctx, w, n, b); err == nil {
			got.Head, c.last, c.part = n.head, n.seal, partial{}
		} else if got.More = true; len(b.Parts) == 0 {
			return err
		}
	}
	if len(b.Parts) > 0 {
		got.Bundle = b
	}
	return nil
}

// finish adds the newest segment to the bundle, and the chain. On error the
// bundle is as it was.
func (c *Collector) finish(ctx context.Context, w Want, n newest, b *eventlog.Bundle) (err error) {
	p, err := c.newestPart(ctx, w.Head, n)
	if err != nil {
		return err
	}
	if c.cfg.Chain {
		if b.Chain, err = c.chain(ctx); err != nil {
			return err
		}
	}
	b.Parts, b.Newest = append(b.Parts, p), true
	return nil
}

// earlier collects the segments between the head and the newest seal's.
func (c *Collector) earlier(ctx context.Context, w Want, n newest, b *eventlog.Bundle, got *Collected) error {
	oldest, size := n.status.Oldest, 0
	for seg := max(w.Head.Segment, oldest); seg < n.head.Segment; {
		if size >= c.cfg.Size || len(b.Parts) >= maxParts || len(got.Missing) >= maxMissing {
			got.More = true
			return nil
		}
		var from Head
		if seg == w.Head.Segment {
			from = w.Head
		}
		p, head, err := c.closed(ctx, seg, from)
		switch {
		case errors.Is(err, ErrRefused):
			got.Missing = append(got.Missing, seg)
			now, err := c.newest(ctx)
			if err != nil && !errors.Is(err, ErrNotSealed) {
				return err
			}
			seg = max(seg+1, now.status.Oldest)
			got.Head = Head{Segment: seg}
			continue
		case err != nil:
			return err
		}
		if len(p.Log) > 0 || !from.has(head) {
			b.Parts = append(b.Parts, p)
			size += len(p.Log)
		}
		got.Head = head
		seg++
	}
	return nil
}

// closed collects what a closed segment has beyond from, with the seal that
// closed it. ErrRefused: the meter has no such segment, or no seal of it.
func (c *Collector) closed(ctx context.Context, seg uint32, from Head) (eventlog.Part, Head, error) {
	seal, err := c.windows(ctx, meter.Cursor{Object: meter.CursorSeal, Segment: seg}, 1)
	if err != nil {
		return eventlog.Part{}, Head{}, fmt.Errorf("controller: read the seal of segment %d: %w", seg, err)
	}
	head := headOf(seal)
	if head.Segment != seg {
		// No seal of that segment, or of a scheme unknown here, whose length
		// nothing else tells.
		return eventlog.Part{}, Head{}, fmt.Errorf("%w: seal of segment %d", ErrRefused, seg)
	}
	p := eventlog.Part{Segment: seg, Offset: resume(from, head), Seal: seal}
	p.Log, err = c.log(ctx, seg, p.Offset, head.Length)
	return p, head, err
}

// newestPart collects what the newest sealed segment has beyond from, and the
// tail if it is wanted.
func (c *Collector) newestPart(ctx context.Context, from Head, n newest) (eventlog.Part, error) {
	p := eventlog.Part{Segment: n.head.Segment, Offset: resume(from, n.head), Seal: n.seal}
	end := n.head.Length
	if c.cfg.Tail && n.status.Segment == p.Segment {
		end = max(end, n.status.Length)
	}
	var err error
	p.Log, err = c.log(ctx, p.Segment, p.Offset, end)
	switch signed := n.head.Length - p.Offset; {
	case err == nil:
	case uint64(len(p.Log)) >= signed:
		p.Log, err = p.Log[:signed], nil // the tail alone is missing
	case errors.Is(err, ErrRefused):
		// The meter has fewer bytes than its own seal covers. That is for the
		// MDMS to judge: it gets what there is.
		p.Log, err = p.Log[:len(p.Log)/eventlog.SlotSize*eventlog.SlotSize], nil
	}
	return p, err
}

// resume returns the offset at which to go on in the segment of a seal at head
// s, for a copy at head h: a whole slot, not beyond what the seal covers.
func resume(h, s Head) uint64 {
	switch {
	case h.Segment < s.Segment:
		return 0
	case h.Segment > s.Segment:
		h.Length = s.Length
	}
	return min(h.Length, s.Length) / eventlog.SlotSize * eventlog.SlotSize
}

// log reads the bytes from offset to end of a segment. With an error it returns
// those that it got before.
func (c *Collector) log(ctx context.Context, seg uint32, offset, end uint64) ([]byte, error) {
	if end-offset > logLimit {
		return nil, fmt.Errorf("%w: %d bytes of segment %d", ErrTooLarge, end-offset, seg)
	}
	data := c.part.take(seg, offset, end, c.cfg.Now())
	for uint64(len(data)) < end-offset {
		at := meter.Cursor{Object: meter.CursorLog, Segment: seg, Offset: offset + uint64(len(data))}
		left := end - at.Offset
		got, err := c.windows(ctx, at, int(min(meter.Windows, (left+meter.WindowSize-1)/meter.WindowSize)))
		if err != nil {
			return data, fmt.Errorf("controller: read segment %d at %d: %w", seg, at.Offset, err)
		}
		got = got[:min(uint64(len(got)), left)]
		data = append(data, got...)
		c.stats.Windows += (len(got) + meter.WindowSize - 1) / meter.WindowSize
		c.stats.Bytes += uint64(len(got))
		c.part.keep(seg, offset, data, c.cfg.Now())
		c.cfg.Progress(Progress{c.id, seg, uint64(len(data)), end - offset})
	}
	return data, nil
}

// chain reads the meter's certificate chain; a meter without one has none.
func (c *Collector) chain(ctx context.Context) ([]byte, error) {
	var chain []byte
	for len(chain) <= chainLimit {
		at := meter.Cursor{Object: meter.CursorChain, Offset: uint64(len(chain))}
		got, err := c.windows(ctx, at, meter.Windows)
		if errors.Is(err, ErrRefused) || errors.Is(err, errWindow) {
			return chain, nil
		}
		if err != nil {
			return nil, fmt.Errorf("controller: read the certificate chain: %w", err)
		}
		if chain = append(chain, got...); len(got) < meter.Windows*meter.WindowSize {
			return chain, nil
		}
	}
	return nil, fmt.Errorf("%w: certificate chain", ErrTooLarge)
}

// partial is what was read of a segment when a collection broke off.
type partial struct {
	segment uint32
	offset  uint64
	data    []byte
	read    time.Time // of the last byte
}

// partialAge is how long a broken collection is worth going on with. Later, the
// meter may not be the one that it was.
const partialAge = 15 * time.Minute

// take returns the bytes from offset that are kept, up to end.
func (p *partial) take(seg uint32, offset, end uint64, now time.Time) []byte {
	age := now.Sub(p.read)
	if p.segment != seg || offset < p.offset || offset-p.offset > uint64(len(p.data)) || age < 0 || age > partialAge {
		return nil
	}
	data := p.data[offset-p.offset:]
	return data[:min(uint64(len(data)), end-offset)]
}

func (p *partial) keep(seg uint32, offset uint64, data []byte, now time.Time) {
	*p = partial{seg, offset, data, now}
}
