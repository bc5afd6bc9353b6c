package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// ErrHistory says that a meter did not give the day that it was asked for: it
// keeps no history that far back, or another controller asked for another day
// each time.
var ErrHistory = errors.New("controller: the meter does not show that day")

// Day is one day of history 1 (E2, E4): the registers at each half-hour from
// 00:00 to 23:30.
type Day struct {
	Ago int // days before the meter's present one
	// Year, Month and Date say which day it is by the meter's own clock, which
	// alone knows what "today" means to it; zero if the meter does not tell its
	// date.
	Year, Month, Date int
	Import            [meter.Slots]Slot
	Export            [meter.Slots]Slot // all without value if the meter counts one direction
}

// Slot is a register at one half-hour. OK is false where the meter has no
// value, as for what is still to come.
type Slot struct {
	Energy meter.Energy
	OK     bool
}

const historyTries = 3

// Day reads one day of history, 0 for today to 99 days ago. Start comes first.
// The cursor of the meter (E5) is set and read in one message where the meter
// takes that; the day that the history itself names is checked, and the meter's
// date before and after: around midnight, or beside another controller, the
// reading is repeated rather than laid on the wrong day.
func (r *Reader) Day(ctx context.Context, ago int) (Day, error) {
	if ago < 0 || ago > 99 {
		return Day{}, fmt.Errorf("controller: history of %d days ago: want 0 to 99", ago)
	}
	if !r.r.Scale.OK() {
		return Day{}, errors.New("controller: the unit of the meter's registers is not known: Start comes first")
	}
	for range historyTries {
		before, err := r.date(ctx)
		if err != nil {
			return Day{}, err
		}
		ps, err := r.selectDay(ctx, byte(ago))
		if err != nil {
			return Day{}, err
		}
		after, err := r.date(ctx)
		if err != nil {
			return Day{}, err
		}
		if d, ok := r.day(ps, ago); ok && before == after {
			return d.on(before), nil
		}
	}
	return Day{}, fmt.Errorf("%w: %d days ago", ErrHistory, ago)
}

// calendar is a meter's date; zero if it tells none.
type calendar struct{ year, month, day int }

func (r *Reader) date(ctx context.Context) (calendar, error) {
	if !r.r.Maps.Get.Has(meter.EPCDate) {
		return calendar{}, nil
	}
	ps, err := r.get(ctx, meter.EPCDate)
	if err != nil {
		return calendar{}, fmt.Errorf("controller: read the meter's date: %w", err)
	}
	edt, _ := echonet.Find(ps, meter.EPCDate)
	if y, m, d, err := meter.ParseDate(edt); err == nil {
		return calendar{y, m, d}, nil
	}
	return calendar{}, nil // a meter that does not know its date tells none
}

// selectDay points the meter's history at a day and reads it: in one message,
// or, if the meter does not take that, in two.
func (r *Reader) selectDay(ctx context.Context, ago byte) ([]echonet.Property, error) {
	epcs := r.offered(meter.EPCDayNormal, meter.EPCDayReverse)
	if len(epcs) == 0 {
		return nil, fmt.Errorf("%w: it keeps no history", ErrHistory)
	}
	ps, err := r.end.setGet(ctx, meter.EPCDay, []byte{ago}, epcs...)
	var sna *echonet.SNAError
	if err == nil || !errors.As(err, &sna) && !errors.Is(err, echonet.ErrTimeout) {
		return ps, err
	}
	if err := r.end.setC(ctx, meter.EPCDay, []byte{ago}); errors.As(err, &sna) {
		return nil, fmt.Errorf("%w: it refuses %d days ago", ErrHistory, ago)
	} else if err != nil {
		return nil, fmt.Errorf("controller: choose the day of the history: %w", err)
	}
	if ps, err = r.end.get(ctx, epcs...); errors.As(err, &sna) {
		err = nil
	}
	return ps, err
}

// day makes energy of what the meter showed; ok is false if it is of another
// day.
func (r *Reader) day(ps []echonet.Property, ago int) (d Day, ok bool) {
	d.Ago = ago
	for epc, slots := range map[byte]*[meter.Slots]Slot{meter.EPCDayNormal: &d.Import, meter.EPCDayReverse: &d.Export} {
		edt, found := echonet.Find(ps, epc)
		if !found || len(edt) == 0 {
			continue
		}
		h, err := meter.ParseDayHistory(edt)
		if err != nil || h.Day != ago {
			return Day{}, false
		}
		ok = true
		for i, c := range h.Counts {
			e, err := r.r.Scale.V.Energy(c)
			slots[i] = Slot{e, err == nil}
		}
	}
	return d, ok
}

// on lays the day on the calendar: so many days before the meter's today.
func (d Day) on(today calendar) Day {
	if today != (calendar{}) {
		t := meter.DateTime{Year: today.year, Month: today.month, Day: today.day - d.Ago}.In(time.UTC)
		d.Year, d.Month, d.Date = t.Year(), int(t.Month()), t.Day()
	}
	return d
}
