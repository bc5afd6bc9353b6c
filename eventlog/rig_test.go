package eventlog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// A plain event is specific in no policy of the tests, a fraud event in all.
var (
	plain = eventlog.Event{Class: eventlog.ClassStandard, Code: 1}
	fraud = eventlog.Event{Class: eventlog.ClassFraud, Code: 40}
)

var meterID = mustMeter("FFFFFF-MS0000000001")

func mustMeter(s string) eventlog.MeterID {
	id, err := eventlog.ParseMeterID(s)
	if err != nil {
		panic(err)
	}
	return id
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fixedKey is the same in each process, as the workers of a fuzz test need it.
func fixedKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), fill(32, 1))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyID(t testing.TB, key *ecdsa.PrivateKey) eventlog.KeyID {
	t.Helper()
	id, err := eventlog.KeyIDOf(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// rig is a log with the secure element that seals it.
type rig struct {
	t       testing.TB
	cfg     eventlog.Config
	key     *ecdsa.PrivateKey
	counter uint64            // of the secure element
	uses    []eventlog.KeyUse // what it remembers of them
	boot    uint32
	log     *eventlog.Log
	rec     *eventlog.Recovery
}

// newRig starts the log of a new meter: segment 1 with its header.
func newRig(t testing.TB, scheme eventlog.Scheme, fsys durable.FS) *rig {
	t.Helper()
	key := fixedKey(t)
	r := &rig{t: t, key: key, cfg: eventlog.Config{
		FS: fsys, Meter: meterID, Key: &key.PublicKey, Scheme: scheme, Profile: eventlog.ProfileIDIS,
		Policy: eventlog.DefaultPolicy(), First: true,
	}}
	r.open()
	r.begin()
	return r
}

// sealedRig is a rig with two seals in the slots and a tail: a plain event
// after the newest seal.
func sealedRig(t testing.TB, scheme eventlog.Scheme) (*rig, *durabletest.FS) {
	t.Helper()
	disk := durabletest.New()
	r := newRig(t, scheme, disk)
	r.append(plain, []byte("door closed"))
	r.append(fraud, []byte("cover open"))
	r.seal()
	r.append(fraud, make([]byte, 100))
	r.seal()
	r.append(plain, nil)
	return r, disk
}

func (r *rig) stamp() eventlog.Stamp {
	return eventlog.Stamp{Millis: 1_800_000_000_000, Boot: r.boot, Uptime: 7}
}

func (r *rig) open() {
	r.t.Helper()
	r.cfg.Counter = r.asked()
	var err error
	if r.log, r.rec, err = eventlog.Open(r.cfg); err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.boot = r.rec.LastBoot + 1
}

// asked returns what the secure element says of its counter.
func (r *rig) asked() *eventlog.KeyCounter {
	if r.cfg.Scheme != eventlog.SchemeCounter {
		return nil
	}
	return &eventlog.KeyCounter{Key: keyID(r.t, r.key), Counter: r.counter, Uses: r.uses}
}

func (r *rig) begin() {
	r.t.Helper()
	if err := r.log.Begin(r.stamp(), r.rec.Counters(true, r.counter)); err != nil {
		r.t.Fatalf("begin: %v", err)
	}
}

// reopen closes the log, opens it again and begins.
func (r *rig) reopen() {
	r.t.Helper()
	r.close()
	r.open()
	r.begin()
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.log.Close(); err != nil {
		r.t.Fatalf("close: %v", err)
	}
}

func (r *rig) append(e eventlog.Event, payload []byte) eventlog.Record {
	r.t.Helper()
	rec, err := r.log.Append(r.stamp(), e, payload)
	if err != nil {
		r.t.Fatalf("append %s: %v", e, err)
	}
	return rec
}

func (r *rig) system(code uint16, p eventlog.Payload) eventlog.Record {
	r.t.Helper()
	rec, err := r.log.AppendPayload(r.stamp(), code, p)
	if err != nil {
		r.t.Fatalf("append %s: %v", eventlog.Event{Class: eventlog.ClassSystem, Code: code}, err)
	}
	return rec
}

var errNothingPending = errors.New("nothing is pending")

// sign makes the next seal, as the secure element and the device do, without
// storing it.
func (r *rig) sign() (eventlog.Seal, error) {
	digest, length, seq, ok := r.log.Pending()
	if !ok {
		return eventlog.Seal{}, errNothingPending
	}
	return r.signAt(digest, length, seq)
}

func (r *rig) signAt(digest eventlog.Digest, length uint64, seq uint32) (eventlog.Seal, error) {
	id := keyID(r.t, r.key)
	s := eventlog.Seal{
		Scheme: r.cfg.Scheme, Segment: r.log.Newest(), SignedLength: length, LastSeq: seq,
		KeyPrefix: [8]byte(id[:]), Digest: digest,
	}
	hash := [32]byte(digest)
	if r.cfg.Scheme == eventlog.SchemeCounter {
		r.counter++
		s.Counter = r.counter
		r.uses = append(r.uses, eventlog.KeyUse{Counter: r.counter, Digest: digest})
		hash = eventlog.Statement(id, s.Counter, digest)
	}
	var err error
	s.Signature, err = eventlog.Sign(r.key, hash)
	return s, err
}

// seal signs what is pending and stores the seal.
func (r *rig) seal() eventlog.Seal {
	r.t.Helper()
	s, err := r.sign()
	if err != nil {
		r.t.Fatalf("sign: %v", err)
	}
	if err := r.log.StoreSeal(s); err != nil {
		r.t.Fatalf("store the seal: %v", err)
	}
	r.cfg.First = false
	return s
}

// end closes the newest segment: SEGMENT_END and its seal.
func (r *rig) end(reason eventlog.EndReason) {
	r.t.Helper()
	r.system(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: reason, Next: r.log.Newest() + 1})
	r.seal()
}

// rotate closes the newest segment and begins the next one.
func (r *rig) rotate() {
	r.t.Helper()
	r.end(eventlog.EndRotation)
	if err := r.log.NextSegment(r.stamp(), nil); err != nil {
		r.t.Fatalf("next segment: %v", err)
	}
}

// bytes returns all bytes of a segment as a reader sees them.
func (r *rig) bytes(segment uint32) []byte {
	r.t.Helper()
	n, ok := r.log.SegmentLength(segment)
	if !ok {
		r.t.Fatalf("there is no segment %d", segment)
	}
	b := make([]byte, n)
	if got, err := r.log.ReadAt(segment, b, 0); got != len(b) || err != nil && len(b) > 0 {
		r.t.Fatalf("read segment %d: %d of %d bytes, %v", segment, got, len(b), err)
	}
	return b
}

// records decodes all records of a segment.
func (r *rig) records(segment uint32) []eventlog.Record {
	r.t.Helper()
	var list []eventlog.Record
	for b := r.bytes(segment); len(b) > 0; {
		var rec eventlog.Record
		n, err := rec.Next(b)
		if err != nil {
			r.t.Fatalf("segment %d: %v", segment, err)
		}
		list, b = append(list, rec), b[n:]
	}
	return list
}

// diskBytes returns a file as it lies on the disk.
func diskBytes(t testing.TB, fsys durable.FS, name string) []byte {
	t.Helper()
	b, err := durable.ReadFile(fsys, name, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edit changes a file on the disk while the meter is off.
func edit(t testing.TB, fsys durable.FS, name string, f func(b []byte) []byte) {
	t.Helper()
	if err := durable.WriteFile(fsys, name, f(diskBytes(t, fsys, name))); err != nil {
		t.Fatal(err)
	}
}

// slowDisk holds the next Sync of a file, once slow is set, until leave is closed.
type slowDisk struct {
	durable.FS
	slow           atomic.Bool
	entered, leave chan struct{}
}

func (d *slowDisk) Open(name string) (durable.File, error) {
	f, err := d.FS.Open(name)
	return &slowFile{f, d}, err
}

type slowFile struct {
	durable.File
	disk *slowDisk
}

func (f *slowFile) Sync() error {
	if f.disk.slow.Load() {
		close(f.disk.entered)
		<-f.disk.leave
	}
	return f.File.Sync()
}
