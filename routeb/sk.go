package routeb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// errStuck is wrapped by errors after which only a reset of the module helps.
var errStuck = errors.New("module does not answer")

// sk drives a module with the text protocol.
type sk struct {
	line   *line
	cred   Credentials
	mask   masker
	echo   bool // leave it on
	sink   sink
	log    *slog.Logger
	parser skstack.Parser

	dual     bool // dual-stack family: commands and events carry a side
	answer   []string
	status   skstack.Line // the OK or FAIL that ended the answer; "" while it is awaited
	keyword  string       // of the line without which the answer is not ours; "" once it came, or if there is none
	secret   bool         // the command in flight carries a secret
	pans     []skstack.Pan
	scanning bool
	peer     netip.Addr // whom we join
	target   netip.Addr // whom we send to
	joining  int        // event that ended a join: 0, skstack.EventJoined or skstack.EventRefused
	renewal  bool       // the session was renewed
	sent     sendResult
	over     bool // the session ended
}

type sendResult int

const (
	sentUnknown sendResult = iota
	sentOK
	sentFailed
)

func newSK(l *line, cfg Config, s sink) *sk {
	return &sk{line: l, cred: cfg.Credentials, mask: newMasker(cfg.Credentials), echo: cfg.KeepEcho, sink: s, log: cfg.Logger}
}

func (m *sk) feed(b []byte) {
	m.parser.Feed(b)
	for it, ok := m.parser.Next(); ok; it, ok = m.parser.Next() {
		switch it := it.(type) {
		case skstack.Line:
			m.onLine(it)
		case skstack.Event:
			m.onEvent(it)
		case skstack.Datagram:
			m.onDatagram(it)
		case skstack.Pan:
			m.pans = append(m.pans, it)
		case skstack.Damage:
			m.log.Debug("routeb: damaged", "what", string(it))
			m.sink.damaged()
		}
	}
}

func (m *sk) onLine(l skstack.Line) {
	_, _, status := l.Status()
	if m.secret && !status {
		m.log.Debug("routeb: read", "line", "********")
	} else {
		m.log.Debug("routeb: read", "line", m.mask.command(string(l)))
	}
	switch {
	case status && m.keyword != "" && strings.HasPrefix(string(l), "OK"):
		// of an earlier command: the answer to this one has a line that did not come yet
	case status && m.status == "":
		m.status = l
	case len(m.answer) < 64: // what nobody awaits is not kept without bound
		m.answer = append(m.answer, string(l))
		if strings.HasPrefix(string(l), m.keyword+" ") {
			m.keyword = ""
		}
	}
}

func (m *sk) onEvent(e skstack.Event) {
	m.log.Debug("routeb: event", "number", fmt.Sprintf("%02X", e.Number), "param", e.Param)
	switch e.Number {
	case skstack.EventScanDone:
		m.scanning = false
	case skstack.EventLimited:
		m.sink.limit(true)
	case skstack.EventLimitedClear:
		m.sink.limit(false)
	}
	if e.Number == skstack.EventSent && e.Addr == m.target {
		switch e.Param { // 2 announces another EVENT 21
		case 0:
			m.sent = sentOK
		case 1:
			m.sent = sentFailed
		}
	}
	if e.Addr != m.peer {
		return
	}
	switch e.Number {
	case skstack.EventJoined:
		m.joining, m.renewal = skstack.EventJoined, true
		m.sink.rejoined()
	case skstack.EventRefused:
		m.joining = skstack.EventRefused
		m.sink.ended(fmt.Errorf("%w (EVENT 24)", ErrRefused))
	case skstack.EventEnding, skstack.EventEnded, skstack.EventEndTimeout:
		m.over = e.Number != skstack.EventEnding
		m.sink.ended(fmt.Errorf("%w (EVENT %02X)", ErrEnded, e.Number))
	case skstack.EventExpired:
		m.renewal = false
		m.sink.ended(fmt.Errorf("%w (EVENT 29)", ErrExpired))
	}
}

func (m *sk) onDatagram(d skstack.Datagram) {
	m.log.Debug("routeb: datagram", "from", d.Src, "port", d.SrcPort, "bytes", len(d.Data))
	if d.Side > 0 {
		return // of the home area network
	}
	in := datagram{from: d.Src, srcPort: d.SrcPort, dstPort: d.DstPort, encrypted: d.Encrypted, data: d.Data}
	if d.LQI >= 0 {
		in.power = skstack.Power(byte(d.LQI))
	}
	m.sink.received(in)
}

func (m *sk) await(ctx context.Context, d time.Duration, done func() bool) error {
	return m.line.await(ctx, d, m.feed, done)
}

// command sends a command and returns the lines of its answer, echo excepted. A refusal is a *CommandError.
func (m *sk) command(ctx context.Context, text string, limit time.Duration) ([]string, error) {
	end := "\r\n"
	if text == "ROPT" {
		end = "\r" // product commands end so
	}
	return m.exchange(ctx, text, []byte(text+end), limit)
}

func (m *sk) exchange(ctx context.Context, text string, raw []byte, limit time.Duration) ([]string, error) {
	shown := m.mask.command(text)
	m.log.Debug("routeb: write", "line", shown)
	m.answer, m.status, m.secret = nil, "", strings.HasPrefix(text, "SKSET")
	if err := m.line.write(raw); err != nil {
		return nil, err
	}
	err := m.await(ctx, limit, func() bool { return m.status != "" })
	m.secret = false
	if errors.Is(err, errTimeout) {
		m.parser.Resync() // the answer may lie behind a datagram that was cut short
		m.feed(nil)
		if m.status == "" {
			return nil, fmt.Errorf("routeb: %s: %w", shown, errStuck)
		}
	} else if err != nil {
		return nil, err
	}
	word, rest, _ := m.status.Status()
	if word == "FAIL" {
		return nil, &CommandError{Command: shown, Answer: m.mask.secrets.Replace(rest)}
	}
	lines := m.answer[:0]
	for _, l := range m.answer {
		if l != text {
			lines = append(lines, l)
		}
	}
	return append(lines, rest), nil
}

// value runs a command and returns what follows the keyword on the line of its answer that begins with it.
func (m *sk) value(ctx context.Context, text, keyword string) (string, error) {
	m.keyword = keyword
	lines, err := m.command(ctx, text, commandTime)
	m.keyword = ""
	if err != nil {
		return "", err
	}
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, keyword+" "); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", fmt.Errorf("routeb: %s: no %s in the answer", text, keyword)
}

func (m *sk) probe(ctx context.Context) (mod Module, err error) {
	if err := m.wake(ctx); err != nil {
		return mod, err
	}
	mod.Family = "single-stack"
	if mod.Version, err = m.value(ctx, "SKVER", "EVER"); err != nil { // the first one after power-up sometimes fails
		if mod.Version, err = m.value(ctx, "SKVER", "EVER"); err != nil {
			return mod, err
		}
	}
	info, err := m.value(ctx, "SKINFO", "EINFO")
	if err != nil {
		return mod, err
	}
	if m.dual, mod.MAC, err = parseInfo(info); err != nil {
		return mod, err
	}
	if m.dual {
		mod.Family = "dual-stack"
	}
	// What follows is for people; a module that does not know it is none the worse.
	if mod.Firmware, err = m.value(ctx, "SKAPPVER", "EAPPVER"); errors.Is(err, errStuck) {
		return mod, err
	}
	if mod.Data, err = m.dataMode(ctx); err != nil {
		return mod, err
	}
	return mod, m.set(ctx)
}

// parseInfo reads "ip mac channel pan last", where last is FFFE on single-stack modules and a side on the others.
func parseInfo(info string) (dual bool, mac EUI64, err error) {
	f := strings.Fields(info)
	if len(f) < 5 {
		return false, mac, fmt.Errorf("routeb: SKINFO: %d fields in the answer, want 5", len(f))
	}
	mac, err = skstack.ParseEUI64(f[1])
	return len(f[4]) == 1, mac, err
}

func (m *sk) dataMode(ctx context.Context) (string, error) {
	lines, err := m.command(ctx, "ROPT", commandTime)
	var refused *CommandError
	switch {
	case errors.As(err, &refused):
		return "hex", nil // modules without product commands write hex
	case errors.Is(err, errStuck):
		return "", m.wake(ctx)
	case err != nil:
		return "", err
	}
	switch lines[len(lines)-1] {
	case "00":
		return "binary", nil
	case "01":
		return "hex", nil
	}
	return "", nil // it has other settings than we know
}

// set brings the module's registers to what we need.
func (m *sk) set(ctx context.Context) error {
	var optional []string
	if !m.echo {
		optional = append(optional, "SKSREG SFE 0")
	}
	if m.dual {
		optional = append(optional, "SKSREG SA2 1") // link quality with each datagram
	}
	for _, text := range optional {
		var refused *CommandError
		if _, err := m.command(ctx, text, commandTime); err != nil && !errors.As(err, &refused) {
			return err
		}
	}
	for _, text := range []string{
		fmt.Sprintf("SKSETPWD %X %s", len(m.cred.Password), m.cred.Password),
		"SKSETRBID " + m.cred.ID,
	} {
		if _, err := m.command(ctx, text, commandTime); err != nil {
			return err
		}
	}
	return nil
}

// hello says whether a module answers, within a second.
func (m *sk) hello(ctx context.Context) error {
	if err := m.line.write([]byte("\r\n")); err != nil {
		return err
	}
	if err := m.line.drain(ctx, quietTime, drainLimit); err != nil {
		return err
	}
	_, err := m.command(ctx, "SKVER", helloTime)
	var refused *CommandError
	switch {
	case errors.As(err, &refused):
		return nil
	case errors.Is(err, errStuck):
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return err
}

// wake brings the module from any state to a reset one that listens.
func (m *sk) wake(ctx context.Context) error {
	// Ends half a command of whoever was here before.
	err := m.reset(ctx, []byte("\r\n"))
	if !errors.Is(err, errStuck) {
		return err
	}
	// It may be counting the bytes of a datagram. What it does not count are empty lines.
	err = m.reset(ctx, bytes.Repeat([]byte("\r\n"), skstack.MaxData/2))
	if errors.Is(err, errStuck) {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return err
}

func (m *sk) reset(ctx context.Context, first []byte) error {
	if err := m.line.write(first); err != nil {
		return err
	}
	if err := m.line.drain(ctx, quietTime, drainLimit); err != nil {
		return err
	}
	m.parser.Reset()
	_, err := m.command(ctx, "SKRESET", resetTime)
	var refused *CommandError
	if errors.As(err, &refused) {
		_, err = m.command(ctx, "SKRESET", resetTime)
	}
	return err
}

func (m *sk) side() string {
	if m.dual {
		return " 0"
	}
	return ""
}

const (
	firstChannel = 33
	channels     = 28
	scanUnit     = 9600 * time.Microsecond // a scan stays 2^d+1 of them on a channel
)

func (*sk) scanTime(duration int, only *Network) time.Duration {
	units := channels * (1<<duration + 1)
	if only != nil {
		units /= channels
	}
	return time.Duration(units) * scanUnit
}

func (m *sk) scan(ctx context.Context, duration int, only *Network) ([]Network, error) {
	mask := uint32(0xFFFFFFFF)
	if only != nil {
		if only.Channel < firstChannel || only.Channel >= firstChannel+channels {
			return nil, fmt.Errorf("routeb: no channel %d", only.Channel)
		}
		mask = 1 << (only.Channel - firstChannel)
	}
	m.pans, m.scanning = nil, true
	start := func() error {
		_, err := m.command(ctx, fmt.Sprintf("SKSCAN 2 %08X %X%s", mask, duration, m.side()), commandTime)
		return err
	}
	err := start()
	var refused *CommandError
	if errors.As(err, &refused) && refused.Answer == "ER05" { // of the other family than it seemed
		m.dual = !m.dual
		err = start()
	}
	if err != nil {
		return nil, err
	}
	err = m.await(ctx, m.scanTime(duration, only)+scanMargin, func() bool { return !m.scanning })
	if err == nil && len(m.pans) == 0 { // a result that comes late
		err = m.await(ctx, lateBeacon, func() bool { return len(m.pans) > 0 })
	}
	if err != nil && !errors.Is(err, errTimeout) {
		return nil, err
	}
	if pan, ok := m.parser.Flush(); ok {
		m.pans = append(m.pans, pan)
	}
	return m.ours(), nil
}

// ours picks the networks that may be our meter's. A module filters by pairing id itself, but a neighbour's meter is not
// to be taken because one does it badly.
func (m *sk) ours() (found []Network) {
	for _, p := range m.pans {
		if p.PairID != "" && p.PairID != m.cred.PairID() || p.Side > 0 || p.Channel == 0 {
			continue
		}
		found = append(found, Network{Channel: p.Channel, PAN: p.ID, MAC: p.Addr, LQI: p.LQI})
	}
	return found
}

func (m *sk) join(ctx context.Context, n Network) error {
	for _, text := range []string{fmt.Sprintf("SKSREG S2 %02X", n.Channel), fmt.Sprintf("SKSREG S3 %04X", n.PAN)} {
		if _, err := m.command(ctx, text, commandTime); err != nil {
			return err
		}
	}
	m.peer, m.joining = n.MAC.LinkLocal(), 0
	if _, err := m.command(ctx, "SKJOIN "+skstack.FormatAddr(m.peer), commandTime); err != nil {
		return err
	}
	err := m.await(ctx, joinTime, func() bool { return m.joining != 0 })
	switch {
	case errors.Is(err, errTimeout):
		return fmt.Errorf("%w: no end of SKJOIN within %v", ErrRefused, joinTime)
	case err != nil:
		return err
	case m.joining == skstack.EventRefused:
		return fmt.Errorf("%w (EVENT 24)", ErrRefused)
	}
	return nil
}

func (*sk) power(quality byte) float64 { return skstack.Power(quality) }

func (m *sk) renewed(ctx context.Context) error {
	err := m.await(ctx, renewTime, func() bool { return m.renewal })
	if errors.Is(err, errTimeout) {
		return fmt.Errorf("%w and was not renewed within %v", ErrExpired, renewTime)
	}
	return err
}

func (m *sk) send(ctx context.Context, to netip.Addr, data []byte) error {
	// 1 = encrypted, or not at all. The module counts the bytes of the data: header and data are one write.
	header := fmt.Sprintf("SKSENDTO 1 %s %04X 1%s %04X ", skstack.FormatAddr(to), port3610, m.side(), len(data))
	m.target, m.sent = to, sentUnknown
	start := time.Now()
	if _, err := m.exchange(ctx, strings.TrimSpace(header), append([]byte(header), data...), sendTime); err != nil {
		var refused *CommandError
		if errors.As(err, &refused) {
			return err
		}
		return &unknownError{err}
	}
	err := m.await(ctx, max(sendTime-time.Since(start), 0), func() bool { return m.sent != sentUnknown })
	switch {
	case errors.Is(err, errTimeout):
		return timeoutError("the module did not say what became of the datagram")
	case err != nil:
		return &unknownError{err}
	case m.sent == sentFailed:
		return ErrRadio
	}
	return nil
}

func (m *sk) limited(ctx context.Context) (bool, error) {
	v, err := m.value(ctx, "SKSREG SFB", "ESREG")
	return v == "1", err
}

func (m *sk) leave(ctx context.Context) error {
	m.over = false
	_, err := m.command(ctx, "SKTERM", resetTime)
	var refused *CommandError
	if errors.As(err, &refused) {
		return nil // there was no session
	}
	if err != nil {
		return err
	}
	err = m.await(ctx, leaveTime, func() bool { return m.over })
	if errors.Is(err, errTimeout) {
		return nil
	}
	return err
}
