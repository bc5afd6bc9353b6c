package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const headerMagic = "MSEGLOG1"

// HeaderSize is the size in bytes of a segment's first record.
const HeaderSize = 3 * SlotSize

const headerPayload = 141

// ErrHeader says that a record is no segment header.
var ErrHeader = errors.New("eventlog: not a segment header")

// Header is the payload of the first record of each segment: class system,
// code SEGMENT, specific. It puts identity, key and the link to the previous
// segment inside the signed bytes, so that a log cannot pass for another
// meter's and a segment cannot vanish unnoticed.
//
//	off size field
//	  0    8 magic "MSEGLOG1"
//	  8   15 meter id: manufacturer 3, serial 12
//	 23    1 scheme of the key
//	 24   32 key id: SHA-256 of the SubjectPublicKeyInfo
//	 56    4 segment number, from 1
//	 60    8 length of the previous segment in bytes, 0 = none
//	 68   32 digest of the previous segment, zeros = none
//	100    4 first sequence number: that of this record
//	104    1 event-code profile
//	105    4 version of the specific set
//	109   32 digest of the specific set, zeros = every event
type Header struct {
	Meter         MeterID
	Scheme        Scheme
	Key           KeyID
	Segment       uint32
	PrevLength    uint64 // bytes
	PrevDigest    Digest
	FirstSeq      uint32
	Profile       Profile
	PolicyVersion uint32
	PolicyDigest  Digest
}

// AppendBinary appends the payload of the header record.
func (h *Header) AppendBinary(b []byte) ([]byte, error) {
	if h.Segment == 0 {
		return b, errors.New("eventlog: segments are numbered from 1")
	}
	b = append(b, headerMagic...)
	b = append(b, h.Meter[:]...)
	b = append(b, byte(h.Scheme))
	b = append(b, h.Key[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Segment)
	b = binary.BigEndian.AppendUint64(b, h.PrevLength)
	b = append(b, h.PrevDigest[:]...)
	b = binary.BigEndian.AppendUint32(b, h.FirstSeq)
	b = append(b, byte(h.Profile))
	b = binary.BigEndian.AppendUint32(b, h.PolicyVersion)
	return append(b, h.PolicyDigest[:]...), nil
}

// UnmarshalBinary decodes the payload of a header record.
func (h *Header) UnmarshalBinary(b []byte) error {
	if len(b) != headerPayload || string(b[:8]) != headerMagic {
		return ErrHeader
	}
	*h = Header{
		Meter:         MeterID(b[8:23]),
		Scheme:        Scheme(b[23]),
		Key:           KeyID(b[24:56]),
		Segment:       binary.BigEndian.Uint32(b[56:]),
		PrevLength:    binary.BigEndian.Uint64(b[60:]),
		PrevDigest:    Digest(b[68:100]),
		FirstSeq:      binary.BigEndian.Uint32(b[100:]),
		Profile:       Profile(b[104]),
		PolicyVersion: binary.BigEndian.Uint32(b[105:]),
		PolicyDigest:  Digest(b[109:141]),
	}
	if h.Segment == 0 {
		return fmt.Errorf("%w: segment 0", ErrHeader)
	}
	return nil
}

// ParseHeader decodes the header record at the start of a segment's bytes and
// checks that it is one: class system, code SEGMENT, specific, and numbered
// as the header says.
func ParseHeader(segment []byte) (Header, error) {
	var r Record
	if _, err := r.Next(segment); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return HeaderOf(&r)
}

// HeaderOf decodes a segment header from its record; see [ParseHeader].
func HeaderOf(r *Record) (Header, error) {
	var h Header
	if r.Class != ClassSystem || r.Code != CodeSegment || !r.Specific() {
		return Header{}, ErrHeader
	}
	if err := h.UnmarshalBinary(r.Payload); err != nil {
		return Header{}, err
	}
	if h.FirstSeq != r.Seq {
		return Header{}, fmt.Errorf("%w: first sequence %d in record %d", ErrHeader, h.FirstSeq, r.Seq)
	}
	return h, nil
}
