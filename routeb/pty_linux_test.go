package routeb_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// plugIn runs a dongle on a pseudo-terminal in front of an answerer, and returns the link to its port.
func plugIn(t *testing.T, cfg dongle.Config) (d *dongle.Dongle, port string) {
	t.Helper()
	return dongletest.OnPTY(t, cfg, &dongle.Meter{Credentials: credentials}, answerer)
}

func TestPseudoTerminal(t *testing.T) {
	for _, model := range []dongle.Model{dongle.BP35A1, dongle.BP35C2} {
		t.Run(string(model), func(t *testing.T) {
			t.Parallel()
			d, port := plugIn(t, dongle.Config{Model: model, Speed: 200})
			logger, _ := newLogger(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			c, err := routeb.Dial(ctx, routeb.Config{Port: port, Credentials: credentials, Logger: logger})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := request(ctx, c, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := routeb.OpenPort(port, 115200); !errors.Is(err, routeb.ErrPortBusy) {
				t.Errorf("second open: %v, want %v", err, routeb.ErrPortBusy)
			}
			d.Inject(dongle.Unplug) // back under another number, for the old one is still open here
			if _, err := request(ctx, c, 2); err != nil {
				t.Fatal(err)
			}
			if n := c.Stats().Opens; n < 2 {
				t.Errorf("opened %d times", n)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenPortSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := routeb.OpenPort(filepath.Join(dir, "none"), 115200); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such port: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir, os.DevNull} {
		if _, err := routeb.OpenPort(path, 115200); !errors.Is(err, routeb.ErrNotPort) {
			t.Errorf("%s: %v, want %v", path, err, routeb.ErrNotPort)
		}
	}
}

// A module whose rate somebody changed for good is found.
func TestOddBaudRate(t *testing.T) {
	t.Parallel()
	_, port := plugIn(t, dongle.Config{Speed: 200, Baud: 2400})
	logger, _ := newLogger(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := routeb.Dial(ctx, routeb.Config{Port: port, Credentials: credentials, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Status().Module.Baud; got != 2400 {
		t.Errorf("found at %d bit/s", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
