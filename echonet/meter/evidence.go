package meter

import (
	"encoding/binary"
	"fmt"
)

// Evidence is the signed event log behind the vendor properties F0 to F8. It is
// called while a message is answered: its methods return at once, wait for
// neither flash nor secure element, and may be called concurrently.
type Evidence interface {
	// Header returns the status of the log, at most 48 bytes (F0).
	Header() []byte
	// Seal returns the newest seal, at most 255 bytes, empty before the first
	// (F1).
	Seal() []byte
	// CheckCursor reports whether the object and the segment exist and the offset
	// is not past the end.
	CheckCursor(c Cursor) bool
	// ReadWindow copies what is at the cursor, up to len(buf). ok is false if the
	// cursor is none that CheckCursor accepts.
	ReadWindow(c Cursor, buf []byte) (n int, ok bool)
	// Challenge takes a challenge of the verifier and reports whether it was
	// accepted (F7). edt is the caller's.
	Challenge(edt []byte) bool
	// LastChallenge returns the first 8 bytes of the last nonce accepted and the
	// sequence number of its record, 4 bytes; empty if there was none.
	LastChallenge() []byte
	// Receipt takes a receipt of the verifier and reports whether it was accepted
	// (F8). edt is the caller's.
	Receipt(edt []byte) bool
	// LastReceipt returns segment, 4 bytes, and length, 8 bytes, of the last
	// receipt accepted; empty if there was none.
	LastReceipt() []byte
}

// CursorObject is what a cursor points into.
type CursorObject byte

// The objects of a cursor.
const (
	CursorNone  CursorObject = 0 // no cursor is set
	CursorLog   CursorObject = 1 // the log of a segment
	CursorSeal  CursorObject = 2 // the last seal of a segment
	CursorChain CursorObject = 3 // the certificate chain; it has no segment
)

// Sizes of the evidence properties, in bytes.
const (
	CursorSize = 13
	WindowSize = 240 // of the data in one window
	Windows    = 4   // F3 to F6
)

// Cursor says what the windows show (F2). On the wire, big-endian:
//
//	offset  size  field
//	0       1     object
//	1       4     segment
//	5       8     offset in bytes
type Cursor struct {
	Object  CursorObject
	Segment uint32
	Offset  uint64
}

// AppendBinary appends the cursor, 13 bytes. It never fails.
func (c Cursor) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(c.Object))
	b = binary.BigEndian.AppendUint32(b, c.Segment)
	return binary.BigEndian.AppendUint64(b, c.Offset), nil
}

// UnmarshalBinary reads exactly 13 bytes.
func (c *Cursor) UnmarshalBinary(b []byte) error {
	if len(b) != CursorSize {
		return sizeError("cursor", b, CursorSize)
	}
	c.Object = CursorObject(b[0])
	c.Segment = binary.BigEndian.Uint32(b[1:5])
	c.Offset = binary.BigEndian.Uint64(b[5:13])
	return nil
}

// Window returns the cursor of window i, 0 to 3: the same with an offset of
// 240 i more.
func (c Cursor) Window(i int) Cursor {
	c.Offset += uint64(i) * WindowSize
	return c
}

// ParseWindow reads the data of F3 to F6: the cursor of the window's first byte,
// and the bytes, at most 240, which alias edt. A window that shows nothing
// because no cursor is set has object CursorNone.
func ParseWindow(edt []byte) (Cursor, []byte, error) {
	var c Cursor
	if len(edt) < CursorSize || len(edt) > CursorSize+WindowSize {
		return c, nil, fmt.Errorf("meter: window: %w: %d bytes", ErrSize, len(edt))
	}
	_ = c.UnmarshalBinary(edt[:CursorSize]) // the size is right
	return c, edt[CursorSize:len(edt):len(edt)], nil
}
