package dongle

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/internal/j11"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// bin is the language of the J11 family, from the module's side.
type bin struct {
	*radio
	out     *output
	decoder j11.Decoder
	cut     *timer // the end of a frame that does not go on

	cred    routeb.Credentials
	channel byte    // of the last setup, in the family's numbers; 0 = none
	mode    [4]byte // the last setup
	meterOf *Meter
	started bool
	ports   []uint16 // UDP, open
	asks    byte     // neighbour discovery is on
	flow    byte     // flow control is on
	frozen  bool
	greeted bool
	unplug  func()
}

// Codes of requests that are of no use to a driver.
const (
	listPorts      = 0x0007
	ownAddress     = 0x0009
	peerMAC        = 0x0011
	sessionKey     = 0x0059
	panID          = 0x005E
	peerAddress    = 0x0100
	setDiscovery   = 0x0101
	discovery      = 0x0102
	getSetup       = 0x0107
	setFlowControl = 0x010A
	flowControl    = 0x010B
	resultCutShort = 0x13
)

const (
	frameTimeout = time.Second // within a frame
	resetTakes   = time.Second
	startTakes   = 500 * time.Millisecond
	startFails   = time.Second
	ackFails     = 2 * time.Second
	binScanUnit  = 9640 * time.Microsecond
)

func newBinary(r *radio, out *output, unplug func()) *bin {
	return &bin{radio: r, out: out, unplug: unplug, decoder: j11.Decoder{Unique: j11.FromHost}, asks: 1}
}

func (m *bin) feed(b []byte) {
	if m.frozen {
		return
	}
	if !m.greeted {
		m.greeted = true
		if m.faults.hits(Garbage) {
			m.out.write([]byte{0, 0xFF, 0xD0, 0xF9})
		}
	}
	m.decoder.Feed(b)
	m.cut.stop()
	for f, fault, ok := m.decoder.Next(); ok; f, fault, ok = m.decoder.Next() {
		if fault != 0 {
			m.frame(j11.BrokenRequest, byte(fault))
			continue
		}
		m.cfg.Logger.Debug("dongle: read", "code", fmt.Sprintf("%04X", f.Code), "bytes", len(f.Data))
		m.after(commandDelay, func() { m.request(f.Code, f.Data) })
	}
	if m.decoder.Pending() {
		m.cut = m.after(frameTimeout, func() {
			m.frame(j11.BrokenRequest, resultCutShort)
			m.decoder.Drop()
			m.feed(nil)
		})
	}
}

// frame writes a response or a notification.
func (m *bin) frame(code uint16, data ...byte) {
	b, err := j11.Frame{Code: code, Data: data}.Append(nil, j11.FromModule)
	if err != nil || m.frozen {
		return // nothing that the module says is so long
	}
	m.cfg.Logger.Debug("dongle: write", "code", fmt.Sprintf("%04X", code), "bytes", len(data))
	m.out.writeOver(m.faults, b)
}

// request does what the host asks for.
func (m *bin) request(code uint16, data []byte) {
	reply := func(data ...byte) { m.frame(code+j11.Response, data...) }
	switch code {
	case j11.Reset:
		m.reset()
	case j11.Version:
		reply(j11.OK, 4, 0, 1, 3, 0, 0, 0x15, 0x8A)
	case j11.OwnMAC:
		reply(append([]byte{j11.OK}, m.cfg.MAC[:]...)...)
	case j11.Status:
		reply(j11.OK, 2, 1+flag(m.started), 1)
	case j11.Setup:
		reply(m.setup(data))
	case j11.Credentials:
		if len(data) != 44 {
			reply(j11.BadParameter)
			return
		}
		m.cred = routeb.Credentials{ID: string(data[:32]), Password: string(data[32:])}
		reply(j11.OK)
	case j11.Scan:
		m.startScan(data)
	case j11.Start:
		m.start(reply)
	case j11.Stop, j11.EndSession:
		reply(m.stop(code == j11.Stop))
	case j11.OpenPort, j11.ClosePort:
		if len(data) != 2 {
			reply(j11.BadParameter)
			return
		}
		port := binary.BigEndian.Uint16(data)
		m.ports = slices.DeleteFunc(m.ports, func(p uint16) bool { return p == port })
		if code == j11.OpenPort {
			m.ports = append(m.ports, port)
		}
		reply(j11.OK)
	case j11.Authenticate, j11.Renew:
		m.authenticate(reply, code == j11.Renew)
	case j11.Send:
		m.sendTo(data, reply)
	case setDiscovery:
		reply(set(&m.asks, data))
	case setFlowControl:
		reply(set(&m.flow, data))
	default:
		if b, ok := m.query(code); ok {
			reply(b...)
			return
		}
		m.frame(j11.UnknownRequest, j11.BadCode)
	}
}

// query answers a request that changes nothing; ok is false if there is none of that code. What follows the result is
// documented for the key, the PAN and the setup only.
func (m *bin) query(code uint16) (b []byte, ok bool) {
	b = []byte{j11.OK}
	switch code {
	case listPorts:
		for _, p := range m.ports {
			b = binary.BigEndian.AppendUint16(b, p)
		}
		return b, true
	case ownAddress:
		return append(b, m.cfg.MAC.LinkLocal().AsSlice()...), true
	case discovery:
		return append(b, m.asks), true
	case flowControl:
		return append(b, m.flow), true
	case getSetup:
		if m.channel != 0 {
			return append(b, m.mode[:]...), true
		}
	case peerMAC:
		if m.started {
			return append(b, m.meterOf.MAC[:]...), true
		}
	case peerAddress:
		if m.started {
			return append(b, m.meterOf.MAC.LinkLocal().AsSlice()...), true
		}
	case panID:
		if m.started {
			return binary.BigEndian.AppendUint16(b, m.meterOf.PAN), true
		}
	case sessionKey:
		if m.session != nil {
			return append(b, ramp(0x50, 16)...), true
		}
	default:
		return nil, false
	}
	return []byte{j11.BadParameter}, true
}

// set sets what is on or off.
func set(on *byte, data []byte) byte {
	if len(data) != 1 || data[0] > 1 {
		return j11.BadParameter
	}
	*on = data[0]
	return j11.OK
}

// open says whether the port of ECHONET Lite is.
func (m *bin) open() bool { return slices.Contains(m.ports, echonet) }

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func (m *bin) reset() {
	m.radio.reset()
	m.started, m.ports, m.channel, m.meterOf, m.cred = false, nil, 0, nil, routeb.Credentials{}
	m.asks, m.flow = 1, 0
	m.after(resetTakes, func() { m.frame(j11.PoweredOn) })
}

// setup takes mode, sleep of the home area network, channel and power.
func (m *bin) setup(data []byte) byte {
	if len(data) != 4 || data[0] != 5 && data[0] != 3 || data[2] < 4 || data[2] > 17 || data[3] > 2 {
		return j11.BadParameter
	}
	m.channel, m.mode = data[2], [4]byte(data)
	return j11.OK
}

// toJ11 returns the channel in the family's numbers; 0 if it has none.
func toJ11(channel byte) byte {
	if n := channel - firstChannel; n%2 == 0 && n <= 26 {
		return 4 + n/2
	}
	return 0
}

// signal is the strength of the meter's signal in dBm.
func signal(m *Meter) byte { return byte(int8(math.Round(skstack.Power(m.LQI)))) }

// startScan takes duration, channels, whether to filter, and the pairing id.
func (m *bin) startScan(data []byte) {
	done := func(result byte) { m.frame(j11.Scan+j11.Response, result) }
	if len(data) < 6 || data[0] > 14 || data[5] == 1 && len(data) != 14 || m.channel == 0 {
		done(j11.BadParameter)
		return
	}
	mask := binary.BigEndian.Uint32(data[1:])
	pairID := ""
	if data[5] == 1 {
		pairID = string(data[6:])
	}
	var list []byte
	for ch := byte(firstChannel); ch <= lastChannel; ch++ {
		if n := toJ11(ch); n != 0 && mask>>n&1 == 1 {
			list = append(list, ch)
		}
	}
	foreign := m.faults.hits(Foreign)
	var heard []*Meter
	m.scan(list, binScanUnit<<data[0], pairID, func(meter *Meter) { heard = append(heard, meter) }, func(ch byte) {
		if foreign && ch == list[0] {
			heard = append(heard, &Meter{MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xB2}, PAN: 0x1234, LQI: 0x90})
		}
		if len(heard) == 0 {
			m.frame(j11.ChannelDone, 1, toJ11(ch))
			return
		}
		b := []byte{0, toJ11(ch), byte(len(heard))}
		for _, meter := range heard {
			b = append(b, meter.MAC[:]...)
			b = binary.BigEndian.AppendUint16(b, meter.PAN)
			b = append(b, signal(meter))
		}
		heard = nil
		m.frame(j11.ChannelDone, b...)
	}, func() { done(j11.OK) })
}

// start looks for the meter on the channel of the setup.
func (m *bin) start(reply func(...byte)) {
	m.meterOf, m.started = nil, false
	for _, meter := range m.cfg.Meters {
		if toJ11(meter.Channel) == m.channel && meter.Credentials.PairID() == m.cred.PairID() {
			m.meterOf = meter
		}
	}
	if m.faults.hits(StartFails) || m.meterOf == nil {
		m.later(startFails, func() { reply(j11.NoConnection) })
		return
	}
	meter := m.meterOf
	m.started = true
	m.later(startTakes, func() {
		b := binary.BigEndian.AppendUint16([]byte{j11.OK, m.channel}, meter.PAN)
		b = append(b, meter.MAC[:]...)
		reply(append(b, signal(meter))...)
	})
}

// stop ends the session, and route-B operation too if whole.
func (m *bin) stop(whole bool) byte {
	if !m.started {
		return j11.BadParameter
	}
	if s := m.session; s != nil {
		s.meter.release(m.cfg.MAC)
	}
	m.end()
	m.started = m.started && !whole
	return j11.OK
}

func (m *bin) authenticate(reply func(...byte), renew bool) {
	if !m.started {
		reply(j11.BadParameter)
		return
	}
	reply(j11.OK)
	meter := m.meterOf
	m.join(meter, m.cred, renew, func([]byte) {}, func(ok bool) {
		m.outcome(meter, 2-flag(ok))
	})
}

// outcome reports the result of an authentication: 1 good, 2 bad, 3 no answer.
func (m *bin) outcome(meter *Meter, result byte) {
	m.frame(j11.Authenticated, append([]byte{result}, meter.MAC[:]...)...)
}

// sendTo takes address, ports, length and data.
func (m *bin) sendTo(data []byte, reply func(...byte)) {
	const head = 22
	if len(data) < head || len(data) != head+int(binary.BigEndian.Uint16(data[20:])) || len(data) > head+maxData || !m.open() {
		reply(j11.BadParameter)
		return
	}
	if m.faults.hits(Unplug) {
		m.unplug()
		return
	}
	if m.faults.hits(Freeze) {
		m.frozen = true
		m.after(time.Minute, func() { m.frozen = false })
		return
	}
	mute := m.faults.hits(NoResult)
	to, port := netip.AddrFrom16([16]byte(data[:16])), binary.BigEndian.Uint16(data[18:])
	m.later(max(m.cfg.Uplink, 0), func() {
		ok := m.transmit(to, port, data[head:], false)
		result, delay := byte(0), time.Duration(0)
		if !ok {
			result, delay = j11.NotAcknowledge, ackFails
		}
		m.later(delay, func() {
			if !mute {
				reply(j11.OK, result, 0)
			}
		})
		m.troubles()
	})
}

func (m *bin) received(meter *Meter, _ netip.Addr, data []byte) {
	if !m.open() {
		return
	}
	from := meter.MAC.LinkLocal().As16()
	b := binary.BigEndian.AppendUint16(from[:], echonet)
	b = binary.BigEndian.AppendUint16(b, echonet)
	b = binary.BigEndian.AppendUint16(b, meter.PAN)
	b = append(b, 1, 2, signal(meter)) // unicast, encrypted
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	m.frame(j11.Received, append(b, data...)...)
}

func (m *bin) renewed(meter *Meter) { m.outcome(meter, 1) }

// over reports the end of a session in the one way that the family has.
func (m *bin) over(meter *Meter, event byte) {
	result := byte(2)
	if event == skstack.EventEndTimeout || event == skstack.EventExpired {
		result = 3
	}
	m.outcome(meter, result)
}

func (m *bin) renews() bool { return true }

func (m *bin) limits() bool { return true }

// limit says nothing: the family has no notification for it that is known.
func (m *bin) limit(bool) {}
