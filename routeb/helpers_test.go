package routeb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/echonet/memlink"
	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/internal/echonettest"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

var credentials = routeb.Credentials{ID: fixtures.ID, Password: fixtures.Password}

// answerer is a stand-in for a meter that knows no ECHONET either: it answers "ask n" with "got n", where n is followed
// by bytes that a careless reader of the serial line stumbles over, and by nothing else.
func answerer(conn net.PacketConn) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		if rest, ok := bytes.CutPrefix(b[:n], []byte("ask ")); ok && bytes.HasSuffix(rest, []byte(nasty)) {
			_, _ = conn.WriteTo(append([]byte("got "), rest...), from)
		}
	}
}

const nasty = " \r\nOK\r\nFAIL ER04\r\nEVENT 29\r\n"

// request asks until the answer comes, as a controller does, and returns how many attempts it took.
func request(ctx context.Context, c *routeb.Conn, n int) (attempts int, err error) {
	ask, want := fmt.Sprintf("ask %d%s", n, nasty), fmt.Sprintf("got %d%s", n, nasty)
	b := make([]byte, 2048)
	for {
		if err := ctx.Err(); err != nil {
			return attempts, err
		}
		attempts++
		if _, err := c.WriteTo([]byte(ask), c.Meter()); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return attempts, err
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return attempts, err
			}
			got := string(b[:n])
			if got == want {
				return attempts, nil
			}
			if !strings.HasPrefix(got, "got ") || !strings.HasSuffix(got, nasty) {
				return attempts, fmt.Errorf("from %v came %q", from, got)
			}
		}
	}
}

// logs collects what a test's parts log, and checks in the end that no secret is in it.
type logs struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLogger(t testing.TB) (*slog.Logger, *logs) {
	l := new(logs)
	t.Cleanup(func() {
		text := l.String()
		for _, secret := range []string{fixtures.ID, fixtures.Password, fmt.Sprintf("%X", fixtures.ID), fmt.Sprintf("%X", fixtures.Password)} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in the log")
			}
		}
		if t.Failed() {
			lines := strings.Split(text, "\n")
			t.Logf("log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// bench is a virtual dongle on a cable, with a meter behind it.
type bench struct {
	*dongle.Dongle
	cable dongle.Cable
	stop  func()
}

// newBench runs a dongle in a bubble until the test ends or stop is called. It fills in the meter.
func newBench(t testing.TB, cfg dongle.Config) *bench {
	t.Helper()
	var network memlink.Network
	near, far := echonettest.Listen(t, &network, "192.0.2.1:3610"), echonettest.Listen(t, &network, "192.0.2.2:3610")
	if cfg.Meters == nil {
		cfg.Meters = []*dongle.Meter{{Credentials: credentials}}
	}
	if m := cfg.Meters[0]; m.Conn == nil {
		m.Conn, m.Addr = near, far.LocalAddr()
	}
	d, err := dongle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Dongle: d}
	var answering sync.WaitGroup
	answering.Go(func() { answerer(far) })
	unplug := dongletest.Run(t, d, b.cable.Plug)
	b.stop = sync.OnceFunc(func() {
		unplug()
		_ = far.Close()
		answering.Wait()
	})
	t.Cleanup(b.stop)
	synctest.Wait() // until it is plugged in
	return b
}

func (b *bench) config(t testing.TB) routeb.Config {
	logger, _ := newLogger(t)
	return routeb.Config{Open: b.cable.Open, Credentials: credentials, Logger: logger}
}

// dial joins the meter until the test ends.
func (b *bench) dial(t testing.TB) *routeb.Conn {
	t.Helper()
	c, err := routeb.Dial(t.Context(), b.config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
