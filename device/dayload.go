package device

import "math/rand/v2"

// dayLoad is one day of a household.
type dayLoad struct {
	watts [dayMinutes]int32         // of each minute, positive when buying
	until [dayMinutes + 1]registers // since midnight, at the beginning of each minute
}

// newDayLoad makes the day out of its random numbers. All arithmetic is in
// integers, so that the same house is the same on every processor.
func newDayLoad(rng *rand.Rand, yearDay int, solar int64) *dayLoad {
	var use [dayMinutes]int64
	addBase(&use, rng)
	addAppliances(&use, rng)
	addClimate(&use, rng, yearDay)
	d := new(dayLoad)
	roof := newRoof(rng, yearDay, solar)
	for m := range use {
		net := use[m] - roof.watts(int64(m), rng)
		d.watts[m] = int32(net)
		d.until[m+1] = d.until[m].plus(flow(net, 60))
	}
	return d
}

// hourly is what lamps, standby and small things draw at each full hour, in W:
// little by night, a peak at breakfast, a broad one in the evening.
var hourly = [25]int64{
	190, 150, 130, 120, 120, 140, 260, 420, 380, 260, 220, 220,
	260, 230, 210, 220, 270, 380, 520, 600, 560, 480, 380, 270, 190,
}

// addBase adds the standing load, and a refrigerator whose compressor runs 14 minutes of 40.
func addBase(use *[dayMinutes]int64, rng *rand.Rand) {
	scale := 85 + rng.Int64N(31) // percent
	phase := rng.IntN(40)
	for m := range use {
		h, past := m/60, int64(m%60)
		level := hourly[h]*(60-past) + hourly[h+1]*past
		use[m] += level*scale/6000 + rng.Int64N(25)
		if (m+phase)%40 < 14 {
			use[m] += 95
		}
	}
}

// appliance is something that is switched on some times a day.
type appliance struct {
	watts      int64
	minutes    int // how long it runs
	from, span int // minute of the day when it may begin, and for how long
	percent    int // probability
}

var appliances = []appliance{
	{1200, 4, 6 * 60, 90, 90},      // kettle
	{1000, 5, 6*60 + 30, 60, 70},   // microwave oven
	{900, 3, 7 * 60, 45, 80},       // toaster
	{1100, 10, 7 * 60, 60, 60},     // hair dryer
	{450, 45, 9 * 60, 120, 60},     // washing machine
	{800, 20, 10 * 60, 180, 40},    // vacuum cleaner
	{1000, 4, 12 * 60, 50, 60},     // microwave oven
	{1800, 25, 17*60 + 30, 90, 85}, // induction hob
	{1000, 8, 18 * 60, 90, 70},     // microwave oven
	{700, 50, 18 * 60, 40, 90},     // rice cooker
	{1100, 12, 20 * 60, 150, 75},   // hair dryer
	{750, 60, 20 * 60, 60, 50},     // dishwasher
	{1200, 4, 21 * 60, 60, 50},     // kettle
}

func addAppliances(use *[dayMinutes]int64, rng *rand.Rand) {
	for _, a := range appliances {
		begin, runs := a.from+rng.IntN(a.span), rng.IntN(100) < a.percent
		for m := begin; runs && m < min(begin+a.minutes, dayMinutes); m++ {
			use[m] += a.watts
		}
	}
}

// addClimate adds an air conditioner: it heats in winter, cools in summer, and
// rests in between. It runs in the morning and from the afternoon until bed
// time.
func addClimate(use *[dayMinutes]int64, rng *rand.Rand, yearDay int) {
	need := climateNeed(yearDay) * (70 + rng.Int64N(61)) / 100 // W
	morning, evening := 6*60+rng.IntN(40), 15*60+rng.IntN(180)
	for m := range use {
		if m >= morning && m < morning+120 || m >= evening && m < 23*60 {
			use[m] += need + need*rng.Int64N(21)/100
		}
	}
}

// climateNeed returns a mean power in W: 750 in late January, 600 in early
// August, nothing in spring and autumn.
func climateNeed(yearDay int) int64 {
	cold := apart(yearDay, 25)
	hot := apart(yearDay, 215)
	return max(0, 750-cold*10) + max(0, 600-hot*12)
}

// apart returns how many days lie between two days of the year, at most 182.
func apart(a, b int) int64 {
	d := (a - b + 365) % 365
	return int64(min(d, 365-d))
}

// roof is the photovoltaic plant of a day.
type roof struct {
	peak       int64 // W at noon without a cloud
	rise, last int64 // minute of sunrise, minutes of daylight
	clear      int64 // percent of the light that the day lets through
	cloud      int64 // percent of light behind the present cloud
}

// newRoof fits the plant to the season at 35 degrees north: 9 h 40 min of
// daylight in December, 14 h 30 min in June.
func newRoof(rng *rand.Rand, yearDay int, solar int64) *roof {
	summer := 182 - apart(yearDay, 172) // 0 in winter to 182
	last := 580 + summer*290/182
	weather := 20 + rng.Int64N(81)
	return &roof{
		peak:  solar * (60 + summer*25/182) / 100,
		rise:  11*60 + 50 - last/2,
		last:  last,
		clear: weather,
		cloud: 100,
	}
}

// watts returns the power of the plant: a parabola over the day, dented by
// clouds. It uses the same count of random numbers by day and by night.
func (r *roof) watts(minute int64, rng *rand.Rand) int64 {
	change, depth := rng.Int64N(100), rng.Int64N(60)
	if change < 6 {
		r.cloud = 100 - depth*(120-r.clear)/100
	}
	x := minute - r.rise
	if x <= 0 || x >= r.last {
		return 0
	}
	return r.peak * 4 * x * (r.last - x) / (r.last * r.last) * r.clear / 100 * r.cloud / 100
}
