package eventlogtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"io"

	"github.com/meterseal/meterseal/eventlog"
)

// Key is a P-256 test key with its scheme and, in scheme counter, the counter
// that a secure element would keep.
type Key struct {
	Scheme  eventlog.Scheme
	ID      eventlog.KeyID
	Counter uint64 // that of the newest signature; stays 0 in scheme digest

	private *ecdsa.PrivateKey
}

// NewKey derives the test key of that name: its private scalar is the SHA-256
// of "meterseal test key: " and the name.
func NewKey(name string, scheme eventlog.Scheme) *Key {
	scalar := sha256.Sum256([]byte("meterseal test key: " + name))
	private := must(ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:]))
	return &Key{Scheme: scheme, ID: must(eventlog.KeyIDOf(&private.PublicKey)), private: private}
}

// PublicKey returns the public key.
func (k *Key) PublicKey() *ecdsa.PublicKey { return &k.private.PublicKey }

// Public and Sign make a [crypto.Signer] of the key, for the messages of an
// MDMS.
func (k *Key) Public() crypto.PublicKey { return &k.private.PublicKey }

// Sign signs deterministically (RFC 6979); the reader is not used.
func (k *Key) Sign(_ io.Reader, hash []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.Sign(nil, hash, opts)
}

// Prefix returns what a seal carries of the key id.
func (k *Key) Prefix() [8]byte { return [8]byte(k.ID[:8]) }

// SignDigest signs a log digest in the key's scheme with any counter, which is
// ignored in scheme digest. The key's own counter stays as it is: an honest
// secure element would not do this.
func (k *Key) SignDigest(digest eventlog.Digest, counter uint64) eventlog.Signature {
	if k.Scheme == eventlog.SchemeCounter {
		return must(eventlog.Sign(k, eventlog.Statement(k.ID, counter, digest)))
	}
	return must(eventlog.Sign(k, digest))
}

// next advances the counter as a secure element does, before it signs.
func (k *Key) next() uint64 {
	if k.Scheme == eventlog.SchemeCounter {
		k.Counter++
	}
	return k.Counter
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
