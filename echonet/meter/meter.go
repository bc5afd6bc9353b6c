package meter

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// Config is what a Meter is made of.
type Config struct {
	// Source gives the readings. Required.
	Source Source
	// Evidence is behind F0 to F8; nil for a meter without them.
	Evidence Evidence
	// Release is the release of the appendix that the meter follows: 'F', the
	// installed fleet, or 'R', which adds C0, D0, EE and EF. Default 'R'.
	Release byte
	// Identity is what the meter says of its make; the node profile has the same.
	Identity echonet.Identity
	// Scale is the unit (E1) and the coefficient (D3) of the registers. Without a
	// coefficient there is no D3.
	Scale Scale
	// Digits is how many digits the registers have, 1 to 8. Default 8.
	Digits int
	// Reverse adds the registers of the reverse direction (E3, E4, EB).
	Reverse bool
	// History2 adds EC and ED.
	History2 bool
	// TwoWire makes a single-phase two-wire meter, which has no current of phase
	// T.
	TwoWire bool
	// Location is the installation location (81), 1 or 17 bytes. Default 00, not
	// set. OnLocation, if not nil, is told when another node changes it, so that
	// it survives a restart; it returns at once.
	Location   []byte
	OnLocation func(edt []byte)
	// SetClock, if not nil, lets other nodes set time and date (97, 98). It
	// returns at once whether the time was accepted. ECHONET Lite knows nobody by
	// more than an address: a meter whose log is evidence leaves it nil.
	SetClock func(t time.Time) bool
	// Now is the clock by which cursors expire. Default time.Now.
	Now func() time.Time
}

// Meter is an echonet.Object: a low-voltage smart electric energy meter.
type Meter struct {
	cfg     Config
	maps    echonet.PropertyMaps
	cursors cursors

	mu    sync.Mutex // guards state
	state state
}

// state is what other nodes can write.
type state struct {
	location []byte // replaced, never written to
	day      int    // E5
	half     Span   // ED
	minute   Span   // EF
}

// New returns a meter.
func New(c Config) (*Meter, error) {
	if c.Release == 0 {
		c.Release = 'R'
	}
	if c.Digits == 0 {
		c.Digits = 8
	}
	if c.Location == nil {
		c.Location = []byte{0}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("meter: config: %w", err)
	}
	m := &Meter{cfg: c, state: state{location: bytes.Clone(c.Location), day: NoDay}}
	m.maps = c.properties()
	return m, nil
}

func (c Config) check() error {
	switch {
	case c.Source == nil:
		return errors.New("no source")
	case c.Release != 'F' && c.Release != 'R':
		return fmt.Errorf("release %q: want F or R", c.Release)
	case c.Digits < 1 || c.Digits > 8:
		return fmt.Errorf("%d digits: want 1 to 8", c.Digits)
	case c.Scale.Exponent < -4 || c.Scale.Exponent > 4:
		return fmt.Errorf("unit 10^%d kWh: want 10^-4 to 10^4", c.Scale.Exponent)
	case c.Scale.Coefficient > maxCoefficient:
		return fmt.Errorf("coefficient %d: want at most %d", c.Scale.Coefficient, maxCoefficient)
	case len(c.Identity.Serial) > 12:
		return fmt.Errorf("serial number %q: want at most 12 characters", c.Identity.Serial)
	case !echonet.ValidLocation(c.Location):
		return fmt.Errorf("location % X: want 1 byte, or 17 that begin with 01", c.Location)
	}
	return nil
}

// properties returns the property maps.
func (c Config) properties() echonet.PropertyMaps {
	m := echonet.PropertyMaps{
		Announce: echonet.SetOf(EPCStatus, EPCLocation, EPCFault, EPCHalfNormal),
		Set:      echonet.SetOf(EPCLocation, EPCDay),
		Get: echonet.SetOf(EPCStatus, EPCLocation, EPCVersion, EPCFault, EPCFaultCode, EPCManufacturer,
			EPCTime, EPCDate, EPCDigits, EPCNormal, EPCUnit, EPCDayNormal, EPCDay, EPCPower, EPCCurrents,
			EPCHalfNormal, echonet.EPCAnnounceMap, echonet.EPCSetMap, echonet.EPCGetMap),
	}
	if c.Identity.Serial != "" {
		m.Get.Add(EPCSerial)
	}
	if c.SetClock != nil {
		m.Set.Add(EPCTime, EPCDate)
	}
	if c.Scale.Coefficient != 0 {
		m.Get.Add(EPCCoefficient)
	}
	if c.Reverse {
		m.Get.Add(EPCReverse, EPCDayReverse, EPCHalfReverse)
		m.Announce.Add(EPCHalfReverse)
	}
	if c.History2 {
		m.Get.Add(EPCHistory2, EPCHistory2At)
		m.Set.Add(EPCHistory2At)
	}
	if c.Release == 'R' {
		m.Get.Add(EPCRouteBID, EPCMinute, EPCHistory3, EPCHistory3At)
		m.Set.Add(EPCHistory3At)
	}
	if c.Evidence != nil {
		m.Announce.Add(EPCEvidence)
		m.Set.Add(EPCCursor, EPCChallenge, EPCReceipt)
		for epc := EPCEvidence; epc <= EPCReceipt; epc++ {
			m.Get.Add(epc)
		}
	}
	return m
}

// EOJ implements echonet.Object.
func (m *Meter) EOJ() echonet.EOJ { return echonet.LowVoltageMeter }

// Properties implements echonet.Object.
func (m *Meter) Properties() echonet.PropertyMaps { return m.maps }

// Begin implements echonet.Object. What a message reads belongs together: it sees
// one time and one state.
func (m *Meter) Begin(req echonet.Request) echonet.Access {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &access{m: m, req: req, now: m.cfg.Source.Clock(), state: m.state}
}
