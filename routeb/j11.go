package routeb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/meterseal/meterseal/routeb/internal/j11"
)

// bin drives a module of the J11 family.
type bin struct {
	line    *line
	cred    Credentials
	sink    sink
	log     *slog.Logger
	decoder j11.Decoder

	awaited  uint16     // code of the response that is awaited
	response *j11.Frame // once it came
	powered  bool       // the module said that it is on
	started  bool       // route-B operation
	scanning []Network
	peer     EUI64
	joining  byte // result of the authentication: 0 = none yet
}

// Results of an authentication.
const (
	authenticated = 1
	authFailed    = 2
)

func newBin(l *line, cfg Config, s sink) *bin {
	return &bin{line: l, cred: cfg.Credentials, sink: s, log: cfg.Logger, decoder: j11.Decoder{Unique: j11.FromModule}}
}

func (m *bin) feed(b []byte) {
	m.decoder.Feed(b)
	for f, fault, ok := m.decoder.Next(); ok; f, fault, ok = m.decoder.Next() {
		if fault != 0 {
			m.sink.damaged()
			continue
		}
		m.log.Debug("routeb: read", "code", fmt.Sprintf("%04X", f.Code), "bytes", len(f.Data))
		m.onFrame(f)
	}
}

func (m *bin) onFrame(f j11.Frame) {
	switch f.Code {
	case j11.PoweredOn:
		m.powered = true
	case j11.ChannelDone:
		m.onChannel(f.Data)
	case j11.Received:
		m.onDatagram(f.Data)
	case j11.Authenticated:
		m.onAuthenticated(f.Data)
	case j11.BrokenRequest, j11.UnknownRequest, m.awaited:
		if m.awaited != 0 {
			m.response, m.awaited = &f, 0
		}
	}
}

// onChannel reads 00, channel, count, then for each network MAC address, id and signal strength.
func (m *bin) onChannel(b []byte) {
	if len(b) < 3 || b[0] != 0 {
		return // nothing there
	}
	const size = 11
	channel, n, b := b[1], int(b[2]), b[3:]
	for range n {
		if len(b) < size {
			return
		}
		m.scanning = append(m.scanning, Network{
			Channel: fromJ11(channel), MAC: EUI64(b[:8]), PAN: binary.BigEndian.Uint16(b[8:]), LQI: b[10],
		})
		b = b[size:]
	}
}

// Channels of the J11 family are twice as wide: its 4 to 17 are 33, 35, … 59 of SKSTACK-IP.
func fromJ11(channel byte) byte { return firstChannel + 2*(channel-4) }

func toJ11(channel byte) byte { return 4 + (channel-firstChannel)/2 }

// onDatagram reads source, ports, id of the network, kind of address, encryption, signal strength, length, data.
func (m *bin) onDatagram(b []byte) {
	const head = 27
	if len(b) < head || len(b) != head+int(binary.BigEndian.Uint16(b[25:])) {
		m.sink.damaged()
		return
	}
	m.sink.received(datagram{
		from:      netip.AddrFrom16([16]byte(b[:16])),
		srcPort:   binary.BigEndian.Uint16(b[16:]),
		dstPort:   binary.BigEndian.Uint16(b[18:]),
		encrypted: b[23] == 2,
		power:     float64(int8(b[24])),
		data:      b[head:],
	})
}

func (m *bin) onAuthenticated(b []byte) {
	if len(b) < 1 || len(b) >= 9 && EUI64(b[1:9]) != m.peer {
		return
	}
	m.joining = b[0]
	if b[0] == authenticated {
		m.sink.rejoined()
		return
	}
	m.sink.ended(fmt.Errorf("%w (6028 %02X)", ErrRefused, b[0]))
}

func (m *bin) write(code uint16, data []byte) error {
	b, err := j11.Frame{Code: code, Data: data}.Append(nil, j11.FromHost)
	if err != nil {
		return err
	}
	m.log.Debug("routeb: write", "code", fmt.Sprintf("%04X", code), "bytes", len(data)) // data may hold credentials
	return m.line.write(b)
}

// request sends a request and returns the data of the response behind its result. Another result than OK is a
// *CommandError.
func (m *bin) request(ctx context.Context, code uint16, data []byte, limit time.Duration) ([]byte, error) {
	m.awaited, m.response = code+j11.Response, nil
	if err := m.write(code, data); err != nil {
		return nil, err
	}
	err := m.line.await(ctx, limit, m.feed, func() bool { return m.response != nil })
	m.awaited = 0
	switch {
	case errors.Is(err, errTimeout):
		m.decoder.Drop()
		return nil, fmt.Errorf("routeb: request %04X: %w", code, errStuck)
	case err != nil:
		return nil, err
	}
	f := m.response
	if len(f.Data) == 0 || f.Code != code+j11.Response || f.Data[0] != j11.OK {
		return nil, &CommandError{Command: fmt.Sprintf("%04X", code), Answer: fmt.Sprintf("%04X % X", f.Code, f.Data[:min(1, len(f.Data))])}
	}
	return f.Data[1:], nil
}

func (m *bin) probe(ctx context.Context) (mod Module, err error) {
	if err := m.reset(ctx); err != nil {
		return mod, err
	}
	v, err := m.request(ctx, j11.Version, nil, commandTime)
	if err != nil {
		return mod, err
	}
	if len(v) < 8 {
		return mod, fmt.Errorf("routeb: version of %d bytes, want 8", len(v))
	}
	mod.Family = "j11"
	mod.Firmware = fmt.Sprintf("%X", v[:2])
	mod.Version = fmt.Sprintf("%d.%d.%X", v[2], v[3], v[4:8])
	if mac, err := m.request(ctx, j11.OwnMAC, nil, commandTime); err == nil && len(mac) >= 8 {
		mod.MAC = EUI64(mac[:8]) // for people; a module that does not say is none the worse
	}
	if err := m.setup(ctx, 4); err != nil {
		return mod, err
	}
	_, err = m.request(ctx, j11.Credentials, []byte(m.cred.ID+m.cred.Password), commandTime)
	return mod, err
}

// reset restarts the module. A frame that somebody left half written swallows the first try and ends in its timeout.
func (m *bin) reset(ctx context.Context) error {
	for range 2 {
		m.powered, m.started = false, false
		if err := m.write(j11.Reset, nil); err != nil {
			return err
		}
		err := m.line.await(ctx, resetTime, m.feed, func() bool { return m.powered })
		if !errors.Is(err, errTimeout) {
			return err
		}
	}
	return ErrNoAnswer
}

// setup chooses dual mode, no sleep of the home area network, a channel and full power.
func (m *bin) setup(ctx context.Context, channel byte) error {
	_, err := m.request(ctx, j11.Setup, []byte{5, 0, channel, 0}, commandTime)
	return err
}

const (
	binChannels = 14
	binScanUnit = 9640 * time.Microsecond // a scan stays 2^d of them on a channel
)

func (*bin) scanTime(duration int, only *Network) time.Duration {
	if only != nil {
		return binScanUnit << duration
	}
	return binChannels * binScanUnit << duration
}

func (m *bin) scan(ctx context.Context, duration int, only *Network) ([]Network, error) {
	mask := uint32(1<<binChannels-1) << 4
	if only != nil {
		mask = 1 << toJ11(only.Channel)
	}
	data := binary.BigEndian.AppendUint32([]byte{byte(duration)}, mask)
	data = append(append(data, 1), m.cred.PairID()...) // only networks with our pairing id answer
	m.scanning = nil
	if _, err := m.request(ctx, j11.Scan, data, m.scanTime(duration, only)+scanMargin); err != nil {
		return nil, err
	}
	return m.scanning, nil
}

func (*bin) power(quality byte) float64 { return float64(int8(quality)) }

const (
	startTries = 10
	startPause = 500 * time.Millisecond
)

func (m *bin) join(ctx context.Context, n Network) error {
	if m.started {
		if _, err := m.request(ctx, j11.Stop, nil, leaveTime); errors.Is(err, errStuck) {
			return err // a refusal says that nothing was to be stopped
		}
		m.started = false
	}
	if err := m.setup(ctx, toJ11(n.Channel)); err != nil {
		return err
	}
	if err := m.start(ctx); err != nil {
		return err
	}
	m.started = true
	port := binary.BigEndian.AppendUint16(nil, port3610)
	var refused *CommandError
	if _, err := m.request(ctx, j11.OpenPort, port, commandTime); err != nil && !errors.As(err, &refused) {
		return err // a refusal says that it is open
	}
	m.peer, m.joining = n.MAC, 0
	if _, err := m.request(ctx, j11.Authenticate, nil, commandTime); err != nil {
		return err
	}
	err := m.line.await(ctx, joinTime, m.feed, func() bool { return m.joining != 0 })
	switch {
	case errors.Is(err, errTimeout):
		return fmt.Errorf("%w: no outcome within %v", ErrRefused, joinTime)
	case err != nil:
		return err
	case m.joining != authenticated:
		return fmt.Errorf("%w (6028 %02X)", ErrRefused, m.joining)
	}
	return nil
}

// start starts route-B operation. A meter that does not hear it at once is asked again.
func (m *bin) start(ctx context.Context) error {
	for try := 1; ; try++ {
		_, err := m.request(ctx, j11.Start, nil, sendTime)
		var refused *CommandError
		if !errors.As(err, &refused) {
			return err
		}
		if try == startTries {
			return fmt.Errorf("%w: %w", ErrRadio, err)
		}
		wait := m.line.await(ctx, startPause, m.feed, func() bool { return false })
		if !errors.Is(wait, errTimeout) {
			return wait
		}
	}
}

func (m *bin) renewed(ctx context.Context) error {
	err := m.line.await(ctx, renewTime, m.feed, func() bool { return m.joining == authenticated })
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("%w and was not renewed within %v", ErrExpired, renewTime)
	}
	return err
}

func (m *bin) send(ctx context.Context, to netip.Addr, data []byte) error {
	addr := to.As16()
	b := binary.BigEndian.AppendUint16(addr[:], port3610)
	b = binary.BigEndian.AppendUint16(b, port3610)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	res, err := m.request(ctx, j11.Send, append(b, data...), sendTime)
	var refused *CommandError
	switch {
	case errors.As(err, &refused):
		return err
	case err != nil:
		return &unknownError{err}
	case len(res) == 0:
		return timeoutError("the module did not say what became of the datagram")
	case res[0] != 0:
		return ErrRadio
	}
	return nil
}

// limited is not known of this family.
func (*bin) limited(context.Context) (bool, error) { return false, nil }

func (m *bin) leave(ctx context.Context) error {
	var refused *CommandError
	for _, code := range []uint16{j11.EndSession, j11.Stop} {
		if _, err := m.request(ctx, code, nil, leaveTime); err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	return nil
}
