package soft

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/counter"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// server is an opened key inside the module process.
type server struct {
	scheme   eventlog.Scheme
	key      *ecdsa.PrivateKey
	id       eventlog.KeyID
	counter  *counter.Counter // nil for the scheme digest
	limit    *rate.Limiter
	measures []secureelement.Measure
	files    []interface{ Close() error } // the lock among them
}

// refusal is an error that the meter shall hear as a status of its own.
type refusal struct {
	status byte
	after  time.Duration
	err    error
}

func refuse(status byte, err error) error { return &refusal{status: status, err: err} }

func (r *refusal) Error() string { return r.err.Error() }

func (s *server) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// handle does what one request asks and returns the body of the answer.
func (s *server) handle(f wire.Frame) ([]byte, error) {
	switch f.Kind {
	case wire.Info:
		return s.describe()
	case wire.Sign:
		return s.sign(f.Body)
	case wire.Request:
		return s.request(f.Body)
	case wire.History:
		return s.history()
	}
	return nil, refuse(wire.Refused, fmt.Errorf("no verb %d", f.Kind))
}

func (s *server) describe() ([]byte, error) {
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	d := wire.Description{Scheme: s.scheme, Point: [65]byte(point), Measures: s.measures}
	if s.counter != nil {
		d.Counter = s.counter.Last()
	}
	return d.AppendBinary(nil)
}

// sign makes the counter durable before there is a signature under it.
func (s *server) sign(body []byte) ([]byte, error) {
	if len(body) != 32 {
		return nil, refuse(wire.Refused, fmt.Errorf("digest of %d bytes", len(body)))
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	hash := [32]byte(body)
	var signed wire.Signed
	if s.counter != nil {
		n, err := s.counter.Next(hash)
		if err != nil {
			return nil, refuse(wire.Counter, err)
		}
		signed.Counter = n
		hash = eventlog.Statement(s.id, n, hash)
	}
	var err error
	if signed.Signature, err = eventlog.Sign(s.key, hash); err != nil {
		return nil, err
	}
	return signed.AppendBinary(nil)
}

// request builds a certificate request around a subject. Its signed part
// begins 0x30, a SEQUENCE, as no statement and no log does.
func (s *server) request(subject []byte) ([]byte, error) {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(subject, &name); err != nil || len(rest) != 0 {
		return nil, refuse(wire.Refused, errors.New("the subject is no distinguished name"))
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	template := &x509.CertificateRequest{RawSubject: subject, SignatureAlgorithm: x509.ECDSAWithSHA256}
	return x509.CreateCertificateRequest(rand.Reader, template, s.key)
}

func (s *server) history() ([]byte, error) {
	if s.counter == nil {
		return nil, nil
	}
	entries, err := s.counter.History()
	if err != nil {
		return nil, refuse(wire.Counter, err)
	}
	var b []byte
	for _, e := range entries {
		b = binary.BigEndian.AppendUint64(b, e.Value)
		b = append(b, e.Digest[:]...)
	}
	return b, nil
}

// admit takes one token. The rate is one of the world's time, whatever clock
// the meter lives by.
func (s *server) admit() error {
	now := time.Now()
	r := s.limit.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	r.CancelAt(now)
	return &refusal{
		status: wire.RateLimited,
		after:  wait,
		err:    fmt.Errorf("more than %g per second", float64(s.limit.Limit())),
	}
}
