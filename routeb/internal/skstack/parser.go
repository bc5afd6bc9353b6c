package skstack

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// MaxData is the longest UDP payload that a module sends or hands over, in bytes.
	MaxData = 1232
	// maxPending bounds what is kept of an unfinished item. The longest line, a full datagram in hex, has 2592 bytes.
	maxPending = 8 << 10
)

// Parser turns the bytes that a module writes into items. How the bytes were split into reads does not matter. The zero
// value is ready. It keeps at most 8 KiB beyond what was last fed, provided that Next is called until it has no more.
type Parser struct {
	buf  []byte
	off  int  // start of what is not parsed yet
	skip bool // drop everything up to the next line end
	pan  *Pan // the block that is being read
}

// Feed adds bytes. They are copied.
func (p *Parser) Feed(b []byte) {
	n := copy(p.buf, p.buf[p.off:])
	p.buf, p.off = append(p.buf[:n], b...), 0
}

// Next returns the next item; ok is false if more bytes are needed. The item does not alias what was fed.
func (p *Parser) Next() (it Item, ok bool) {
	for {
		it, n := p.next(p.buf[p.off:])
		p.off += n
		if it != nil {
			return it, true
		}
		if n == 0 {
			return nil, false
		}
	}
}

// Flush ends an open EPANDESC block, which has no end of its own: it is called when the line has fallen silent.
func (p *Parser) Flush() (pan Pan, ok bool) {
	if p.pan == nil {
		return Pan{}, false
	}
	pan, p.pan = *p.pan, nil
	return pan, true
}

// Resync gives up the unfinished item up to the next line end, if there is one. It is called when the rest of the item
// does not come, so that lines behind it that were taken for its data are seen.
func (p *Parser) Resync() {
	rest := p.buf[p.off:]
	if len(rest) == 0 {
		return
	}
	p.off += p.drop(rest)
}

// Reset forgets everything.
func (p *Parser) Reset() { *p = Parser{buf: p.buf[:0]} }

// next returns the item at the start of b and the number of bytes to consume; both are zero if b is too short.
func (p *Parser) next(b []byte) (Item, int) {
	if p.skip {
		end := bytes.IndexAny(b, "\r\n")
		if end < 0 {
			return nil, len(b)
		}
		p.skip = false
		return nil, end + 1
	}
	if len(b) == 0 {
		return nil, 0
	}
	if b[0] == '\r' || b[0] == '\n' {
		return nil, 1
	}
	if bytes.HasPrefix(b, []byte(erxudp)) {
		return p.datagram(b)
	}
	end := bytes.IndexAny(b, "\r\n")
	switch {
	case end > maxPending, end < 0 && len(b) > maxPending:
		return Damage("line too long"), p.drop(b)
	case end < 0:
		return nil, 0
	}
	return p.line(string(b[:end]), end+1)
}

// drop returns how many bytes go when the item at the start of b is given up. Without a line end that is all of them and
// whatever comes up to the next one.
func (p *Parser) drop(b []byte) int {
	if end := bytes.IndexAny(b, "\r\n"); end >= 0 {
		return end + 1
	}
	p.skip = true
	return len(b)
}

func (p *Parser) line(s string, n int) (Item, int) {
	text := strings.TrimSpace(s)
	if text == "EPANDESC" {
		if pan, ok := p.Flush(); ok {
			return pan, 0
		}
		p.pan = &Pan{Side: -1}
		return nil, n
	}
	if p.pan != nil && p.pan.set(text) {
		return nil, n
	}
	ev, ok := parseEvent(text)
	if !ok {
		if text == "" {
			return nil, n
		}
		return Line(text), n
	}
	if ev.Number == EventBeacon || ev.Number == EventScanDone {
		if pan, ok := p.Flush(); ok {
			return pan, 0
		}
	}
	return ev, n
}

// set takes a line of the block and says whether it was one.
func (p *Pan) set(text string) bool {
	key, value, ok := strings.Cut(text, ":")
	if !ok {
		return false
	}
	switch key {
	case "Channel":
		p.Channel = byte(hexOrZero(value, 8))
	case "Pan ID":
		p.ID = uint16(hexOrZero(value, 16))
	case "Addr":
		p.Addr, _ = ParseEUI64(value)
	case "LQI":
		p.LQI = byte(hexOrZero(value, 8))
	case "Side":
		p.Side = int(hexOrZero(value, 4))
	case "PairID":
		p.PairID = value
	case "Channel Page", "HEMS Address", "RelayDevice", "TransmitDevice":
	default:
		return false
	}
	return true
}

// hexOrZero returns 0 for what is no number of that many bits: a field of a scan result that nobody can use.
func hexOrZero(s string, bits int) uint64 {
	n, _ := hexField(s, bits)
	return n
}

func hexField(s string, bits int) (n uint64, ok bool) {
	n, err := strconv.ParseUint(s, 16, bits)
	if err != nil {
		return 0, false
	}
	return n, true
}

func parseEvent(text string) (ev Event, ok bool) {
	f := strings.Fields(text)
	if len(f) < 2 || len(f) > 5 || f[0] != "EVENT" {
		return Event{}, false
	}
	num, ok := hexField(f[1], 8)
	if !ok {
		return Event{}, false
	}
	ev = Event{Number: byte(num), Side: -1, Param: -1}
	f = f[2:]
	if len(f) == 0 {
		return ev, true
	}
	var err error
	if ev.Addr, err = netip.ParseAddr(f[0]); err != nil {
		return Event{}, false
	}
	f = f[1:]
	var args [2]int
	for i, s := range f {
		n, ok := hexField(s, 8)
		if !ok {
			return Event{}, false
		}
		args[i] = int(n)
	}
	switch {
	case len(f) == 2:
		ev.Side, ev.Param = args[0], args[1]
	case len(f) == 1 && ev.Number == EventSent: // the one event of a single-stack module that has a parameter
		ev.Param = args[0]
	case len(f) == 1:
		ev.Side = args[0]
	}
	return ev, true
}

const erxudp = "ERXUDP "

// datagram parses b, which starts with "ERXUDP ".
func (p *Parser) datagram(b []byte) (Item, int) {
	h, state := parseHeader(b)
	switch state {
	case short:
		return nil, 0
	case broken:
		return Damage("malformed ERXUDP header"), p.drop(b)
	}
	data, n, state := parseData(b[h.size:], h.length)
	switch state {
	case short:
		return nil, 0
	case broken:
		return Damage("ERXUDP data of another length than it says"), p.drop(b)
	}
	h.Data = data
	return h.Datagram, h.size + n
}

type state int

const (
	done state = iota
	short
	broken
)

type header struct {
	Datagram
	length int // of the data, bytes
	size   int // of the header, with its last space
}

// parseHeader reads the fields from the left. Each has its own width, which is how the optional ones are told.
func parseHeader(b []byte) (h header, s state) {
	h.LQI, h.Side = -1, -1
	rest := b[len(erxudp):]
	var fields [10]string
	for i := range fields {
		end := bytes.IndexByte(rest, ' ')
		if line := bytes.IndexAny(rest, "\r\n"); line >= 0 && (end < 0 || line < end) {
			return h, broken
		}
		if end > 39 || end < 0 && len(rest) > 39 {
			return h, broken
		}
		if end < 0 {
			return h, short
		}
		fields[i], rest = string(rest[:end]), rest[end+1:]
		if i > 4 && end == 4 { // the length is the only field of four digits behind the MAC address
			h.size = len(b) - len(rest)
			return h, h.fill(fields[:i+1])
		}
	}
	return h, broken
}

func (h *header) fill(f []string) state {
	var err error
	if h.Src, err = netip.ParseAddr(f[0]); err != nil {
		return broken
	}
	if h.Dst, err = netip.ParseAddr(f[1]); err != nil {
		return broken
	}
	if h.MAC, err = ParseEUI64(f[4]); err != nil {
		return broken
	}
	last := len(f) - 1
	src, ok1 := hexField(f[2], 16)
	dst, ok2 := hexField(f[3], 16)
	length, ok3 := hexField(f[last], 16)
	if !ok1 || !ok2 || !ok3 || length > MaxData {
		return broken
	}
	h.SrcPort, h.DstPort, h.length = uint16(src), uint16(dst), int(length)

	opt := f[5:last]
	if len(opt) > 0 && len(opt[0]) == 2 {
		lqi, ok := hexField(opt[0], 8)
		if !ok {
			return broken
		}
		h.LQI, opt = int(lqi), opt[1:]
	}
	if len(opt) < 1 || len(opt) > 2 || len(opt[0]) != 1 {
		return broken
	}
	h.Encrypted = opt[0] != "0"
	if len(opt) == 2 {
		side, ok := hexField(opt[1], 4)
		if !ok {
			return broken
		}
		h.Side = int(side)
	}
	return done
}

// parseData reads n bytes, raw or as hex digits, and the CR LF behind them.
func parseData(b []byte, n int) (data []byte, size int, s state) {
	if len(b) <= n {
		return nil, 0, short
	}
	raw, size := b[:n], n
	if n > 0 && isHex(b[n]) {
		for i, c := range b {
			if i == 2*n {
				break
			}
			if !isHex(c) {
				return nil, 0, broken
			}
		}
		if size = 2 * n; len(b) <= size {
			return nil, 0, short
		}
		raw = make([]byte, n)
		if _, err := hex.Decode(raw, b[:size]); err != nil {
			return nil, 0, broken
		}
	}
	if b[size] != '\r' {
		return nil, 0, broken
	}
	if len(b) == size+1 {
		return nil, 0, short
	}
	if b[size+1] != '\n' {
		return nil, 0, broken
	}
	return bytes.Clone(raw), size + 2, done
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f'
}
