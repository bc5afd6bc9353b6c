package dongle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Cable is a serial line in memory between a dongle and hosts in the same program, which may also be a test with a clock
// of its own. One host at a time opens it; what the dongle writes while none has is lost, and so is what neither reads
// beyond 64 KiB. The zero value is ready.
type Cable struct {
	mu   sync.Mutex // guards what follows
	plug *cableEnd  // the dongle's end; nil = unplugged
	host *cableEnd  // the host's end; nil = closed
}

// Plug connects a dongle and returns its end of the line. It fits Dongle.Run.
func (c *Cable) Plug() (io.ReadWriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plug != nil {
		return nil, fmt.Errorf("dongle: cable: %w", fs.ErrExist)
	}
	c.plug = &cableEnd{cable: c, in: newBuffer()}
	return c.plug, nil
}

// Open opens the host's end. It fits routeb.Config.Open; both arguments mean nothing. The error is fs.ErrNotExist while
// no dongle is plugged in.
func (c *Cable) Open(string, int) (io.ReadWriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plug == nil {
		return nil, fmt.Errorf("dongle: cable: %w", fs.ErrNotExist)
	}
	if c.host != nil {
		return nil, fmt.Errorf("dongle: cable: %w", fs.ErrExist)
	}
	c.host = &cableEnd{cable: c, in: newBuffer()}
	return c.host, nil
}

type cableEnd struct {
	cable *Cable
	in    *buffer
}

func (e *cableEnd) Read(b []byte) (int, error) { return e.in.read(b) }

func (e *cableEnd) Write(b []byte) (int, error) {
	e.cable.mu.Lock()
	other := e.cable.host
	if e == other {
		other = e.cable.plug
	}
	e.cable.mu.Unlock()
	if e.in.isClosed() {
		return 0, os.ErrClosed
	}
	if other != nil {
		other.in.write(b)
	}
	return len(b), nil
}

// Close hangs up. When the dongle does it, the host's end fails too.
func (e *cableEnd) Close() error {
	c := e.cable
	c.mu.Lock()
	defer c.mu.Unlock()
	e.in.close(os.ErrClosed)
	switch e {
	case c.plug:
		c.plug = nil
		if c.host != nil {
			c.host.in.close(io.EOF)
			c.host = nil
		}
	case c.host:
		c.host = nil
	}
	return nil
}

// buffer is a queue of bytes whose reader waits.
type buffer struct {
	ready chan struct{} // has one token while there may be something to read

	mu   sync.Mutex // guards what follows
	data []byte
	err  error
}

const bufferSize = 64 << 10

func newBuffer() *buffer { return &buffer{ready: make(chan struct{}, 1)} }

func (b *buffer) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *buffer) write(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p[:min(len(p), bufferSize-len(b.data))]...)
	b.signal()
}

func (b *buffer) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.signal()
}

func (b *buffer) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

func (b *buffer) read(p []byte) (int, error) {
	for range b.ready {
		b.mu.Lock()
		n := copy(p, b.data)
		b.data = b.data[n:]
		err := b.err
		if len(b.data) > 0 || err != nil {
			b.signal()
		}
		b.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
	}
	return 0, io.EOF // not reached: ready is never closed
}
