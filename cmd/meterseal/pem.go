package main

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/meterseal/meterseal/eventlog"
)

// readPublicKey reads a P-256 public key from a PEM file.
func readPublicKey(path string) (*ecdsa.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("public key: %s has no PEM block PUBLIC KEY; \"meterseal key show --pem\" writes one", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key: %s: %w", path, err)
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key: %s holds a %T, want a key on P-256", path, key)
	}
	if _, err := eventlog.KeyIDOf(pub); err != nil {
		return nil, fmt.Errorf("public key: %s: %w", path, err)
	}
	return pub, nil
}

// publicPEM returns the PEM block PUBLIC KEY of a key.
func publicPEM(pub *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
