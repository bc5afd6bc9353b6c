// Package meter is the low-voltage smart electric energy meter, ECHONET Lite
// class 0x0288: the values of its properties for those who read a meter, and an
// object that serves them for those who are one.
//
// Energy is never a floating point number. A register counts units; D3
// (coefficient) and E1 (unit) make kilowatt-hours of it, exactly:
//
//	scale := meter.Scale{Coefficient: 1, Exponent: -1}   // from D3 and E1
//	count, err := meter.ParseCount(edt)                  // from E0
//	energy, err := scale.Energy(count)
//	fmt.Println(energy)                                  // "12345.6"
//
// Vendor properties F0 to F8 carry the evidence of a signed event log; see
// Evidence and Cursor.
package meter
