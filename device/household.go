package device

import (
	"math/rand/v2"
	"sync"
	"time"
)

// JST is the zone of meters in Japan. It has no daylight saving time, so that
// each day has 48 half hours.
var jst = time.FixedZone("JST", 9*60*60)

// historyDays is how far back the daily history of a meter goes (ECHONET Lite
// appendix, class 0x0288, EPC E5).
const historyDays = 99

// HouseholdConfig says what stands behind the meter. The zero value is a house
// with panels on its roof whose meter was installed 100 days ago.
type HouseholdConfig struct {
	// Seed tells one house from another. The same seed and the same day of
	// installation give the same load at the same instant, over restarts.
	Seed uint64
	// Installed is when the registers stood at zero; the midnight before it
	// counts. Default: 100 days before Now, which fills the history.
	Installed time.Time
	// SolarWatts is the peak power of the panels in W. Default 4000, negative
	// for none.
	SolarWatts int
	// Location says when a day begins. It must have no daylight saving time.
	// Default: UTC+9.
	Location *time.Location
	// Now is read only for the default of Installed. Default time.Now.
	Now func() time.Time
}

// Household simulates the load behind a meter: a house with its base load, its
// morning and its evening, and panels that export by day. It is a function of
// time alone, in whole watts for each minute and in watt seconds between
// them, so that registers, history and power agree to the last digit. Its methods may be
// called concurrently, and take some ten microseconds.
type Household struct {
	seed      uint64
	solar     int64
	installed time.Time

	mu     sync.Mutex       // guards what follows
	totals []registers      // at the beginning of each day since installed
	days   map[int]*dayLoad // some of those used last
}

// registers are what has passed the meter, in watt seconds.
type registers struct{ bought, sold int64 }

// NewHousehold returns the house that c describes.
func NewHousehold(c HouseholdConfig) *Household {
	if c.Location == nil {
		c.Location = jst
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Installed.IsZero() {
		c.Installed = c.Now().AddDate(0, 0, -historyDays-1)
	}
	switch {
	case c.SolarWatts == 0:
		c.SolarWatts = 4000
	case c.SolarWatts < 0:
		c.SolarWatts = 0
	}
	y, m, d := c.Installed.In(c.Location).Date()
	return &Household{
		seed:      c.Seed,
		solar:     int64(c.SolarWatts),
		installed: time.Date(y, m, d, 0, 0, 0, 0, c.Location),
		totals:    []registers{{}},
		days:      map[int]*dayLoad{},
	}
}

// Installed returns when the registers stood at zero: a midnight.
func (h *Household) Installed() time.Time { return h.installed }

// Power returns the power at t in W, positive when buying. ok is false before
// the meter was installed.
func (h *Household) Power(t time.Time) (watts int32, ok bool) {
	day, sec, ok := h.split(t)
	if !ok {
		return 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.day(day).watts[sec/60], true
}

// Energy returns what was bought and sold from the installation until t, in
// watt seconds: 3,600,000 are a kWh. ok is false before the installation.
func (h *Household) Energy(t time.Time) (bought, sold int64, ok bool) {
	day, sec, ok := h.split(t)
	if !ok {
		return 0, 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.at(day, sec)
	return r.bought, r.sold, true
}

// split returns the number of the day since installation and the second of it.
func (h *Household) split(t time.Time) (day, sec int, ok bool) {
	s := t.Unix() - h.installed.Unix()
	if s < 0 {
		return 0, 0, false
	}
	return int(s / daySeconds), int(s % daySeconds), true
}

// at is called with mu held.
func (h *Household) at(day, sec int) registers {
	for len(h.totals) <= day {
		last := len(h.totals) - 1
		h.totals = append(h.totals, h.totals[last].plus(h.day(last).until[dayMinutes]))
	}
	load, minute := h.day(day), sec/60
	r := h.totals[day].plus(load.until[minute])
	return r.plus(flow(int64(load.watts[minute]), int64(sec%60)))
}

func (r registers) plus(s registers) registers {
	return registers{r.bought + s.bought, r.sold + s.sold}
}

// flow returns what a constant power moves in some seconds.
func flow(watts, seconds int64) registers {
	if watts < 0 {
		return registers{sold: -watts * seconds}
	}
	return registers{bought: watts * seconds}
}

const (
	dayMinutes = 24 * 60
	daySeconds = dayMinutes * 60
	// daysKept bounds the memory: a day takes 30 kB, and is made in some ten
	// microseconds.
	daysKept = 4
)

// day returns the load of a day. It is called with mu held.
func (h *Household) day(n int) *dayLoad {
	if d, ok := h.days[n]; ok {
		return d
	}
	if len(h.days) >= daysKept {
		clear(h.days)
	}
	d := newDayLoad(rand.New(rand.NewPCG(h.seed, uint64(n))), h.installed.AddDate(0, 0, n).YearDay(), h.solar)
	h.days[n] = d
	return d
}

// Location returns the zone in which the days of the house begin.
func (h *Household) Location() *time.Location { return h.installed.Location() }
