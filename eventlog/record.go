package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

const (
	// Version is the format version of records, seals and bundles.
	Version = 1
	// SlotSize is the unit of the log in bytes: one SHA-256 block.
	SlotSize = 64
	// MaxRecordSize is the largest record, four slots.
	MaxRecordSize = 4 * SlotSize
	// MaxPayload is the largest payload of a record in bytes.
	MaxPayload = MaxRecordSize - recordOverhead

	recordHead     = 28
	recordOverhead = recordHead + 4
)

// Flags of a record. The other bits are zero.
const (
	// FlagSpecific marks a specific event: it triggers hash and signature.
	FlagSpecific = 1 << 0
	// FlagClockUntrusted says that the meter's clock was not trusted.
	FlagClockUntrusted = 1 << 1
	// FlagModuleDown says that the secure element was not available.
	FlagModuleDown = 1 << 2

	flagsKnown = FlagSpecific | FlagClockUntrusted | FlagModuleDown
)

// Errors of decoding a record. They are wrapped with the offset where that is
// known.
var (
	// ErrShort says that the bytes end inside a record: more of them may
	// make it whole.
	ErrShort = errors.New("eventlog: the record is cut short")
	// ErrRecord says that the bytes are no record, whatever follows.
	ErrRecord = errors.New("eventlog: not a record")
	// ErrChecksum says that the CRC-32C of a record does not match.
	ErrChecksum = errors.New("eventlog: the checksum of the record does not match")
	// ErrTrailing says that bytes follow where none may.
	ErrTrailing = errors.New("eventlog: trailing bytes")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one event in the log. On disk and on the wire it takes n = 1 to 4
// slots of 64 bytes, as few as its payload needs:
//
//	     off size      field
//	       0    1      format version, 1
//	       1    1      slots of this record, n
//	       2    2      event code in its log class
//	       4    4      sequence number of the meter, +1 each record, never reset
//	       8    8      wall clock, ms since the Unix epoch, UTC, signed
//	      16    4      boot counter
//	      20    4      uptime, s
//	      24    1      flags: b0 specific, b1 clock not trusted, b2 module down
//	      25    1      payload length
//	      26    1      log class
//	      27    1      zero
//	      28 32+64(n-1) payload, zero padded
//	64n - 4    4      CRC-32C of all bytes before it: finds torn writes, is no security
type Record struct {
	Class   Class
	Code    uint16 // event code in its class, by the segment's profile
	Seq     uint32 // sequence number of the meter
	Millis  int64  // wall clock, ms since the Unix epoch, UTC
	Boot    uint32 // boot counter
	Uptime  uint32 // s since boot
	Flags   uint8
	Payload []byte // at most MaxPayload bytes; aliases the input after decoding
}

// Specific reports whether the record is a specific event.
func (r *Record) Specific() bool { return r.Flags&FlagSpecific != 0 }

// Time returns the wall clock of the record in UTC.
func (r *Record) Time() time.Time { return time.UnixMilli(r.Millis).UTC() }

// Event returns the class and code of the record.
func (r *Record) Event() Event { return Event{r.Class, r.Code} }

// Size returns the encoded size in bytes, a multiple of SlotSize.
func (r *Record) Size() int { return recordSize(len(r.Payload)) }

func recordSize(payload int) int {
	return (payload + recordOverhead + SlotSize - 1) / SlotSize * SlotSize
}

// AppendBinary appends the encoded record to b.
func (r *Record) AppendBinary(b []byte) ([]byte, error) {
	if len(r.Payload) > MaxPayload {
		return b, fmt.Errorf("eventlog: payload of %d bytes, at most %d fit a record", len(r.Payload), MaxPayload)
	}
	if r.Flags&^flagsKnown != 0 {
		return b, fmt.Errorf("eventlog: unknown flags %#02x", r.Flags)
	}
	start, size := len(b), r.Size()
	b = append(b, Version, byte(size/SlotSize))
	b = binary.BigEndian.AppendUint16(b, r.Code)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Millis))
	b = binary.BigEndian.AppendUint32(b, r.Boot)
	b = binary.BigEndian.AppendUint32(b, r.Uptime)
	b = append(b, r.Flags, byte(len(r.Payload)), byte(r.Class), 0)
	b = append(b, r.Payload...)
	b = append(b, zeros[:size-recordOverhead-len(r.Payload)]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

var zeros [SlotSize]byte

// Next decodes the record at the start of b and returns its size in bytes.
// The payload aliases b. Errors: ErrShort, ErrRecord, ErrChecksum.
func (r *Record) Next(b []byte) (int, error) {
	if len(b) < SlotSize {
		return 0, ErrShort
	}
	head := (*[SlotSize]byte)(b) // an array: its indices need no check
	if head[0] != Version || head[1] < 1 || head[1] > 4 {
		return 0, ErrRecord
	}
	size := int(head[1]) * SlotSize
	if len(b) < size {
		return 0, ErrShort
	}
	b = b[:size:size]
	if binary.BigEndian.Uint32(b[size-4:]) != crc32.Checksum(b[:size-4], castagnoli) {
		return 0, ErrChecksum
	}
	n := int(head[25])
	if recordSize(n) != size || head[24]&^flagsKnown != 0 || head[27] != 0 {
		return 0, ErrRecord
	}
	if pad := b[recordHead+n : size-4]; string(pad) != string(zeros[:len(pad)]) {
		return 0, ErrRecord
	}
	// Field by field: a literal would be put together elsewhere and copied.
	r.Class = Class(head[26])
	r.Code = binary.BigEndian.Uint16(head[2:])
	r.Seq = binary.BigEndian.Uint32(head[4:])
	r.Millis = int64(binary.BigEndian.Uint64(head[8:]))
	r.Boot = binary.BigEndian.Uint32(head[16:])
	r.Uptime = binary.BigEndian.Uint32(head[20:])
	r.Flags = head[24]
	r.Payload = b[recordHead : recordHead+n : recordHead+n]
	return size, nil
}

// UnmarshalBinary decodes exactly one record. The payload aliases b.
func (r *Record) UnmarshalBinary(b []byte) error {
	n, err := r.Next(b)
	if err != nil {
		return err
	}
	if n != len(b) {
		return ErrTrailing
	}
	return nil
}
