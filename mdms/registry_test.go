package mdms_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

func TestEnrolmentIsRefused(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeCounter)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fresh := eventlogtest.NewKey("fresh", eventlog.SchemeDigest).PublicKey()
	two, err := eventlog.ParseMeterID("FFFFFF-MS0000000002")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		e    mdms.Enrolment
		text string
	}{
		"no key":                       {mdms.Enrolment{Meter: two, Scheme: eventlog.SchemeDigest}, "not on P-256"},
		"a key on another curve":       {mdms.Enrolment{Meter: two, PublicKey: &p384.PublicKey, Scheme: eventlog.SchemeDigest}, "not on P-256"},
		"no scheme":                    {mdms.Enrolment{Meter: two, PublicKey: fresh}, "scheme"},
		"a scheme that nobody has":     {mdms.Enrolment{Meter: two, PublicKey: fresh, Scheme: eventlog.SchemeTPMNV}, "scheme"},
		"a counter in scheme digest":   {mdms.Enrolment{Meter: two, PublicKey: fresh, Scheme: eventlog.SchemeDigest, Counter: 1}, "counter"},
		"no meter":                     {mdms.Enrolment{PublicKey: fresh, Scheme: eventlog.SchemeDigest}, "no meter id"},
		"the key of another meter":     {mdms.Enrolment{Meter: two, PublicKey: m.Key.PublicKey(), Scheme: eventlog.SchemeCounter}, "belongs to meter " + m.ID.String()},
		"a second key":                 {mdms.Enrolment{Meter: m.ID, PublicKey: fresh, Scheme: eventlog.SchemeDigest}, "another key"},
		"the same key, other scheme":   {mdms.Enrolment{Meter: m.ID, PublicKey: m.Key.PublicKey(), Scheme: eventlog.SchemeDigest}, "another key, scheme"},
		"the same key, other counter":  {mdms.Enrolment{Meter: m.ID, PublicKey: m.Key.PublicKey(), Scheme: eventlog.SchemeCounter, Counter: 7}, "counter"},
		"the other meter is not there": {mdms.Enrolment{Meter: two, Scheme: eventlog.SchemeCounter}, "P-256"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := r.Enrol(t.Context(), c.e)
			if !errors.Is(err, mdms.ErrInvalid) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want ErrInvalid with %q", err, c.text)
			}
		})
	}
	if _, err := r.Meter(t.Context(), two); !errors.Is(err, mdms.ErrNotFound) {
		t.Errorf("a refused enrolment left something behind: %v", err)
	}
	r.enrol(m) // the same again is fine
}

func TestFurtherKeysAreRefused(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	a, b := numbered(t, 1, eventlog.SchemeDigest), numbered(t, 2, eventlog.SchemeDigest)
	r.enrol(a)
	err := r.AddKey(t.Context(), mdms.NewKey{Meter: b.ID, PublicKey: b.Key.PublicKey(), Scheme: eventlog.SchemeDigest})
	if !errors.Is(err, mdms.ErrNotFound) {
		t.Errorf("a key for a meter that is not enrolled: %v", err)
	}
	r.enrol(b)
	err = r.AddKey(t.Context(), mdms.NewKey{Meter: b.ID, PublicKey: a.Key.PublicKey(), Scheme: eventlog.SchemeDigest})
	if !errors.Is(err, mdms.ErrInvalid) || !strings.Contains(err.Error(), "belongs to meter "+a.ID.String()) {
		t.Errorf("the key of another meter: %v", err)
	}
	for _, key := range []eventlog.KeyID{b.Key.ID, {}} {
		if err := r.Revoke(t.Context(), a.ID, key); !errors.Is(err, mdms.ErrInvalid) {
			t.Errorf("revoke a key that is not the meter's: %v", err)
		}
	}
	if err := r.Revoke(t.Context(), a.ID, a.Key.ID); err != nil {
		t.Error(err)
	}
	if err := r.Revoke(t.Context(), a.ID, a.Key.ID); !errors.Is(err, mdms.ErrInvalid) {
		t.Errorf("revoke twice: %v", err)
	}
	st, err := r.Meter(t.Context(), a.ID)
	if err != nil || len(st.Keys) != 1 || !st.Keys[0].RevokedAt.Equal(r.clock.now()) {
		t.Errorf("keys %+v, %v", st.Keys, err)
	}
}

func TestPublicKeysAreReadFromPEM(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	text, err := r.PublicKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := mdms.ParsePublicKey(text); err != nil || !pub.Equal(r.PublicKey()) {
		t.Errorf("not read back: %v", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"no PEM":        []byte("key"),
		"a private key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"nonsense":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}),
		"two keys":      append(append([]byte{}, text...), text...),
		"P-384":         pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		if _, err := mdms.ParsePublicKey(bad); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestTheSigningKeyIsMadeOnceAndKeptClosed(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	path := r.cfg.Store + ".key"
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	first := r.PublicKey()
	r.reopen()
	if !r.PublicKey().Equal(first) {
		t.Error("another key after a restart")
	}
	r.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(path, 0o640) },
		"nonsense":           func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		"cut short":          func() error { return os.WriteFile(path, good[:len(good)/2], 0o600) },
		"two keys":           func() error { return os.WriteFile(path, append(good[:len(good):len(good)], good...), 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		s, err := mdms.Open(t.Context(), r.cfg)
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "MIG") {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
}

func TestTwoFirstStartsAgreeOnOneKey(t *testing.T) {
	store := filepath.Join(t.TempDir(), "mdms.db")
	var wg sync.WaitGroup
	keys := make([]*ecdsa.PublicKey, 4)
	for i := range keys {
		wg.Go(func() {
			s, err := mdms.Open(t.Context(), mdms.Config{Store: store})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			keys[i] = s.PublicKey()
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k == nil || !k.Equal(keys[0]) {
			t.Fatal("two processes have two keys")
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(store), ".mdms-key-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  mdms.Config
		text string
	}{
		"no store":           {mdms.Config{}, "Config.Store"},
		"no such directory":  {mdms.Config{Store: filepath.Join(dir, "no", "mdms.db")}, "no such file"},
		"a directory":        {mdms.Config{Store: dir, Key: filepath.Join(dir, "a.key")}, dir},
		"not a database":     {mdms.Config{Store: garbage}, "not a database"},
		"the key's own path": {mdms.Config{Store: filepath.Join(dir, "mdms.db"), Key: dir}, "signing key"},
	} {
		s, err := mdms.Open(t.Context(), c.cfg)
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRunFindsSilence runs the timer in a bubble where time flies.
func TestRunFindsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, cfg: mdms.Config{Store: filepath.Join(t.TempDir(), "mdms.db")}}
		r.open()
		m := r.enrolled(eventlog.SchemeDigest)
		r.send("a", m.Bundle())
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- r.Run(ctx) }()
		time.Sleep(25*time.Hour + 59*time.Minute)
		r.verdict(m.ID, "INTACT")
		time.Sleep(3 * time.Minute)
		r.verdict(m.ID, verify.Stale.String())
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOpenReplacesNoKey: the meters of a store were given the key that is gone.
func TestOpenReplacesNoKey(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	key := r.cfg.Store + ".key"
	lose := func() {
		t.Helper()
		if err := errors.Join(r.Close(), os.Remove(key)); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	r.open() // nobody was given it
	r.enrolled(eventlog.SchemeCounter)
	lose()
	for _, c := range []struct {
		existing bool
		tenant   string
	}{{false, ""}, {true, ""}, {false, "another owner"}} {
		cfg := r.cfg
		cfg.Existing, cfg.Tenant = c.existing, c.tenant
		if s, err := mdms.Open(t.Context(), cfg); err == nil {
			s.Close()
			t.Fatal("opened without the key of the meters")
		} else if !errors.Is(err, mdms.ErrNoKey) || !strings.Contains(err.Error(), key) {
			t.Errorf("error %v, want ErrNoKey with the path", err)
		}
		if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("a key was made: %v", err)
		}
	}
	r.cfg.Store = filepath.Join(t.TempDir(), "mdms.db")
	r.open()
}

func TestExistingMakesNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := mdms.Config{Store: filepath.Join(dir, "mdms.db"), Existing: true}
	if s, err := mdms.Open(t.Context(), cfg); err == nil {
		s.Close()
		t.Fatal("opened a store that is not there")
	} else if !errors.Is(err, mdms.ErrNoStore) || !strings.Contains(err.Error(), cfg.Store) {
		t.Errorf("error %v, want ErrNoStore with the path", err)
	}
	made, err := os.ReadDir(dir)
	if err != nil || len(made) != 0 {
		t.Errorf("made %v, %v", made, err)
	}
}
