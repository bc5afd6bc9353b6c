package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

var (
	evidenceGet = echonet.SetOf(0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8)
	evidenceSet = echonet.SetOf(meter.EPCCursor, meter.EPCChallenge, meter.EPCReceipt)
)

// CollectConfig says how evidence is collected. The zero value works.
type CollectConfig struct {
	// Tail adds the records beyond the seal, which are unsigned.
	Tail bool
	// Chain adds the meter's certificate chain, if it has one.
	Chain bool
	// Size is how large a bundle gets, in bytes, before later segments are left
	// for the next one. A segment is never divided. Default 1 MiB.
	Size int
	// Attempts is how many times in a row a request may fail before a
	// collection gives up. What was read by then is kept. Default 4.
	Attempts int
	// Progress, if not nil, is told how far a collection is, from the
	// collecting goroutine; it returns at once.
	Progress func(Progress)
	// Now is the clock of the bundles. Default time.Now.
	Now func() time.Time
}

func (c CollectConfig) withDefaults() CollectConfig {
	if c.Size <= 0 {
		c.Size = 1 << 20
	}
	if c.Attempts <= 0 {
		c.Attempts = 4
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Progress says how far the collection of one segment is.
type Progress struct {
	Meter   eventlog.MeterID
	Segment uint32
	Done    uint64 // bytes read of it
	Total   uint64 // bytes to be read of it
}

// Stats counts what a collection cost.
type Stats struct {
	RoundTrips int    // requests that were answered
	Failures   int    // requests that were not, or not usefully
	Windows    int    // windows of log bytes taken
	Bytes      uint64 // log bytes taken
}

// Collector collects the evidence of one meter. Its methods are called by one
// goroutine at a time.
type Collector struct {
	cfg     CollectConfig
	end     endpoint
	id      eventlog.MeterID
	support support

	cursor cursorWay // how the meter takes a cursor
	last   []byte    // the seal that was collected last
	part   partial   // what a broken collection had read
	stats  Stats     // of the present collection
}

// NewCollector returns a collector, which sends nothing until it is asked to.
func NewCollector(node Requester, m Meter, c CollectConfig) *Collector {
	return &Collector{cfg: c.withDefaults(), end: endpoint{node, m}}
}

// Meter returns the id of the meter, as its properties 8A and 8D give it, once
// Probe has read it. It is a hint: the log decides.
func (c *Collector) Meter() eventlog.MeterID { return c.id }

// support is whether a meter offers evidence, as far as that is known.
type support int

const (
	supportUnknown support = iota
	supportNone
	supportFull
)

// Probe finds out whether the meter offers evidence: ErrUnsupported if not. It
// only reads, and reads F0 only if the property maps list F0 to F8 as they
// should: another maker's properties there mean something else. What was learned
// of the meter before is forgotten.
func (c *Collector) Probe(ctx context.Context) error {
	c.support, c.cursor = supportUnknown, cursorWay{}
	ps, err := c.read(ctx, meter.EPCManufacturer, meter.EPCSerial, echonet.EPCSetMap, echonet.EPCGetMap)
	if err != nil {
		return fmt.Errorf("controller: read the property maps: %w", err)
	}
	maker, _ := echonet.Find(ps, meter.EPCManufacturer)
	serial, _ := echonet.Find(ps, meter.EPCSerial)
	if !offersEvidence(ps) || len(maker) != 3 || len(serial) != 12 {
		c.support = supportNone
		return ErrUnsupported
	}
	if ps, err = c.read(ctx, meter.EPCEvidence); err != nil {
		return fmt.Errorf("controller: read the status of the log: %w", err)
	}
	if _, err := statusOf(ps); err != nil {
		c.support = supportNone
		return ErrUnsupported
	}
	c.id = eventlog.MeterID(append(append(make([]byte, 0, 15), maker...), serial...))
	c.support = supportFull
	return nil
}

// offersEvidence reports whether the property maps read list F0 to F8, with F2,
// F7 and F8 settable. A map that counts wrongly is believed in what it lists.
func offersEvidence(ps []echonet.Property) bool {
	get, _ := echonet.Find(ps, echonet.EPCGetMap)
	set, _ := echonet.Find(ps, echonet.EPCSetMap)
	getMap, err := echonet.ParsePropertyMap(get)
	if err != nil && !errors.Is(err, echonet.ErrPropertyMapCount) {
		return false
	}
	setMap, err := echonet.ParsePropertyMap(set)
	if err != nil && !errors.Is(err, echonet.ErrPropertyMapCount) {
		return false
	}
	return getMap.Contains(evidenceGet) && setMap.Contains(evidenceSet)
}

// statusOf decodes F0. The error is ErrUnsupported for anything that is no
// status of ours.
func statusOf(ps []echonet.Property) (eventlog.Status, error) {
	var s eventlog.Status
	edt, _ := echonet.Find(ps, meter.EPCEvidence)
	if err := s.UnmarshalBinary(edt); err != nil {
		return s, ErrUnsupported
	}
	return s, nil
}

// ensure probes the meter if that has not been done yet.
func (c *Collector) ensure(ctx context.Context) error {
	switch c.support {
	case supportFull:
		return nil
	case supportNone:
		return ErrUnsupported
	}
	return c.Probe(ctx)
}

// Challenge hands a challenge of the MDMS to the meter. ErrRefused: the meter
// did not take it. Repeats are harmless.
func (c *Collector) Challenge(ctx context.Context, message []byte) error {
	return c.hand(ctx, "challenge", meter.EPCChallenge, message)
}

// Receipt hands a receipt of the MDMS to the meter, as Challenge does.
func (c *Collector) Receipt(ctx context.Context, message []byte) error {
	return c.hand(ctx, "receipt", meter.EPCReceipt, message)
}

func (c *Collector) hand(ctx context.Context, what string, epc byte, message []byte) error {
	if err := c.ensure(ctx); err != nil {
		return err
	}
	err := c.retry(ctx, func() error {
		err := c.end.setC(ctx, epc, message)
		return c.count(refused(err, epc))
	})
	if err != nil {
		return fmt.Errorf("controller: hand over a %s: %w", what, err)
	}
	return nil
}
