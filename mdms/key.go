package mdms

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

const (
	privateKeyPEM = "PRIVATE KEY"
	publicKeyPEM  = "PUBLIC KEY"
)

// openKey reads the MDMS's signing key. A key that is missing is made if that
// can be the first start: a meter that was given a key takes no word of another.
func openKey(ctx context.Context, st *store.Store, cfg *Config) (*ecdsa.PrivateKey, error) {
	key, err := readKey(cfg.Key)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	var used bool
	err = st.Read(ctx, func(v *store.View) (err error) {
		used, err = v.AnyMeter(ctx)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case used:
		return nil, fmt.Errorf("%w: %s, whose public half the meters of this store were given: bring it back from a backup. "+
			"If it is lost, make another with \"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out %[2]s\", mode 0600, "+
			"and give each meter its public half", ErrNoKey, cfg.Key)
	case cfg.Existing:
		return nil, fmt.Errorf("%w: %s", ErrNoKey, cfg.Key)
	}
	if err := makeKey(cfg.Key); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readKey(cfg.Key) // another process may have been first
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("mdms: signing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("mdms: signing key %s may be read by others: chmod 600 it", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("mdms: signing key: %w", err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != privateKeyPEM || len(rest) != 0 {
		return nil, fmt.Errorf("mdms: signing key %s is not one PEM block %q", path, privateKeyPEM)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("mdms: signing key %s does not parse as PKCS #8", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("mdms: signing key %s is not on P-256", path)
	}
	return key, nil
}

// makeKey writes a new key to path, whole or not at all. It never replaces a
// file: if there is one by now, the error is fs.ErrExist.
func makeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".mdms-key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	defer os.Remove(tmp.Name())
	err = pem.Encode(tmp, &pem.Block{Type: privateKeyPEM, Bytes: der})
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("mdms: make signing key: %w", err)
	}
	return nil
}

// ParsePublicKey reads a P-256 public key: one PEM block "PUBLIC KEY", a
// SubjectPublicKeyInfo.
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("mdms: public key: no PEM block")
	case block.Type != publicKeyPEM:
		return nil, fmt.Errorf("mdms: public key: PEM block %q, want %q", block.Type, publicKeyPEM)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("mdms: public key: more than one PEM block")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("mdms: public key: %w", err)
	}
	pub, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("mdms: public key: %T, want ECDSA on P-256", parsed)
	}
	if _, err := eventlog.KeyIDOf(pub); err != nil {
		return nil, fmt.Errorf("mdms: public key: on %s, want P-256", pub.Curve.Params().Name)
	}
	return pub, nil
}

// encodePublicKey is the inverse of ParsePublicKey.
func encodePublicKey(pub *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("mdms: public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicKeyPEM, Bytes: der}), nil
}
