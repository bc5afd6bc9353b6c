package eventlog

import (
	"encoding/binary"
	"errors"
)

// StatusSize is the size in bytes of a status.
const StatusSize = 44

const statusMagic = "MSL1"

// ErrStatus says that bytes are no status, as with another maker's property F0.
var ErrStatus = errors.New("eventlog: not a log status")

// Health is the state of the meter's secure element.
type Health uint8

// The states of a secure element.
const (
	HealthUp   Health = 1
	HealthDown Health = 2
)

// Status is what a meter says of its log in vendor property F0. It is a hint:
// nothing in it is signed.
//
//	off size field
//	  0    4 magic "MSL1"
//	  4    1 format version, 1
//	  5    1 scheme
//	  6    1 health of the secure element: 1 up, 2 down
//	  7    1 zero
//	  8    4 newest segment
//	 12    4 oldest segment
//	 16    8 length of the newest segment in bytes
//	 24    8 signed length of the newest segment in bytes, 0 = not sealed yet
//	 32    4 sequence number of the last record
//	 36    8 first 8 bytes of the key id
type Status struct {
	Scheme       Scheme
	Health       Health
	Segment      uint32
	Oldest       uint32
	Length       uint64 // bytes
	SignedLength uint64 // bytes
	LastSeq      uint32
	KeyPrefix    [8]byte
}

// AppendBinary appends the encoded status, StatusSize bytes.
func (s *Status) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, statusMagic...)
	b = append(b, Version, byte(s.Scheme), byte(s.Health), 0)
	b = binary.BigEndian.AppendUint32(b, s.Segment)
	b = binary.BigEndian.AppendUint32(b, s.Oldest)
	b = binary.BigEndian.AppendUint64(b, s.Length)
	b = binary.BigEndian.AppendUint64(b, s.SignedLength)
	b = binary.BigEndian.AppendUint32(b, s.LastSeq)
	return append(b, s.KeyPrefix[:]...), nil
}

// UnmarshalBinary decodes exactly one status and checks that it does not
// contradict itself.
func (s *Status) UnmarshalBinary(b []byte) error {
	if len(b) != StatusSize || string(b[:4]) != statusMagic || b[4] != Version || b[7] != 0 {
		return ErrStatus
	}
	v := Status{
		Scheme: Scheme(b[5]), Health: Health(b[6]),
		Segment: binary.BigEndian.Uint32(b[8:]), Oldest: binary.BigEndian.Uint32(b[12:]),
		Length: binary.BigEndian.Uint64(b[16:]), SignedLength: binary.BigEndian.Uint64(b[24:]),
		LastSeq: binary.BigEndian.Uint32(b[32:]), KeyPrefix: [8]byte(b[36:44]),
	}
	if v.Oldest > v.Segment || v.SignedLength > v.Length || v.Health != HealthUp && v.Health != HealthDown {
		return ErrStatus
	}
	*s = v
	return nil
}
