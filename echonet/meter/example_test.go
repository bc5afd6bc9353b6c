package meter_test

import (
	"fmt"

	"github.com/meterseal/meterseal/echonet/meter"
)

func Example() {
	// As read from a meter: E1, D3, D7, E0 and EA.
	unit, _ := meter.ParseUnit([]byte{0x01})
	coefficient, _ := meter.ParseCoefficient([]byte{0, 0, 0, 1})
	digits, _ := meter.ParseDigits([]byte{6})
	now, _ := meter.ParseCount([]byte{0, 0, 0, 5})
	half, _ := meter.ParseReading([]byte{0x07, 0xEA, 1, 2, 3, 30, 0, 0x00, 0x0F, 0x42, 0x3E})

	scale := meter.Scale{Coefficient: coefficient, Exponent: unit}
	energy, err := scale.Energy(half.Normal)
	fmt.Println(half.Time, energy, "kWh", err)

	used, _ := now.Since(half.Normal, digits) // over the wrap at 999999
	energy, err = scale.Energy(used)
	fmt.Println("since then", energy, "kWh", err)

	_, err = scale.Energy(meter.NoData)
	fmt.Println(err)
	// Output:
	// 2026-01-02 03:30:00 99999.8 kWh <nil>
	// since then 0.7 kWh <nil>
	// meter: energy: no data
}
