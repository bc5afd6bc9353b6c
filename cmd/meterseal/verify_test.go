package main

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
)

// certificate is that of a key in a meter's name, signed by a root; with no
// name, that of the root. DER.
func certificate(t *testing.T, meter string, of, by *eventlogtest.Key) []byte {
	t.Helper()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	c := root
	if meter != "" {
		c = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{SerialNumber: meter}, NotAfter: root.NotAfter}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, root, of.PublicKey(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestVerifyTakesTheKeyFromTheChain: the root decides whose key it is, and the
// log is judged with that key.
func TestVerifyTakesTheKeyFromTheChain(t *testing.T) {
	m := eventlogtest.New("key", eventlog.SchemeCounter)
	m.Fill(10)
	root, other := eventlogtest.NewKey("root", eventlog.SchemeDigest), eventlogtest.NewKey("other", eventlog.SchemeDigest)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rootFile := file("root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, "", root, root)}))
	bundle := func(change func(*eventlog.Bundle)) []byte {
		u := m.Bundle()
		u.Chain = certificate(t, m.ID.String(), m.Key, root)
		change(u)
		b, err := u.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := bundle(func(*eventlog.Bundle) {})
	for _, c := range []struct {
		name   string
		bundle []byte
		code   int
		want   string // in what is printed
	}{
		{"intact", whole, exitDone, "verdict  INTACT\n"},
		{"altered", bundle(func(u *eventlog.Bundle) {
			u.Parts[0].Log = bytes.Clone(u.Parts[0].Log)
			u.Parts[0].Log[200] ^= 1
		}), exitBroken, "verdict  ALTERED\n"},
		{"of another root", bundle(func(u *eventlog.Bundle) { u.Chain = certificate(t, m.ID.String(), m.Key, other) }), exitFailed, "certificate chain of the bundle: x509:"},
		{"of another meter", bundle(func(u *eventlog.Bundle) { u.Chain = certificate(t, "FFFFFF-MS0000000009", m.Key, root) }), exitFailed, `the certificate is for "FFFFFF-MS0000000009"`},
		{"of another key", bundle(func(u *eventlog.Bundle) { u.Chain = certificate(t, m.ID.String(), other, root) }), exitBroken, "verdict  WRONG_KEY\n"},
		{"without a chain", bundle(func(u *eventlog.Bundle) { u.Chain = nil }), exitFailed, "carries no certificate chain"},
		{"cut short", whole[:len(whole)-1], exitBroken, "verdict  MALFORMED\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			args := []string{"verify", file("b.mseal", c.bundle), "--root", rootFile, "--meter", m.ID.String()}
			if code := run(t.Context(), args, strings.NewReader(""), &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
				t.Errorf("exit status %d, want %d and %q:\n%s", code, c.code, c.want, &out)
			}
		})
	}
}

// TestVerifyTakesAllKeysOfAMeter: its key was changed, in order.
func TestVerifyTakesAllKeysOfAMeter(t *testing.T) {
	m := eventlogtest.New("old", eventlog.SchemeCounter)
	m.Fill(5)
	dir := t.TempDir()
	keyFile := func(name string, k *eventlogtest.Key) string {
		der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	next := eventlogtest.NewKey("next", eventlog.SchemeDigest)
	old, fresh := keyFile("old.pem", m.Key), keyFile("next.pem", next)
	m.ChangeKey(next)
	m.Fill(5)
	bundle, err := m.Bundle().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keys []string
		code int
		want string
	}{
		{[]string{"--key", old}, exitBroken, "verdict  WRONG_KEY\n"},
		{[]string{"--key", fresh}, exitBroken, "verdict  WRONG_KEY\n"},
		{[]string{"--key", old, "--key", fresh}, exitDone, "verdict  INTACT\n"},
		{[]string{"--key", fresh, "--key", old}, exitDone, "verdict  INTACT\n"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"verify", "-"}, c.keys...), bytes.NewReader(bundle), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit status %d, want %d and %q:\n%s", c.keys, code, c.code, c.want, &out)
		}
	}
}
