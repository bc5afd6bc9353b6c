package dongle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

const (
	echonet = 3610  // UDP port of ECHONET Lite
	panaUDP = 716   // of PANA
	mleUDP  = 19788 // of MLE, which dual-stack modules let through

	maxData = skstack.MaxData
	maxLine = 1024

	commandDelay = 4 * time.Millisecond
	resetDelay   = 300 * time.Millisecond
	abandon      = 100 * time.Millisecond // after which the rest of a broken SKSENDTO is over
)

// text is the language SKSTACK-IP, from the module's side.
type text struct {
	*radio
	profile
	out   *output
	flash *flash
	reg   map[string]string

	in       []byte       // the line or the data being received
	count    int          // bytes of data still to come
	send     *sendCommand // whose data they are
	discard  *timer       // the rest of a broken SKSENDTO is being thrown away
	awake    bool         // false after SKDSLEEP
	greeted  bool         // the first byte of the host came
	frozen   bool
	inBuf    []func() // commands that wait for the one that runs
	busy     bool
	cred     routeb.Credentials
	known    []neighbour // the oldest first
	udpPorts [6]uint16   // of the handles, in effect
	setPorts [6]uint16   // what they are set to
	unplug   func()
}

func newText(r *radio, p profile, fl *flash, out *output, echoOff bool, unplug func()) *text {
	t := &text{radio: r, profile: p, flash: fl, out: out, unplug: unplug}
	t.reset()
	if echoOff {
		t.reg["SFE"] = "0"
	}
	t.powerUp()
	return t
}

// reset brings all variables back to their defaults. The MAC address survives.
func (t *text) reset() {
	t.radio.reset()
	t.reg = map[string]string{
		"S02": "21", "S03": "FFFF", "S07": "00000000", "S0A": "", "S15": "0", "S16": "00015180", "S17": "1",
		"S1C": "00000000", "S1D": "0", "S1E": "0", "S1F": "",
		"SA0": "0", "SA1": "1", "SA2": "0", "SA5": "0", "SA7": "0", "SA8": "0", "SA9": "0",
		"SF0": "0", "SF7": "0", "SF8": "0", "SF9": "0", "SFA": "1", "SFE": "1", "SFF": "0",
	}
	t.known = nil
	t.cred = routeb.Credentials{}
	t.udpPorts = [6]uint16{echonet, panaUDP}
	t.setPorts = t.udpPorts
	t.awake = true
}

func (t *text) echo() bool { return t.reg["SFE"] == "1" }

// feed takes bytes from the host.
func (t *text) feed(b []byte) {
	if t.frozen {
		return
	}
	if !t.greeted {
		t.greeted = true
		if t.faults.hits(Garbage) {
			t.out.write([]byte("\x00\xff\x80EVENT 2\r\nERXUDP FE80:0000:00"))
		}
	}
	if !t.awake {
		t.awake = true
		t.line("EVENT C0")
	}
	for _, c := range b {
		t.byte(c)
	}
}

func (t *text) byte(c byte) {
	end := c == '\r' || c == '\n'
	switch {
	case t.count > 0:
		t.in = append(t.in, c)
		if t.count--; t.count == 0 {
			cmd, data := t.send, t.in
			t.send, t.in = nil, nil
			t.enqueue(func() { t.sendTo(cmd, data) })
		}
	case t.discard != nil:
		t.discard.stop()
		t.discard = nil
		if !end {
			t.throwAway()
		}
	case end:
		if line := string(t.in); strings.TrimSpace(line) != "" {
			t.enqueue(func() { t.command(line) })
		}
		t.in = nil
	default:
		if t.in = append(t.in, c); len(t.in) > maxLine {
			t.in = nil
			t.enqueue(func() { t.refuse("ER09") })
			t.throwAway()
			return
		}
		if c == ' ' {
			t.header(string(t.in))
		}
	}
}

// throwAway ignores what comes until a line ends or nothing comes for a while.
func (t *text) throwAway() {
	var self *timer
	self = t.after(abandon, func() {
		if t.discard == self {
			t.discard = nil
		}
	})
	t.discard = self
}

// sendCommand is a SKSENDTO whose header is complete.
type sendCommand struct {
	header string // as received, with its last space
	handle int
	to     netip.Addr
	port   uint16
	plain  bool // need not be encrypted
}

// header looks whether the line is the whole header of a SKSENDTO. From its last space on the module counts bytes.
func (t *text) header(line string) {
	fields := 6
	if t.dual {
		fields = 7
	}
	if !strings.HasPrefix(line, "SKSENDTO ") || strings.Count(line, " ") != fields {
		return
	}
	cmd, n, ok := t.parseSend(strings.Fields(line)[1:])
	if !ok {
		t.in = nil
		t.enqueue(func() { t.echoLine(line, "\r\n"); t.refuse("ER06") })
		t.throwAway()
		return
	}
	cmd.header = line
	t.send, t.in, t.count = cmd, make([]byte, 0, n), n
	if t.faults.hits(Hang) {
		t.count += 2
	}
}

// parseSend reads "handle ip port sec [side] len".
func (t *text) parseSend(a []string) (cmd *sendCommand, n int, ok bool) {
	if t.dual {
		if len(a) != 6 || !oneOf(a[4], "0", "1") {
			return nil, 0, false
		}
		a = append(a[:4:4], a[5])
	}
	if len(a) != 5 {
		return nil, 0, false
	}
	handle, ok1 := hexArg(a[0], 1, 1, 6)
	to, ok2 := addrArg(a[1])
	port, ok3 := hexArg(a[2], 4, 0, 0xFFFF)
	size, ok4 := hexArg(a[4], 4, 1, maxData)
	if !ok1 || !ok2 || !ok3 || !ok4 || !oneOf(a[3], "0", "1", "2") {
		return nil, 0, false
	}
	cmd = &sendCommand{handle: int(handle), to: to, port: uint16(port)}
	// 1 = encrypted or not at all, 2 = encrypted if there is a session.
	cmd.plain = a[3] == "0" || a[3] == "2" && t.silent(false)
	return cmd, int(size), true
}

// enqueue runs a command when those before it are done. Each calls done in the end.
func (t *text) enqueue(f func()) {
	if t.busy {
		if len(t.inBuf) < 16 {
			t.inBuf = append(t.inBuf, f)
		}
		return
	}
	t.busy = true
	f()
}

func (t *text) done() {
	t.busy = false
	if len(t.inBuf) > 0 {
		f := t.inBuf[0]
		t.inBuf = t.inBuf[1:]
		t.enqueue(f)
	}
}

func (t *text) echoLine(line, end string) {
	if t.echo() {
		t.write(line + end)
	}
}

func (t *text) refuse(code string) {
	t.line("FAIL " + code)
	t.done()
}

// line writes a line, and whatever comes in between by way of faults.
func (t *text) line(s string) {
	t.intrude()
	t.cfg.Logger.Debug("dongle: write", "line", s)
	t.write(s + "\r\n")
}

func (t *text) write(s string) { t.writeBytes([]byte(s)) }

func (t *text) writeBytes(b []byte) {
	if t.frozen || len(b) == 0 {
		return
	}
	t.out.writeOver(t.faults, b)
}

// intrude writes what may come between any two lines.
func (t *text) intrude() {
	if t.faults.hits(EmptyLine) {
		t.write("\r\n")
	}
	peer := routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xB2}
	if len(t.cfg.Meters) > 0 {
		peer = t.cfg.Meters[0].MAC
	}
	if t.faults.hits(Interleave) {
		t.write(t.eventText([]byte{0x01, 0x02, 0x05}[t.faults.rand(Interleave).IntN(3)], peer.LinkLocal(), -1) + "\r\n")
	}
	if t.faults.hits(Noise) {
		d := datagram{mac: peer, dst: t.cfg.MAC.LinkLocal(), port: mleUDP, lqi: 0x90, data: []byte("\x15\x00\r\nOK\r\n\xff")}
		switch t.faults.rand(Noise).IntN(3) {
		case 0:
			d.port, d.data = panaUDP, panaEndAnswer()
		case 1: // a stranger's, not encrypted
			d.port, d.data = echonet, []byte("\x10\x81\x00\x01\x02\x88\x01\x05\xff\x01\x72\x01\xe7\x04\x00\x00\x00\x00")
		}
		t.writeBytes(t.erxudp(d))
	}
}

// event writes an EVENT line. param -1 = none.
func (t *text) event(n byte, addr netip.Addr, param int) { t.line(t.eventText(n, addr, param)) }

func (t *text) eventText(n byte, addr netip.Addr, param int) string {
	s := fmt.Sprintf("EVENT %02X %s%s", n, skstack.FormatAddr(addr), t.side())
	if param >= 0 {
		s += fmt.Sprintf(" %02X", param)
	}
	return s
}

func (t *text) side() string {
	if t.dual {
		return " 0"
	}
	return ""
}

// own is the dongle's own address.
func (t *text) own() netip.Addr { return t.cfg.MAC.LinkLocal() }

type datagram struct {
	mac       routeb.EUI64 // of the sender
	macText   string       // in place of mac; "" = mac
	dst       netip.Addr
	port      uint16 // on both sides
	lqi       byte
	encrypted bool
	data      []byte
}

// erxudp returns the line of a received datagram.
func (t *text) erxudp(d datagram) []byte {
	mac := d.macText
	if mac == "" {
		mac = d.mac.String()
	}
	s := fmt.Sprintf("ERXUDP %s %s %04X %04X %s", skstack.FormatAddr(d.mac.LinkLocal()), skstack.FormatAddr(d.dst), d.port, d.port, mac)
	if t.dual && t.reg["SA2"] == "1" {
		s += fmt.Sprintf(" %02X", d.lqi)
	}
	sec := 0
	if d.encrypted {
		sec = 1
	}
	b := fmt.Appendf(nil, "%s %d%s %04X ", s, sec, t.side(), len(d.data))
	if t.flash.wopt&1 == 1 {
		b = fmt.Appendf(b, "%X", d.data)
	} else {
		b = append(b, d.data...)
	}
	return append(b, "\r\n"...)
}

func (t *text) received(m *Meter, dst netip.Addr, data []byte) {
	if !slices.Contains(t.udpPorts[:], echonet) {
		return
	}
	t.cfg.Logger.Debug("dongle: datagram of the meter", "bytes", len(data))
	t.intrude()
	t.writeBytes(t.erxudp(datagram{mac: m.MAC, dst: dst, port: echonet, lqi: m.LQI, encrypted: true, data: data}))
}

func (t *text) pana(m *Meter, data []byte) {
	d := datagram{mac: m.MAC, dst: t.own(), port: panaUDP, lqi: m.LQI, data: data}
	if t.hidesMAC {
		d.macText = "FFFFFFFFFFFFFFFF"
	}
	t.intrude()
	t.writeBytes(t.erxudp(d))
}

func (t *text) renewed(m *Meter) { t.event(0x25, m.MAC.LinkLocal(), -1) }

func (t *text) over(m *Meter, event byte) { t.event(event, m.MAC.LinkLocal(), -1) }

func (t *text) renews() bool { return t.reg["S17"] != "0" }

func (t *text) limits() bool { return t.reg["SFA"] != "0" }

func (t *text) limit(on bool) {
	n := byte(skstack.EventLimitedClear)
	if on {
		n = skstack.EventLimited
	}
	t.event(n, t.own(), -1)
}
