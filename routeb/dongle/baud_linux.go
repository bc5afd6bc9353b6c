package dongle

import "golang.org/x/sys/unix"

func baud(tty int) int {
	t, err := unix.IoctlGetTermios(tty, unix.TCGETS)
	if err != nil {
		return 0
	}
	switch t.Cflag & unix.CBAUD {
	case unix.B2400:
		return 2400
	case unix.B4800:
		return 4800
	case unix.B9600:
		return 9600
	case unix.B19200:
		return 19200
	case unix.B38400:
		return 38400
	case unix.B57600:
		return 57600
	case unix.B115200:
		return 115200
	}
	return 0
}
