//go:build linux && !amd64 && !arm && !arm64 && !riscv64

package harden

// auditArch 0: the filter was never tried on this architecture.
const auditArch = 0

var deniedHere []uint32
