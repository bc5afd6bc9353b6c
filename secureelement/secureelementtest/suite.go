package secureelementtest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// Run holds a backend to the contract of [secureelement.Module]. Each call of
// open gives a module of its own, with a key that signs nothing else meanwhile;
// it need not be a new key. Run closes it. No call may take longer than a
// minute, and the whole about a thousand signatures.
func Run(t *testing.T, open func(t *testing.T) secureelement.Module) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *subject)
	}{
		{"Info describes the key", describesKey},
		{"the public key stays", keepsKey},
		{"a signature verifies", signs},
		{"no signature fits another digest", signsOnlyThat},
		{"the counter grows by one", counts},
		{"Info uses up no counter", infoIsFree},
		{"what it remembers is what it signed", remembers},
		{"one digest twice is two signatures", signsTwice},
		{"concurrent calls each get their own answer", signsConcurrently},
		{"an ended context signs nothing", heedsContext},
		{"an answer that comes late is nobody's", losesLateAnswers},
		{"a certificate request proves the key", requests},
		{"Close is idempotent and final", closes},
		{"Close ends calls in progress", closesUnderLoad},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m := open(t)
			t.Cleanup(func() { m.Close() })
			test.run(t, &subject{m, ctx})
		})
	}
}

// subject is the module under test with the context of its test.
type subject struct {
	secureelement.Module
	ctx context.Context
}

func (s *subject) info(t *testing.T) secureelement.Info {
	t.Helper()
	info, err := s.Info(s.ctx)
	if err != nil {
		t.Fatalf("Info: %v", err)
	}
	return info
}

// sign signs digest and checks the signature and, for a key of the scheme
// digest, that there is no counter.
func (s *subject) sign(t *testing.T, digest eventlog.Digest) secureelement.Signature {
	t.Helper()
	sig, err := s.Sign(s.ctx, digest)
	if err != nil {
		t.Fatalf("Sign: %v", err)
	}
	if !Fits(s.PublicKey(), s.info(t).Scheme, digest, sig) {
		t.Fatalf("signature %x with counter %d does not fit digest %v", sig.Signature, sig.Counter, digest)
	}
	return sig
}

// Fits reports whether sig is what a key of the given scheme makes of digest.
func Fits(pub *ecdsa.PublicKey, scheme eventlog.Scheme, digest eventlog.Digest, sig secureelement.Signature) bool {
	switch scheme {
	case eventlog.SchemeDigest:
		return sig.Counter == 0 && sig.Signature.Verify(pub, digest)
	case eventlog.SchemeCounter:
		id, err := eventlog.KeyIDOf(pub)
		return err == nil && sig.Signature.Verify(pub, eventlog.Statement(id, sig.Counter, digest))
	}
	return false
}

// digestOf gives distinct digests.
func digestOf(n int) eventlog.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("conformance "), uint64(n)))
}

func describesKey(t *testing.T, s *subject) {
	info := s.info(t)
	if info.Backend == "" {
		t.Error("Info names no backend")
	}
	if info.Scheme != eventlog.SchemeDigest && info.Scheme != eventlog.SchemeCounter {
		t.Errorf("scheme %v, want digest or counter", info.Scheme)
	}
	if info.Scheme == eventlog.SchemeDigest && info.Counter != 0 {
		t.Errorf("counter %d of a key that has none", info.Counter)
	}
	want, err := eventlog.KeyIDOf(s.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if info.Key != want {
		t.Errorf("key id %v, want %v", info.Key, want)
	}
	for _, m := range info.Hardening {
		if m.Name == "" || m.Detail == "" {
			t.Errorf("measure %+v says too little", m)
		}
	}
}

func keepsKey(t *testing.T, s *subject) {
	before := *s.PublicKey()
	s.sign(t, digestOf(1))
	s.info(t)
	if !before.Equal(s.PublicKey()) {
		t.Error("the public key changed while the module was open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !before.Equal(s.PublicKey()) {
		t.Error("the public key did not outlive Close")
	}
}

func signs(t *testing.T, s *subject) {
	s.sign(t, digestOf(2))
	s.sign(t, eventlog.Digest{})
	s.sign(t, eventlog.Digest(bytes.Repeat([]byte{0xFF}, 32)))
}

func signsOnlyThat(t *testing.T, s *subject) {
	scheme := s.info(t).Scheme
	digest := digestOf(3)
	sig := s.sign(t, digest)
	for bit := range 256 {
		other := digest
		other[bit/8] ^= 1 << (bit % 8)
		if Fits(s.PublicKey(), scheme, other, sig) {
			t.Fatalf("the signature also fits the digest with bit %d flipped", bit)
		}
	}
	if scheme == eventlog.SchemeCounter {
		if sig.Signature.Verify(s.PublicKey(), digest) {
			t.Error("a key of the scheme counter signed the bare digest")
		}
		sig.Counter++
		if Fits(s.PublicKey(), scheme, digest, sig) {
			t.Error("the signature also fits the next counter")
		}
	}
}

func counts(t *testing.T, s *subject) {
	info := s.info(t)
	want := info.Counter
	for n := range 10 {
		if info.Scheme == eventlog.SchemeCounter {
			want++
		}
		if got := s.sign(t, digestOf(n)).Counter; got != want {
			t.Fatalf("counter %d, want %d", got, want)
		}
		if got := s.info(t).Counter; got != want {
			t.Fatalf("Info says counter %d, want %d", got, want)
		}
	}
}

// remembers is for a module that can tell what it signed last.
func remembers(t *testing.T, s *subject) {
	h, ok := s.Module.(secureelement.Historian)
	if !ok {
		return
	}
	digest := [32]byte{7}
	sig, err := s.Sign(s.ctx, digest)
	if err != nil {
		t.Fatal(err)
	}
	uses, err := h.History(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.info(t).Scheme == eventlog.SchemeDigest {
		if len(uses) > 0 {
			t.Errorf("a key without counter remembers %v", uses)
		}
		return
	}
	if want := (eventlog.KeyUse{Counter: sig.Counter, Digest: digest}); len(uses) == 0 || uses[len(uses)-1] != want {
		t.Errorf("it remembers %v, the last signature is %v", uses, want)
	}
	if after := s.info(t).Counter; after != sig.Counter {
		t.Errorf("counter %d after %d", after, sig.Counter)
	}
}

func infoIsFree(t *testing.T, s *subject) {
	want := s.info(t)
	for range 20 {
		if got := s.info(t); got.Counter != want.Counter {
			t.Fatalf("counter %d after Info alone, want %d", got.Counter, want.Counter)
		}
	}
}

func signsTwice(t *testing.T, s *subject) {
	a, b := s.sign(t, digestOf(4)), s.sign(t, digestOf(4))
	if s.info(t).Scheme == eventlog.SchemeCounter && a.Counter == b.Counter {
		t.Errorf("two signatures under counter %d", a.Counter)
	}
}

func signsConcurrently(t *testing.T, s *subject) {
	const workers, each = 8, 10
	before := s.info(t)
	counters := make([]uint64, workers*each)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				sig, err := s.Sign(s.ctx, digestOf(n))
				if err != nil {
					t.Errorf("Sign: %v", err)
					return
				}
				if !Fits(s.PublicKey(), before.Scheme, digestOf(n), sig) {
					t.Errorf("call %d got an answer that does not fit its digest", n)
				}
				if _, err := s.Info(s.ctx); err != nil {
					t.Errorf("Info: %v", err)
				}
				counters[n] = sig.Counter
			}
		})
	}
	wg.Wait()
	if t.Failed() || before.Scheme != eventlog.SchemeCounter {
		return
	}
	slices.Sort(counters)
	for i, got := range counters {
		if want := before.Counter + 1 + uint64(i); got != want {
			t.Fatalf("counter %d where %d was due", got, want)
		}
	}
}

func heedsContext(t *testing.T, s *subject) {
	before := s.info(t)
	cancelled, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Sign(cancelled, digestOf(5)); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign with a cancelled context: %v, want context.Canceled", err)
	}
	if _, err := s.Info(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("Info with a cancelled context: %v, want context.Canceled", err)
	}
	late, cancel := context.WithDeadline(s.ctx, time.Unix(1, 0))
	defer cancel()
	if _, err := s.Sign(late, digestOf(5)); !errors.Is(err, secureelement.ErrTimeout) {
		t.Errorf("Sign past its deadline: %v, want ErrTimeout", err)
	}
	if _, err := s.Info(late); !errors.Is(err, secureelement.ErrTimeout) {
		t.Errorf("Info past its deadline: %v, want ErrTimeout", err)
	}
	if after := s.info(t); after.Counter != before.Counter {
		t.Errorf("counter %d after calls that were not made, want %d", after.Counter, before.Counter)
	}
	s.sign(t, digestOf(5))
}

// losesLateAnswers gives up calls at every stage of their way. Whatever is
// answered after that must be the answer to what was asked.
func losesLateAnswers(t *testing.T, s *subject) {
	before := s.info(t)
	last := before.Counter
	patience := 20 * time.Microsecond
	for n := range 20 {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		sig, err := s.Sign(ctx, digestOf(2*n))
		cancel()
		switch {
		case errors.Is(err, secureelement.ErrTimeout):
			patience += patience / 2
		case err != nil:
			t.Fatalf("Sign: %v", err)
		case !Fits(s.PublicKey(), before.Scheme, digestOf(2*n), sig):
			t.Fatalf("answer %d does not fit its question", n)
		}
		if err == nil {
			last = sig.Counter
			patience = 20 * time.Microsecond
		}
		sig = s.sign(t, digestOf(2*n+1))
		if before.Scheme == eventlog.SchemeCounter && sig.Counter <= last {
			t.Fatalf("counter %d after %d", sig.Counter, last)
		}
		last = sig.Counter
	}
	if info := s.info(t); info.Key != before.Key || info.Counter != last {
		t.Fatalf("Info says key %v, counter %d, want %v, %d", info.Key, info.Counter, before.Key, last)
	}
}

func requests(t *testing.T, s *subject) {
	before := s.info(t)
	name := pkix.Name{CommonName: "FFFFFF-MS0000000001", SerialNumber: "MS0000000001"}
	der, err := secureelement.CertificateRequest(s.ctx, s.Module, name)
	if errors.Is(err, secureelement.ErrNoRequest) {
		t.Skip("this module makes no certificate request")
	}
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Errorf("certificate request: %v", err)
	}
	if !s.PublicKey().Equal(csr.PublicKey) {
		t.Error("the certificate request is for another key")
	}
	if got, want := csr.Subject.String(), name.String(); got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if csr.RawTBSCertificateRequest[0] != 0x30 {
		t.Errorf("what is signed begins %02x, want 30", csr.RawTBSCertificateRequest[0])
	}
	if got := s.info(t).Counter; got != before.Counter {
		t.Errorf("counter %d after the request, want %d", got, before.Counter)
	}
}

func closes(t *testing.T, s *subject) {
	s.sign(t, digestOf(6))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := s.Sign(s.ctx, digestOf(6)); !errors.Is(err, secureelement.ErrClosed) {
		t.Errorf("Sign after Close: %v, want ErrClosed", err)
	}
	if _, err := s.Info(s.ctx); !errors.Is(err, secureelement.ErrClosed) {
		t.Errorf("Info after Close: %v, want ErrClosed", err)
	}
}

func closesUnderLoad(t *testing.T, s *subject) {
	scheme := s.info(t).Scheme
	started := make(chan struct{}, 4)
	closed := make(chan struct{})
	var wg sync.WaitGroup
	for range cap(started) {
		wg.Go(func() {
			for n, last := 0, false; !last; n++ {
				select {
				case <-closed:
					last = true
				default:
				}
				sig, err := s.Sign(s.ctx, digestOf(n))
				if errors.Is(err, secureelement.ErrClosed) {
					return
				}
				if last {
					t.Errorf("Sign after Close: %v, want ErrClosed", err)
					return
				}
				if err != nil {
					t.Errorf("Sign during Close: %v, want ErrClosed", err)
					return
				}
				if !Fits(s.PublicKey(), scheme, digestOf(n), sig) {
					t.Error("an answer during Close does not fit its digest")
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(started) {
		select {
		case <-started:
		case <-s.ctx.Done():
			t.Error("no signature within a minute")
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	close(closed)
	wg.Wait()
}
