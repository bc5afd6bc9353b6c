// Package secureelementtest holds the conformance suite that every backend of
// a secure element passes, and a software module, with faults, for the tests
// of the packages that use one. It is for tests only: the keys of its modules
// lie in the memory of the test.
package secureelementtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// Module is a secure element in the memory of a test, which fails on demand.
type Module struct {
	*Faulty
	memory *memory
}

// New returns a module with a new key of the given scheme (digest or counter),
// whose counter is 0. It is closed when the test ends.
func New(t testing.TB, scheme eventlog.Scheme) *Module {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return NewWithKey(t, scheme, key)
}

// NewWithKey is [New] with a given P-256 key: for two modules that share one
// (a stolen key, a cloned card) and for fixtures that can be made again.
func NewWithKey(t testing.TB, scheme eventlog.Scheme, key *ecdsa.PrivateKey) *Module {
	t.Helper()
	id, err := eventlog.KeyIDOf(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if scheme != eventlog.SchemeDigest && scheme != eventlog.SchemeCounter {
		t.Fatalf("secureelementtest: no module of scheme %v", scheme)
	}
	inner := &memory{scheme: scheme, key: key, id: id}
	m := &Module{Wrap(inner), inner}
	t.Cleanup(func() { m.Close() })
	return m
}

// Key returns the private key, which no real module gives away.
func (m *Module) Key() *ecdsa.PrivateKey { return m.memory.key }

// SetCounter makes n the last value used, as a restored counter file would.
func (m *Module) SetCounter(n uint64) {
	m.memory.mu.Lock()
	defer m.memory.mu.Unlock()
	m.memory.counter = n
}

// memory is the module that works.
type memory struct {
	scheme eventlog.Scheme
	key    *ecdsa.PrivateKey
	id     eventlog.KeyID

	mu      sync.Mutex // guards what follows
	counter uint64
}

func (m *memory) PublicKey() *ecdsa.PublicKey { return &m.key.PublicKey }

func (m *memory) Info(context.Context) (secureelement.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return secureelement.Info{
		Backend:    "test",
		Scheme:     m.scheme,
		Key:        m.id,
		Counter:    m.counter,
		Exportable: true,
	}, nil
}

func (m *memory) Sign(_ context.Context, digest [32]byte) (secureelement.Signature, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hash := digest
	if m.scheme == eventlog.SchemeCounter {
		m.counter++
		hash = eventlog.Statement(m.id, m.counter, digest)
	}
	sig, err := eventlog.Sign(m.key, hash)
	return secureelement.Signature{Counter: m.counter, Signature: sig}, err
}

// CertificateRequest is here because the counter scheme has no other way.
func (m *memory) CertificateRequest(_ context.Context, subject pkix.Name) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, m.key)
}

func (m *memory) Close() error { return nil }
