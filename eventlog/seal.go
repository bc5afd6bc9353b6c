package eventlog

import (
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// SealSize is the size in bytes of a seal of the schemes digest and counter.
const SealSize = 140

const sealMagic = "MSEA"

// ErrSeal says that bytes are no seal: wrong magic, version, length or
// checksum, or a scheme that does not exist.
var ErrSeal = errors.New("eventlog: not a seal")

// Seal is what a meter stores as "the signature" over its log. Every field but
// the signature is a hint that must agree with the log; the registered key
// decides the algorithm, never the seal.
//
//	off size field
//	  0    4 magic "MSEA"
//	  4    1 format version, 1
//	  5    1 scheme
//	  6    2 size of the seal in bytes, 140
//	  8    4 segment
//	 12    8 signed length in bytes
//	 20    4 sequence number of the last signed record
//	 24    8 first 8 bytes of the key id
//	 32    8 counter of the secure element, 0 in scheme digest
//	 40   32 digest: SHA-256 of the segment's first "signed length" bytes
//	 72   64 signature, r || s
//	136    4 CRC-32C of all bytes before it: finds torn writes, is no security
type Seal struct {
	Scheme       Scheme
	Segment      uint32
	SignedLength uint64 // bytes
	LastSeq      uint32
	KeyPrefix    [8]byte
	Counter      uint64
	Digest       Digest
	Signature    Signature
}

// AppendBinary appends the encoded seal, SealSize bytes.
func (s *Seal) AppendBinary(b []byte) ([]byte, error) {
	if err := s.check(); err != nil {
		return b, err
	}
	start := len(b)
	b = append(b, sealMagic...)
	b = append(b, Version, byte(s.Scheme))
	b = binary.BigEndian.AppendUint16(b, SealSize)
	b = binary.BigEndian.AppendUint32(b, s.Segment)
	b = binary.BigEndian.AppendUint64(b, s.SignedLength)
	b = binary.BigEndian.AppendUint32(b, s.LastSeq)
	b = append(b, s.KeyPrefix[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Counter)
	b = append(b, s.Digest[:]...)
	b = append(b, s.Signature[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

func (s *Seal) check() error {
	switch {
	case s.Scheme != SchemeDigest && s.Scheme != SchemeCounter:
		return fmt.Errorf("%w: %s", ErrSeal, s.Scheme)
	case s.Scheme == SchemeDigest && s.Counter != 0:
		return fmt.Errorf("%w: scheme digest has no counter", ErrSeal)
	case s.Segment == 0:
		return fmt.Errorf("%w: segment 0", ErrSeal)
	case s.SignedLength < HeaderSize || s.SignedLength%SlotSize != 0:
		return fmt.Errorf("%w: signed length %d", ErrSeal, s.SignedLength)
	}
	return nil
}

// UnmarshalBinary decodes exactly one seal. The error wraps ErrSeal.
func (s *Seal) UnmarshalBinary(b []byte) error {
	if len(b) != SealSize || string(b[:4]) != sealMagic || b[4] != Version || binary.BigEndian.Uint16(b[6:]) != SealSize {
		return ErrSeal
	}
	if binary.BigEndian.Uint32(b[136:]) != crc32.Checksum(b[:136], castagnoli) {
		return fmt.Errorf("%w: the checksum does not match", ErrSeal)
	}
	v := Seal{
		Scheme:       Scheme(b[5]),
		Segment:      binary.BigEndian.Uint32(b[8:]),
		SignedLength: binary.BigEndian.Uint64(b[12:]),
		LastSeq:      binary.BigEndian.Uint32(b[20:]),
		KeyPrefix:    [8]byte(b[24:32]),
		Counter:      binary.BigEndian.Uint64(b[32:]),
		Digest:       Digest(b[40:72]),
		Signature:    Signature(b[72:136]),
	}
	if err := v.check(); err != nil {
		return err
	}
	*s = v
	return nil
}

// Signs reports whether the signature is one of the key, used in the given
// scheme, over digest. Only digest, key and scheme count; of the seal's own
// fields the counter and the signature are used, nothing else is believed.
func (s *Seal) Signs(pub *ecdsa.PublicKey, key KeyID, scheme Scheme, digest Digest) bool {
	switch scheme {
	case SchemeDigest:
		return s.Signature.Verify(pub, digest)
	case SchemeCounter:
		return s.Signature.Verify(pub, Statement(key, s.Counter, digest))
	}
	return false
}
