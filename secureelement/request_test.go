package secureelement_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// bare hides everything of a module that is not in the interface, as a card is.
type bare struct{ secureelement.Module }

func TestCertificateRequest(t *testing.T) {
	name := pkix.Name{CommonName: "FFFFFF-MS0000000001"}
	for _, test := range []struct {
		name   string
		module func(*secureelementtest.Module) secureelement.Module
		scheme eventlog.Scheme
		want   error
	}{
		{"a Requester makes it itself", func(m *secureelementtest.Module) secureelement.Module { return m }, eventlog.SchemeCounter, nil},
		{"a digest key signs it", func(m *secureelementtest.Module) secureelement.Module { return bare{m} }, eventlog.SchemeDigest, nil},
		{"a counter key cannot", func(m *secureelementtest.Module) secureelement.Module { return bare{m} }, eventlog.SchemeCounter, secureelement.ErrNoRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := test.module(secureelementtest.New(t, test.scheme))
			der, err := secureelement.CertificateRequest(t.Context(), m, name)
			if !errors.Is(err, test.want) {
				t.Fatalf("CertificateRequest: %v, want %v", err, test.want)
			}
			if err != nil {
				return
			}
			csr, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := csr.CheckSignature(); err != nil {
				t.Error(err)
			}
			if !m.PublicKey().Equal(csr.PublicKey) || csr.Subject.CommonName != name.CommonName {
				t.Errorf("request of %v for another key or name", csr.Subject)
			}
		})
	}
}

func TestCertificateRequestReportsTheModule(t *testing.T) {
	m := secureelementtest.New(t, eventlog.SchemeDigest)
	m.FailNext(secureelementtest.Lost)
	if _, err := secureelement.CertificateRequest(t.Context(), bare{m}, pkix.Name{}); !errors.Is(err, secureelement.ErrUnavailable) {
		t.Errorf("signature lost: %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := secureelement.CertificateRequest(ctx, bare{m}, pkix.Name{}); !errors.Is(err, context.Canceled) {
		t.Errorf("context cancelled: %v, want context.Canceled", err)
	}
}

func TestRetryAfter(t *testing.T) {
	err := fmt.Errorf("soft: sign: %w", &secureelement.RetryError{Err: secureelement.ErrRateLimited, After: time.Second})
	if after, ok := secureelement.RetryAfter(err); !ok || after != time.Second {
		t.Errorf("RetryAfter: %v, %v", after, ok)
	}
	if !errors.Is(err, secureelement.ErrRateLimited) {
		t.Error("the sentinel is lost")
	}
	if _, ok := secureelement.RetryAfter(secureelement.ErrTimeout); ok {
		t.Error("an error without advice gave one")
	}
}
