//go:build darwin || freebsd

package dongle

import (
	"os"

	"golang.org/x/sys/unix"
)

func baud(tty *os.File) int {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TIOCGETA)
	if err != nil {
		return 0
	}
	return int(t.Ispeed)
}
