package eventlog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

func TestLogSurvivesReopening(t *testing.T) {
	fsys, err := durable.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	meter, _ := eventlog.ParseMeterID("FFFFFF-MS0000000001")
	cfg := eventlog.Config{FS: fsys, Meter: meter, Key: &key.PublicKey, Scheme: eventlog.SchemeDigest, First: true}
	l, rec, err := eventlog.Open(cfg)
	if err != nil || !rec.First {
		t.Fatalf("open: %v, %+v", err, rec)
	}
	if err := l.Begin(eventlog.Stamp{Boot: 1}, rec.Counters(true, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendPayload(eventlog.Stamp{Boot: 1}, eventlog.CodePeriodicSeal, nil); err != nil {
		t.Fatal(err)
	}
	d, length, seq, ok := l.Pending()
	if !ok || seq != 2 || length != eventlog.HeaderSize+64 {
		t.Fatalf("pending %v %d %d %v", d, length, seq, ok)
	}
	sig, err := eventlog.Sign(key, d)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := eventlog.KeyIDOf(&key.PublicKey)
	err = l.StoreSeal(eventlog.Seal{
		Scheme: eventlog.SchemeDigest, Segment: 1, SignedLength: length, LastSeq: seq,
		KeyPrefix: [8]byte(id[:]), Digest: d, Signature: sig,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.First = false
	l, rec, err = eventlog.Open(cfg)
	if err != nil || rec.Damaged != nil || !rec.Sealed || rec.LastSeq != 2 || rec.Seal.SignedLength != length {
		t.Fatalf("open again: %v, %+v", err, rec)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
