package meter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Why a property has no value. Parsers wrap them with the property's name.
var (
	// ErrSize: the data has another size than the property. No data at all, as in
	// a refused read, is that too.
	ErrSize = errors.New("wrong size")
	// ErrRange: the data is outside the range of the property.
	ErrRange = errors.New("out of range")
	// ErrNoData: the meter says that it has no value.
	ErrNoData = errors.New("no data")
	// ErrOverflow and ErrUnderflow: the meter says that the value is too large, or
	// too small, for the property.
	ErrOverflow  = errors.New("overflow")
	ErrUnderflow = errors.New("underflow")
)

// Count is a reading of an energy register, in units that Scale turns into
// kilowatt-hours. On the wire it has 32 bits and at most eight decimal digits.
type Count uint64

// NoData is the Count of a register that has no reading. On the wire it is
// FFFFFFFE.
const NoData Count = math.MaxUint64

const wireNoData = 0xFFFFFFFE

// maxCount is the largest reading of eight digits.
const maxCount = 99_999_999

// append appends the reading as a meter with that many digits shows it: it
// starts again at 0 after 10^digits - 1.
func (c Count) append(b []byte, digits int) []byte {
	if c == NoData {
		return binary.BigEndian.AppendUint32(b, wireNoData)
	}
	return binary.BigEndian.AppendUint32(b, uint32(uint64(c)%pow10(digits)))
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// count reads four bytes.
func count(b []byte) (Count, error) {
	v := binary.BigEndian.Uint32(b)
	switch {
	case v == wireNoData:
		return NoData, nil
	case v > maxCount:
		return NoData, fmt.Errorf("%w: count %d", ErrRange, v)
	}
	return Count(v), nil
}

// ParseCount reads the data of E0 or E3. A register without a reading is NoData
// and no error.
func ParseCount(edt []byte) (Count, error) {
	if len(edt) != 4 {
		return NoData, sizeError("energy", edt, 4)
	}
	c, err := count(edt)
	if err != nil {
		return NoData, fmt.Errorf("meter: energy: %w", err)
	}
	return c, nil
}

func sizeError(what string, edt []byte, want int) error {
	return fmt.Errorf("meter: %s: %w: %d bytes, want %d", what, ErrSize, len(edt), want)
}

// Since returns how far a register with that many digits (1 to 8) has counted
// from an earlier reading to c, over its wrap if need be. ok is false if either
// has no data.
func (c Count) Since(earlier Count, digits int) (diff Count, ok bool) {
	if c == NoData || earlier == NoData {
		return 0, false
	}
	wrap := Count(pow10(digits))
	return (c%wrap + wrap - earlier%wrap) % wrap, true
}

// Energy is an exact amount of energy: Mantissa times ten to the Exponent, in
// kilowatt-hours.
type Energy struct {
	Mantissa int64
	Exponent int8
}

// String returns the kilowatt-hours in decimal with as many digits behind the
// point as the meter resolves.
func (e Energy) String() string {
	s := strconv.FormatInt(e.Mantissa, 10)
	if e.Exponent >= 0 {
		if e.Mantissa == 0 {
			return s
		}
		return s + strings.Repeat("0", int(e.Exponent))
	}
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	point := int(-e.Exponent)
	if len(s) <= point {
		s = strings.Repeat("0", point-len(s)+1) + s
	}
	return sign + s[:len(s)-point] + "." + s[len(s)-point:]
}

// WattHours returns the energy in watt-hours. ok is false if that is no whole
// number or exceeds 63 bits.
func (e Energy) WattHours() (wh int64, ok bool) {
	wh = e.Mantissa
	for x := e.Exponent + 3; x != 0; {
		if x > 0 {
			if wh > math.MaxInt64/10 || wh < math.MinInt64/10 {
				return 0, false
			}
			wh *= 10
			x--
			continue
		}
		if wh%10 != 0 {
			return 0, false
		}
		wh /= 10
		x++
	}
	return wh, true
}

// Scale turns register readings into energy.
type Scale struct {
	// Coefficient multiplies every reading (D3), at most 999,999. A meter without
	// D3 has 1, and so has the zero value.
	Coefficient uint32
	// Exponent is the power of ten of the unit in kilowatt-hours (E1), -4 to 4.
	Exponent int8
}

// Energy returns the energy of a reading: ErrNoData for NoData.
func (s Scale) Energy(c Count) (Energy, error) {
	switch {
	case c == NoData:
		return Energy{}, fmt.Errorf("meter: energy: %w", ErrNoData)
	case c > maxCount || s.Coefficient > maxCoefficient:
		return Energy{}, fmt.Errorf("meter: energy: %w", ErrRange)
	}
	return Energy{int64(c) * int64(max(1, s.Coefficient)), s.Exponent}, nil
}

const maxCoefficient = 999_999

// ParseCoefficient reads the data of D3.
func ParseCoefficient(edt []byte) (uint32, error) {
	if len(edt) != 4 {
		return 0, sizeError("coefficient", edt, 4)
	}
	v := binary.BigEndian.Uint32(edt)
	if v > maxCoefficient {
		return 0, fmt.Errorf("meter: coefficient: %w: %d", ErrRange, v)
	}
	return v, nil
}

// ParseDigits reads the data of D7, 1 to 8.
func ParseDigits(edt []byte) (int, error) {
	if len(edt) != 1 {
		return 0, sizeError("digits", edt, 1)
	}
	if edt[0] < 1 || edt[0] > 8 {
		return 0, fmt.Errorf("meter: digits: %w: %d", ErrRange, edt[0])
	}
	return int(edt[0]), nil
}

// ParseUnit reads the data of E1 and returns the power of ten of the unit in
// kilowatt-hours, -4 to 4.
func ParseUnit(edt []byte) (exponent int8, err error) {
	if len(edt) != 1 {
		return 0, sizeError("unit", edt, 1)
	}
	for x := int8(-4); x <= 4; x++ {
		if edt[0] == unitCode(x) {
			return x, nil
		}
	}
	return 0, fmt.Errorf("meter: unit: %w: %02X", ErrRange, edt[0])
}

// unitCode returns the code in E1 of 10^exponent kWh.
func unitCode(exponent int8) byte {
	if exponent > 0 {
		return 0x09 + byte(exponent)
	}
	return byte(-exponent)
}

// Power is instantaneous power in watts, negative when energy flows in the
// reverse direction.
type Power int32

// Codes of E7 that are no power.
const (
	NoPower        Power = math.MaxInt32 - 1
	PowerOverflow  Power = math.MaxInt32
	PowerUnderflow Power = math.MinInt32
)

// ParsePower reads the data of E7. err is ErrNoData, ErrOverflow or ErrUnderflow
// for the codes that say so.
func ParsePower(edt []byte) (Power, error) {
	if len(edt) != 4 {
		return NoPower, sizeError("power", edt, 4)
	}
	p := Power(int32(binary.BigEndian.Uint32(edt)))
	switch p {
	case NoPower:
		return p, fmt.Errorf("meter: power: %w", ErrNoData)
	case PowerOverflow:
		return p, fmt.Errorf("meter: power: %w", ErrOverflow)
	case PowerUnderflow:
		return p, fmt.Errorf("meter: power: %w", ErrUnderflow)
	}
	return p, nil
}

// Current is a current in tenths of an ampere.
type Current int16

// Codes of E8 that are no current. A single-phase two-wire meter has no current
// of phase T.
const (
	NoCurrent        Current = math.MaxInt16 - 1
	CurrentOverflow  Current = math.MaxInt16
	CurrentUnderflow Current = math.MinInt16
)

// Check returns ErrNoData, ErrOverflow or ErrUnderflow for the codes that say
// so.
func (c Current) Check() error {
	switch c {
	case NoCurrent:
		return fmt.Errorf("meter: current: %w", ErrNoData)
	case CurrentOverflow:
		return fmt.Errorf("meter: current: %w", ErrOverflow)
	case CurrentUnderflow:
		return fmt.Errorf("meter: current: %w", ErrUnderflow)
	}
	return nil
}

// String returns the amperes in decimal, such as "3.1".
func (c Current) String() string {
	return Energy{Mantissa: int64(c), Exponent: -1}.String()
}

// ParseCurrents reads the data of E8: the currents of phases R and T, each of
// which may be one of the codes that Check tells.
func ParseCurrents(edt []byte) (r, t Current, err error) {
	if len(edt) != 4 {
		return NoCurrent, NoCurrent, sizeError("currents", edt, 4)
	}
	return Current(int16(binary.BigEndian.Uint16(edt))), Current(int16(binary.BigEndian.Uint16(edt[2:]))), nil
}
