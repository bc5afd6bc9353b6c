package meter

// Properties of class 0x0288 and those of the device super class that a meter
// has. The letters F and R are the releases of the appendix that introduced
// them; all others came before.
const (
	EPCStatus       byte = 0x80 // operation status
	EPCLocation     byte = 0x81 // installation location
	EPCVersion      byte = 0x82 // release of the appendix
	EPCFault        byte = 0x88 // fault status
	EPCFaultCode    byte = 0x89 // fault description
	EPCManufacturer byte = 0x8A // manufacturer code
	EPCSerial       byte = 0x8D // serial number
	EPCTime         byte = 0x97 // current time
	EPCDate         byte = 0x98 // current date

	EPCRouteBID    byte = 0xC0 // Route-B identification number (R)
	EPCMinute      byte = 0xD0 // cumulative energy, both directions, at the last minute (R)
	EPCCoefficient byte = 0xD3 // coefficient of every energy
	EPCDigits      byte = 0xD7 // effective digits of every energy
	EPCNormal      byte = 0xE0 // cumulative energy, normal direction
	EPCUnit        byte = 0xE1 // unit of every energy
	EPCDayNormal   byte = 0xE2 // history 1, normal direction: a day by half-hours
	EPCReverse     byte = 0xE3 // cumulative energy, reverse direction
	EPCDayReverse  byte = 0xE4 // history 1, reverse direction
	EPCDay         byte = 0xE5 // the day of history 1
	EPCPower       byte = 0xE7 // instantaneous power
	EPCCurrents    byte = 0xE8 // instantaneous currents
	EPCHalfNormal  byte = 0xEA // cumulative energy at the last half-hour, normal
	EPCHalfReverse byte = 0xEB // cumulative energy at the last half-hour, reverse
	EPCHistory2    byte = 0xEC // history 2: half-hours, both directions
	EPCHistory2At  byte = 0xED // time and number of items of history 2
	EPCHistory3    byte = 0xEE // history 3: minutes, both directions (R)
	EPCHistory3At  byte = 0xEF // time and number of items of history 3 (R)

	EPCEvidence  byte = 0xF0 // status of the event log
	EPCSeal      byte = 0xF1 // newest seal
	EPCCursor    byte = 0xF2 // what the windows show
	EPCWindow0   byte = 0xF3 // first of the four windows
	EPCWindow3   byte = 0xF6 // last of the four windows
	EPCChallenge byte = 0xF7 // challenge of the verifier
	EPCReceipt   byte = 0xF8 // receipt of the verifier
)
