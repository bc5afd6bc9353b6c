package eventlog

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// MeterID names a meter for life: the manufacturer code (ECHONET property
// 8A, 3 bytes) followed by the serial number (8D, 12 printable ASCII bytes).
// Its text form is FFFFFF-MS0000000001.
type MeterID [15]byte

// ParseMeterID reads the text form: six hexadecimal digits, a hyphen, and
// twelve printable ASCII characters without a space.
func ParseMeterID(s string) (MeterID, error) {
	var id MeterID
	maker, serial, ok := strings.Cut(s, "-")
	if !ok || len(maker) != 6 || len(serial) != 12 {
		return id, fmt.Errorf("eventlog: meter id %q is not of the form FFFFFF-MS0000000001", s)
	}
	if _, err := hex.Decode(id[:3], []byte(maker)); err != nil {
		return MeterID{}, fmt.Errorf("eventlog: manufacturer code of meter id %q: %w", s, err)
	}
	copy(id[3:], serial)
	if !id.Valid() {
		return MeterID{}, fmt.Errorf("eventlog: serial number of meter id %q is not printable ASCII", s)
	}
	return id, nil
}

// Valid reports whether the serial number is twelve printable ASCII
// characters, none of them a space.
func (id MeterID) Valid() bool {
	for _, c := range id[3:] {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Manufacturer returns the manufacturer code, ECHONET property 8A.
func (id MeterID) Manufacturer() [3]byte { return [3]byte(id[:3]) }

// Serial returns the serial number, ECHONET property 8D.
func (id MeterID) Serial() string { return string(id[3:]) }

// String returns the text form. A serial number that is not printable is
// shown in hexadecimal, so that a log line cannot be forged with it.
func (id MeterID) String() string {
	if !id.Valid() {
		return fmt.Sprintf("%X-x%x", id[:3], id[3:])
	}
	return fmt.Sprintf("%X-%s", id[:3], id[3:])
}

// MarshalText returns the text form.
func (id MeterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *MeterID) UnmarshalText(text []byte) error {
	v, err := ParseMeterID(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// Digest is a SHA-256 value.
type Digest [32]byte

// String returns the digest in lower-case hexadecimal, as sha256sum prints it.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns the hexadecimal form.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads the hexadecimal form.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("eventlog: %q is not a SHA-256 value in hexadecimal", text)
	}
	*d = Digest(b)
	return nil
}

// KeyID is the SHA-256 of a key's SubjectPublicKeyInfo (DER).
type KeyID = Digest

// KeyIDOf returns the id of a P-256 public key. It fails for any other curve.
func KeyIDOf(pub *ecdsa.PublicKey) (KeyID, error) {
	if err := checkP256(pub); err != nil {
		return KeyID{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return KeyID{}, fmt.Errorf("eventlog: public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// Scheme says what a signature covers. A key has one scheme for life.
type Scheme uint8

// The schemes. Zero is no scheme.
const (
	// SchemeDigest signs the log digest itself with ES256: the literal form
	// of JP 2024-155626 A, claim 1, and what any PIV card or HSM can do.
	SchemeDigest Scheme = 1
	// SchemeCounter signs the SHA-256 of a statement that binds the key id
	// and a counter of the secure element to the log digest; see [Statement].
	SchemeCounter Scheme = 2
	// SchemeTPMNV is reserved for TPM2_NV_Certify with the digest as
	// qualifying data.
	SchemeTPMNV Scheme = 3
)

// String returns digest, counter or tpm-nv.
func (s Scheme) String() string {
	switch s {
	case SchemeDigest:
		return "digest"
	case SchemeCounter:
		return "counter"
	case SchemeTPMNV:
		return "tpm-nv"
	}
	return fmt.Sprintf("scheme(%d)", uint8(s))
}

// ParseScheme reads the text form of a scheme that keys can have today:
// digest or counter.
func ParseScheme(s string) (Scheme, error) {
	switch s {
	case "digest":
		return SchemeDigest, nil
	case "counter":
		return SchemeCounter, nil
	}
	return 0, fmt.Errorf("eventlog: unknown scheme %q: want digest or counter", s)
}

// MarshalText returns the text form.
func (s Scheme) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form.
func (s *Scheme) UnmarshalText(text []byte) error {
	v, err := ParseScheme(string(text))
	if err == nil {
		*s = v
	}
	return err
}
