package eventlog_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
)

func TestMeterIDText(t *testing.T) {
	id, err := eventlog.ParseMeterID("00a1Ff-MS000000000~")
	if err != nil {
		t.Fatal(err)
	}
	if got := id.String(); got != "00A1FF-MS000000000~" {
		t.Errorf("text %s", got)
	}
	if id.Manufacturer() != [3]byte{0, 0xA1, 0xFF} || id.Serial() != "MS000000000~" {
		t.Errorf("parts %x, %q", id.Manufacturer(), id.Serial())
	}
	for _, s := range []string{
		"", "FFFFFF", "FFFFFF-", "FFFFFF-MS000000001", "FFFFFF-MS00000000012", "FFFFF-MS0000000001", "GGGGGG-MS0000000001",
		"FFFFFF-MS 000000001", "FFFFFF-MS\n000000001", "FFFFFF-MS\x7f000000001", "FFFFFFMS0000000001",
	} {
		if id, err := eventlog.ParseMeterID(s); err == nil || id != (eventlog.MeterID{}) {
			t.Errorf("%q is taken as %s", s, id)
		}
	}
	bad := eventlog.MeterID{1, 2, 3, '\n'}
	if got := bad.String(); strings.ContainsAny(got, "\n") || !strings.HasPrefix(got, "010203-x0a") {
		t.Errorf("a serial number that is not printable shows as %q", got)
	}
}

func TestTextForms(t *testing.T) {
	type all struct {
		Meter  eventlog.MeterID
		Digest eventlog.Digest
		Scheme eventlog.Scheme
		Policy eventlog.Policy
	}
	want := all{meterID, digestA, eventlog.SchemeCounter, eventlog.NewPolicy(3, fraud)}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("through JSON (-got +want):\n%s", diff)
	}
	for _, s := range []string{
		`{"Meter":"x"}`, `{"Digest":"x"}`, `{"Digest":"00"}`, `{"Scheme":"tpm-nv"}`, `{"Scheme":""}`,
	} {
		if err := json.Unmarshal([]byte(s), &got); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("a refused text changed the value (-got +want):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		eventlog.SchemeDigest.String():                                   "digest",
		eventlog.SchemeTPMNV.String():                                    "tpm-nv",
		eventlog.Scheme(9).String():                                      "scheme(9)",
		eventlog.ClassFraud.String():                                     "fraud",
		eventlog.Class(77).String():                                      "77",
		eventlog.ProfileIDIS.String():                                    "IDIS",
		eventlog.Profile(99).String():                                    "99",
		fraud.String():                                                   "1/40",
		eventlog.Event{Class: 0xF0}.String():                             "240/0",
		eventlog.Event{Class: 0xF0, Code: eventlog.CodeBoot}.String():    "BOOT",
		(&eventlog.Record{Millis: 1500}).Time().Format(time.RFC3339Nano): "1970-01-01T00:00:01.5Z",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParseEvent(t *testing.T) {
	for s, want := range map[string]eventlog.Event{
		"40": {Class: 0, Code: 40}, "1/40": fraud, "fraud/40": fraud, "0x1/0x28": fraud, "system/65535": {Class: 0xF0, Code: 65535},
		"0xF0/1": {Class: 0xF0, Code: 1}, "010": {Class: 0, Code: 10},
	} {
		if got, err := eventlog.ParseEvent(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/", "1/", "/1", "x", "1/x", "fraud", "256/1", "1/65536", "-1", "1/2/3", "0b1", "0o7", "1_0", "0x", "0X1", "+1", " 1"} {
		if got, err := eventlog.ParseEvent(s); err == nil {
			t.Errorf("%q is taken as %v", s, got)
		}
	}
}

func TestPolicy(t *testing.T) {
	p := eventlog.NewPolicy(2, fraud, plain, fraud)
	if diff := cmp.Diff(p.Specific, []eventlog.Event{plain, fraud}); diff != "" {
		t.Errorf("set (-got +want):\n%s", diff)
	}
	for e, want := range map[eventlog.Event]bool{
		plain: true, fraud: true, {Class: 1, Code: 41}: false, {Class: 0, Code: 40}: false, {Class: 0xF0, Code: 999}: true,
	} {
		if p.IsSpecific(e) != want {
			t.Errorf("%v specific: %v", e, !want)
		}
	}
	every := eventlog.Policy{}
	if !every.IsSpecific(plain) || every.Digest() != (eventlog.Digest{}) {
		t.Error("the empty set is not every event with a digest of zeros")
	}
	// printf '\000\000\001\001\000\050' | sha256sum
	if got := p.Digest().String(); got != "5509856641e08907bdd97d598fdd1aaacffa73dea2e25890dd147eb7a5f49be9" {
		t.Errorf("digest %s", got)
	}
	if p.Digest() != (&eventlog.Policy{Version: 9, Specific: p.Specific}).Digest() {
		t.Error("the version is part of the digest")
	}
}

func TestParsePolicy(t *testing.T) {
	def := eventlog.DefaultPolicy()
	for s, want := range map[string]eventlog.Policy{
		"all": {Version: 7}, "default": {Version: 7, Specific: def.Specific}, "": {Version: 7, Specific: def.Specific},
		"fraud/40, 1": eventlog.NewPolicy(7, plain, fraud), "1/40,1/40": eventlog.NewPolicy(7, fraud),
	} {
		got, err := eventlog.ParsePolicy(7, s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%q (-got +want):\n%s", s, diff)
		}
		again, err := eventlog.ParsePolicy(7, got.String())
		if diff := cmp.Diff(again, got); err != nil || diff != "" {
			t.Errorf("%q again: %v (-got +want):\n%s", s, err, diff)
		}
	}
	for _, s := range []string{",", "1,", "x", "all,1"} {
		if got, err := eventlog.ParsePolicy(7, s); err == nil {
			t.Errorf("%q is taken as %v", s, got)
		}
	}
	for _, e := range []eventlog.Event{{Class: 1, Code: 40}, {Class: 0, Code: 255}, {Class: 2, Code: 68}} {
		if !def.IsSpecific(e) {
			t.Errorf("%v is not in the default set", e)
		}
	}
	for _, e := range []eventlog.Event{{Class: 1, Code: 41}, plain, {Class: 5, Code: 1}} {
		if def.IsSpecific(e) {
			t.Errorf("%v is in the default set", e)
		}
	}
}

func TestSignatures(t *testing.T) {
	key := newKey(t)
	sig, err := eventlog.Sign(key, digestA)
	if err != nil || !sig.Verify(&key.PublicKey, digestA) || sig.Verify(&key.PublicKey, digestB) {
		t.Errorf("signature %x, %v", sig, err)
	}
	der := sig.AppendDER([]byte("head"))
	if back, err := eventlog.SignatureFromDER(der[4:]); err != nil || back != sig || string(der[:4]) != "head" {
		t.Errorf("through DER: %x, %v", back, err)
	}
	for _, n := range []int{0, 2, 63, 65, 96} {
		if _, err := eventlog.ParseSignature(make([]byte, n)); err == nil {
			t.Errorf("a signature of %d bytes is taken", n)
		}
	}
	for name, der := range map[string][]byte{
		"nothing":         nil,
		"zero r":          {0x30, 6, 2, 1, 0, 2, 1, 1},
		"zero s":          {0x30, 6, 2, 1, 1, 2, 1, 0},
		"negative r":      {0x30, 6, 2, 1, 0xFF, 2, 1, 1},
		"three integers":  {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		"trailing bytes":  {0x30, 6, 2, 1, 1, 2, 1, 1, 0},
		"r of 33 bytes":   append(append([]byte{0x30, 38, 2, 33, 1}, make([]byte, 32)...), 2, 1, 1),
		"padded r":        {0x30, 7, 2, 2, 0, 1, 2, 1, 1},
		"another element": {0x30, 5, 2, 1, 1, 4, 0},
	} {
		if sig, err := eventlog.SignatureFromDER(der); err == nil {
			t.Errorf("%s is taken as %x", name, sig)
		}
	}
	small := eventlog.Signature{31: 0x7F, 63: 1}
	if got := small.AppendDER(nil); !cmp.Equal(got, []byte{0x30, 6, 2, 1, 0x7F, 2, 1, 1}) {
		t.Errorf("DER %x", got)
	}
}

// brokenSigner has a key and does not sign.
type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

func TestOnlyP256Signs(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"P-384": p384, "Ed25519": ed, "broken": brokenSigner{newKey(t)}} {
		if _, err := eventlog.Sign(key, digestA); err == nil {
			t.Errorf("%s signs", name)
		}
		if (&eventlog.Receipt{}).Sign(key) == nil || (&eventlog.Challenge{}).Sign(key) == nil {
			t.Errorf("%s signs a message", name)
		}
	}
	if _, err := eventlog.KeyIDOf(&p384.PublicKey); err == nil {
		t.Error("a P-384 key has an id")
	}
	if _, err := eventlog.KeyIDOf(nil); err == nil {
		t.Error("no key has an id")
	}
	sig := sigA
	if sig.Verify(&p384.PublicKey, digestA) || sig.Verify(nil, digestA) {
		t.Error("a signature verifies under a key that is not on P-256")
	}
}
