package routeb

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config says where the dongle is and whom to join.
type Config struct {
	// Port is the path of the serial port, such as /dev/serial/by-id/usb-… . Required. It is opened anew, by this name,
	// whenever the device was gone.
	Port string
	// Credentials are those of the meter to join. Required.
	Credentials Credentials
	// Baud is the rate of the port in bit/s. 0 = 115200 and, if nothing answers, every other rate that a module can be
	// set to.
	Baud int
	// Network is where the meter was found last time, for a fast start. nil = scan all channels. If the meter is no
	// longer there it is forgotten.
	Network *Network
	// KeepEcho leaves a module's echo as it is after a reset, on. By default it is switched off, so that credentials are
	// not echoed.
	KeepEcho bool
	// DialAttempts is the number of failed attempts to join after which Dial gives up. It gives up at the first where
	// the next would be no better: the port does not open, nothing on it answers, no scan hears the meter. 0 = only
	// the end of its ctx counts.
	DialAttempts int
	// OnChange is told of every change of State and of what makes up Status, in order. It is called by the session's own
	// goroutine, must return soon and must not call Close. nil = nobody.
	OnChange func(Status)
	// Logger is told of every command at Debug, without secrets and payloads. nil = nobody.
	Logger *slog.Logger
	// Now is the clock of Status and Stats. nil = time.Now.
	Now func() time.Time
	// Open opens the port. nil = OpenPort.
	Open func(path string, baud int) (io.ReadWriteCloser, error)
}

// bauds are the rates that register WUART knows, the usual one first.
var bauds = [...]int{115200, 2400, 4800, 9600, 19200, 38400, 57600}

func (c Config) withDefaults() (Config, error) {
	if c.Port == "" && c.Open == nil {
		return c, errors.New("routeb: config: no port")
	}
	if err := c.Credentials.Check(); err != nil {
		return c, fmt.Errorf("routeb: config: %w", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Open == nil {
		c.Open = OpenPort
	}
	if c.OnChange == nil {
		c.OnChange = func(Status) {}
	}
	return c, nil
}
