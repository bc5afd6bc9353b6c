package echonet

import (
	"net"
	"net/netip"
)

// Port is the UDP port of ECHONET Lite, for unicast and multicast (ECHONET
// Lite Part II, 1.4).
const Port = 3610

// Host is an address without its port: what ECHONET Lite knows a node by, since
// nodes may send from any port. Hosts are compared with == and serve as map
// keys.
type Host struct {
	ip    netip.Addr
	other string // text of an address that is not IP
}

// HostOf returns the host of any address: of IP addresses the address with its
// zone, of others their whole text.
func HostOf(a net.Addr) Host {
	if ap, ok := addrPortOf(a); ok {
		return Host{ip: ap.Addr()}
	}
	if a == nil {
		return Host{}
	}
	return Host{other: a.String()}
}

// IP returns the address, which is not valid for a host that has no IP address.
func (h Host) IP() netip.Addr { return h.ip }

// String returns the address as text.
func (h Host) String() string {
	if h.ip.IsValid() {
		return h.ip.String()
	}
	return h.other
}

// addrPortOf returns the IP address and port of a, without the IPv4-in-IPv6
// form. A port of 0 stands.
func addrPortOf(a net.Addr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}, false
	case *net.UDPAddr:
		if a == nil {
			return netip.AddrPort{}, false
		}
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.Addr().IsValid()
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}
