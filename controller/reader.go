package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// Value is something that a meter said, and when. The zero value says that it
// has said nothing, or that it has no data.
type Value[T any] struct {
	V    T
	Read time.Time // when it arrived
}

// OK reports whether there is a value.
func (v Value[T]) OK() bool { return !v.Read.IsZero() }

// HalfHour is a register as it was at a full half-hour.
type HalfHour struct {
	Time   meter.DateTime // by the meter's clock
	Energy meter.Energy
}

// Readings are what a meter is and what it shows, as far as it was read. A
// register is there only once unit and coefficient are known: a guess at them
// would put an energy account wrong by a factor of ten.
type Readings struct {
	Manufacturer [3]byte // 8A
	Serial       string  // 8D, without padding, what is not printable replaced by U+FFFD; "" if it has none
	Release      byte    // 82, the letter of the appendix, printable ASCII; 0 if not known
	Maps         echonet.PropertyMaps
	Scale        Value[meter.Scale] // D3 and E1
	Digits       int                // D7, 0 if not known

	Power      Value[meter.Power]   // E7, W
	CurrentR   Value[meter.Current] // E8, 0.1 A
	CurrentT   Value[meter.Current] // E8, 0.1 A; none on two wires
	Import     Value[meter.Energy]  // E0, kWh, bought
	Export     Value[meter.Energy]  // E3, kWh, sold
	HalfImport Value[HalfHour]      // EA
	HalfExport Value[HalfHour]      // EB
}

// Reader reads one meter as the meter-HEMS interface says. Its methods are
// called by one goroutine at a time.
type Reader struct {
	end endpoint
	now func() time.Time
	r   Readings

	// What is needed before a register is energy.
	unit        Value[int8]   // E1
	coefficient Value[uint32] // D3
	counts      [4]Value[meter.Reading]
}

// Registers, as indices of Reader.counts.
const (
	regImport = iota
	regExport
	regHalfImport
	regHalfExport
)

// NewReader returns a reader, which sends nothing until it is asked to. now is
// the clock of the values; nil means time.Now.
func NewReader(node Requester, m Meter, now func() time.Time) *Reader {
	if now == nil {
		now = time.Now
	}
	return &Reader{end: endpoint{node, m}, now: now}
}

// Readings returns what was read so far.
func (r *Reader) Readings() Readings { return r.r }

// Start carries out the start sequence (AIF 1.01, 3.1): it asks the node for its
// instances, then the meter for what it is and what it can, then for unit,
// coefficient, digits and the last half-hour. What was known before is
// forgotten, as the meter may be another one.
func (r *Reader) Start(ctx context.Context) error {
	if err := r.instances(ctx); err != nil {
		return err
	}
	return r.identify(ctx)
}

// identify is the start sequence without its first step, for a meter whose
// address is known: a node that does not answer that step would be waited for.
func (r *Reader) identify(ctx context.Context) error {
	r.forget()
	if _, err := r.get(ctx, meter.EPCVersion, echonet.EPCAnnounceMap, echonet.EPCSetMap, echonet.EPCGetMap); err != nil {
		return fmt.Errorf("controller: read what the meter can: %w", err)
	}
	if r.r.Maps.Get.Len() == 0 {
		return fmt.Errorf("controller: %v has no property map", r.end.meter.object())
	}
	epcs := r.offered(meter.EPCSerial, meter.EPCCoefficient, meter.EPCDigits, meter.EPCUnit, meter.EPCHalfNormal, meter.EPCHalfReverse)
	if _, err := r.get(ctx, epcs...); err != nil {
		return fmt.Errorf("controller: read unit and digits: %w", err)
	}
	if _, err := r.get(ctx, meter.EPCManufacturer); err != nil {
		return fmt.Errorf("controller: read the manufacturer code: %w", err)
	}
	return nil
}

// forget forgets what is another meter's if this is another one.
func (r *Reader) forget() {
	r.r.Maps, r.r.Scale = echonet.PropertyMaps{}, Value[meter.Scale]{}
	r.unit, r.coefficient, r.counts = Value[int8]{}, Value[uint32]{}, [4]Value[meter.Reading]{}
}

// instances asks the meter's node for its instance list. A node that keeps
// silent is not given up: its meter may answer.
func (r *Reader) instances(ctx context.Context) error {
	err := r.end.infReq(ctx, echonet.NodeProfile, epcInstances)
	var sna *echonet.SNAError
	if err == nil || errors.As(err, &sna) || errors.Is(err, echonet.ErrTimeout) {
		return nil
	}
	return fmt.Errorf("controller: read the instance list: %w", err)
}

// Poll reads power, currents and registers.
func (r *Reader) Poll(ctx context.Context) error {
	return r.poll(ctx, meter.EPCPower, meter.EPCCurrents, meter.EPCNormal, meter.EPCReverse)
}

// PollHalfHour reads the registers of the last half-hour (AIF 1.01, 3.3.1).
func (r *Reader) PollHalfHour(ctx context.Context) error {
	return r.poll(ctx, meter.EPCHalfNormal, meter.EPCHalfReverse)
}

func (r *Reader) poll(ctx context.Context, epcs ...byte) error {
	if epcs = r.offered(epcs...); len(epcs) == 0 {
		return nil
	}
	if _, err := r.get(ctx, epcs...); err != nil {
		return fmt.Errorf("controller: read the meter: %w", err)
	}
	return nil
}

// offered returns those of the properties that the meter lists.
func (r *Reader) offered(epcs ...byte) []byte {
	var out []byte
	for _, epc := range epcs {
		if r.r.Maps.Get.Has(epc) {
			out = append(out, epc)
		}
	}
	return out
}

// get reads properties and takes the values. Those that the meter refuses are no
// error: what it does say counts.
func (r *Reader) get(ctx context.Context, epcs ...byte) ([]echonet.Property, error) {
	ps, err := r.end.get(ctx, epcs...)
	r.Take(ps)
	var sna *echonet.SNAError
	if errors.As(err, &sna) {
		err = nil
	}
	return ps, err
}

// Take takes values that the meter's object has announced, or answered.
func (r *Reader) Take(ps []echonet.Property) {
	now := r.now()
	for _, p := range ps {
		if len(p.EDT) > 0 {
			r.take(p.EPC, p.EDT, now)
		}
	}
	r.account(now)
}

// take takes one property. What cannot be read has no value, rather than an old
// one.
func (r *Reader) take(epc byte, edt []byte, now time.Time) {
	switch epc {
	case meter.EPCManufacturer:
		if len(edt) == 3 {
			r.r.Manufacturer = [3]byte(edt)
		}
	case meter.EPCSerial:
		r.r.Serial = printable(strings.TrimRight(string(edt), " \x00"))
	case meter.EPCVersion:
		if len(edt) == 4 && unicode.IsPrint(rune(edt[2])) && edt[2] < unicode.MaxASCII {
			r.r.Release = edt[2]
		}
	case echonet.EPCAnnounceMap:
		r.r.Maps.Announce = propertyMap(edt)
	case echonet.EPCSetMap:
		r.r.Maps.Set = propertyMap(edt)
	case echonet.EPCGetMap:
		r.r.Maps.Get = propertyMap(edt)
	case meter.EPCCoefficient:
		v, err := meter.ParseCoefficient(edt)
		r.coefficient = value(v, err, now)
	case meter.EPCUnit:
		v, err := meter.ParseUnit(edt)
		r.unit = value(v, err, now)
	case meter.EPCDigits:
		if d, err := meter.ParseDigits(edt); err == nil {
			r.r.Digits = d
		}
	case meter.EPCPower:
		v, err := meter.ParsePower(edt)
		r.r.Power = value(v, err, now)
	case meter.EPCCurrents:
		vr, vt, err := meter.ParseCurrents(edt)
		r.r.CurrentR = value(vr, errors.Join(err, vr.Check()), now)
		r.r.CurrentT = value(vt, errors.Join(err, vt.Check()), now)
	case meter.EPCNormal:
		r.register(regImport, edt, now)
	case meter.EPCReverse:
		r.register(regExport, edt, now)
	case meter.EPCHalfNormal:
		r.halfHour(regHalfImport, edt, now)
	case meter.EPCHalfReverse:
		r.halfHour(regHalfExport, edt, now)
	}
}

// printable replaces what a terminal could take for a command: whoever is on the
// link may say anything.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// value returns the value read, none if there was an error.
func value[T any](v T, err error, now time.Time) Value[T] {
	if err != nil {
		return Value[T]{}
	}
	return Value[T]{v, now}
}

// propertyMap reads a map; one that counts wrongly is believed in what it lists.
func propertyMap(edt []byte) echonet.PropertySet {
	s, err := echonet.ParsePropertyMap(edt)
	if err != nil && !errors.Is(err, echonet.ErrPropertyMapCount) {
		return echonet.PropertySet{}
	}
	return s
}

func (r *Reader) register(reg int, edt []byte, now time.Time) {
	c, err := meter.ParseCount(edt)
	r.counts[reg] = value(meter.Reading{Pair: meter.Pair{Normal: c}}, err, now)
}

func (r *Reader) halfHour(reg int, edt []byte, now time.Time) {
	v, err := meter.ParseReading(edt)
	r.counts[reg] = value(v, err, now)
}

// account makes energy of the registers, if unit and coefficient are known.
func (r *Reader) account(now time.Time) {
	if !r.unit.OK() || !r.coefficient.OK() && r.r.Maps.Get.Has(meter.EPCCoefficient) {
		return
	}
	r.r.Scale = Value[meter.Scale]{meter.Scale{Coefficient: 1, Exponent: r.unit.V}, now}
	if r.coefficient.OK() {
		r.r.Scale.V.Coefficient = r.coefficient.V
	}
	r.r.Import = energy(r.counts[regImport], r.r.Scale.V)
	r.r.Export = energy(r.counts[regExport], r.r.Scale.V)
	r.r.HalfImport = halfHour(r.counts[regHalfImport], r.r.Scale.V)
	r.r.HalfExport = halfHour(r.counts[regHalfExport], r.r.Scale.V)
}

func energy(c Value[meter.Reading], s meter.Scale) Value[meter.Energy] {
	if !c.OK() {
		return Value[meter.Energy]{}
	}
	e, err := s.Energy(c.V.Normal)
	return value(e, err, c.Read)
}

func halfHour(c Value[meter.Reading], s meter.Scale) Value[HalfHour] {
	e := energy(c, s)
	if !e.OK() {
		return Value[HalfHour]{}
	}
	return Value[HalfHour]{HalfHour{c.V.Time, e.V}, c.Read}
}

const epcInstances byte = 0xD5 // instance list notification of the node profile
