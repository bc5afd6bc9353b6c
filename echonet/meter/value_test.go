package meter_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/echonet/meter"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPower(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		want meter.Power
		err  error
	}{
		{"000001f8", 504, nil},
		{"ffffffff", -1, nil},
		{"7ffffffd", 2147483645, nil},
		{"80000001", -2147483647, nil},
		{"7ffffffe", meter.NoPower, meter.ErrNoData},
		{"7fffffff", meter.PowerOverflow, meter.ErrOverflow},
		{"80000000", meter.PowerUnderflow, meter.ErrUnderflow},
		{"", meter.NoPower, meter.ErrSize},
		{"01f8", meter.NoPower, meter.ErrSize},
	} {
		if got, err := meter.ParsePower(unhex(t, tc.hex)); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %d, %v, want %d, %v", tc.hex, got, err, tc.want, tc.err)
		}
	}
}

func TestCurrents(t *testing.T) {
	r, tt, err := meter.ParseCurrents(unhex(t, "0014001f"))
	if err != nil || r.String() != "2.0" || tt.String() != "3.1" {
		t.Errorf("got %v A, %v A, %v", r, tt, err)
	}
	if got := meter.Current(-5).String(); got != "-0.5" {
		t.Errorf("got %s", got)
	}
	for _, tc := range []struct {
		c    meter.Current
		want error
	}{
		{32765, nil},
		{-32767, nil},
		{meter.NoCurrent, meter.ErrNoData},
		{meter.CurrentOverflow, meter.ErrOverflow},
		{meter.CurrentUnderflow, meter.ErrUnderflow},
	} {
		if got := tc.c.Check(); !errors.Is(got, tc.want) {
			t.Errorf("%d: got %v, want %v", tc.c, got, tc.want)
		}
	}
	if _, _, err := meter.ParseCurrents(nil); !errors.Is(err, meter.ErrSize) {
		t.Errorf("got %v, want ErrSize", err)
	}
}

func TestCount(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		want meter.Count
		err  error
	}{
		{"0001e240", 123456, nil},
		{"05f5e0ff", 99_999_999, nil},
		{"05f5e100", meter.NoData, meter.ErrRange},
		{"fffffffe", meter.NoData, nil},
		{"ffffffff", meter.NoData, meter.ErrRange},
		{"", meter.NoData, meter.ErrSize},
	} {
		if got, err := meter.ParseCount(unhex(t, tc.hex)); got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: got %d, %v, want %d, %v", tc.hex, got, err, tc.want, tc.err)
		}
	}
	if _, err := (meter.Scale{}).Energy(meter.NoData); !errors.Is(err, meter.ErrNoData) {
		t.Errorf("got %v, want ErrNoData", err)
	}
	if _, ok := meter.NoData.Since(1, 8); ok {
		t.Error("no data since a reading")
	}
}

func TestUnitsAndDigits(t *testing.T) {
	want := map[byte]int8{0: 0, 1: -1, 2: -2, 3: -3, 4: -4, 0x0A: 1, 0x0B: 2, 0x0C: 3, 0x0D: 4}
	for code := range 256 {
		got, err := meter.ParseUnit([]byte{byte(code)})
		w, ok := want[byte(code)]
		if ok != (err == nil) || got != w {
			t.Errorf("unit %02X: got %d, %v", code, got, err)
		}
		d, err := meter.ParseDigits([]byte{byte(code)})
		if (err == nil) != (code >= 1 && code <= 8) || err == nil && d != code {
			t.Errorf("digits %d: got %d, %v", code, d, err)
		}
	}
	if _, err := meter.ParseCoefficient(unhex(t, "000f4240")); !errors.Is(err, meter.ErrRange) {
		t.Errorf("got %v, want ErrRange", err)
	}
}

// Energy against math/big: exact, at every unit.
func TestEnergyIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := meter.Count(rapid.Uint64Range(0, 99_999_999).Draw(t, "count"))
		s := meter.Scale{
			Coefficient: rapid.Uint32Range(0, 999_999).Draw(t, "coefficient"),
			Exponent:    rapid.Int8Range(-4, 4).Draw(t, "exponent"),
		}
		e, err := s.Energy(c)
		if err != nil {
			t.Fatal(err)
		}
		want := new(big.Rat).SetUint64(uint64(c) * uint64(max(1, s.Coefficient)))
		for x := s.Exponent; x < 0; x++ {
			want.Quo(want, big.NewRat(10, 1))
		}
		for x := s.Exponent; x > 0; x-- {
			want.Mul(want, big.NewRat(10, 1))
		}
		got, ok := new(big.Rat).SetString(e.String())
		if !ok || got.Cmp(want) != 0 {
			t.Fatalf("got %s, want %v", e, want)
		}
		wh := new(big.Rat).Mul(want, big.NewRat(1000, 1))
		n, ok := e.WattHours()
		fits := wh.IsInt() && wh.Num().IsInt64()
		if ok != fits || ok && new(big.Rat).SetInt64(n).Cmp(wh) != 0 {
			t.Fatalf("got %d Wh, %v, want %v", n, ok, wh)
		}
	})
}

func TestDefaultsOfHistoriesParse(t *testing.T) {
	h, err := meter.ParseHistory(unhex(t, "ffffffffffff01fffffffefffffffe"), meter.History3Step, meter.History3Items)
	if err != nil || h.N != 0 || len(h.Items) != 1 || h.Items[0].Normal != meter.NoData {
		t.Errorf("got %+v, %v", h, err)
	}
	d, err := meter.ParseDayHistory(append([]byte{0, 0xFF}, bytes.Repeat([]byte{0xFF, 0xFF, 0xFF, 0xFE}, 48)...))
	if err != nil || d.Day != meter.NoDay {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestReadingVector(t *testing.T) {
	r, err := meter.ParseReading(unhex(t, "07ea0102031e000001e23a"))
	if err != nil || r.Time.String() != "2026-01-02 03:30:00" || r.Normal != 123450 || r.Reverse != meter.NoData {
		t.Errorf("got %+v, %v", r, err)
	}
	if got := r.Time.In(jst); !got.Equal(time.Date(2026, 1, 1, 18, 30, 0, 0, time.UTC)) {
		t.Errorf("got %v", got)
	}
	for _, s := range []string{"", "07ea0102031e00", "07ea0d02031e000001e23a", "ffffffffffffff0001e23a"} {
		if got, err := meter.ParseReading(unhex(t, s)); err == nil {
			t.Errorf("%s: got %+v, want an error", s, got)
		}
	}
}

func TestTimeAndDate(t *testing.T) {
	if h, m, err := meter.ParseTime([]byte{7, 15}); h != 7 || m != 15 || err != nil {
		t.Errorf("got %d:%d, %v", h, m, err)
	}
	if y, m, d, err := meter.ParseDate([]byte{0x07, 0xE8, 2, 29}); y != 2024 || m != 2 || d != 29 || err != nil {
		t.Errorf("got %d-%d-%d, %v", y, m, d, err)
	}
	for _, bad := range [][]byte{nil, {24, 0}, {0, 60}, {1}} {
		if _, _, err := meter.ParseTime(bad); err == nil {
			t.Errorf("time % X: no error", bad)
		}
	}
	for _, bad := range [][]byte{nil, {0, 0, 1, 1}, {0x07, 0xE9, 2, 29}, {0x07, 0xE9, 13, 1}, {0x07, 0xE9, 1, 0}} {
		if _, _, _, err := meter.ParseDate(bad); err == nil {
			t.Errorf("date % X: no error", bad)
		}
	}
}

// The clock can be set only where that is configured.
func TestSetClock(t *testing.T) {
	src := &house{now: noon}
	c := meter.Config{Source: src, SetClock: func(to time.Time) bool {
		src.change(func(h *house) { h.now = to })
		return true
	}}
	r := newRig(t, c)
	if !r.set(meter.EPCTime, 7, 15) || !r.set(meter.EPCDate, 0x07, 0xE8, 2, 29) {
		t.Error("refused")
	}
	r.want(meter.EPCTime, "070f")
	r.want(meter.EPCDate, "07e8021d")
	if r.set(meter.EPCTime, 24, 0) || r.set(meter.EPCDate, 0x07, 0xE9, 2, 29) {
		t.Error("nonsense was accepted")
	}
	if newRig(t, meter.Config{}).set(meter.EPCTime, 7, 15) {
		t.Error("accepted by a meter whose clock is its own")
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]meter.Config{
		"no source":       {},
		"release":         {Source: &house{}, Release: 'Q'},
		"digits":          {Source: &house{}, Digits: 9},
		"negative digits": {Source: &house{}, Digits: -1},
		"unit":            {Source: &house{}, Scale: meter.Scale{Exponent: 5}},
		"coefficient":     {Source: &house{}, Scale: meter.Scale{Coefficient: 1_000_000}},
		"location":        {Source: &house{}, Location: []byte{1}},
		"serial number":   {Source: &house{}, Identity: identityOf("MS00000000001")},
	} {
		if _, err := meter.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
