package routeb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// port3610 is the UDP port of ECHONET Lite, the only one that Route-B uses for applications.
const port3610 = 3610

// MaxDatagram is the longest payload of WriteTo, in bytes. Prefer less than 1 kB: a datagram travels in several radio
// frames, and if one is lost all are.
const MaxDatagram = skstack.MaxData

// queued is how many received datagrams wait for ReadFrom before the oldest goes.
const queued = 64

// Conn is a session with a meter. It is a net.PacketConn that may be used by several goroutines.
type Conn struct {
	cfg     Config
	cancel  context.CancelFunc
	joined  chan struct{} // closed at the first join
	closing chan struct{} // closed by Close
	close   sync.Once
	done    chan struct{} // closed when the session's goroutine has ended
	recv    chan packet
	writes  chan write

	readBy, writeBy deadline

	mu     sync.Mutex // guards what follows
	status Status
	stats  Stats
	lost   chan struct{} // closed when the present session ends; nil if there is none
}

var _ net.PacketConn = (*Conn)(nil)

type packet struct {
	from netip.Addr
	data []byte
}

type write struct {
	to   netip.Addr
	data []byte
	err  chan error // has room for one
}

// Dial joins the meter. It returns after the first join, or when ctx ends, or after Config.DialAttempts failed attempts;
// the error then wraps the cause of the last failure. Afterwards ctx means nothing: only Close ends the session.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := start(cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.joined:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("routeb: dial %s: %w", cfg.Port, c.Status().Err)
	case <-ctx.Done():
		last := c.Status().Err
		_ = c.Close() // there is no session whose end could fail
		if last == nil {
			return nil, fmt.Errorf("routeb: dial %s: %w", cfg.Port, ctx.Err())
		}
		return nil, fmt.Errorf("routeb: dial %s: %w: %w", cfg.Port, ctx.Err(), last)
	}
}

// Open returns at once a Conn whose session joins the meter when it can: the dongle may be plugged in later, and the meter
// come into reach later. It never gives up, whatever Config.DialAttempts says; only Close ends it.
func Open(cfg Config) (*Conn, error) {
	cfg.DialAttempts = 0
	return start(cfg)
}

// start checks cfg and starts the session.
func start(cfg Config) (*Conn, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	c := &Conn{
		cfg:     cfg,
		cancel:  cancel,
		joined:  make(chan struct{}),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		recv:    make(chan packet, queued),
		writes:  make(chan write),
		readBy:  newDeadline(),
		writeBy: newDeadline(),
	}
	c.status.Since = cfg.Now()
	s := &session{conn: c, cfg: cfg, log: cfg.Logger}
	if cfg.Network != nil {
		known := *cfg.Network
		s.network = &known
	}
	go s.run(run)
	return c, nil
}

// Close ends the session with the meter, so that the next dongle is let in, and closes the port. That takes up to 15 s if
// the meter is silent; readers and writers return at once.
func (c *Conn) Close() error {
	c.close.Do(func() { close(c.closing) })
	c.cancel()
	<-c.done
	return nil
}

// ReadFrom waits for the next datagram. It fails with net.ErrClosed after Close, and with a timeout at the read deadline;
// loss of the session is only a wait. A datagram that does not fit into b is cut. The address is a *net.UDPAddr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	if isClosed(c.readBy.wait()) {
		return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
	}
	if isClosed(c.closing) {
		return 0, nil, c.opError("read", net.ErrClosed)
	}
	select {
	case p := <-c.recv:
		return copy(b, p.data), udpAddr(p.from), nil
	case <-c.closing:
		return 0, nil, c.opError("read", net.ErrClosed)
	case <-c.readBy.wait():
		return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
	}
}

// WriteTo sends a datagram of 1 to MaxDatagram bytes to the meter, or to a link-local group, and returns when the module
// knows what became of it. nil: it left. A net.Error with Timeout: it may have left. Any other error: it did not, and
// ErrNotJoined or ErrLimited tell why where that passes by itself. addr is a *net.UDPAddr with port 3610.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	c.mu.Lock()
	lost := c.lost
	c.mu.Unlock()
	if lost == nil {
		return 0, c.opError("write", c.notJoined())
	}
	to, err := c.target(b, addr)
	if err != nil {
		return 0, c.opError("write", err)
	}
	w := write{to: to, data: bytes.Clone(b), err: make(chan error, 1)}
	select {
	case c.writes <- w:
	case <-lost:
		return 0, c.opError("write", c.notJoined())
	case <-c.closing:
		return 0, c.opError("write", net.ErrClosed)
	case <-c.writeBy.wait():
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	}
	select {
	case err = <-w.err:
	case <-c.writeBy.wait():
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

func (c *Conn) notJoined() error {
	if isClosed(c.closing) {
		return net.ErrClosed
	}
	return ErrNotJoined
}

func (c *Conn) target(b []byte, addr net.Addr) (netip.Addr, error) {
	if len(b) == 0 || len(b) > MaxDatagram {
		return netip.Addr{}, fmt.Errorf("routeb: datagram of %d bytes, want 1 to %d", len(b), MaxDatagram)
	}
	u, ok := addr.(*net.UDPAddr)
	if !ok || u == nil {
		return netip.Addr{}, fmt.Errorf("routeb: address %v is no *net.UDPAddr", addr)
	}
	to := u.AddrPort().Addr().WithZone("")
	if u.Port != port3610 {
		return netip.Addr{}, fmt.Errorf("routeb: port %d, want %d", u.Port, port3610)
	}
	if meter := c.Status().Meter; to != meter && !to.IsLinkLocalMulticast() || !to.Is6() {
		return netip.Addr{}, fmt.Errorf("routeb: %v is not the meter, %v", to, meter)
	}
	return to, nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "routeb", Source: c.LocalAddr(), Err: err}
}

// Meter returns the address of the meter; nil until it was found. It may be another one after a rejoin: a meter can be
// exchanged.
func (c *Conn) Meter() *net.UDPAddr {
	if m := c.Status().Meter; m.IsValid() {
		return udpAddr(m)
	}
	return nil
}

// LocalAddr returns the dongle's own address, which is [::] until the dongle was asked for it.
func (c *Conn) LocalAddr() net.Addr {
	mac := c.Status().Module.MAC
	if mac == (EUI64{}) {
		return udpAddr(netip.IPv6Unspecified())
	}
	return udpAddr(mac.LinkLocal())
}

// Status returns where the session stands.
func (c *Conn) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Stats returns the counts.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline ends ReadFrom at t, also one that waits already. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return nil
}

// SetWriteDeadline ends the wait of WriteTo at t. The datagram may be sent all the same.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return nil
}

func udpAddr(a netip.Addr) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port3610))
}

// update changes the status and tells whoever watches.
func (c *Conn) update(change func(*Status)) {
	c.mu.Lock()
	before := c.status.State
	change(&c.status)
	if c.status.State != before {
		c.status.Since = c.cfg.Now()
	}
	now := c.status
	c.mu.Unlock()
	c.cfg.OnChange(now)
}

func (c *Conn) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// deliver queues a datagram for ReadFrom. The oldest goes if nobody reads.
func (c *Conn) deliver(p packet) {
	for {
		select {
		case c.recv <- p:
			return
		default:
		}
		select {
		case <-c.recv:
			c.count(func(s *Stats) { s.Dropped++ })
		default:
		}
	}
}
