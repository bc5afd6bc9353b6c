package routeb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

func parseFaults(t testing.TB, spec string) dongle.Faults {
	t.Helper()
	f, err := dongle.ParseFaults(spec)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Whatever happens in the field, the next reading arrives, and nobody restarts anything.
func TestFieldFailures(t *testing.T) {
	tests := []struct {
		name   string
		faults string        // hit while four requests are made
		inject dongle.Fault  // after the first request; "" = none
		within time.Duration // from the first request to the last answer
		check  func(routeb.Stats) bool
		want   string // what check says
		text   bool   // happens only to modules that speak SKSTACK-IP
	}{
		{name: "garbage and half a line at open", faults: "garbage", within: 5 * time.Second},
		{name: "first SKVER fails", faults: "skver=@1", within: 5 * time.Second},
		{name: "empty lines everywhere", faults: "cr", within: 5 * time.Second},
		{name: "every byte in a read of its own", faults: "split", within: 5 * time.Second},
		{name: "events between any two lines", faults: "interleave", within: 5 * time.Second},
		{
			name: "datagrams on other ports and without encryption", faults: "noise", within: 5 * time.Second, text: true,
			check: func(s routeb.Stats) bool { return s.Ignored > 0 && s.Received >= 4 }, want: "ignored",
		},
		{name: "data bytes in the echo", faults: "echo-data", within: 5 * time.Second},
		{name: "OK before EVENT 21", faults: "ok-first", within: 5 * time.Second},
		{name: "OK after the answer", faults: "ok-last", within: 8 * time.Second},
		{name: "the neighbour is asked for first", faults: "neighbour", within: 5 * time.Second},
		{
			name: "the radio fails", faults: "unsent=@2@3", within: 10 * time.Second,
			check: func(s routeb.Stats) bool { return s.Retries == 2 && s.NotSent == 0 && s.Joins == 1 }, want: "sent again",
		},
		{
			name: "EVENT 21 is missing", faults: "no21=@2", within: 60 * time.Second,
			check: func(s routeb.Stats) bool { return s.Indeterminate == 1 }, want: "indeterminate",
		},
		{
			name: "EVENT 21 02 and no other", faults: "only02=@2", within: 60 * time.Second, text: true,
			check: func(s routeb.Stats) bool { return s.Indeterminate == 1 }, want: "indeterminate",
		},
		{name: "an answer is lost", faults: "drop=@3", within: 60 * time.Second},
		{name: "an answer comes twice", faults: "dup", within: 10 * time.Second},
		{name: "an answer comes after its time", faults: "late=@3", within: 60 * time.Second},
		{name: "an answer is slow", faults: "delay", within: 60 * time.Second},
		{
			name: "the module hangs inside SKSENDTO", faults: "hang=@2", within: 3 * time.Minute, text: true,
			check: func(s routeb.Stats) bool { return s.Resets == 2 && s.Opens == 1 }, want: "reset",
		},
		{
			name: "the module is frozen for a minute", faults: "freeze=@2", within: 5 * time.Minute,
			check: func(s routeb.Stats) bool { return s.Opens > 1 }, want: "opened anew",
		},
		{
			name: "the meter falls silent", faults: "forget=@2", within: 5 * time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 }, want: "joined again",
		},
		{
			name: "the device is unplugged", faults: "unplug=@2", within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Opens >= 2 && s.Joins == 2 }, want: "opened anew",
		},
		{
			name: "the device is unplugged while nothing happens", inject: dongle.Unplug, within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Opens >= 2 && s.Joins == 2 }, want: "opened anew",
		},
		{
			name: "the renewal fails, EVENT 24", inject: dongle.End24, within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Resets == 1 }, want: "joined again",
		},
		{
			name: "the meter ends the session, EVENT 26", inject: dongle.End26, within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Resets == 1 }, want: "joined again",
		},
		{
			name: "the session is over, EVENT 27", faults: "end27=@2", within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Resets == 1 }, want: "joined again",
		},
		{
			name: "the session is over, EVENT 28", inject: dongle.End28, within: time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Resets == 1 }, want: "joined again",
		},
		{
			name: "the session expires, EVENT 29", inject: dongle.End29, within: 3 * time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Resets == 1 }, want: "joined again",
		},
		{
			name: "the session expires and is renewed", inject: dongle.Lapse, within: 30 * time.Second, text: true,
			check: func(s routeb.Stats) bool { return s.Joins == 1 && s.Losses == 1 }, want: "waited for it",
		},
		{
			name: "the transmit time is used up, EVENT 32", inject: dongle.Limit, within: 2 * time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 1 && s.NotSent > 0 }, want: "waited for EVENT 33",
		},
		{
			name: "a join without a fresh scan is refused", faults: "end27=@2,refuse=@2", within: 2 * time.Minute,
			check: func(s routeb.Stats) bool { return s.Joins == 2 && s.Scans >= 2 }, want: "scanned again",
		},
		{name: "a join has no outcome", faults: "silent-join=@1", within: 5 * time.Second},
		{
			name: "half of the scans miss the beacon", faults: "no-beacon=@1@2", within: 5 * time.Second,
			check: func(s routeb.Stats) bool { return s.Scans == 3 }, want: "three scans",
		},
		{name: "the scan's result comes after its end", faults: "late-beacon", within: 5 * time.Second},
		{name: "a neighbour's meter is described", faults: "foreign", within: 5 * time.Second},
		{
			name: "a byte of the serial line is lost now and then", faults: "seed=3,lost-byte=0.02", within: 5 * time.Minute,
		},
	}
	for _, tt := range tests {
		for _, model := range []dongle.Model{dongle.BP35A1, dongle.BP35C2, dongle.BP35C2J11} {
			if tt.text && model == dongle.BP35C2J11 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", tt.name, model), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, dongle.Config{Model: model, Faults: parseFaults(t, tt.faults)})
					c := b.dial(t)
					start := time.Now()
					for n := range 4 {
						if _, err := request(t.Context(), c, n); err != nil {
							t.Fatal(err)
						}
						if n == 0 && tt.inject != "" {
							b.Inject(tt.inject)
						}
					}
					if took := time.Since(start); took > tt.within {
						t.Errorf("took %v, want at most %v", took, tt.within)
					}
					if s := c.Stats(); tt.check != nil && !tt.check(s) {
						t.Errorf("want: %s; stats: %+v", tt.want, s)
					}
				})
			})
		}
	}
}

// A program that died inside SKSENDTO has left the module counting bytes.
func TestModuleLeftInsideSendto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{})
		dead, err := b.cable.Open("", 0)
		if err != nil {
			t.Fatal(err)
		}
		io := "SKSENDTO 1 FE80:0000:0000:0000:0200:5EEF:1000:00A1 0E1A 1 04D0 \x10\x81"
		if _, err := dead.Write([]byte(io)); err != nil {
			t.Fatal(err)
		}
		dead.Close()
		c := b.dial(t)
		if _, err := request(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
	})
}

// A neighbour's meter is never taken, even by a module that does not filter.
func TestNeighboursMeterIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "foreign,no-beacon")})
		cfg := b.config(t)
		cfg.DialAttempts = 1
		_, err := routeb.Dial(t.Context(), cfg)
		if !errors.Is(err, routeb.ErrNoBeacon) {
			t.Errorf("dial: %v, want %v", err, routeb.ErrNoBeacon)
		}
	})
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	wrong := credentials
	wrong.Password = "WrongPass123"
	stranger := credentials
	stranger.ID = strings.Repeat("0123456789ABCDEF", 2)
	tests := []struct {
		name   string
		faults string
		with   routeb.Credentials
		want   error
	}{
		{"wrong password", "", wrong, routeb.ErrRefused},
		{"wrong id", "", stranger, routeb.ErrNoBeacon},
		{"no meter in reach", "no-beacon", credentials, routeb.ErrNoBeacon},
		{"no device", "", credentials, fs.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, dongle.Config{Faults: parseFaults(t, tt.faults)})
				cfg := b.config(t)
				cfg.Credentials, cfg.DialAttempts = tt.with, 1
				if tt.want == fs.ErrNotExist { //nolint:errorlint // it is the case's name
					b.stop()
				}
				_, err := routeb.Dial(t.Context(), cfg)
				if !errors.Is(err, tt.want) {
					t.Errorf("dial: %v, want %v", err, tt.want)
				}
				if routeb.Advice(err) == "" {
					t.Errorf("no advice on %v", err)
				}
			})
		})
	}
}

// Several attempts are for what may pass. Nobody waits for a port that is not there.
func TestDialGivesUpWhereAnotherAttemptIsNoBetter(t *testing.T) {
	wrong := credentials
	wrong.Password = "WrongPass123"
	fails := func(err error) func(string, int) (io.ReadWriteCloser, error) {
		return func(string, int) (io.ReadWriteCloser, error) { return nil, err }
	}
	silent := func(string, int) (io.ReadWriteCloser, error) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		return near, nil
	}
	tests := []struct {
		name   string
		faults string
		open   func(string, int) (io.ReadWriteCloser, error)
		with   routeb.Credentials
		within time.Duration
		joins  int
		want   error
	}{
		{name: "no device", open: fails(fs.ErrNotExist), with: credentials, want: fs.ErrNotExist},
		{name: "no permission", open: fails(fs.ErrPermission), with: credentials, want: fs.ErrPermission},
		{name: "port in use", open: fails(routeb.ErrPortBusy), with: credentials, want: routeb.ErrPortBusy},
		{name: "no port", open: fails(routeb.ErrNotPort), with: credentials, want: routeb.ErrNotPort},
		{name: "silent port", open: silent, with: credentials, within: 45 * time.Second, want: routeb.ErrNoAnswer},
		{name: "no beacon", faults: "no-beacon", with: credentials, within: 70 * time.Second, want: routeb.ErrNoBeacon},
		{name: "refused", with: wrong, within: 2 * time.Minute, joins: 3, want: routeb.ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, dongle.Config{Faults: parseFaults(t, tt.faults)})
				cfg := b.config(t)
				cfg.Credentials, cfg.DialAttempts = tt.with, 3
				if tt.open != nil {
					cfg.Open = tt.open
				}
				var last routeb.Status
				joins := 0
				cfg.OnChange = func(s routeb.Status) {
					if last = s; s.State == routeb.Joining {
						joins++
					}
				}
				start := time.Now()
				_, err := routeb.Dial(t.Context(), cfg)
				took := time.Since(start)
				if !errors.Is(err, tt.want) || !errors.Is(last.Err, tt.want) || last.State != routeb.Closed {
					t.Errorf("dial: %v, and last %v with %v, want %v", err, last.State, last.Err, tt.want)
				}
				if joins != tt.joins || joins == 0 && took > tt.within {
					t.Errorf("took %v and %d joins, want %v and %d", took, joins, tt.within, tt.joins)
				}
				t.Logf("gives up after %v", took)
			})
		})
	}
}

// A session that is opened before there are dongle and meter joins once there are.
func TestOpenWaitsForDongleAndMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "no-beacon=@1@2@3@4@5")})
		cfg := b.config(t)
		cfg.DialAttempts = 1
		plugged := time.Now().Add(time.Hour)
		cfg.Open = func(path string, baud int) (io.ReadWriteCloser, error) {
			if time.Now().Before(plugged) {
				return nil, fs.ErrNotExist
			}
			return b.cable.Open(path, baud)
		}
		c, err := routeb.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if m := c.Meter(); m != nil {
			t.Errorf("meter before any was found: %v", m)
		}
		if _, err := request(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(plugged); took < 0 || took > 4*time.Minute {
			t.Errorf("answer %v after the dongle was plugged in", took)
		}
	})
}

// A second dongle waits until the first has left.
func TestOneDongleAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter := &dongle.Meter{Credentials: credentials}
		one := newBench(t, dongle.Config{Meters: []*dongle.Meter{meter}})
		two := newBench(t, dongle.Config{Meters: []*dongle.Meter{meter}, MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 2}})
		first, err := routeb.Dial(t.Context(), one.config(t))
		if err != nil {
			t.Fatal(err)
		}
		cfg := two.config(t)
		cfg.DialAttempts = 1
		if _, err := routeb.Dial(t.Context(), cfg); !errors.Is(err, routeb.ErrRefused) {
			t.Errorf("second dongle: %v, want %v", err, routeb.ErrRefused)
		}
		first.Close()
		second, err := routeb.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatalf("after the first has left: %v", err)
		}
		if _, err := request(t.Context(), second, 1); err != nil {
			t.Error(err)
		}
		second.Close()
	})
}

// The session is renewed by the module, day after day, and what fails is made good.
func TestAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "no-renewal=@2")})
		c := b.dial(t)
		for n := range 7 * 24 {
			if _, err := request(t.Context(), c, n); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of the bubble's clock
		}
		if s := c.Stats(); s.Renewals < 7 || s.Losses != 1 {
			t.Errorf("stats: %+v; want a renewal a day and one loss", s)
		}
	})
}

// A reader that sleeps loses the oldest datagrams, not the session.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{TransmitLimit: -1})
		c := b.dial(t)
		for n := range 200 {
			if _, err := c.WriteTo(fmt.Appendf(nil, "ask %d%s", n, nasty), c.Meter()); err != nil {
				t.Fatal(err)
			}
		}
		b.Inject(dongle.End27)
		for c.Status().State == routeb.Joined {
			time.Sleep(time.Millisecond) // of the bubble's clock
		}
		if _, err := c.WriteTo([]byte("ask"), c.Meter()); !errors.Is(err, routeb.ErrNotJoined) {
			t.Errorf("write after the session's end: %v, want %v", err, routeb.ErrNotJoined)
		}
		if _, err := request(t.Context(), c, 200); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); s.Dropped == 0 {
			t.Errorf("stats: %+v; want dropped ones", s)
		}
	})
}

// What WriteTo returns tells a caller whether it may repeat a datagram that must not take effect twice.
func TestWriteToTellsWhetherItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "no21=@2,unsent=@3@4@5@6")})
		c := b.dial(t)
		var timeout net.Error
		if _, err := c.WriteTo([]byte("x"), c.Meter()); err != nil {
			t.Errorf("sent: %v", err)
		}
		if _, err := c.WriteTo([]byte("x"), c.Meter()); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("EVENT 21 missing: %v, want a timeout", err)
		}
		if _, err := c.WriteTo([]byte("x"), c.Meter()); !errors.Is(err, routeb.ErrRadio) || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("EVENT 21 01 four times: %v, want %v and no timeout", err, routeb.ErrRadio)
		}
		for _, bad := range []net.Addr{nil, &net.UDPAddr{IP: net.IPv6loopback, Port: 3610}, &net.UDPAddr{IP: c.Meter().IP, Port: 1}} {
			if _, err := c.WriteTo([]byte("x"), bad); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("to %v: %v, want an error that is no timeout", bad, err)
			}
		}
		for _, n := range []int{0, routeb.MaxDatagram + 1} {
			if _, err := c.WriteTo(make([]byte, n), c.Meter()); err == nil {
				t.Errorf("%d bytes were sent", n)
			}
		}
		if _, err := c.WriteTo(make([]byte, routeb.MaxDatagram), c.Meter()); err != nil {
			t.Errorf("the longest datagram: %v", err)
		}
		c.Close()
		c.Close()
		if _, err := c.WriteTo([]byte("x"), c.Meter()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want %v", err, net.ErrClosed)
		}
		if _, _, err := c.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v, want %v", err, net.ErrClosed)
		}
	})
}

// A kept network makes the next start fast; one that is out of date is no harm.
func TestKnownNetwork(t *testing.T) {
	start := func(t *testing.T, b *bench, n *routeb.Network) (time.Duration, routeb.Network) {
		cfg := b.config(t)
		cfg.Network = n
		began := time.Now()
		c, err := routeb.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		return time.Since(began), c.Status().Network
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{})
		cold, found := start(t, b, nil)
		warm, _ := start(t, b, &found)
		if warm > cold-3*time.Second {
			t.Errorf("warm start %v, cold start %v", warm, cold)
		}
		moved := found
		moved.Channel = 40
		if _, again := start(t, b, &moved); again != found {
			t.Errorf("found %+v, want %+v", again, found)
		}
	})
}

// The limit of transmit time is met by itself, and lifted by itself, without a loss of the session.
func TestTransmitLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{TransmitLimit: 200 * time.Millisecond})
		c := b.dial(t)
		for n := range 40 {
			if _, err := request(t.Context(), c, n); err != nil {
				t.Fatal(err)
			}
		}
		if s := c.Stats(); s.NotSent == 0 || s.Losses > 0 {
			t.Errorf("stats: %+v; want refused datagrams and no loss", s)
		}
	})
}

// Every word that is logged or said while credentials are refused is free of them; newLogger looks at the rest.
func TestSecretsAreNowhere(t *testing.T) {
	for _, v := range []any{credentials, &credentials, struct{ C routeb.Credentials }{credentials}} {
		for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(f, v); strings.Contains(s, fixtures.ID) || strings.Contains(s, fixtures.Password) {
				t.Errorf("%s shows %s", f, s)
			}
		}
	}
	for _, text := range []string{
		"id = \"" + fixtures.ID + "0\"\npassword = \"" + fixtures.Password + "\"",
		"id = \"" + fixtures.ID + "\"\npassword = \"" + fixtures.Password,
		fixtures.ID + fixtures.Password,
	} {
		_, err := routeb.ParseCredentials([]byte(text))
		if !errors.Is(err, routeb.ErrCredentials) || strings.Contains(err.Error(), fixtures.ID) || strings.Contains(err.Error(), fixtures.Password) {
			t.Errorf("error: %v", err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: parseFaults(t, "seed=5,lost-byte=0.05,interleave=0.3,noise=0.3,garbage")})
		cfg := b.config(t)
		cfg.KeepEcho = true
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		c, err := routeb.Dial(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for n := range 20 {
			if _, err := request(ctx, c, n); err != nil {
				t.Fatal(err)
			}
		}
	})
}
