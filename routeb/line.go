package routeb

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// line is an open port and the one goroutine that reads it.
type line struct {
	port   io.ReadWriteCloser
	chunks chan []byte   // closed when the port gives no more; err says why
	err    error         // valid once chunks is closed
	stop   chan struct{} // closed by close
}

var errTimeout = errors.New("no answer in time")

func newLine(port io.ReadWriteCloser) *line {
	l := &line{port: port, chunks: make(chan []byte, 64), stop: make(chan struct{})}
	go l.read()
	return l
}

func (l *line) read() {
	defer close(l.chunks)
	for {
		b := make([]byte, 4096)
		n, err := l.port.Read(b)
		if n > 0 {
			select {
			case l.chunks <- b[:n]:
			case <-l.stop:
				l.err = os.ErrClosed
				return
			}
		}
		if err != nil {
			if !errors.Is(err, ErrUnplugged) {
				err = errors.Join(ErrUnplugged, err)
			}
			l.err = err
			return
		}
	}
}

// close ends the reader and closes the port.
func (l *line) close() {
	close(l.stop)
	// What a device that is being given up says about it helps nobody.
	_ = l.port.Close()
	for range l.chunks {
		// until the reader has left
	}
}

func (l *line) write(b []byte) error {
	if _, err := l.port.Write(b); err != nil {
		if errors.Is(err, ErrUnplugged) {
			return err
		}
		return errors.Join(ErrUnplugged, err)
	}
	return nil
}

// await hands what arrives to feed until done says true; errTimeout after d, or why the line failed.
func (l *line) await(ctx context.Context, d time.Duration, feed func([]byte), done func() bool) error {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for !done() {
		select {
		case b, ok := <-l.chunks:
			if !ok {
				return l.err
			}
			feed(b)
		case <-timeout.C:
			return errTimeout
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drain throws away what arrives until the line is quiet for the given time, but for no longer than limit.
func (l *line) drain(ctx context.Context, quiet, limit time.Duration) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		select {
		case _, ok := <-l.chunks:
			if !ok {
				return l.err
			}
		case <-time.After(quiet):
			return nil
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
