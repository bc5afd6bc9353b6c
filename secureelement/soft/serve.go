package soft

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/harden"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// Argument is the one argument of a program that is to be a module process.
const Argument = "secure-element"

// Invoked reports whether this program was started to be a module process:
// main, or the TestMain of tests that open a module, then calls [Serve] and
// nothing else.
func Invoked() bool { return len(os.Args) == 2 && os.Args[1] == Argument }

// socketFD is the descriptor that the process finds its socket at.
const socketFD = 3

// Serve is the module process. It answers on descriptor 3 until the other side
// closes it, and returns nil then. It changes the whole process for good: no
// core file, no file but its own, no new program.
func Serve() error {
	// The meter decides when the process ends, by closing the socket. A service
	// manager signals both, and the meter still has a seal to get.
	// A file that may not grow is an error of the write, not of the process.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGXFSZ)
	measures := harden.Process()

	f := os.NewFile(socketFD, "meter")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("soft: descriptor %d is no socket: %s is started by the meter, not by hand: %w", socketFD, Argument, err)
	}
	defer conn.Close()
	err = serve(conn, measures)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

// serve answers the first message and, if it opened a key, all that follow.
func serve(conn io.ReadWriter, measures []secureelement.Measure) error {
	buf := make([]byte, wire.MaxFrame)
	f, err := wire.Read(conn, buf)
	if err != nil {
		return err
	}
	l := line{conn: conn}
	s, err := begin(f, measures)
	clear(buf) // the passphrase
	if err != nil {
		return l.fail(f.ID, err)
	}
	if s == nil {
		return l.answer(f.ID, nil)
	}
	defer s.close()
	runtime.GOMAXPROCS(1) // one request at a time from here on: a second thread to wake only costs
	debug.FreeOSMemory()  // what the derivation of the key took, before memory is locked
	s.measures = append(s.measures, harden.Memory())
	s.measures = append(s.measures, harden.Calls()...)
	body, err := s.describe()
	for {
		if err != nil {
			err = l.fail(f.ID, err)
		} else {
			err = l.answer(f.ID, body)
		}
		if err != nil {
			return err
		}
		if f, err = wire.Read(conn, buf); err != nil {
			return err
		}
		body, err = s.handle(f)
	}
}

// begin opens or creates what the first message asks for; a created module is
// not served.
func begin(f wire.Frame, measures []secureelement.Measure) (*server, error) {
	var hello wire.Hello
	if err := hello.UnmarshalBinary(f.Body); err != nil {
		return nil, refuse(wire.Refused, err)
	}
	measures = append(measures, harden.Directory(hello.Dir))
	switch f.Kind {
	case wire.Create:
		return nil, create(hello)
	case wire.Open:
		s, err := open(hello)
		if err != nil {
			return nil, err
		}
		s.measures = measures
		return s, nil
	}
	return nil, refuse(wire.Refused, fmt.Errorf("verb %d before Open", f.Kind))
}

// line sends answers.
type line struct {
	conn io.Writer
	buf  []byte
}

func (l *line) answer(id uint64, body []byte) error { return l.send(id, wire.OK, body) }

// fail reports err as an answer.
func (l *line) fail(id uint64, err error) error {
	r := &refusal{status: wire.Unavailable, err: err}
	errors.As(err, &r)
	body, err := wire.Failure{RetryAfter: r.after, Text: r.err.Error()}.AppendBinary(nil)
	if err != nil {
		return err
	}
	return l.send(id, r.status, body)
}

func (l *line) send(id uint64, kind byte, body []byte) error {
	frame, err := wire.Frame{ID: id, Kind: kind, Body: body}.AppendBinary(l.buf[:0])
	if err != nil {
		return err
	}
	l.buf = frame
	_, err = l.conn.Write(frame)
	return err
}
