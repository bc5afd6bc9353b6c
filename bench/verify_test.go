package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// yearly is a year of half-hourly records in one segment.
const yearly = 17520

var received = time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)

func year() *eventlogtest.Meter {
	m := eventlogtest.New("bench", eventlog.SchemeCounter)
	m.Step = 30 * time.Minute
	for len(m.Open().Log) < yearly*eventlog.SlotSize {
		m.Append(m.Next(eventlogtest.Ordinary, nil))
	}
	m.Event(eventlogtest.Specific)
	return m
}

func input(b *testing.B, m *eventlogtest.Meter) *verify.Input {
	b.Helper()
	key, err := verify.NewKey(m.Key.PublicKey(), eventlog.SchemeCounter)
	if err != nil {
		b.Fatal(err)
	}
	return &verify.Input{
		Registration: verify.Registration{Meter: m.ID, Keys: []verify.Key{key}, Policy: &m.Policy},
		Received:     received, Limits: verify.Limits{ClockSkew: time.Hour, SealInterval: 10000 * time.Hour},
	}
}

func judge(b *testing.B, in *verify.Input) *verify.Report {
	r, err := verify.Verify(in)
	if err != nil {
		b.Fatal(err)
	}
	if r.Verdict != verify.Intact {
		b.Fatalf("%s: %+v", r.Verdict, r.Findings)
	}
	return r
}

func BenchmarkVerifyYear(b *testing.B) {
	b.ReportAllocs()
	m := year()
	in := input(b, m)
	in.Bundle = m.Bundle()
	for b.Loop() {
		judge(b, in)
	}
}

func BenchmarkVerify48OnYear(b *testing.B) {
	b.ReportAllocs()
	m := year()
	in := input(b, m)
	in.Bundle = m.Bundle()
	head := judge(b, in).Advance[0].Head
	from := len(m.Open().Log)
	for range 47 {
		m.Append(m.Next(eventlogtest.Ordinary, nil))
	}
	m.Event(eventlogtest.Specific)
	in.Known.Head, in.Bundle = &head, m.BundleFrom(1, from)
	for b.Loop() {
		judge(b, in)
	}
}

// BenchmarkVerifyBareECDSA is the limit: one P-256 verification.
func BenchmarkVerifyBareECDSA(b *testing.B) {
	b.ReportAllocs()
	key := eventlogtest.NewKey("bench", eventlog.SchemeDigest)
	hash := sha256.Sum256([]byte("a log"))
	der, err := key.Sign(nil, hash[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	pub := key.PublicKey()
	for b.Loop() {
		if !ecdsa.VerifyASN1(pub, hash[:], der) {
			b.Fatal("the signature does not verify")
		}
	}
}
