//go:build darwin || freebsd

package dongle

import "golang.org/x/sys/unix"

func baud(tty int) int {
	t, err := unix.IoctlGetTermios(tty, unix.TIOCGETA)
	if err != nil {
		return 0
	}
	return int(t.Ispeed)
}
