package meter

import "time"

// Source is the measuring part of a meter. It is called while a message is
// answered: its methods return at once and may be called concurrently.
type Source interface {
	// Clock returns the meter's time, in the location whose time it shows.
	Clock() time.Time
	// Energy returns the registers now. They count up without end; the meter
	// shows as many digits as it has.
	Energy() Pair
	// EnergyAt returns the registers as they were at t, a full minute that is not
	// in the future: every half-hour of the last 99 days, and every minute of the
	// last ten. What is not known is NoData.
	EnergyAt(t time.Time) Pair
	// Power returns the instantaneous power, or NoPower, PowerOverflow or
	// PowerUnderflow.
	Power() Power
	// Currents returns the currents of phases R and T, or the codes of Current.
	Currents() (r, t Current)
	// Fault returns what is wrong as the code of property 89, such as one of 005A
	// to 006E for the control circuit; 0 if nothing is.
	Fault() uint16
}
