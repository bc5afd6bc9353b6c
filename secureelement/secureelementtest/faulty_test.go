package secureelementtest_test

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// Each fault shows as the error that it stands for, and uses up the counter or
// not as it says.
func TestFaults(t *testing.T) {
	digest := eventlog.Digest{1}
	for _, test := range []struct {
		name     string
		fault    secureelementtest.Fault
		sign     error
		info     error
		consumes uint64
	}{
		{"None", secureelementtest.None, nil, nil, 1},
		{"Dead", secureelementtest.Dead, secureelement.ErrUnavailable, secureelement.ErrUnavailable, 0},
		{"Hung", secureelementtest.Hung, secureelement.ErrTimeout, secureelement.ErrTimeout, 0},
		{"Swapped", secureelementtest.Swapped, secureelement.ErrKeyChanged, secureelement.ErrKeyChanged, 0},
		{"Stuck", secureelementtest.Stuck, secureelement.ErrCounter, nil, 0},
		{"Limited", secureelementtest.Limited, secureelement.ErrRateLimited, nil, 0},
		{"Lost", secureelementtest.Lost, secureelement.ErrUnavailable, nil, 1},
		{"Late", secureelementtest.Late, secureelement.ErrTimeout, nil, 1},
		{"Twice", secureelementtest.Twice, nil, nil, 1},
		{"Garbled", secureelementtest.Garbled, nil, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := secureelementtest.New(t, eventlog.SchemeCounter)
				m.SetCounter(40)
				before, err := m.Sign(t.Context(), digest)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				m.Fail(test.fault)
				start := time.Now()
				sig, err := m.Sign(ctx, digest)
				if !errors.Is(err, test.sign) {
					t.Errorf("Sign: %v, want %v", err, test.sign)
				}
				if hangs := errors.Is(err, secureelement.ErrTimeout); hangs != (time.Since(start) == 2*time.Second) {
					t.Errorf("Sign took %v", time.Since(start))
				}
				if err == nil {
					fits := secureelementtest.Fits(m.PublicKey(), eventlog.SchemeCounter, digest, sig)
					if want := test.fault != secureelementtest.Garbled; fits != want {
						t.Errorf("the signature fits: %v, want %v", fits, want)
					}
					if repeated := sig == before; repeated != (test.fault == secureelementtest.Twice) {
						t.Errorf("the signature is the one before: %v", repeated)
					}
				}
				probe, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				if _, err := m.Info(probe); !errors.Is(err, test.info) {
					t.Errorf("Info: %v, want %v", err, test.info)
				}
				m.Fail(secureelementtest.None)
				info, err := m.Info(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got, want := info.Counter, 41+test.consumes; got != want {
					t.Errorf("counter %d, want %d", got, want)
				}
				if m.Signs() != 2 || m.Infos() != 2 {
					t.Errorf("%d signatures and %d probes were counted, want 2 and 2", m.Signs(), m.Infos())
				}
			})
		})
	}
}

func TestFailNextIsAScript(t *testing.T) {
	m := secureelementtest.New(t, eventlog.SchemeDigest)
	m.Fail(secureelementtest.Stuck)
	m.FailNext(secureelementtest.None, secureelementtest.Limited)
	for i, want := range []error{nil, secureelement.ErrRateLimited, secureelement.ErrCounter, secureelement.ErrCounter} {
		if _, err := m.Sign(t.Context(), [32]byte{}); !errors.Is(err, want) {
			t.Errorf("call %d: %v, want %v", i, err, want)
		}
	}
}

// Calls that hang without a deadline are freed by Fail and by Close.
func TestHungCallsAreFreed(t *testing.T) {
	for name, free := range map[string]func(*secureelementtest.Module){
		"healed": func(m *secureelementtest.Module) { m.Fail(secureelementtest.None) },
		"closed": func(m *secureelementtest.Module) { m.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := secureelementtest.New(t, eventlog.SchemeDigest)
				m.Fail(secureelementtest.Hung)
				result := make(chan error, 2)
				go func() {
					_, err := m.Sign(t.Context(), [32]byte{})
					result <- err
				}()
				go func() {
					_, err := m.CertificateRequest(t.Context(), pkix.Name{})
					result <- err
				}()
				synctest.Wait()
				free(m)
				want := secureelement.ErrUnavailable
				if name == "closed" {
					want = secureelement.ErrClosed
				}
				for range 2 {
					if err := <-result; !errors.Is(err, want) {
						t.Errorf("hung call: %v, want %v", err, want)
					}
				}
			})
		})
	}
}

func TestWrapPassesOn(t *testing.T) {
	inner := secureelementtest.New(t, eventlog.SchemeCounter)
	secureelementtest.Run(t, func(t *testing.T) secureelement.Module {
		return secureelementtest.Wrap(secureelementtest.NewWithKey(t, eventlog.SchemeCounter, inner.Key()))
	})
}
