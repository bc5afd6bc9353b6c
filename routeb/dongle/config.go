package dongle

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/meterseal/meterseal/routeb"
)

// Config says what a dongle is and what is in its reach. The zero value is a BP35A1 that hears no meter.
type Config struct {
	// Model defaults to BP35A1.
	Model Model
	// Meters are in reach. No two may have one MAC address.
	Meters []*Meter
	// Speed divides every time that the dongle takes, waits or lets pass. Default 1.
	Speed float64
	// EchoOff starts the dongle with register SFE at 0, as an earlier host may have left it. A reset sets it to 1.
	EchoOff bool
	// Data is how received data is written at the start: "binary" (WOPT 00) or "hex" (WOPT 01). Default: as the model
	// comes from the factory. The RL7023 Stick-D/IPS writes hex always.
	Data string
	// Version and Firmware are the answers to SKVER and SKAPPVER. Default: those of the model.
	Version, Firmware string
	// ExtraLines adds the lines that firmware rev26e writes beyond others. A BP35A1 does it anyway.
	ExtraLines bool
	// Baud is the rate in bit/s at which the dongle starts, one of those that WUART can set. It is understood at no
	// other, where the line has a rate. 0 = at any, until WUART has set one; it writes at the pace of 115200.
	Baud int
	// MAC is the dongle's own address. Default 00005EEF10000001.
	MAC routeb.EUI64
	// Uplink and Downlink are the times that a datagram takes to the meter and back. Default 200 ms and 400 ms, with
	// which a request takes the 0.6 s that were seen in the field. Negative = none.
	Uplink, Downlink time.Duration
	// TransmitLimit is how long the radio may send within an hour. Default 360 s. Negative = for ever.
	TransmitLimit time.Duration
	// Greeting is sent to the meter 3 s after a join. Default: an ECHONET Lite request that the meter announce its
	// instance list, as a meter does by itself when a real dongle joins. Empty, not nil = none.
	Greeting []byte
	// Faults are injected. Default none.
	Faults Faults
	// Logger is told of every line at Debug, without credentials. nil = nobody.
	Logger *slog.Logger
}

// defaultGreeting is INF_REQ of the instance list (EPC D5), from node profile to node profile.
var defaultGreeting = []byte{0x10, 0x81, 0, 1, 0x0E, 0xF0, 1, 0x0E, 0xF0, 1, 0x63, 1, 0xD5, 0}

func (c Config) withDefaults() (Config, error) {
	c.Model = cmp.Or(c.Model, BP35A1)
	if _, err := ParseModel(string(c.Model)); err != nil {
		return c, err
	}
	if c.Data != "" && c.Data != "binary" && c.Data != "hex" {
		return c, fmt.Errorf("dongle: data %q: want binary or hex", c.Data)
	}
	if err := setAddresses(c.Meters); err != nil {
		return c, err
	}
	for _, m := range c.Meters {
		if err := m.Credentials.Check(); err != nil {
			return c, fmt.Errorf("dongle: meter: %w", err)
		}
		if m.Conn != nil && m.Addr == nil {
			return c, errors.New("dongle: meter: connection without an address")
		}
		if m.Lock != "" {
			f, err := openLock(m.Lock)
			if err != nil {
				return c, err
			}
			f.Close()
		}
		m.setDefaults()
		if m.Channel < firstChannel || m.Channel > lastChannel {
			return c, fmt.Errorf("dongle: meter: channel %d is not within %d and %d", m.Channel, firstChannel, lastChannel)
		}
	}
	if c.Baud != 0 && !slices.Contains(bauds, c.Baud) {
		return c, fmt.Errorf("dongle: rate %d: want one of %v", c.Baud, bauds)
	}
	c.Speed = cmp.Or(c.Speed, 1)
	if !(c.Speed > 0) {
		return c, fmt.Errorf("dongle: speed %v is not positive", c.Speed)
	}
	c.MAC = cmp.Or(c.MAC, routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 1})
	c.Uplink = cmp.Or(c.Uplink, 200*time.Millisecond)
	c.Downlink = cmp.Or(c.Downlink, 400*time.Millisecond)
	c.TransmitLimit = cmp.Or(c.TransmitLimit, 360*time.Second)
	if c.Greeting == nil {
		c.Greeting = defaultGreeting
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
