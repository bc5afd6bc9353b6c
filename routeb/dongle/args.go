package dongle

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

func oneOf(s string, of ...string) bool { return slices.Contains(of, s) }

// hexArg reads a number of exactly so many hex digits within a range.
func hexArg(s string, digits int, from, to uint64) (uint64, bool) {
	if len(s) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil && from <= n && n <= to
}

// hexUpTo reads a number of at most so many hex digits within a range.
func hexUpTo(s string, digits int, from, to uint64) (uint64, bool) {
	if len(s) > digits {
		return 0, false
	}
	return hexArg(s, len(s), from, to)
}

// addrArg reads an IPv6 address in the only form that modules take.
func addrArg(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is6() && s == skstack.FormatAddr(a)
}

func macArg(s string) (m skstack.EUI64, ok bool) {
	m, err := skstack.ParseEUI64(s)
	return m, err == nil
}

// hexOf reads a number of any width; 0 if it is none.
func hexOf(s string) uint64 {
	n, _ := hexUpTo(s, 16, 0, ^uint64(0))
	return n
}
