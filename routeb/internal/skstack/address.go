package skstack

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// EUI64 is the MAC address of a Wi-SUN device.
type EUI64 [8]byte

// ParseEUI64 reads 16 hex digits without separators.
func ParseEUI64(s string) (EUI64, error) {
	var m EUI64
	if len(s) != 16 {
		return m, fmt.Errorf("skstack: MAC address %q: want 16 hex digits", s)
	}
	if _, err := hex.Decode(m[:], []byte(s)); err != nil {
		return EUI64{}, fmt.Errorf("skstack: MAC address %q: %w", s, err)
	}
	return m, nil
}

// String returns 16 upper-case hex digits, the form of the serial protocol.
func (m EUI64) String() string { return fmt.Sprintf("%X", m[:]) }

// MarshalText returns the String form.
func (m EUI64) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the String form.
func (m *EUI64) UnmarshalText(b []byte) (err error) {
	*m, err = ParseEUI64(string(b))
	return err
}

// LinkLocal returns the address that the device takes in FE80::/64: its MAC address with the universal/local bit
// flipped (RFC 4291, appendix A). It is what the command SKLL64 computes.
func (m EUI64) LinkLocal() netip.Addr {
	var a [16]byte
	a[0], a[1] = 0xFE, 0x80
	copy(a[8:], m[:])
	a[8] ^= 0x02
	return netip.AddrFrom16(a)
}

// FormatAddr writes an IPv6 address in the only form that modules take: eight groups of four upper-case digits.
func FormatAddr(a netip.Addr) string { return strings.ToUpper(a.WithZone("").StringExpanded()) }

// Power returns the received signal strength in dBm for a link quality of a module.
func Power(lqi byte) float64 { return 0.275*float64(lqi) - 104.27 }
