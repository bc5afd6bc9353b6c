package device

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// Codes of property 89, from the range of the control circuit, and what they
// mean here.
const (
	faultModule uint16 = 0x005A // the secure element does not answer
	faultStore  uint16 = 0x005B // the log cannot be written
)

// wattSecondsPerCount turns energy into the registers' unit of 0.01 kWh.
const wattSecondsPerCount = 36_000

// scale is how the registers are read: 0.01 kWh each.
var scale = meter.Scale{Coefficient: 1, Exponent: -2}

// readings is the measuring part of the meter. The household lives by uptime,
// so that its registers never go back, whatever happens to a clock; history is
// labelled by the meter's clock.
type readings struct {
	m     *Meter
	home  *Household
	began time.Time // instant of the household's life at uptime 0
}

var _ meter.Source = (*readings)(nil)

func newReadings(m *Meter) *readings {
	return &readings{m: m, home: NewHousehold(m.cfg.Household), began: m.cfg.Now().Round(0).Add(-m.cfg.Uptime())}
}

// now returns the instant of the household's life.
func (r *readings) now() time.Time { return r.began.Add(r.m.cfg.Uptime()) }

// Clock implements meter.Source.
func (r *readings) Clock() time.Time { return r.m.Clock() }

// Energy implements meter.Source.
func (r *readings) Energy() meter.Pair { return r.pair(r.now()) }

// EnergyAt implements meter.Source. The two clocks are read one after the other,
// so what lies between them is only known to the second.
func (r *readings) EnergyAt(t time.Time) meter.Pair {
	ahead := r.m.Clock().Sub(r.now()).Round(time.Second)
	return r.pair(t.Add(-ahead))
}

func (r *readings) pair(t time.Time) meter.Pair {
	bought, sold, ok := r.home.Energy(t)
	if !ok {
		return meter.Pair{Normal: meter.NoData, Reverse: meter.NoData}
	}
	return meter.Pair{Normal: meter.Count(bought / wattSecondsPerCount), Reverse: meter.Count(sold / wattSecondsPerCount)}
}

// Power implements meter.Source.
func (r *readings) Power() meter.Power {
	w, ok := r.home.Power(r.now())
	if !ok {
		return meter.NoPower
	}
	return meter.Power(w)
}

// Currents implements meter.Source. The house has two phases of 100 V, of
// which R carries a little more.
func (r *readings) Currents() (phaseR, phaseT meter.Current) {
	w, ok := r.home.Power(r.now())
	if !ok {
		return meter.NoCurrent, meter.NoCurrent
	}
	tenths := w / 10 // W at 100 V, in 0.1 A
	phaseT = meter.Current(tenths * 45 / 100)
	return meter.Current(tenths) - phaseT, phaseT
}

// Fault implements meter.Source.
func (r *readings) Fault() uint16 { return r.m.fault() }

// seedOf makes a household of its own for each meter.
func seedOf(id eventlog.MeterID) uint64 {
	h := fnv.New64a()
	h.Write(id[:])
	return binary.BigEndian.Uint64(h.Sum(nil))
}
