package soft_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// lie is a module process that does everything right until it is asked to
// sign, and then misbehaves in the way that kind says.
func lie(kind string) {
	conn, err := net.FileConn(os.NewFile(3, "meter"))
	if err != nil {
		os.Exit(1)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		os.Exit(1)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		os.Exit(1)
	}
	buf := make([]byte, wire.MaxFrame)
	send := func(id uint64, status byte, m interface{ AppendBinary([]byte) ([]byte, error) }) {
		body, err := m.AppendBinary(nil)
		if err != nil {
			os.Exit(1)
		}
		frame, err := wire.Frame{ID: id, Kind: status, Body: body}.AppendBinary(nil)
		if err != nil {
			os.Exit(1)
		}
		conn.Write(frame)
	}
	for {
		f, err := wire.Read(conn, buf)
		if err != nil {
			os.Exit(0)
		}
		if f.Kind != wire.Sign {
			send(f.ID, wire.OK, wire.Description{Scheme: eventlog.SchemeCounter, Point: [65]byte(point), Counter: 5})
			continue
		}
		signed := wire.Signed{Counter: 6}
		switch kind {
		case "silent":
			fmt.Fprintln(os.Stderr, "asked")
		case "stale": // the answer to another request comes first
			send(f.ID-1, wire.OK, signed)
			send(f.ID, wire.OK, signed)
		case "garbage":
			conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		case "huge":
			conn.Write([]byte{0xFF, 0xFF, 0xFF, 0xFF})
		case "half":
			conn.Write([]byte{0, 0, 0, 81, 0, 0, 0})
		case "short":
			send(f.ID, wire.OK, wire.Failure{Text: "not a signature"})
		case "mute": // a failure that does not parse
			conn.Write([]byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, byte(f.ID), wire.Busy})
		case "skips":
			signed.Counter = 7
			send(f.ID, wire.OK, signed)
		case "repeats":
			signed.Counter = 5
			send(f.ID, wire.OK, signed)
		case "unknown":
			send(f.ID, 99, wire.Failure{Text: "what is that?"})
			continue
		case "panics":
			os.Exit(2)
		}
	}
}

// Whatever the module process answers, the meter gets an error that it can
// decide on, and never a signature that is not the answer to its question.
func TestLiars(t *testing.T) {
	for _, test := range []struct {
		kind string
		want error
		dies bool // the process must not be used again
	}{
		{"stale", secureelement.ErrUnavailable, true},
		{"garbage", secureelement.ErrUnavailable, true},
		{"huge", secureelement.ErrUnavailable, true},
		{"half", secureelement.ErrTimeout, true},
		{"short", secureelement.ErrUnavailable, true},
		{"mute", secureelement.ErrUnavailable, true},
		{"skips", secureelement.ErrCounter, true},
		{"repeats", secureelement.ErrCounter, true},
		{"silent", secureelement.ErrTimeout, true},
		{"panics", secureelement.ErrUnavailable, true},
		{"unknown", secureelement.ErrUnavailable, false},
	} {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			c := config(t.TempDir())
			c.Command = []string{os.Args[0], "liar", test.kind}
			c.Stderr = nil
			m := open(t, c)
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if errors.Is(test.want, secureelement.ErrTimeout) {
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
			}
			defer cancel()
			if _, err := m.Sign(ctx, [32]byte{1}); !errors.Is(err, test.want) {
				t.Errorf("Sign: %v, want %v", err, test.want)
			}
			// Each new process has another key, so that a restart shows.
			want := error(nil)
			if test.dies {
				want = secureelement.ErrKeyChanged
			}
			if _, err := m.Info(t.Context()); !errors.Is(err, want) {
				t.Errorf("Info after it: %v, want %v", err, want)
			}
		})
	}
}

// A program that is no module process at all is an error with a cause.
func TestOtherPrograms(t *testing.T) {
	for _, command := range [][]string{{"/bin/true"}, {"/bin/false"}, {os.Args[0], "liar"}} {
		c := config(t.TempDir())
		c.Command, c.Stderr = command, nil
		if command[0] == os.Args[0] {
			c.Command = []string{os.Args[0], "-test.run", "^$"}
		}
		_, err := soft.Open(t.Context(), c)
		if !errors.Is(err, secureelement.ErrUnavailable) {
			t.Errorf("%v: %v, want ErrUnavailable", command, err)
		}
	}
}
