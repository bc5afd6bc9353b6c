package harden

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_RISCV64

// deniedHere are the calls that not every architecture has.
var deniedHere = []uint32{unix.SYS_ACCEPT}
