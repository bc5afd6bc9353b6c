package keyfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft/internal/keyfile"
)

var (
	cheap      = keyfile.Cost{MemoryKiB: 8, Passes: 1, Lanes: 1}
	passphrase = []byte("open sesame")
)

func seal(t testing.TB, scheme eventlog.Scheme) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f, err := keyfile.Seal(key, scheme, cheap, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, b
}

func unseal(b, passphrase []byte) (*ecdsa.PrivateKey, eventlog.Scheme, error) {
	var f keyfile.File
	if err := f.UnmarshalBinary(b); err != nil {
		return nil, 0, err
	}
	key, err := f.Open(passphrase)
	return key, f.Scheme, err
}

func TestKeyComesBack(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		want, b := seal(t, scheme)
		got, gotScheme, err := unseal(b, passphrase)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) || gotScheme != scheme {
			t.Errorf("another key or scheme (%v) came back", gotScheme)
		}
		if len(b) > keyfile.MaxSize {
			t.Errorf("file of %d bytes, want at most %d", len(b), keyfile.MaxSize)
		}
	}
}

func TestFileShowsNothingOfTheKey(t *testing.T) {
	key, b := seal(t, eventlog.SchemeCounter)
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, scalar) || bytes.Contains(b, scalar[:16]) {
		t.Error("the key lies open in the file")
	}
	_, other := seal(t, eventlog.SchemeCounter)
	if bytes.Equal(b[16:56], other[16:56]) {
		t.Error("two files share salt and nonce")
	}
}

// A wrong passphrase and an altered file are one and the same error.
func TestEveryBitIsAuthenticated(t *testing.T) {
	_, good := seal(t, eventlog.SchemeCounter)
	if _, _, err := unseal(good, passphrase); err != nil {
		t.Fatalf("untouched file: %v", err)
	}
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		_, _, err := unseal(b, passphrase)
		if err == nil {
			t.Fatalf("bit %d of byte %d may be flipped", i%8, i/8)
		}
		if sealed := i/8 >= 56; sealed && !errors.Is(err, keyfile.ErrLocked) {
			t.Errorf("byte %d: %v, want ErrLocked", i/8, err)
		}
	}
	for _, wrong := range []string{"", "open sesam", "open sesame ", "OPEN SESAME"} {
		if _, _, err := unseal(good, []byte(wrong)); !errors.Is(err, keyfile.ErrLocked) {
			t.Errorf("passphrase %q: %v, want ErrLocked", wrong, err)
		}
	}
}

func TestCutFilesAreRefused(t *testing.T) {
	_, good := seal(t, eventlog.SchemeDigest)
	for n := range good {
		if _, _, err := unseal(good[:n], passphrase); err == nil {
			t.Errorf("the first %d bytes of %d were taken for a key file", n, len(good))
		}
	}
	if _, _, err := unseal(append(good, 0), passphrase); err == nil {
		t.Error("a trailing byte was accepted")
	}
}

func TestCostIsBounded(t *testing.T) {
	for _, cost := range []keyfile.Cost{
		{},
		{MemoryKiB: 64, Passes: 0, Lanes: 1},
		{MemoryKiB: 64, Passes: 1, Lanes: 0},
		{MemoryKiB: 15, Passes: 1, Lanes: 2},
		{MemoryKiB: 64, Passes: 17, Lanes: 1},
		{MemoryKiB: 1024, Passes: 1, Lanes: 17},
		{MemoryKiB: 256<<10 + 1, Passes: 1, Lanes: 1},
		{MemoryKiB: 1<<32 - 1, Passes: 255, Lanes: 255},
	} {
		key, _ := seal(t, eventlog.SchemeDigest)
		if _, err := keyfile.Seal(key, eventlog.SchemeDigest, cost, passphrase); err == nil {
			t.Errorf("Seal took cost %+v", cost)
		}
		b, err := keyfile.File{Scheme: eventlog.SchemeDigest, Cost: cost, Sealed: make([]byte, 154)}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := new(keyfile.File).UnmarshalBinary(b); err == nil {
			t.Errorf("a file with cost %+v was accepted", cost)
		}
	}
}

func TestOtherCurvesAreNoKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f, err := keyfile.Seal(key, eventlog.SchemeDigest, cheap, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(passphrase); err == nil {
		t.Error("a P-384 key was opened")
	}
}

// FuzzFile: what parses encodes to the same bytes, and opens only if it is
// genuine.
func FuzzFile(f *testing.F) {
	good := decode(f, golden)
	f.Add(good)
	f.Add(good[:56])
	f.Add([]byte("MSLKEY\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var file keyfile.File
		if file.UnmarshalBinary(b) != nil {
			return
		}
		again, err := file.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x, %v", b, again, err)
		}
		if file.Cost.MemoryKiB > 64 || bytes.Equal(b, good) {
			return
		}
		if _, err := file.Open(passphrase); !errors.Is(err, keyfile.ErrLocked) {
			t.Fatalf("a made-up file opened: %v", err)
		}
	})
}
