package harden

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/meterseal/meterseal/secureelement"
)

// errCgo: the program is linked with cgo, whose threads the runtime cannot
// reach. A build with CGO_ENABLED=0 has no such threads.
var errCgo = errors.New("needs a program built with CGO_ENABLED=0")

func dumpable() secureelement.Measure {
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	return measure("not-dumpable", "PR_SET_DUMPABLE 0: no ptrace, no /proc/PID/mem", err)
}

// noNewPrivs covers every thread, or none.
func noNewPrivs() error {
	return onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// onAllThreads makes one system call on each thread of the program.
func onAllThreads(trap, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, a3, 0, 0, 0)
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return errCgo
	}
	return errno
}

// memory locks pages as they are first touched: locking all that is
// mapped would fill the address space that the Go runtime only reserves.
func memory() secureelement.Measure {
	err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) {
		err = errors.New("needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK")
	}
	return measure("mlockall", "memory is not swapped", err)
}
