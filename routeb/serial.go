package routeb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goburrow/serial"
)

// OpenPort opens a serial port at a rate in bit/s, 8N1, and locks it against other programs. The errors wrap ErrPortBusy,
// ErrNotPort, fs.ErrPermission or fs.ErrNotExist where they apply. Read blocks until there is data and returns ErrUnplugged when the
// device is gone; Close ends it within 0.2 s. One goroutine may read while another writes.
func OpenPort(path string, baud int) (io.ReadWriteCloser, error) {
	lock, err := lockPort(path)
	if err != nil {
		return nil, err
	}
	line, err := serial.Open(&serial.Config{
		Address: path, BaudRate: baud, DataBits: 8, StopBits: 1, Parity: "N", Timeout: readTimeout,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("routeb: open %s: %w", path, err), lock.Close())
	}
	lock.exclude()
	return &port{line: line, lock: lock, baud: baud}, nil
}

const (
	readTimeout = 150 * time.Millisecond
	// A read that returns nothing at once is what an unplugged device gives for ever. A live one may do it now and then.
	emptyReads = 5
)

// port cures what goburrow/serial does to its callers: counts of -1, reads that neither end on Close nor report a hangup,
// short writes without an error.
type port struct {
	line   serial.Port
	lock   *portLock
	baud   int
	closed atomic.Bool
	reads  sync.Mutex // held by Read, so that Close waits for it: the file number may be another file's after Close
}

func (p *port) Read(b []byte) (int, error) {
	p.reads.Lock()
	defer p.reads.Unlock()
	for empty := 0; ; {
		if p.closed.Load() {
			return 0, os.ErrClosed
		}
		n, err := p.line.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, serial.ErrTimeout):
			empty = 0
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
		case err != nil:
			return 0, fmt.Errorf("%w: %w", ErrUnplugged, err)
		default:
			if empty++; empty == emptyReads {
				return 0, ErrUnplugged
			}
		}
	}
}

func (p *port) Write(b []byte) (int, error) {
	limit := time.Second + time.Duration(len(b)*10)*time.Second/time.Duration(p.baud)
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for done := 0; ; {
		if p.closed.Load() {
			return done, os.ErrClosed
		}
		n, err := p.line.Write(b[done:])
		done += max(n, 0)
		if done == len(b) {
			return done, nil
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
			return done, fmt.Errorf("%w: %w", ErrUnplugged, err)
		}
		select {
		case <-pause.C:
		case <-timeout.C:
			return done, fmt.Errorf("%w: %d of %d bytes written in %v", ErrUnplugged, done, len(b), limit)
		}
	}
}

func (p *port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.reads.Lock()
	defer p.reads.Unlock()
	return errors.Join(p.line.Close(), p.lock.Close())
}
