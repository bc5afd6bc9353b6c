//go:build unix

package routeb

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// portLock keeps other programs off a port: flock stops those that look, TIOCEXCL those that do not (but not root).
type portLock struct{ f *os.File }

// maxFD is a file number that keeps the next one below 1024, the size of the set that goburrow/serial passes to select.
const maxFD = 1000

func lockPort(path string) (*portLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: %s%s", ErrPortBusy, path, holder(path))
	}
	if errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("%w: %s", ErrNotPort, path)
	}
	if err != nil {
		return nil, fmt.Errorf("routeb: %w", err)
	}
	if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); errors.Is(err, unix.ENOTTY) { // any terminal has one
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrNotPort, path), f.Close())
	}
	if f.Fd() >= maxFD {
		return nil, errors.Join(fmt.Errorf("routeb: open %s: too many open files for a serial port", path), f.Close())
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s%s", ErrPortBusy, path, holder(path))
		} else {
			err = fmt.Errorf("routeb: lock %s: %w", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return &portLock{f}, nil
}

// exclude makes further opens of the port fail. It comes after our own.
func (l *portLock) exclude() {
	// A terminal that does not know the request is still guarded by flock.
	_ = unix.IoctlSetInt(int(l.f.Fd()), unix.TIOCEXCL, 0)
}

func (l *portLock) Close() error {
	_ = unix.IoctlSetInt(int(l.f.Fd()), unix.TIOCNXCL, 0) // fails on a device that is gone
	return l.f.Close()
}
