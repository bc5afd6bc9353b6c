// Package keyfile is the file that a software key sleeps in: sealed with a
// passphrase through argon2id (RFC 9106) and XChaCha20-Poly1305.
//
// Layout, big-endian:
//
//	off size field
//	  0    6 "MSLKEY"
//	  6    1 format version, 1
//	  7    1 scheme of the key (eventlog.Scheme)
//	  8    4 argon2id memory, KiB
//	 12    1 argon2id passes
//	 13    1 argon2id lanes
//	 14    2 length of the sealed part
//	 16   16 argon2id salt
//	 32   24 XChaCha20 nonce
//	 56    n PKCS#8 of the P-256 key, sealed; bytes 0 to 55 are its associated data
//
// The scheme is authenticated with the key: a key has one for life.
package keyfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/meterseal/meterseal/eventlog"
)

const (
	magic      = "MSLKEY"
	version    = 1
	headerSize = 56

	// maxSealed bounds the sealed part: a P-256 key in PKCS#8 has 138 bytes.
	maxSealed = 1024
	// MaxSize bounds the file.
	MaxSize = headerSize + maxSealed
)

// ErrLocked: the passphrase is wrong or the file was altered. Which of the two
// cannot be told, and nothing else is said.
var ErrLocked = errors.New("wrong passphrase, or the key file was altered")

// Cost is what one guess at the passphrase costs.
type Cost struct {
	MemoryKiB uint32 // 8 per lane, to 262144 (256 MiB)
	Passes    uint8  // 1 to 16
	Lanes     uint8  // 1 to 16
}

// Check refuses a cost out of range: argon2 would panic on it, or a damaged
// file would take all memory.
func (c Cost) Check() error {
	if c.Passes < 1 || c.Passes > 16 || c.Lanes < 1 || c.Lanes > 16 ||
		c.MemoryKiB < 8*uint32(c.Lanes) || c.MemoryKiB > 256<<10 {
		return fmt.Errorf("keyfile: argon2id with %d KiB, %d passes, %d lanes is out of range", c.MemoryKiB, c.Passes, c.Lanes)
	}
	return nil
}

// File is a sealed key.
type File struct {
	Scheme eventlog.Scheme
	Cost   Cost
	Salt   [16]byte
	Nonce  [chacha20poly1305.NonceSizeX]byte
	Sealed []byte
}

// AppendBinary appends the file's content to b.
func (f File) AppendBinary(b []byte) ([]byte, error) {
	if len(f.Sealed) > maxSealed {
		return b, fmt.Errorf("keyfile: sealed part of %d bytes", len(f.Sealed))
	}
	return append(f.appendHeader(b, len(f.Sealed)), f.Sealed...), nil
}

func (f File) appendHeader(b []byte, sealed int) []byte {
	b = append(b, magic...)
	b = append(b, version, byte(f.Scheme))
	b = binary.BigEndian.AppendUint32(b, f.Cost.MemoryKiB)
	b = append(b, f.Cost.Passes, f.Cost.Lanes)
	b = binary.BigEndian.AppendUint16(b, uint16(sealed))
	b = append(b, f.Salt[:]...)
	return append(b, f.Nonce[:]...)
}

// UnmarshalBinary reads the content of a whole file. It checks the form and
// the ranges; only [File.Open] finds out whether the content is genuine. The
// result aliases b.
func (f *File) UnmarshalBinary(b []byte) error {
	switch {
	case len(b) < headerSize:
		return fmt.Errorf("keyfile: %d bytes are no key file", len(b))
	case string(b[:6]) != magic:
		return errors.New("keyfile: not a key file")
	case b[6] != version:
		return fmt.Errorf("keyfile: format version %d, this program knows %d", b[6], version)
	}
	v := File{
		Scheme: eventlog.Scheme(b[7]),
		Cost:   Cost{MemoryKiB: binary.BigEndian.Uint32(b[8:]), Passes: b[12], Lanes: b[13]},
		Salt:   [16]byte(b[16:32]),
		Nonce:  [24]byte(b[32:56]),
		Sealed: b[headerSize:],
	}
	if v.Scheme != eventlog.SchemeDigest && v.Scheme != eventlog.SchemeCounter {
		return fmt.Errorf("keyfile: no software key of %v", v.Scheme)
	}
	if err := v.Cost.Check(); err != nil {
		return err
	}
	if n := int(binary.BigEndian.Uint16(b[14:])); n != len(v.Sealed) || n > maxSealed {
		return fmt.Errorf("keyfile: %d bytes where the header says %d: cut short, or not a key file", len(v.Sealed), n)
	}
	*f = v
	return nil
}

// Seal seals a P-256 key under the passphrase.
func Seal(key *ecdsa.PrivateKey, scheme eventlog.Scheme, cost Cost, passphrase []byte) (File, error) {
	if err := cost.Check(); err != nil {
		return File{}, err
	}
	f := File{Scheme: scheme, Cost: cost}
	rand.Read(f.Salt[:]) // never fails: crypto/rand ends the program instead
	rand.Read(f.Nonce[:])
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return File{}, fmt.Errorf("keyfile: %w", err)
	}
	defer clear(der)
	header := f.appendHeader(nil, len(der)+chacha20poly1305.Overhead)
	err = f.withCipher(passphrase, func(c cipher) error {
		f.Sealed = c.Seal(nil, f.Nonce[:], der, header)
		return nil
	})
	return f, err
}

// Open returns the key, or [ErrLocked]. It takes the time and the memory that
// the cost says.
func (f File) Open(passphrase []byte) (*ecdsa.PrivateKey, error) {
	var der []byte
	err := f.withCipher(passphrase, func(c cipher) (err error) {
		der, err = c.Open(nil, f.Nonce[:], f.Sealed, f.appendHeader(nil, len(f.Sealed)))
		return err
	})
	if err != nil {
		return nil, ErrLocked
	}
	defer clear(der)
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, ErrLocked
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, ErrLocked
	}
	return key, nil
}

// cipher is the part of cipher.AEAD that is used here.
type cipher interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

// withCipher calls use with the cipher that the passphrase gives and wipes the
// key that was derived for it.
func (f File) withCipher(passphrase []byte, use func(cipher) error) error {
	kek := argon2.IDKey(passphrase, f.Salt[:], uint32(f.Cost.Passes), f.Cost.MemoryKiB, f.Cost.Lanes, chacha20poly1305.KeySize)
	defer clear(kek)
	aead, err := chacha20poly1305.NewX(kek)
	if err != nil {
		return fmt.Errorf("keyfile: %w", err)
	}
	return use(aead)
}
