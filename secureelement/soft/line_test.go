package soft_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// line is a module process with the bare socket to it.
type line struct {
	t    *testing.T
	conn net.Conn
	cmd  *exec.Cmd
	buf  []byte
}

func dial(t *testing.T) *line {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fds[0])
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	cmd := exec.Command(os.Args[0], soft.Argument)
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); cmd.Wait() })
	return &line{t, conn, cmd, make([]byte, wire.MaxFrame)}
}

func (l *line) ask(verb byte, body []byte) (status byte, answer []byte) {
	l.t.Helper()
	frame, err := wire.Frame{ID: 77, Kind: verb, Body: body}.AppendBinary(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.conn.Write(frame); err != nil {
		l.t.Fatal(err)
	}
	f, err := wire.Read(l.conn, l.buf)
	if err != nil {
		l.t.Fatal(err)
	}
	if f.ID != 77 {
		l.t.Fatalf("answer to request %d, want 77", f.ID)
	}
	return f.Kind, f.Body
}

// closed fails the test unless the process has nothing more to say.
func (l *line) closed() {
	l.t.Helper()
	if f, err := wire.Read(l.conn, l.buf); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		l.t.Errorf("the process goes on with %+v, %v; want its end", f, err)
	}
}

func hello(t *testing.T, c soft.Config) []byte {
	t.Helper()
	b, err := wire.Hello{Rate: 1000, Burst: 1000, Dir: c.Dir, Passphrase: []byte(passphrase)}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The process answers the verbs that it has, and nothing gets a key out of it,
// a digest of another size signed, or a bare digest under a counter key.
func TestVerbs(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	l := dial(t)
	if status, _ := l.ask(wire.Open, hello(t, c)); status != wire.OK {
		t.Fatalf("Open: status %d", status)
	}
	for verb := range 256 {
		switch byte(verb) {
		case wire.Info, wire.Sign, wire.Request, wire.History:
			continue
		}
		if status, answer := l.ask(byte(verb), nil); status != wire.Refused {
			t.Errorf("verb %d after Open: status %d, %q; want it refused", verb, status, answer)
		}
	}
	for _, size := range []int{0, 31, 33, 64, 8000} {
		if status, answer := l.ask(wire.Sign, make([]byte, size)); status != wire.Refused {
			t.Errorf("digest of %d bytes: status %d, %q; want it refused", size, status, answer)
		}
	}
	for _, subject := range []string{"", "CN=x", "\x30\x00\x00", "\x30\x03\x02\x01\x01", "\x01meterseal:cntr:1"} {
		if status, answer := l.ask(wire.Request, []byte(subject)); status != wire.Refused {
			t.Errorf("subject %q: status %d, %q; want it refused", subject, status, answer)
		}
	}
	status, answer := l.ask(wire.Sign, make([]byte, 32))
	var signed wire.Signed
	if err := signed.UnmarshalBinary(answer); status != wire.OK || err != nil {
		t.Fatalf("Sign after all that: status %d, %v", status, err)
	}
	if signed.Counter != 1 {
		t.Errorf("counter %d after refused requests, want 1", signed.Counter)
	}
}

func TestFirstMessageMustOpen(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	for name, ask := range map[string]struct {
		verb byte
		body []byte
	}{
		"Sign first":       {wire.Sign, make([]byte, 32)},
		"Info first":       {wire.Info, nil},
		"no such verb":     {200, hello(t, c)},
		"Open cut short":   {wire.Open, hello(t, c)[:10]},
		"Open without end": {wire.Open, append(hello(t, c), 0)},
	} {
		t.Run(name, func(t *testing.T) {
			l := dial(t)
			if status, answer := l.ask(ask.verb, ask.body); status != wire.Refused {
				t.Errorf("status %d, %q; want it refused", status, answer)
			}
			l.closed()
		})
	}
}

func TestNonsenseEndsTheProcess(t *testing.T) {
	for name, bytes := range map[string]string{
		"length zero":    "\x00\x00\x00\x00",
		"length too big": "\x00\x01\x00\x00",
		"text":           "GET / HTTP/1.1\r\n\r\n",
	} {
		for _, opened := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				l := dial(t)
				if opened {
					l.ask(wire.Open, hello(t, newKey(t, eventlog.SchemeDigest)))
				}
				if _, err := l.conn.Write([]byte(bytes)); err != nil {
					t.Fatal(err)
				}
				l.closed()
			})
		}
	}
}

// Started by hand the program says what is wrong, and does not hang.
func TestServeWithoutSocket(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), os.Args[0], soft.Argument).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "started by the meter, not by hand") {
		t.Errorf("%v, output %q", err, out)
	}
}
