//go:build linux || darwin || freebsd

package dongle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openLock opens the file of a lock, for reading: that is all that a lock needs, so that several users can share it.
func openLock(path string) (*os.File, error) {
	const flags = os.O_RDONLY | unix.O_NOFOLLOW
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, flags|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("dongle: lock: %w", err)
	}
	return f, nil
}

// lock locks the file until it is closed or the process has ended. It returns false if another holds the lock.
func lock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dongle: lock %s: %w", f.Name(), err)
	}
	return true, nil
}
