package soft

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes the content of f durable, but not its times.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
