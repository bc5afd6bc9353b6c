package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
	"github.com/meterseal/meterseal/internal/effort"
)

// world is a meter whose power may be cut, and all that the rest of the world
// has seen of it. What was seen must stay true.
type world struct {
	rig
	disk      *durabletest.FS
	keys      []*ecdsa.PrivateKey // that of the rig first
	step      int                 // next step of the script
	acked     []acked             // records whose Append returned
	published []eventlog.Seal     // seals that readers could see
	dropped   map[uint32]bool     // segments that may be gone
}

type acked struct {
	segment uint32
	off     uint64
	bytes   []byte
}

func newWorld(t testing.TB, keys []*ecdsa.PrivateKey) *world {
	w := &world{disk: durabletest.New(), keys: keys, dropped: map[uint32]bool{}}
	w.rig = rig{t: t, key: keys[0], cfg: eventlog.Config{
		FS: w.disk, Meter: meterID, Key: &keys[0].PublicKey, Scheme: eventlog.SchemeCounter,
		Policy: eventlog.DefaultPolicy(), First: true,
	}}
	return w
}

// script is what the meter does between its starts. A step that a power cut
// interrupts is not done again.
var script = []func(*world) error{
	(*world).plainEvent, (*world).fraudEvent, (*world).sealNow,
	(*world).plainEvent, (*world).lateSeal, (*world).longEvent, (*world).plainEvent,
	(*world).rotate, (*world).fraudEvent, (*world).sealNow,
	(*world).changePolicy, (*world).plainEvent, (*world).sealNow,
	(*world).changeKey, (*world).fraudEvent, (*world).sealNow,
	(*world).rotate, (*world).dropOldest, (*world).sealNow, (*world).plainEvent,
}

// run starts the meter and follows the script to its end. The error is that of
// the power cut, or a broken promise.
func (w *world) run() error {
	if err := w.start(); err != nil {
		return err
	}
	for w.step < len(script) {
		w.step++
		if err := script[w.step-1](w); err != nil {
			return err
		}
	}
	return w.log.Close()
}

// start is what a device does at start: open, begin, BOOT, one seal.
func (w *world) start() error {
	w.cfg.Counter = w.asked()
	log, rec, err := eventlog.Open(w.cfg)
	if err != nil {
		return err
	}
	if rec.First {
		w.acked = nil // before the first seal nothing is promised
	}
	w.log, w.rec, w.boot = log, rec, rec.LastBoot+1
	if rec.Damaged != nil {
		return fmt.Errorf("an honest power cut counts as damage: %+v, %q", rec.Damaged, rec.Notes)
	}
	if err := w.notOlder(rec); err != nil {
		return err
	}
	if rec.Sealed {
		w.published = append(w.published, rec.Seal) // readers see it from now on
	}
	counters := rec.Counters(true, w.counter)
	if err := w.log.Begin(w.stamp(), counters); err != nil {
		return err
	}
	in, next := w.log.InForce(), w.cfg.Next
	if next != nil && in.Key.Equal(next.Key) && in.Policy.Version == next.Policy.Version {
		w.take(next)
	}
	if n := uint64(rec.Uncovered); w.counter > counters.SealCounter+n+1 {
		return fmt.Errorf("counter %d, the seal has %d, and only %d records came after it", w.counter, counters.SealCounter, n)
	}
	if err := w.note(eventlog.CodeBoot, &eventlog.Boot{Dropped: rec.Dropped, Counters: counters}); err != nil {
		return err
	}
	return w.sealNow()
}

// notOlder says whether a seal that readers saw is no longer the newest.
func (w *world) notOlder(rec *eventlog.Recovery) error {
	if len(w.published) == 0 {
		return nil
	}
	last := w.published[len(w.published)-1]
	if !rec.Sealed || rec.Seal.Segment < last.Segment || rec.Seal.Segment == last.Segment && rec.Seal.SignedLength < last.SignedLength {
		return fmt.Errorf("the newest seal is %+v, readers saw %+v", rec.Seal, last)
	}
	return nil
}

// take makes the configuration say that a change took place.
func (w *world) take(c *eventlog.Change) {
	if c.Policy != nil {
		w.cfg.Policy = *c.Policy
	}
	if c.Key != nil && !c.Key.Equal(w.cfg.Key) {
		w.cfg.Former = append(w.cfg.Former, w.cfg.Key)
		w.cfg.Key, w.cfg.Scheme, w.key = c.Key, c.Scheme, w.keys[1]
		w.counter = 0
	}
	w.cfg.Next = nil
}

func (w *world) event(e eventlog.Event, payload []byte) error {
	off, _ := w.log.SegmentLength(w.log.Newest())
	r, err := w.log.Append(w.stamp(), e, payload)
	if err != nil {
		return err
	}
	b, err := r.AppendBinary(nil)
	if err != nil {
		return err
	}
	w.acked = append(w.acked, acked{w.log.Newest(), off, b})
	return nil
}

func (w *world) note(code uint16, p eventlog.Payload) error {
	payload, err := p.AppendBinary(nil)
	if err != nil {
		return err
	}
	return w.event(eventlog.Event{Class: eventlog.ClassSystem, Code: code}, payload)
}

func (w *world) plainEvent() error { return w.event(plain, []byte("plain")) }
func (w *world) fraudEvent() error { return w.event(fraud, nil) }
func (w *world) longEvent() error  { return w.event(fraud, bytes.Repeat([]byte{0xA5}, 150)) }

func (w *world) sealNow() error {
	s, err := w.sign()
	if errors.Is(err, errNothingPending) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.store(s)
}

func (w *world) store(s eventlog.Seal) error {
	if err := w.log.StoreSeal(s); err != nil {
		return err
	}
	w.cfg.First = false
	w.published = append(w.published, s)
	return nil
}

// lateSeal makes two events; the seal of the first comes after the second.
func (w *world) lateSeal() error {
	if err := w.fraudEvent(); err != nil {
		return err
	}
	s, err := w.sign()
	if err != nil {
		return err
	}
	if err := w.fraudEvent(); err != nil {
		return err
	}
	return w.store(s)
}

func (w *world) close(reason eventlog.EndReason, c *eventlog.Change) error {
	err := w.note(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: reason, Next: w.log.Newest() + 1})
	if err != nil {
		return err
	}
	if err := w.sealNow(); err != nil {
		return err
	}
	if err := w.log.NextSegment(w.stamp(), c); err != nil {
		return err
	}
	if c != nil {
		w.take(c)
	}
	return nil
}

// rotate begins the next segment, or does again the change that a power cut
// interrupted.
func (w *world) rotate() error {
	switch c := w.cfg.Next; {
	case c == nil:
		return w.close(eventlog.EndRotation, nil)
	case c.Key.Equal(w.cfg.Key):
		return w.changePolicy()
	}
	return w.changeKey()
}

func (w *world) changePolicy() error {
	policy := eventlog.NewPolicy(2, fraud)
	c := &eventlog.Change{Key: w.cfg.Key, Scheme: w.cfg.Scheme, Policy: &policy}
	w.cfg.Next = c
	err := w.note(eventlog.CodePolicyChange, &eventlog.PolicyChange{
		Old: w.cfg.Policy.Digest(), New: policy.Digest(), Version: policy.Version,
	})
	if err != nil {
		return err
	}
	return w.close(eventlog.EndPolicy, c)
}

func (w *world) changeKey() error {
	if c := w.cfg.Next; c != nil && c.Key.Equal(w.cfg.Key) {
		if err := w.changePolicy(); err != nil {
			return err
		}
	}
	id, policy := keyID(w.t, w.keys[1]), w.cfg.Policy
	c := &eventlog.Change{Key: &w.keys[1].PublicKey, Scheme: eventlog.SchemeDigest, Policy: &policy}
	w.cfg.Next = c
	if err := w.note(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: id, Scheme: c.Scheme}); err != nil {
		return err
	}
	return w.close(eventlog.EndKey, c)
}

func (w *world) dropOldest() error {
	closed := w.log.Closed()
	if len(closed) < 3 {
		return nil
	}
	c := closed[0]
	w.dropped[c.Segment] = true
	err := w.note(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{
		Segment: c.Segment, Length: c.Length, Digest: c.Digest, Reason: eventlog.DropFull,
	})
	if err != nil {
		return err
	}
	return w.log.Drop(c.Segment)
}

// check says which promise the disk breaks: every record that was confirmed is
// there, every seal that was seen is one over the bytes that are there, and
// each segment links to the one before.
func (w *world) check() error {
	files := map[uint32][]byte{}
	for n := uint32(1); n < 20; n++ {
		b, err := durable.ReadFile(w.disk, fmt.Sprintf("%08d.seg", n), 1<<20)
		if err != nil {
			continue
		}
		files[n] = b
		h, err := eventlog.ParseHeader(b)
		if err != nil {
			return fmt.Errorf("segment %d: %w", n, err)
		}
		if prev := files[n-1]; prev != nil && (h.PrevLength != uint64(len(prev)) || h.PrevDigest != sha256.Sum256(prev)) {
			return fmt.Errorf("segment %d does not link to segment %d", n, n-1)
		}
	}
	for _, a := range w.acked {
		b, ok := files[a.segment]
		if !ok && w.dropped[a.segment] {
			continue
		}
		if end := a.off + uint64(len(a.bytes)); uint64(len(b)) < end || !bytes.Equal(b[a.off:end], a.bytes) {
			return fmt.Errorf("the record at byte %d of segment %d is lost", a.off, a.segment)
		}
	}
	for _, s := range w.published {
		b, ok := files[s.Segment]
		if !ok && w.dropped[s.Segment] {
			continue
		}
		if uint64(len(b)) < s.SignedLength || s.Digest != sha256.Sum256(b[:s.SignedLength]) {
			return fmt.Errorf("fork: segment %d is not what the seal over %d bytes was seen on", s.Segment, s.SignedLength)
		}
	}
	return nil
}

// fork returns a copy of the world on another disk.
func (w *world) on(disk *durabletest.FS) *world {
	v := *w
	v.disk, v.cfg.FS = disk, disk
	v.acked = append([]acked(nil), w.acked...)
	v.published = append([]eventlog.Seal(nil), w.published...)
	v.dropped = map[uint32]bool{}
	for n := range w.dropped {
		v.dropped[n] = true
	}
	return &v
}

// survive restarts the world on a disk that a power cut left, and follows the
// script for so many steps at least.
func (w *world) survive(steps int) error {
	if err := w.check(); err != nil {
		return fmt.Errorf("before the start: %w", err)
	}
	w.step = max(w.step, len(script)-steps)
	if err := w.run(); err != nil {
		return fmt.Errorf("after the power cut: %w", err)
	}
	if err := w.check(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return nil
}

// TestEveryPowerCut cuts the power in every operation of the script and at
// every byte of each write, and goes on from every state that the disk may be
// in. With EFFORT above 1 each byte is combined with each state, and each
// time the script is followed to its end.
func TestEveryPowerCut(t *testing.T) {
	keys := []*ecdsa.PrivateKey{newKey(t), newKey(t)}
	whole := newWorld(t, keys)
	if err := whole.run(); err != nil {
		t.Fatal(err)
	}
	if err := whole.check(); err != nil {
		t.Fatal(err)
	}
	ops := len(whole.disk.Ops())
	kinds, states := map[durabletest.Kind]int{}, 0
	for op := 1; op <= ops; op++ {
		w := newWorld(t, keys)
		w.disk.CutAt(op)
		if err := w.run(); !errors.Is(err, durabletest.ErrPowerCut) {
			t.Fatalf("operation %d: %v", op, err)
		}
		hit := w.disk.Ops()[op-1]
		kinds[hit.Kind]++
		outcomes, torn := w.disk.Outcomes(), w.disk.Torn()
		for i := range outcomes {
			for keep := range torn + 1 {
				steps := len(script)
				if keep < torn && effort.Times(1) == 1 {
					steps = 1
					if i < outcomes-1 {
						continue
					}
				}
				states++
				if err := w.on(w.disk.Restart(i, keep)).survive(steps); err != nil {
					t.Fatalf("cut in operation %d (%s %s), outcome %d of %d, %d of %d bytes: %v", op, hit.Kind, hit.Name, i, outcomes, keep, torn, err)
				}
			}
		}
	}
	for _, kind := range []durabletest.Kind{
		durabletest.Write, durabletest.Sync, durabletest.Create, durabletest.Rename, durabletest.Remove, durabletest.SyncDir,
	} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was cut", kind)
		}
	}
	t.Logf("%d operations, %d states: %v", ops, states, kinds)
}

// TestRepeatedPowerCuts cuts the power again and again, also while the meter
// recovers, with a fixed seed.
func TestRepeatedPowerCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 5))
	keys := []*ecdsa.PrivateKey{newKey(t), newKey(t)}
	cuts := 0
	for round := range effort.Times(150) {
		w := newWorld(t, keys)
		w.disk.CutAt(1 + rng.IntN(200))
		for err := w.run(); err != nil; err = w.run() {
			if !errors.Is(err, durabletest.ErrPowerCut) {
				t.Fatalf("round %d after %d cuts: %v", round, cuts, err)
			}
			cuts++
			w = w.on(w.disk.Restart(rng.IntN(w.disk.Outcomes()), rng.IntN(w.disk.Torn()+1)))
			if err := w.check(); err != nil {
				t.Fatalf("round %d after %d cuts: %v", round, cuts, err)
			}
			w.disk.CutAt(1 + rng.IntN(40))
		}
		if err := w.check(); err != nil {
			t.Fatalf("round %d after %d cuts: %v", round, cuts, err)
		}
	}
	t.Logf("%d power cuts", cuts)
	if cuts < 300 {
		t.Errorf("only %d power cuts", cuts)
	}
}

// TestKilledProcess stops the meter in every operation while the power stays
// on: what was written and not synced is seen by the next process, and may
// still be lost when the power goes later.
func TestKilledProcess(t *testing.T) {
	keys := []*ecdsa.PrivateKey{newKey(t), newKey(t)}
	for op := 1; ; op++ {
		w := newWorld(t, keys)
		w.disk.CutAt(op)
		err := w.run()
		if err == nil {
			return
		}
		if !errors.Is(err, durabletest.ErrPowerCut) {
			t.Fatalf("operation %d: %v", op, err)
		}
		killed := w.on(w.disk.Reopen())
		killed.disk.CutAt(1 + op%25)
		if err := killed.run(); err != nil && !errors.Is(err, durabletest.ErrPowerCut) {
			t.Fatalf("killed in operation %d: %v", op, err)
		}
		for i := range killed.disk.Outcomes() {
			if err := killed.on(killed.disk.Restart(i, killed.disk.Torn())).survive(len(script)); err != nil {
				t.Fatalf("killed in operation %d, outcome %d: %v", op, i, err)
			}
		}
	}
}

// TestFailedSyncs makes each sync of the script fail, opens the log again with
// the power on, and cuts the power later.
func TestFailedSyncs(t *testing.T) {
	keys := []*ecdsa.PrivateKey{newKey(t), newKey(t)}
	whole := newWorld(t, keys)
	if err := whole.run(); err != nil {
		t.Fatal(err)
	}
	for at, op := range whole.disk.Ops() {
		if op.Kind != durabletest.Sync && op.Kind != durabletest.SyncDir {
			continue
		}
		w := newWorld(t, keys)
		w.disk.FailAt(at+1, errors.New("the disk is dying"), 0)
		if err := w.run(); err == nil {
			t.Fatalf("%s of %q in operation %d failed unnoticed", op.Kind, op.Name, at+1)
		}
		again := w.on(w.disk.Reopen())
		if err := again.run(); err != nil {
			t.Fatalf("after a failed %s of %q in operation %d: %v", op.Kind, op.Name, at+1, err)
		}
		if err := again.check(); err != nil {
			t.Fatalf("after a failed %s of %q in operation %d: %v", op.Kind, op.Name, at+1, err)
		}
		if err := again.on(again.disk.Restart(0, 0)).survive(len(script)); err != nil {
			t.Fatalf("power cut after a failed %s of %q in operation %d: %v", op.Kind, op.Name, at+1, err)
		}
	}
}
