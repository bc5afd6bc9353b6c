package echonet

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The groups of ECHONET Lite (Part II, 1.4).
var (
	groupIPv4 = netip.MustParseAddr("224.0.23.0")
	groupIPv6 = netip.MustParseAddr("ff02::1")
)

// ErrPortTaken: another program holds the port.
var ErrPortTaken = errors.New("another program holds this port; ECHONET Lite programs all use 3610: " +
	"stop it, or listen on another address or port")

// ListenConfig says where to listen. The zero value means every address of
// every interface that is up, at port 3610.
type ListenConfig struct {
	// Addrs are local addresses: "ADDR", "ADDR:PORT", "[ADDR6]:PORT", or ":PORT"
	// for all of them. The default port is 3610; 0 takes a free one.
	Addrs []string
	// Interfaces, if not empty, are the names of the only interfaces used.
	Interfaces []string
	// Logger is told what is left out when all addresses are asked for: an address
	// that is not ready, an interface that cannot join the group. Default: discard.
	Logger *slog.Logger
}

// Listen opens sockets for ECHONET Lite over UDP: one per local address, and for
// each interface one that hears the multicast group (224.0.23.0 or ff02::1) and,
// with IPv4, those that hear directed and limited broadcast. Group sockets
// answer by the unicast socket of their interface, so that an answer leaves by
// an address that a peer can ask again. Addresses that come later are not
// followed. Interfaces without multicast, such as loopback, get no group; nor do
// sockets at a free port.
//
// The links are the caller's to close. A port that is held by another program is
// ErrPortTaken.
func Listen(c ListenConfig) ([]Link, error) {
	l := &listener{groups: map[string]bool{}, log: c.Logger}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if err := l.open(c); err != nil {
		for _, link := range l.links {
			_ = link.Close()
		}
		return nil, err
	}
	return l.links, nil
}

// listener is one call of Listen.
type listener struct {
	links  []Link
	groups map[string]bool // interface and group that have a socket
	limits []*limited      // who answers limited broadcasts, by interface
	log    *slog.Logger
}

// local is an address of an interface.
type local struct {
	ifi    net.Interface
	prefix netip.Prefix
}

func (a local) addr() netip.Addr {
	if a.prefix.Addr().IsLinkLocalUnicast() && a.prefix.Addr().Is6() {
		return a.prefix.Addr().WithZone(a.ifi.Name)
	}
	return a.prefix.Addr()
}

// group returns the multicast group on the address's interface.
func (a local) group() netip.Addr {
	if a.addr().Is4() {
		return groupIPv4
	}
	return groupIPv6.WithZone(a.ifi.Name)
}

func (a local) network() string {
	if a.addr().Is4() {
		return "udp4"
	}
	return "udp6"
}

func (l *listener) open(c ListenConfig) error {
	all, err := locals(c.Interfaces)
	if err != nil {
		return err
	}
	if len(c.Addrs) == 0 {
		c.Addrs = []string{":" + strconv.Itoa(Port)}
	}
	for _, s := range c.Addrs {
		if err := l.addrs(s, all); err != nil {
			return err
		}
	}
	return l.broadcast()
}

// addrs opens the sockets of one of ListenConfig.Addrs.
func (l *listener) addrs(s string, all []local) error {
	addr, port, err := parseListen(s)
	if err != nil {
		return err
	}
	if addr.IsValid() && !addr.IsUnspecified() {
		for _, a := range all {
			if covers(a, addr) {
				a.prefix = netip.PrefixFrom(addr.WithZone(""), a.prefix.Bits())
				if err := l.unicast(a, port); err != nil {
					return err
				}
				return l.group(a, port)
			}
		}
		return fmt.Errorf("echonet: listen on %s: no such address on the interfaces chosen", s)
	}
	before := len(l.links)
	for _, a := range all {
		if addr.IsValid() && addr.Is4() != a.addr().Is4() {
			continue
		}
		if err := l.oneOfMany(a, port); err != nil {
			return err
		}
	}
	if len(l.links) == before {
		return fmt.Errorf("echonet: listen on %s: no address on the interfaces chosen", s)
	}
	return nil
}

// oneOfMany opens the sockets of an address as far as that works: one that is not
// ready, or has no multicast, does not keep a node off the others.
func (l *listener) oneOfMany(a local, port int) error {
	err := l.unicast(a, port)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		l.log.Warn("address left out", "addr", a.addr(), "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	err = l.group(a, port)
	if err != nil && !errors.Is(err, ErrPortTaken) {
		l.log.Warn("multicast left out", "interface", a.ifi.Name, "addr", a.addr(), "err", err)
		return nil
	}
	return err
}

// covers reports whether the address can be bound on the interface address a:
// it is that, or another one of a loopback network.
func covers(a local, addr netip.Addr) bool {
	if addr.IsLoopback() && a.addr().IsLoopback() {
		return a.prefix.Contains(addr)
	}
	return a.addr() == addr || addr.Zone() == "" && a.prefix.Addr() == addr
}

// locals returns the addresses of the interfaces that are up, IPv6 link-local
// ones before other IPv6 ones.
func locals(names []string) ([]local, error) {
	ifis, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("echonet: interfaces: %w", err)
	}
	wanted := map[string]bool{}
	for _, name := range names {
		if _, err := net.InterfaceByName(name); err != nil {
			return nil, fmt.Errorf("echonet: interface %s: %w", name, err)
		}
		wanted[name] = true
	}
	var first, last []local
	for _, ifi := range ifis {
		if ifi.Flags&net.FlagUp == 0 || len(wanted) > 0 && !wanted[ifi.Name] {
			continue
		}
		addrs, err := ifi.Addrs()
		if err != nil {
			return nil, fmt.Errorf("echonet: addresses of %s: %w", ifi.Name, err)
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue // not an IP address
			}
			if p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() {
				last = append(last, local{ifi, p})
			} else {
				first = append(first, local{ifi, p})
			}
		}
	}
	return append(first, last...), nil
}

// parseListen reads one of ListenConfig.Addrs.
func parseListen(s string) (netip.Addr, int, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap(), Port, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("echonet: listen on %q: want ADDR, ADDR:PORT or :PORT", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("echonet: listen on %q: port must be 0 to 65535", s)
	}
	if host == "" {
		return netip.Addr{}, int(n), nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("echonet: listen on %q: %q is no IP address", s, host)
	}
	return a.Unmap(), int(n), nil
}

func listenError(ap netip.AddrPort, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("echonet: listen on %v: %w (%w)", ap, ErrPortTaken, syscall.EADDRINUSE)
	}
	return fmt.Errorf("echonet: listen on %v: %w", ap, err)
}

// unicast opens the socket of one address.
func (l *listener) unicast(a local, port int) error {
	ap := netip.AddrPortFrom(a.addr(), uint16(port))
	c, err := net.ListenUDP(a.network(), net.UDPAddrFromAddrPort(ap))
	if err != nil {
		return listenError(ap, err)
	}
	l.links = append(l.links, Link{PacketConn: c})
	return nil
}

// group makes the last unicast socket that of its interface and family which
// sends to the group and answers what comes by it, unless there is one already.
func (l *listener) group(a local, port int) error {
	link := &l.links[len(l.links)-1]
	c, ok := link.PacketConn.(*net.UDPConn)
	key := a.ifi.Name + a.network()
	if !ok || l.groups[key] || a.ifi.Flags&net.FlagMulticast == 0 || a.addr().IsLoopback() {
		return nil
	}
	l.groups[key] = true
	var err error
	if a.addr().Is4() {
		err = ipv4.NewPacketConn(c).SetMulticastInterface(&a.ifi)
	} else {
		err = ipv6.NewPacketConn(c).SetMulticastInterface(&a.ifi)
	}
	if err != nil {
		return fmt.Errorf("echonet: multicast on %s: %w", a.ifi.Name, err)
	}
	link.Group = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.group(), Port))
	if port == 0 {
		return nil
	}
	return errors.Join(l.hearGroup(a, c, port), l.hearBroadcast(a, c, port))
}

// hearGroup opens the socket of the group of an interface and family.
func (l *listener) hearGroup(a local, out *net.UDPConn, port int) error {
	g, err := l.shared(netip.AddrPortFrom(a.group(), uint16(port)), a.ifi.Index)
	if err != nil || g == nil {
		return err
	}
	group := net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.group(), 0))
	if a.addr().Is4() {
		err = ipv4.NewPacketConn(g).JoinGroup(&a.ifi, group)
	} else {
		err = ipv6.NewPacketConn(g).JoinGroup(&a.ifi, group)
	}
	if err != nil {
		_ = g.Close()
		return fmt.Errorf("echonet: join group on %s: %w", a.ifi.Name, err)
	}
	l.links = append(l.links, Link{PacketConn: &groupConn{g, out}})
	return nil
}

// hearBroadcast opens the socket of the broadcast address of an interface's IPv4
// network, and notes who answers limited broadcasts there.
func (l *listener) hearBroadcast(a local, out *net.UDPConn, port int) error {
	if !a.addr().Is4() || a.ifi.Flags&net.FlagBroadcast == 0 {
		return nil
	}
	l.limits = append(l.limits, &limited{a.ifi.Index, out, port})
	if a.prefix.Bits() > 30 {
		return nil // a network of two has no broadcast address
	}
	g, err := l.shared(netip.AddrPortFrom(lastOf(a.prefix), uint16(port)), 0)
	if err != nil || g == nil {
		return err
	}
	l.links = append(l.links, Link{PacketConn: &groupConn{g, out}})
	return nil
}

// lastOf returns the broadcast address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// shared opens a socket at an address that several programs may hear. It returns
// nil where the system cannot do that.
func (l *listener) shared(ap netip.AddrPort, zone int) (*net.UDPConn, error) {
	c, err := listenShared(ap, zone)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil //nolint:nilnil // documented above
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, nil //nolint:nilnil // the interface's broadcast address is another one
	case err != nil:
		return nil, listenError(ap, err)
	}
	return c, nil
}

// limited is who answers limited broadcasts that arrive on one interface.
type limited struct {
	index int
	out   *net.UDPConn
	port  int
}

// broadcast opens the sockets of 255.255.255.255, one per port: it has no
// interface of its own.
func (l *listener) broadcast() error {
	byPort := map[int]*broadcastConn{}
	for _, a := range l.limits {
		if b := byPort[a.port]; b != nil {
			b.outs[a.index] = a.out
			continue
		}
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), uint16(a.port))
		c, err := l.shared(ap, 0)
		if err != nil || c == nil {
			return err
		}
		b := &broadcastConn{UDPConn: c, in: ipv4.NewPacketConn(c), outs: map[int]*net.UDPConn{a.index: a.out}}
		if err := b.in.SetControlMessage(ipv4.FlagInterface, true); err != nil {
			_ = c.Close()
			return nil //nolint:nilerr // multicast and directed broadcast are heard all the same
		}
		byPort[a.port] = b
		l.links = append(l.links, Link{PacketConn: b})
	}
	return nil
}
