package secureelement

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"

	"github.com/meterseal/meterseal/eventlog"
)

// Requester is a [Module] that builds certificate requests itself. A key of
// the scheme counter has no other way to one, since it never signs a digest
// that was made outside.
type Requester interface {
	// CertificateRequest returns a PKCS#10 request (DER) for the key,
	// containing the subject and nothing else. It uses no counter value.
	CertificateRequest(ctx context.Context, subject pkix.Name) ([]byte, error)
}

// CertificateRequest returns a PKCS#10 request (DER, RFC 2986) for the key of
// m: the module's own if it is a [Requester], else one built here, which needs
// a key of the scheme digest. Any other module gives [ErrNoRequest].
func CertificateRequest(ctx context.Context, m Module, subject pkix.Name) ([]byte, error) {
	if r, ok := m.(Requester); ok {
		return r.CertificateRequest(ctx, subject)
	}
	info, err := m.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.Scheme != eventlog.SchemeDigest {
		return nil, fmt.Errorf("secureelement: key of scheme %v: %w", info.Scheme, ErrNoRequest)
	}
	template := &x509.CertificateRequest{Subject: subject, SignatureAlgorithm: x509.ECDSAWithSHA256}
	sign := signer{m, func(digest [32]byte) (Signature, error) { return m.Sign(ctx, digest) }}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, sign)
	if err != nil {
		return nil, fmt.Errorf("secureelement: certificate request: %w", err)
	}
	return der, nil
}

// signer lets crypto/x509 use a key of the scheme digest for one request. It
// is not exported: the log key signs logs and its own requests, nothing else.
type signer struct {
	m    Module
	sign func(digest [32]byte) (Signature, error)
}

func (s signer) Public() crypto.PublicKey { return s.m.PublicKey() }

func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != 32 {
		return nil, fmt.Errorf("secureelement: %v over %d bytes is not ES256", opts.HashFunc(), len(digest))
	}
	sig, err := s.sign([32]byte(digest))
	if err != nil {
		return nil, err
	}
	return sig.Signature.AppendDER(nil), nil
}
