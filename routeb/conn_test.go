package routeb_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// Whoever watches sees each state once, in order.
func TestOnChangeTellsTheStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{})
		var mu sync.Mutex
		var states []string
		cfg := b.config(t)
		cfg.OnChange = func(s routeb.Status) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, s.State.String())
			if s.State == routeb.Scanning && s.Expected < 4*time.Second {
				t.Errorf("a scan is expected to take %v", s.Expected)
			}
			if (s.State == routeb.Joined) == (s.Err != nil) && s.State >= routeb.Joined && s.State < routeb.Closed {
				t.Errorf("%v with error %v", s.State, s.Err)
			}
		}
		c, err := routeb.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.Inject(dongle.End27)
		if _, err := request(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		c.Close()
		mu.Lock()
		defer mu.Unlock()
		want := []string{"no-port", "probing", "scanning", "joining", "joined", "lost", "joining", "joined", "closed"}
		if d := cmp.Diff(want, slices.Compact(states)); d != "" {
			t.Errorf("states (-want +got):\n%s", d)
		}
	})
}

func TestStatusDescribesTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Model: dongle.BP35C2})
		c := b.dial(t)
		if _, err := request(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		s := c.Status()
		if want := (routeb.Module{
			Family: "dual-stack", Version: "1.5.2", Firmware: "BP35C2", Data: "binary",
			MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 1}, Baud: 115200,
		}); s.Module != want {
			t.Errorf("module: %+v, want %+v", s.Module, want)
		}
		if want := (routeb.Network{
			Channel: 59, PAN: 0x8888, MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xA1}, LQI: 0xE1,
		}); s.Network != want {
			t.Errorf("network: %+v, want %+v", s.Network, want)
		}
		if s.Power > -42 || s.Power < -43 || s.Weak() {
			t.Errorf("power: %v dBm", s.Power)
		}
		if got := c.Meter().String(); got != "[fe80::200:5eef:1000:a1]:3610" {
			t.Errorf("meter: %s", got)
		}
		st := c.Stats()
		if total := st.SendTime + st.RoundTrip; total < 600*time.Millisecond || total > 650*time.Millisecond {
			t.Errorf("a request took %v + %v, want 0.6 s", st.SendTime, st.RoundTrip)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "no21=@1")})
		c := b.dial(t)
		ended := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			ended <- err
		}()
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Second)) // one that waits already
		var timeout net.Error
		if err := <-ended; !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v, want a timeout", err)
		}
		c.SetReadDeadline(time.Time{})
		c.SetWriteDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := c.WriteTo([]byte("x"), c.Meter()); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("write: %v after %v, want the deadline after 1s", err, time.Since(start))
		}
		c.SetDeadline(time.Time{})
		if _, err := request(t.Context(), c, 1); err != nil {
			t.Errorf("after the deadlines: %v", err)
		}
	})
}

func TestReadCredentials(t *testing.T) {
	good := "# from the letter\nid = \"" + fixtures.ID + "\" # 32\npassword='" + fixtures.Password + "'\n"
	dir := t.TempDir()
	write := func(name string, mode fs.FileMode, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if c, err := routeb.ReadCredentials(write("good", 0o600, good)); err != nil || c != credentials {
		t.Errorf("a file of ours: other credentials, or %v", err)
	}
	open := write("open", 0o644, good)
	if _, err := routeb.ReadCredentials(open); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file that all may read: %v, want %v", err, fs.ErrPermission)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := routeb.ReadCredentials(open); err != nil {
		t.Errorf("a systemd credential: %v", err)
	}
	if _, err := routeb.ReadCredentials(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"twice":         good + good,
		"another key":   good + "port = \"x\"",
		"short id":      "id = \"0011\"\npassword = \"" + fixtures.Password + "\"",
		"no quotes":     "id = " + fixtures.ID,
		"open quote":    "id = \"" + fixtures.ID,
		"more behind":   "id = \"" + fixtures.ID + "\" x",
		"lower-case id": "id = \"00112233445566778899aabbccddeeff\"\npassword = \"" + fixtures.Password + "\"",
	} {
		if _, err := routeb.ParseCredentials([]byte(text)); !errors.Is(err, routeb.ErrCredentials) {
			t.Errorf("%s: %v, want %v", name, err, routeb.ErrCredentials)
		} else if routeb.Advice(err) == "" {
			t.Errorf("%s: no advice", name)
		}
	}
}
