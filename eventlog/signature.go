package eventlog

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
)

// SignatureSize is the size in bytes of an ES256 signature: r and s, 32 bytes
// each, big-endian, left-padded with zeros.
const SignatureSize = 64

// Signature is a raw ES256 signature, r || s. High values of s are accepted:
// secure elements emit them. Evidence of a fork compares digests, never
// signatures, since (r, s) and (r, n-s) are both valid.
type Signature [SignatureSize]byte

// ParseSignature takes a raw signature of exactly 64 bytes. Any other length
// is an error: splitting a signature of unchecked length in half accepts
// forgeries.
func ParseSignature(b []byte) (Signature, error) {
	if len(b) != SignatureSize {
		return Signature{}, fmt.Errorf("eventlog: signature of %d bytes, want %d", len(b), SignatureSize)
	}
	return Signature(b), nil
}

// SignatureFromDER converts an ASN.1 SEQUENCE of r and s, as [crypto.Signer]
// returns it, to the raw form.
func SignatureFromDER(der []byte) (Signature, error) {
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &rs)
	if err != nil {
		return Signature{}, fmt.Errorf("eventlog: signature in DER: %w", err)
	}
	if len(rest) != 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 256 || rs.S.BitLen() > 256 {
		return Signature{}, errors.New("eventlog: signature in DER is out of range")
	}
	var sig Signature
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	// encoding/asn1 ignores what follows r and s inside the SEQUENCE.
	if !bytes.Equal(sig.AppendDER(nil), der) {
		return Signature{}, errors.New("eventlog: signature in DER holds more than r and s")
	}
	return sig, nil
}

// AppendDER appends the signature as the ASN.1 SEQUENCE that openssl wants.
func (sig *Signature) AppendDER(b []byte) []byte {
	r, s := trimInteger(sig[:32]), trimInteger(sig[32:])
	rPad, sPad := r[0]>>7, s[0]>>7
	b = append(b, 0x30, byte(4+len(r)+len(s))+rPad+sPad)
	b = appendInteger(b, r, rPad)
	return appendInteger(b, s, sPad)
}

// trimInteger drops leading zeros but keeps at least one byte.
func trimInteger(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func appendInteger(b, v []byte, pad byte) []byte {
	b = append(b, 0x02, byte(len(v))+pad)
	if pad != 0 {
		b = append(b, 0)
	}
	return append(b, v...)
}

// Verify reports whether sig is the P-256 signature of the 32-byte hash. It is
// false for a key on another curve.
func (sig *Signature) Verify(pub *ecdsa.PublicKey, hash [32]byte) bool {
	if checkP256(pub) != nil {
		return false
	}
	var der [72]byte
	return ecdsa.VerifyASN1(pub, hash[:], sig.AppendDER(der[:0]))
}

// Sign makes an ES256 signature over hash with key, which must hold a P-256
// key. It is for the MDMS and for tests; a meter's key stays in its secure
// element.
func Sign(key crypto.Signer, hash [32]byte) (Signature, error) {
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return Signature{}, fmt.Errorf("eventlog: %T is no ECDSA key", key.Public())
	}
	if err := checkP256(pub); err != nil {
		return Signature{}, err
	}
	der, err := key.Sign(rand.Reader, hash[:], crypto.SHA256)
	if err != nil {
		return Signature{}, fmt.Errorf("eventlog: sign: %w", err)
	}
	return SignatureFromDER(der)
}

func checkP256(pub *ecdsa.PublicKey) error {
	if pub == nil || pub.Curve != elliptic.P256() {
		return errors.New("eventlog: the public key is not on P-256")
	}
	return nil
}

// What is signed begins differently, so that no signature can pass for
// another: a log begins 0x01, a certificate request 0x30, and each statement
// with a 16-byte ASCII tag of its own.
const (
	statementTag = "meterseal:cntr:1"
	receiptTag   = "meterseal:rcpt:1"
	challengeTag = "meterseal:chal:1"
)

// Statement returns the hash that a secure element of [SchemeCounter] signs:
// SHA-256 over
//
//	off size field
//	  0   16 tag "meterseal:cntr:1"
//	 16   32 key id
//	 48    8 counter
//	 56   32 log digest
//
// The secure element keeps the counter and computes the statement itself.
func Statement(key KeyID, counter uint64, digest Digest) [32]byte {
	var b [88]byte
	m := append(b[:0], statementTag...)
	m = append(m, key[:]...)
	m = binary.BigEndian.AppendUint64(m, counter)
	m = append(m, digest[:]...)
	return sha256.Sum256(m)
}
