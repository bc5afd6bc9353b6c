package harden

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/meterseal/meterseal/secureelement"
)

// What the process may do in its directory: read, write, create, rename and
// remove files.
const inDirectory = unix.LANDLOCK_ACCESS_FS_READ_FILE |
	unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
	unix.LANDLOCK_ACCESS_FS_READ_DIR |
	unix.LANDLOCK_ACCESS_FS_MAKE_REG |
	unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
	unix.LANDLOCK_ACCESS_FS_TRUNCATE

func directory(dir string) secureelement.Measure {
	abi, err := landlock(dir)
	return measure("landlock", fmt.Sprintf("ABI %d: no file outside the module's directory, no TCP", abi), err)
}

// landlock restricts all threads to dir and returns the kernel's ABI version
// (kernel documentation, userspace-api/landlock).
func landlock(dir string) (abi int, err error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS, unix.EOPNOTSUPP:
		return 0, errors.New("the kernel has no landlock")
	default:
		return 0, errno
	}
	abi = int(version)

	rules := handled(abi)
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return abi, fmt.Errorf("create ruleset: %w", errno)
	}
	defer unix.Close(int(ruleset))

	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return abi, fmt.Errorf("open directory: %w", err)
	}
	defer unix.Close(fd)
	beneath := unix.LandlockPathBeneathAttr{
		Allowed_access: rules.Handled_access_fs & inDirectory,
		Parent_fd:      int32(fd),
	}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&beneath)), 0, 0, 0); errno != 0 {
		return abi, fmt.Errorf("add rule: %w", errno)
	}
	return abi, restrict(ruleset, abi)
}

// restrict applies the ruleset to all threads: by the kernel where it can do
// that, else thread by thread.
func restrict(ruleset uintptr, abi int) error {
	if abi < tsyncABI {
		if err := noNewPrivs(); err != nil {
			return err
		}
		return onAllThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, unix.LANDLOCK_RESTRICT_SELF_TSYNC, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// tsyncABI is the first ABI that can restrict all threads by itself.
const tsyncABI = 8

// handled is everything that the kernel can forbid: what no rule allows is.
func handled(abi int) unix.LandlockRulesetAttr {
	fs := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM)<<1 - 1 // ABI 1: the 13 rights up to MAKE_SYM
	if abi >= 2 {
		fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: fs}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	return attr
}
