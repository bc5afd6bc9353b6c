package eventlog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"os"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

// One event, from the meter's log to the seal over it. Here the key is in this
// process; a meter has it in its secure element.
func ExampleLog() {
	path, err := os.MkdirTemp("", "eventlog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(path)
	dir, err := durable.Dir(path)
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	meter, err := eventlog.ParseMeterID("FFFFFF-MS0000000001")
	if err != nil {
		log.Fatal(err)
	}

	l, found, err := eventlog.Open(eventlog.Config{
		FS: dir, Meter: meter, Key: &key.PublicKey, Scheme: eventlog.SchemeDigest,
		Policy: eventlog.DefaultPolicy(), First: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	now := eventlog.Stamp{Millis: 1_800_000_000_000, Boot: 1}
	if err := l.Begin(now, found.Counters(true, 0)); err != nil {
		log.Fatal(err)
	}

	coverOpened := eventlog.Event{Class: eventlog.ClassFraud, Code: 40}
	r, err := l.Append(now, coverOpened, nil)
	if err != nil {
		log.Fatal(err)
	}
	digest, length, seq, _ := l.Pending()
	signature, err := eventlog.Sign(key, digest)
	if err != nil {
		log.Fatal(err)
	}
	err = l.StoreSeal(eventlog.Seal{
		Scheme: eventlog.SchemeDigest, Segment: l.Newest(), SignedLength: length, LastSeq: seq,
		KeyPrefix: l.Status().KeyPrefix, Digest: digest, Signature: signature,
	})
	if err != nil {
		log.Fatal(err)
	}
	s := l.Status()
	fmt.Printf("event %v, sequence %d, specific %v\n", r.Event(), r.Seq, r.Specific())
	fmt.Printf("%d of %d bytes are sealed\n", s.SignedLength, s.Length)
	// Output:
	// event 1/40, sequence 2, specific true
	// 256 of 256 bytes are sealed
}
