package device_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/device"
)

const kWh = 3_600_000 // watt seconds

var install = time.Date(2025, 9, 1, 15, 20, 0, 0, time.UTC)

func house(t *testing.T, c device.HouseholdConfig) *device.Household {
	t.Helper()
	if c.Installed.IsZero() {
		c.Installed = install
	}
	return device.NewHousehold(c)
}

// energy fails the test before the installation.
func energy(t interface {
	Helper()
	Fatalf(string, ...any)
}, h *device.Household, at time.Time,
) (bought, sold int64) {
	t.Helper()
	bought, sold, ok := h.Energy(at)
	if !ok {
		t.Fatalf("no energy at %v", at)
	}
	return bought, sold
}

func TestHouseholdIsTheSameAfterARestart(t *testing.T) {
	a, b := house(t, device.HouseholdConfig{Seed: 7}), house(t, device.HouseholdConfig{Seed: 7})
	other := house(t, device.HouseholdConfig{Seed: 8})
	at := install.AddDate(0, 3, 4).Add(7 * time.Hour)
	// a is asked in another order than b, so that neither can depend on it.
	energy(t, a, at.AddDate(0, 2, 0))
	ab, as := energy(t, a, at)
	bb, bs := energy(t, b, at)
	if ab != bb || as != bs {
		t.Errorf("two houses of one seed: %d/%d and %d/%d", ab, as, bb, bs)
	}
	if ob, os := energy(t, other, at); ob == ab && os == as {
		t.Error("two seeds make one house")
	}
}

func TestHouseholdIsPlausible(t *testing.T) {
	h := house(t, device.HouseholdConfig{Seed: 1})
	bare := house(t, device.HouseholdConfig{Seed: 1, SolarWatts: -1})
	start := h.Installed()
	type band struct{ low, high float64 } // kWh a day
	var bought, sold, used, night, evening int64
	const days = 365
	for d := range days {
		day := start.AddDate(0, 0, d)
		b0, s0 := energy(t, h, day)
		b1, s1 := energy(t, h, day.AddDate(0, 0, 1))
		u0, x0 := energy(t, bare, day)
		u1, x1 := energy(t, bare, day.AddDate(0, 0, 1))
		if x0 != 0 || x1 != 0 {
			t.Fatal("a house without panels exports")
		}
		bought, sold, used = bought+b1-b0, sold+s1-s0, used+u1-u0
		n0, _ := energy(t, bare, day.Add(2*time.Hour))
		n1, _ := energy(t, bare, day.Add(4*time.Hour))
		e0, _ := energy(t, bare, day.Add(18*time.Hour))
		e1, _ := energy(t, bare, day.Add(20*time.Hour))
		night, evening = night+n1-n0, evening+e1-e0
		for m := 0; m < 24*60; m += 13 {
			if w, _ := h.Power(day.Add(time.Duration(m) * time.Minute)); w < -4000 || w > 8000 {
				t.Fatalf("%d W on day %d, minute %d", w, d, m)
			}
		}
		for _, hour := range []int{0, 3, 22} {
			if w, _ := h.Power(day.Add(time.Duration(hour) * time.Hour)); w <= 0 {
				t.Fatalf("the sun shines at %d:00 of day %d: %d W", hour, d, w)
			}
		}
	}
	for name, c := range map[string]struct {
		ws int64
		band
	}{
		"used": {used, band{8, 18}}, "bought": {bought, band{5, 14}}, "sold": {sold, band{4, 16}},
	} {
		if got := float64(c.ws) / kWh / days; got < c.low || got > c.high {
			t.Errorf("%s: %.1f kWh a day, want %.0f to %.0f", name, got, c.low, c.high)
		} else {
			t.Logf("%s: %.1f kWh a day", name, got)
		}
	}
	if evening < 3*night {
		t.Errorf("evening %d Ws, night %d Ws: no evening peak", evening, night)
	}
}

func TestHouseholdExportsMoreInSummer(t *testing.T) {
	h := house(t, device.HouseholdConfig{Seed: 3})
	sold := func(from time.Time) int64 {
		_, a := energy(t, h, from)
		_, b := energy(t, h, from.AddDate(0, 0, 30))
		return b - a
	}
	winter, summer := sold(time.Date(2025, 12, 5, 0, 0, 0, 0, time.UTC)), sold(time.Date(2026, 5, 20, 0, 0, 0, 0, time.UTC))
	if summer < winter*5/4 {
		t.Errorf("sold %d kWh in early summer, %d in winter", summer/kWh, winter/kWh)
	}
}

func TestHouseholdEnergyIsPowerOverTime(t *testing.T) {
	h := house(t, device.HouseholdConfig{Seed: 5})
	rapid.Check(t, func(t *rapid.T) {
		at := h.Installed().Add(time.Duration(rapid.IntRange(0, 400*24*3600).Draw(t, "second")) * time.Second)
		length := rapid.IntRange(1, 200).Draw(t, "length")
		b0, s0 := energy(t, h, at)
		b1, s1 := energy(t, h, at.Add(time.Duration(length)*time.Second))
		var wantB, wantS int64
		for i := range length {
			w, ok := h.Power(at.Add(time.Duration(i) * time.Second))
			if !ok {
				t.Fatal("no power")
			}
			if w > 0 {
				wantB += int64(w)
			} else {
				wantS -= int64(w)
			}
		}
		if b1-b0 != wantB || s1-s0 != wantS {
			t.Errorf("bought %d, sold %d; the power says %d, %d", b1-b0, s1-s0, wantB, wantS)
		}
	})
}

func TestHouseholdHasNoPast(t *testing.T) {
	h := house(t, device.HouseholdConfig{})
	before := h.Installed().Add(-time.Second)
	if _, ok := h.Power(before); ok {
		t.Error("power before the installation")
	}
	if _, _, ok := h.Energy(before); ok {
		t.Error("energy before the installation")
	}
	if b, s := energy(t, h, h.Installed()); b != 0 || s != 0 {
		t.Errorf("registers begin at %d, %d", b, s)
	}
}
