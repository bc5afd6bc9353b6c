// Package wire is what a meter and the process of its software secure element
// say to each other over a socket pair. Both ends are the same binary, so there
// is no version to negotiate.
//
// Every message is one frame, big-endian:
//
//	off size field
//	  0    4 length of what follows, 9 to MaxFrame-4
//	  4    8 id: the answer carries the id of its request
//	 12    1 kind: a verb in a request, a status in an answer
//	 13    n body
//
// The meter speaks first, one request at a time, the first one Open or Create.
// A frame that does not parse ends the process.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxFrame bounds a frame, and so the memory that one costs, in bytes.
const MaxFrame = 8192

const headerSize = 13

// The verbs. There is none that exports or imports a key, and none that signs
// anything but a 32-byte digest or a request of the module's own making.
const (
	Open    byte = 1 // body Hello; answer Description
	Create  byte = 2 // body Hello; answer empty, then the process ends
	Info    byte = 3 // body empty; answer Description
	Sign    byte = 4 // body digest, 32 bytes; answer Signed
	Request byte = 5 // body subject, an RDNSequence in DER; answer PKCS#10 in DER
	History byte = 6 // body empty; answer entries of counter (8) and digest (32), oldest first
)

// The statuses. All but OK have a Failure as their body.
const (
	OK          byte = 0
	Refused     byte = 1 // the request makes no sense
	Unavailable byte = 2 // the files could not be read or written
	Busy        byte = 3 // another process holds the directory
	RateLimited byte = 4
	Counter     byte = 5 // the counter is unusable
	Locked      byte = 6 // wrong passphrase, or an altered key file
	NoKey       byte = 7 // there is no key in the directory
	KeyExists   byte = 8 // there is one already
)

// Frame is one message.
type Frame struct {
	ID   uint64
	Kind byte
	Body []byte
}

// AppendBinary appends the frame to b. It fails if the frame is too long.
func (f Frame) AppendBinary(b []byte) ([]byte, error) {
	if len(f.Body) > MaxFrame-headerSize {
		return b, fmt.Errorf("wire: body of %d bytes is too long", len(f.Body))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize-4+len(f.Body)))
	b = binary.BigEndian.AppendUint64(b, f.ID)
	b = append(b, f.Kind)
	return append(b, f.Body...), nil
}

// Read reads one frame from r into buf, which must hold MaxFrame bytes; the
// body aliases it. The end of r before the first byte is io.EOF.
func Read(r io.Reader, buf []byte) (Frame, error) {
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(buf)
	if n < headerSize-4 || n > MaxFrame-4 {
		return Frame{}, fmt.Errorf("wire: frame of %d bytes", n)
	}
	b := buf[4 : 4+n : 4+n]
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return Frame{
		ID:   binary.BigEndian.Uint64(b),
		Kind: b[8],
		Body: b[9:],
	}, nil
}
