package explain

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// Value is the data of a property in words.
type Value struct {
	Text string `json:"text"`           // the value; hexadecimal if nothing is known of it
	Unit string `json:"unit,omitempty"` // of Text, if it is a number
}

// String returns the text with its unit.
func (v Value) String() string {
	if v.Unit == "" {
		return v.Text
	}
	return v.Text + " " + v.Unit
}

// Describe puts the data of a property into words. Data that does not have the
// form of its property is shown in hexadecimal, and said to be so.
func Describe(o echonet.EOJ, epc byte, edt []byte) Value {
	if len(edt) == 0 {
		return Value{Text: "no data"}
	}
	p := lookup(o, epc)
	if p.describe == nil {
		return Value{Text: hex.EncodeToString(edt)}
	}
	if v, ok := p.describe(edt); ok {
		return v
	}
	return Value{Text: hex.EncodeToString(edt) + " (not the form of this property)"}
}

func codes(names map[byte]string) describer {
	return func(edt []byte) (Value, bool) {
		name, ok := names[edt[0]]
		return Value{Text: name}, ok && len(edt) == 1
	}
}

func unsigned(unit string) describer {
	return func(edt []byte) (Value, bool) {
		if len(edt) > 8 {
			return Value{}, false
		}
		n := uint64(0)
		for _, b := range edt {
			n = n<<8 | uint64(b)
		}
		return Value{fmt.Sprint(n), unit}, true
	}
}

func ascii(edt []byte) (Value, bool) {
	for _, b := range edt {
		if b != 0 && (b < ' ' || b > '~') {
			return Value{}, false
		}
	}
	return Value{Text: strings.TrimRight(string(edt), " \x00")}, true
}

func utf8Text(edt []byte) (Value, bool) {
	for _, r := range string(edt) {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return Value{}, false
		}
	}
	return Value{Text: string(edt)}, true
}

func release(edt []byte) (Value, bool) {
	if len(edt) != 4 || edt[2] < 'A' || edt[2] > 'z' {
		return Value{}, false
	}
	return Value{Text: fmt.Sprintf("release %c, revision %d", edt[2], edt[3])}, true
}

func profileVersion(edt []byte) (Value, bool) {
	if len(edt) != 4 {
		return Value{}, false
	}
	return Value{Text: fmt.Sprintf("%d.%d, message types %02x", edt[0], edt[1], edt[2])}, true
}

func clock(edt []byte) (Value, bool) {
	h, m, err := meter.ParseTime(edt)
	return Value{Text: fmt.Sprintf("%02d:%02d", h, m)}, err == nil
}

func date(edt []byte) (Value, bool) {
	y, m, d, err := meter.ParseDate(edt)
	return Value{Text: fmt.Sprintf("%04d-%02d-%02d", y, m, d)}, err == nil
}

func propertyMap(edt []byte) (Value, bool) {
	set, err := echonet.ParsePropertyMap(edt)
	if err != nil {
		return Value{}, false
	}
	return Value{Text: fmt.Sprintf("%d properties: % X", set.Len(), set.EPCs())}, true
}

func instances(edt []byte) (Value, bool) {
	list, err := echonet.ParseInstanceList(edt)
	if err != nil {
		return Value{}, false
	}
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.String()
	}
	return Value{Text: fmt.Sprintf("%d instances: %s", len(list), strings.Join(names, " "))}, true
}

func classes(edt []byte) (Value, bool) {
	if len(edt) != 1+2*int(edt[0]) {
		return Value{}, false
	}
	names := make([]string, edt[0])
	for i := range names {
		names[i] = fmt.Sprintf("%04X", binary.BigEndian.Uint16(edt[1+2*i:]))
	}
	return Value{Text: fmt.Sprintf("%d classes: %s", edt[0], strings.Join(names, " "))}, true
}

func power(edt []byte) (Value, bool) {
	p, err := meter.ParsePower(edt)
	return numberOr(err, fmt.Sprint(int32(p)), "W")
}

func currents(edt []byte) (Value, bool) {
	r, t, err := meter.ParseCurrents(edt)
	if err != nil {
		return Value{}, false
	}
	return Value{Text: fmt.Sprintf("R %s, T %s", current(r), current(t))}, true
}

func current(c meter.Current) string {
	if err := c.Check(); err != nil {
		return special(err)
	}
	return c.String() + " A"
}

// numberOr returns the number, or what a code says that stands in its place.
func numberOr(err error, text, unit string) (Value, bool) {
	switch {
	case err == nil:
		return Value{text, unit}, true
	case errors.Is(err, meter.ErrNoData), errors.Is(err, meter.ErrOverflow), errors.Is(err, meter.ErrUnderflow):
		return Value{Text: special(err)}, true
	}
	return Value{}, false
}

// special names the code that stands in place of a number.
func special(err error) string {
	switch {
	case errors.Is(err, meter.ErrOverflow):
		return "overflow"
	case errors.Is(err, meter.ErrUnderflow):
		return "underflow"
	}
	return "no data"
}

// countUnit: a register's unit is another property's value.
const countUnit = "counts of unit E1"

func countText(c meter.Count) string {
	if c == meter.NoData {
		return "no data"
	}
	return fmt.Sprint(uint64(c))
}

func count(edt []byte) (Value, bool) {
	c, err := meter.ParseCount(edt)
	if err != nil {
		return Value{}, false
	}
	if c == meter.NoData {
		return Value{Text: "no data"}, true
	}
	return Value{countText(c), countUnit}, true
}

func unit(edt []byte) (Value, bool) {
	x, err := meter.ParseUnit(edt)
	return Value{meter.Energy{Mantissa: 1, Exponent: x}.String(), "kWh"}, err == nil
}

func day(edt []byte) (Value, bool) {
	switch {
	case len(edt) != 1 || edt[0] > 99 && edt[0] != meter.NoDay:
		return Value{}, false
	case edt[0] == meter.NoDay:
		return Value{Text: "never set"}, true
	}
	return Value{fmt.Sprint(edt[0]), "days ago"}, true
}

func reading(edt []byte) (Value, bool) {
	r, err := meter.ParseReading(edt)
	if err != nil {
		return Value{}, false
	}
	text := fmt.Sprintf("%v: %s", r.Time, countText(r.Normal))
	if len(edt) == 15 {
		text += ", reverse " + countText(r.Reverse)
	}
	return Value{text, countUnit}, true
}

func dayHistory(edt []byte) (Value, bool) {
	h, err := meter.ParseDayHistory(edt)
	if err != nil {
		return Value{}, false
	}
	known := 0
	for _, c := range h.Counts {
		if c != meter.NoData {
			known++
		}
	}
	text := fmt.Sprintf("%d days ago, %d of 48 half-hours", h.Day, known)
	if h.Day == meter.NoDay {
		text = "day never set"
	}
	if known > 0 {
		first, last := 0, meter.Slots-1
		for h.Counts[first] == meter.NoData {
			first++
		}
		for h.Counts[last] == meter.NoData {
			last--
		}
		text += fmt.Sprintf(", %02d:%02d %s to %02d:%02d %s", first/2, first%2*30, countText(h.Counts[first]), last/2, last%2*30, countText(h.Counts[last]))
	}
	return Value{text, countUnit}, true
}

func span2(edt []byte) (Value, bool) { return span(edt, meter.History2Step, meter.History2Items) }

func span3(edt []byte) (Value, bool) { return span(edt, meter.History3Step, meter.History3Items) }

func span(edt []byte, step time.Duration, most int) (Value, bool) {
	s, err := meter.ParseSpan(edt, step, most)
	switch {
	case err != nil:
		return Value{}, false
	case s.N == 0:
		return Value{Text: "never set"}, true
	}
	return Value{Text: fmt.Sprintf("%d items back from %v", s.N, s.From)}, true
}

// history shows what histories 2 and 3 begin with: the span.
func history(head describer) describer {
	return func(edt []byte) (Value, bool) {
		if len(edt) < 7 || len(edt) != 7+8*int(edt[6]) {
			return Value{}, false
		}
		return head(edt[:7])
	}
}
