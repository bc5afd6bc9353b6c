// Package j11 is the binary serial protocol of the J11 family of Wi-SUN modules, for both sides of the line.
//
// A frame, all fields big-endian:
//
//	offset  size  field
//	0       4     unique code: D0EA83FC from the host, D0F9EE5D from the module
//	4       2     command code; a response has the request's plus 2000
//	6       2     4 + length of the data
//	8       2     sum of the bytes 0 to 7
//	10      2     sum of the data bytes
//	12      n     data
//
// Both sums are sums of bytes, modulo 65536. A header sum of zero means "do not check".
package j11

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Unique codes.
const (
	FromHost   = 0xD0EA83FC
	FromModule = 0xD0F9EE5D
)

// Command codes of requests. That of a response is the request's plus Response.
const (
	Status       = 0x0001
	OpenPort     = 0x0005
	ClosePort    = 0x0006
	Send         = 0x0008
	OwnMAC       = 0x000E
	Scan         = 0x0051
	Start        = 0x0053 // of route-B operation
	Credentials  = 0x0054
	Authenticate = 0x0056
	EndSession   = 0x0057
	Stop         = 0x0058 // of route-B operation
	Setup        = 0x005F
	Version      = 0x006B
	Renew        = 0x00D2
	Reset        = 0x00D9

	Response = 0x2000
)

// Codes of notifications and of the answers to what is no request.
const (
	ChannelDone    = 0x4051
	Received       = 0x6018
	PoweredOn      = 0x6019
	LinkChanged    = 0x601A
	Authenticated  = 0x6028
	BrokenRequest  = 0x2FFF
	UnknownRequest = 0xFFFF
)

// Results, the first data byte of a response.
const (
	OK             = 0x01
	BadCode        = 0x03
	BadParameter   = 0x04
	NoConnection   = 0x0E // the meter does not answer
	BadHeaderSum   = 0xF0
	BadDataSum     = 0xF1
	TooShort       = 0xF2
	TooLong        = 0xF3
	NotAcknowledge = 0x05 // second byte of the response to Send
)

// MaxData is the length of the longest data, in bytes: a received datagram of 1232 bytes with its header.
const MaxData = 1280

const headerSize = 12

// ErrTooLong is returned for data beyond MaxData.
var ErrTooLong = errors.New("j11: data too long")

// Frame is a request, a response or a notification.
type Frame struct {
	Code uint16
	Data []byte
}

// Append appends the frame with the given unique code.
func (f Frame) Append(b []byte, unique uint32) ([]byte, error) {
	if len(f.Data) > MaxData {
		return b, fmt.Errorf("%w: %d bytes", ErrTooLong, len(f.Data))
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, unique)
	b = binary.BigEndian.AppendUint16(b, f.Code)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(f.Data)))
	b = binary.BigEndian.AppendUint16(b, sum(b[start:]))
	b = binary.BigEndian.AppendUint16(b, sum(f.Data))
	return append(b, f.Data...), nil
}

func sum(b []byte) (s uint16) {
	for _, c := range b {
		s += uint16(c)
	}
	return s
}

// Fault says why a frame does not hold together: BadHeaderSum, BadDataSum, TooShort or TooLong; 0 if it does.
type Fault byte

// Decoder turns bytes into frames, however they were split into reads. What is no frame is skipped.
type Decoder struct {
	Unique uint32 // of the frames that are awaited
	buf    []byte
}

// Feed adds bytes. They are copied.
func (d *Decoder) Feed(b []byte) { d.buf = append(d.buf, b...) }

// Pending says whether part of a frame has come.
func (d *Decoder) Pending() bool { return len(d.buf) > 0 }

// Drop gives up a frame whose rest does not come.
func (d *Decoder) Drop() {
	if len(d.buf) > 0 {
		d.buf = d.buf[1:]
	}
}

// Next returns the next frame; ok is false if more bytes are needed. With a fault there is no frame, but bytes that were
// skipped. The data does not alias what was fed.
func (d *Decoder) Next() (f Frame, fault Fault, ok bool) {
	d.sync()
	b := d.buf
	if len(b) < headerSize {
		return Frame{}, 0, false
	}
	n := int(binary.BigEndian.Uint16(b[6:])) - 4
	headerSum := binary.BigEndian.Uint16(b[8:])
	switch {
	case headerSum != 0 && headerSum != sum(b[:8]):
		return d.skip(BadHeaderSum)
	case n < 0:
		return d.skip(TooShort)
	case n > MaxData:
		return d.skip(TooLong)
	case len(b) < headerSize+n:
		return Frame{}, 0, false
	}
	data := b[headerSize : headerSize+n]
	if binary.BigEndian.Uint16(b[10:]) != sum(data) {
		return d.skip(BadDataSum)
	}
	f = Frame{Code: binary.BigEndian.Uint16(b[4:]), Data: append([]byte(nil), data...)}
	d.buf = append([]byte(nil), b[headerSize+n:]...)
	return f, 0, true
}

func (d *Decoder) skip(f Fault) (Frame, Fault, bool) {
	d.buf = d.buf[1:]
	return Frame{}, f, true
}

// sync drops what cannot be the start of a frame. A byte that does not fit may itself be the first of one.
func (d *Decoder) sync() {
	var unique [4]byte
	binary.BigEndian.PutUint32(unique[:], d.Unique)
	for i := range d.buf {
		rest := d.buf[i:]
		n := min(len(rest), len(unique))
		if string(rest[:n]) == string(unique[:n]) {
			d.buf = rest
			return
		}
	}
	d.buf = nil
}
