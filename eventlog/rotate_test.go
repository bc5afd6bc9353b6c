package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

func TestRotation(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			r, _ := sealedRig(t, scheme)
			r.rotate()
			one := r.bytes(1)
			last, ok := r.log.SealOf(1)
			if !ok {
				t.Fatal("the closed segment has no seal")
			}
			var s eventlog.Seal
			if err := s.UnmarshalBinary(last); err != nil || s.SignedLength != uint64(len(one)) || s.Digest != sha256.Sum256(one) {
				t.Errorf("last seal %+v, %v", s, err)
			}
			h, err := eventlog.ParseHeader(r.bytes(2))
			if err != nil {
				t.Fatal(err)
			}
			id := keyID(t, r.key)
			policy := r.cfg.Policy
			want := eventlog.Header{
				Meter: meterID, Scheme: scheme, Key: id, Segment: 2, PrevLength: s.SignedLength, PrevDigest: s.Digest,
				FirstSeq: 7, Profile: eventlog.ProfileIDIS, PolicyVersion: policy.Version, PolicyDigest: policy.Digest(),
			}
			if diff := cmp.Diff(h, want); diff != "" {
				t.Errorf("header (-got +want):\n%s", diff)
			}
			if _, ok := r.log.SealOf(2); ok {
				t.Error("the new segment has a seal")
			}
			if got, _, ok := r.log.Seal(); !ok || got != s {
				t.Errorf("newest seal %+v", got)
			}
			r.append(fraud, nil)
			two := r.seal()
			r.reopen()
			if r.rec.Damaged != nil || r.rec.Seal != two || r.rec.LastSeq != 8 {
				t.Errorf("recovered %+v", r.rec)
			}
			wantClosed := []eventlog.Closed{{Segment: 1, Length: s.SignedLength, Digest: s.Digest}}
			if !slices.Equal(r.log.Closed(), wantClosed) || r.log.Size() != uint64(len(one)+len(r.bytes(2))) {
				t.Errorf("closed %+v, %d bytes", r.log.Closed(), r.log.Size())
			}
			if kept, _ := r.log.SealOf(1); !bytes.Equal(kept, last) || !bytes.Equal(r.bytes(1), one) {
				t.Error("the closed segment changed")
			}
		})
	}
}

func TestNextSegmentNeedsASealedEnd(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	next := func() error { return r.log.NextSegment(r.stamp(), nil) }
	r.append(fraud, nil)
	r.seal()
	if err := next(); !errors.Is(err, eventlog.ErrNotEnded) {
		t.Errorf("without SEGMENT_END: %v", err)
	}
	r.system(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2})
	if err := next(); !errors.Is(err, eventlog.ErrNotEnded) {
		t.Errorf("before the seal: %v", err)
	}
	r.append(plain, nil)
	r.seal()
	if err := next(); !errors.Is(err, eventlog.ErrNotEnded) {
		t.Errorf("with a record after SEGMENT_END: %v", err)
	}
	r.end(eventlog.EndRotation)
	key := newKey(t)
	if err := r.log.NextSegment(r.stamp(), &eventlog.Change{Key: &key.PublicKey, Scheme: eventlog.SchemeDigest}); !errors.Is(err, eventlog.ErrTerms) {
		t.Errorf("with a key that was not announced: %v", err)
	}
	if err := r.log.NextSegment(r.stamp(), &eventlog.Change{Policy: &eventlog.Policy{Version: 9}}); !errors.Is(err, eventlog.ErrTerms) {
		t.Errorf("with a specific set that was not announced: %v", err)
	}
	if err := next(); err != nil {
		t.Errorf("with a sealed SEGMENT_END: %v", err)
	}
}

// TestBeginAfterASealedEnd stops the meter between the seal of SEGMENT_END and
// the next segment.
func TestBeginAfterASealedEnd(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	r.end(eventlog.EndRotation)
	one := r.bytes(1)
	r.close()
	r.open()
	if r.rec.Damaged != nil || r.log.Newest() != 1 || len(r.rec.Notes) == 0 {
		t.Fatalf("recovered %+v", r.rec)
	}
	if _, err := r.log.Append(r.stamp(), plain, nil); !errors.Is(err, eventlog.ErrNotBegun) {
		t.Errorf("append to a closed segment: %v", err)
	}
	if _, _, _, ok := r.log.Pending(); ok {
		t.Error("a closed segment asks for a seal")
	}
	r.begin()
	h, err := eventlog.ParseHeader(r.bytes(2))
	if err != nil || h.PrevDigest != sha256.Sum256(one) || len(r.records(2)) != 1 {
		t.Errorf("header %+v, %v", h, err)
	}
	r.seal()
	r.reopen()
	if r.rec.Damaged != nil || r.log.Newest() != 2 {
		t.Errorf("recovered %+v", r.rec)
	}
}

// change announces and makes a change of policy or key, as a device does.
func (r *rig) announce(c *eventlog.Change) eventlog.EndReason {
	r.t.Helper()
	reason := eventlog.EndPolicy
	if c.Policy != nil {
		old := r.cfg.Policy
		r.system(eventlog.CodePolicyChange, &eventlog.PolicyChange{Old: old.Digest(), New: c.Policy.Digest(), Version: c.Policy.Version})
	}
	if c.Key != nil {
		reason = eventlog.EndKey
		id, err := eventlog.KeyIDOf(c.Key)
		if err != nil {
			r.t.Fatal(err)
		}
		r.system(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: id, Scheme: c.Scheme})
	}
	return reason
}

// adopt makes the configuration say what the change says.
func (r *rig) adopt(c *eventlog.Change, key *ecdsa.PrivateKey) {
	if c.Policy != nil {
		r.cfg.Policy = *c.Policy
	}
	if c.Key != nil {
		r.cfg.Former = append(r.cfg.Former, r.cfg.Key)
		r.key, r.cfg.Key, r.cfg.Scheme, r.counter, r.uses = key, c.Key, c.Scheme, 0, nil
	}
	r.cfg.Next = nil
}

func TestChangeOfPolicyAndKey(t *testing.T) {
	policy := eventlog.NewPolicy(2, plain)
	key := newKey(t)
	for name, c := range map[string]*eventlog.Change{
		"policy": {Policy: &policy},
		"key":    {Key: &key.PublicKey, Scheme: eventlog.SchemeCounter},
		"both":   {Key: &key.PublicKey, Scheme: eventlog.SchemeDigest, Policy: &policy},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := sealedRig(t, eventlog.SchemeCounter)
			r.end(r.announce(c))
			if err := r.log.NextSegment(r.stamp(), nil); !errors.Is(err, eventlog.ErrTerms) {
				t.Fatalf("without what was announced: %v", err)
			}
			if other := *c; c.Key != nil {
				other.Scheme ^= 3
				if err := r.log.NextSegment(r.stamp(), &other); !errors.Is(err, eventlog.ErrTerms) {
					t.Fatalf("in another scheme than was announced: %v", err)
				}
			}
			if err := r.log.NextSegment(r.stamp(), &eventlog.Change{Scheme: 9, Key: &key.PublicKey}); err == nil {
				t.Fatal("a scheme that does not exist")
			}
			if err := r.log.NextSegment(r.stamp(), c); err != nil {
				t.Fatal(err)
			}
			r.adopt(c, key)
			assertTerms(t, r)
			// Before the first seal under the new terms, and after it.
			r.reopen()
			if r.rec.Damaged != nil || r.log.Newest() != 2 {
				t.Fatalf("recovered %+v", r.rec)
			}
			if event := r.append(plain, nil); event.Specific() != (c.Policy != nil) {
				t.Errorf("a plain event is specific: %v", event.Specific())
			}
			r.system(eventlog.CodeBoot, &eventlog.Boot{})
			r.seal()
			r.cfg.Former = nil
			r.reopen()
			if r.rec.Damaged != nil {
				t.Errorf("recovered %+v", r.rec)
			}
			assertTerms(t, r)
		})
	}
}

// assertTerms compares the newest header and InForce with the configuration.
func assertTerms(t *testing.T, r *rig) {
	t.Helper()
	h, err := eventlog.ParseHeader(r.bytes(r.log.Newest()))
	if err != nil || h.Key != keyID(t, r.key) || h.Scheme != r.cfg.Scheme || h.PolicyDigest != r.cfg.Policy.Digest() {
		t.Errorf("header %+v, %v", h, err)
	}
	f := r.log.InForce()
	if !f.Key.Equal(r.cfg.Key) || f.Scheme != r.cfg.Scheme || f.Policy.Digest() != r.cfg.Policy.Digest() {
		t.Errorf("in force %+v", f)
	}
}

// TestInterruptedChange stops the meter at each step of a change, with each
// configuration that the caller may have by then.
func TestInterruptedChange(t *testing.T) {
	policy := eventlog.NewPolicy(2, plain)
	key := newKey(t)
	c := &eventlog.Change{Key: &key.PublicKey, Scheme: eventlog.SchemeDigest, Policy: &policy}
	steps := []string{"intended", "announced", "closed", "closed and adopted", "begun", "begun and adopted"}
	for at, name := range steps {
		t.Run(name, func(t *testing.T) {
			r, _ := sealedRig(t, eventlog.SchemeDigest)
			r.cfg.Next = c
			if at >= 1 {
				r.announce(c)
			}
			if at >= 2 {
				r.end(eventlog.EndKey)
			}
			if at >= 4 {
				if err := r.log.NextSegment(r.stamp(), c); err != nil {
					t.Fatal(err)
				}
			}
			if at == 3 || at == 5 {
				r.adopt(c, key)
			}
			r.close()
			r.open()
			if r.rec.Damaged != nil {
				t.Fatalf("recovered %+v", r.rec)
			}
			r.begin()
			taken := r.log.InForce().Key.Equal(c.Key)
			if taken != (at >= 2) {
				t.Errorf("the change took place: %v", taken)
			}
			if told := r.rec.KeyChange != nil; told != (name == "announced") || told != (r.rec.PolicyChange != nil) {
				t.Errorf("announced and not in force: %t", told)
			}
			if taken && r.cfg.Next != nil {
				r.adopt(c, key)
			}
			if taken {
				assertTerms(t, r)
			}
			r.system(eventlog.CodeBoot, &eventlog.Boot{})
			r.seal()
			r.reopen()
			if r.rec.Damaged != nil {
				t.Errorf("recovered %+v", r.rec)
			}
		})
	}
	t.Run("closed and forgotten", func(t *testing.T) {
		for _, forgotten := range []*eventlog.Change{{Policy: &policy}, {Key: &key.PublicKey, Scheme: eventlog.SchemeDigest}} {
			r, _ := sealedRig(t, eventlog.SchemeDigest)
			r.announce(forgotten)
			r.end(eventlog.EndKey)
			r.close()
			if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, eventlog.ErrTerms) {
				t.Errorf("open: %v", err)
			}
		}
	})
	t.Run("begun under terms that nobody announced", func(t *testing.T) {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.end(eventlog.EndRotation)
		r.close()
		whole := disk.Restart(0, 0)
		r.open()
		r.begin()
		r.close()
		r.cfg.Policy.Version = 9
		r.open()
		if r.rec.Damaged == nil {
			t.Errorf("another policy: %+v", r.rec)
		}
		r.cfg.FS = whole
		if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, eventlog.ErrTerms) {
			t.Errorf("open: %v", err)
		}
	})
}

// TestChangeTakenBack stops the meter after a change was announced. Open tells of
// it until it is taken back; then the segment ends as any other.
func TestChangeTakenBack(t *testing.T) {
	policy := eventlog.NewPolicy(2, plain)
	key := newKey(t)
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.announce(&eventlog.Change{Key: &key.PublicKey, Scheme: eventlog.SchemeCounter, Policy: &policy})
	r.reopen()
	k, p := r.rec.KeyChange, r.rec.PolicyChange
	if k == nil || k.Key != keyID(t, key) || p == nil || p.New != policy.Digest() {
		t.Fatalf("announced: %+v, %+v", k, p)
	}
	set := r.cfg.Policy
	r.system(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: keyID(t, r.key), Scheme: r.cfg.Scheme})
	r.system(eventlog.CodePolicyChange, &eventlog.PolicyChange{Old: p.New, New: set.Digest(), Version: set.Version})
	r.reopen()
	if r.rec.KeyChange != nil || r.rec.PolicyChange != nil {
		t.Errorf("taken back: %+v, %+v", r.rec.KeyChange, r.rec.PolicyChange)
	}
	r.rotate()
	if in := r.log.InForce(); !in.Key.Equal(r.cfg.Key) || in.Policy.Version != set.Version {
		t.Errorf("in force: %+v", in)
	}
	r.reopen()
	if r.rec.Damaged != nil || r.log.Newest() != 2 {
		t.Errorf("recovered %+v", r.rec)
	}
}

// TestDamageAfterAnInterruptedChange damages the first segment of a new key
// before the caller knows that the change took place.
func TestDamageAfterAnInterruptedChange(t *testing.T) {
	key := newKey(t)
	c := &eventlog.Change{Key: &key.PublicKey, Scheme: eventlog.SchemeDigest}
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	before := r.cfg
	before.Next, before.First = c, false
	r.end(r.announce(c))
	if err := r.log.NextSegment(r.stamp(), c); err != nil {
		t.Fatal(err)
	}
	r.adopt(c, key)
	r.append(fraud, nil)
	r.seal()
	r.close()
	edit(t, disk, "00000002.seg", func(b []byte) []byte { return append(b, make([]byte, 300)...) })
	r.cfg = before
	r.open()
	if r.rec.Damaged == nil || !r.log.InForce().Key.Equal(&key.PublicKey) {
		t.Errorf("the key in force is not that of the damaged segment: %+v", r.rec)
	}
}

// TestKeyThatNobodyAnnounced begins a segment under a key that the segment
// before does not announce.
func TestKeyThatNobodyAnnounced(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.close()
	thief := newKey(t)
	id := keyID(t, thief)
	edit(t, disk, "00000002.seg", func(b []byte) []byte {
		copy(b[28+24:], id[:])
		recode(b[:eventlog.HeaderSize])
		return b
	})
	r.cfg.Former = []*ecdsa.PublicKey{r.cfg.Key}
	r.cfg.Key, r.key = &thief.PublicKey, thief
	r.open()
	if r.rec.Damaged == nil {
		t.Errorf("recovered %+v", r.rec)
	}
}

// TestSchemeOfAFormerKey keeps a former key apart from schemes that no log has.
func TestSchemeOfAFormerKey(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", func(b []byte) []byte { b[28+23] = 3; recode(b[:eventlog.HeaderSize]); return b })
	r.cfg.Former = []*ecdsa.PublicKey{r.cfg.Key}
	r.key = newKey(t)
	r.cfg.Key = &r.key.PublicKey
	assertDamaged(t, r, disk, 0)
}

func TestChangeToAKeyThatCannotBe(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.end(eventlog.EndKey)
	if r.log.NextSegment(r.stamp(), &eventlog.Change{Key: &p384.PublicKey, Scheme: eventlog.SchemeDigest}) == nil {
		t.Error("a key on another curve seals the next segment")
	}
}

// fourSegments returns a rig with segments 1 to 4, of which 1 can be dropped.
func fourSegments(t *testing.T) (*rig, *durabletest.FS) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	for range 3 {
		r.rotate()
		r.append(fraud, nil)
		r.seal()
	}
	return r, disk
}

// dropped records that a closed segment is dropped.
func (r *rig) dropped(c eventlog.Closed) {
	r.t.Helper()
	r.system(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{
		Segment: c.Segment, Length: c.Length, Digest: c.Digest, Reason: eventlog.DropFull,
	})
}

func TestDrop(t *testing.T) {
	r, disk := fourSegments(t)
	closed := r.log.Closed()
	if err := r.log.Drop(1); !errors.Is(err, eventlog.ErrKept) {
		t.Errorf("before it is recorded: %v", err)
	}
	wrong := closed[0]
	wrong.Digest[0] ^= 1
	r.dropped(wrong)
	if err := r.log.Drop(1); !errors.Is(err, eventlog.ErrKept) {
		t.Errorf("recorded with another digest: %v", err)
	}
	for _, c := range closed {
		r.dropped(c)
	}
	for _, segment := range []uint32{0, 2, 3, 4, 5} {
		if err := r.log.Drop(segment); !errors.Is(err, eventlog.ErrKept) {
			t.Errorf("segment %d: %v", segment, err)
		}
	}
	if err := r.log.Drop(1); err != nil {
		t.Errorf("the oldest: %v", err)
	}
	if err := r.log.Drop(2); !errors.Is(err, eventlog.ErrKept) {
		t.Errorf("one of the two newest closed ones: %v", err)
	}
	if r.log.Oldest() != 2 || !slices.Equal(r.log.Closed(), closed[1:]) {
		t.Errorf("closed %+v", r.log.Closed())
	}
	if _, err := r.log.ReadAt(1, make([]byte, 1), 0); !errors.Is(err, eventlog.ErrNoSegment) {
		t.Errorf("read what was dropped: %v", err)
	}
	names, err := disk.List()
	if err != nil || strings.Contains(strings.Join(names, " "), "00000001") {
		t.Errorf("files %v, %v", names, err)
	}
	r.seal()
	r.reopen()
	if r.log.Oldest() != 2 || r.rec.Damaged != nil {
		t.Errorf("recovered %+v", r.rec)
	}
}

// TestDropAfterARotation deletes a segment whose record stands in a segment
// that is closed meanwhile.
func TestDropAfterARotation(t *testing.T) {
	r, _ := fourSegments(t)
	r.dropped(r.log.Closed()[0])
	r.rotate()
	if err := r.log.Drop(1); err != nil {
		t.Error(err)
	}
}

// TestDropIsFinishedByOpen stops the meter between the record and the deletion.
func TestDropIsFinishedByOpen(t *testing.T) {
	r, _ := fourSegments(t)
	closed := r.log.Closed()
	for _, c := range closed {
		r.dropped(c)
	}
	r.seal()
	r.reopen()
	if r.log.Oldest() != 2 || !slices.Equal(r.log.Closed(), closed[1:]) {
		t.Errorf("closed %+v", r.log.Closed())
	}
}

// TestForgedDropIsNotFinished puts a record into the tail that drops a segment
// with a digest that is not its own.
func TestForgedDropIsNotFinished(t *testing.T) {
	r, _ := fourSegments(t)
	wrong := r.log.Closed()[0]
	wrong.Digest[0] ^= 1
	r.dropped(wrong)
	r.reopen()
	if r.log.Oldest() != 1 || len(r.rec.Notes) != 1 {
		t.Errorf("recovered %+v", r.rec)
	}
}

func TestDropReportsAFailingDisk(t *testing.T) {
	for op := 1; op <= 3; op++ {
		r, disk := fourSegments(t)
		r.dropped(r.log.Closed()[0])
		disk.FailAt(len(disk.Ops())+op, syscall.EIO, 0)
		if err := r.log.Drop(1); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", op, err)
		}
		r.cfg.FS = disk.Reopen()
		r.open()
		if r.log.Oldest() != 2 {
			t.Errorf("operation %d: the oldest segment is %d", op, r.log.Oldest())
		}
	}
}

// TestFailedChangeLeavesTheTerms has no room for the segment of a change: the
// old terms stay until there is.
func TestFailedChangeLeavesTheTerms(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	policy := eventlog.NewPolicy(2, plain)
	c := &eventlog.Change{Policy: &policy}
	r.end(r.announce(c))
	disk.FailAt(len(disk.Ops())+1, syscall.ENOSPC, 0)
	if err := r.log.NextSegment(r.stamp(), c); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("next segment: %v", err)
	}
	if got := r.log.InForce().Policy; got.Version != 1 {
		t.Errorf("version %d is in force", got.Version)
	}
	if err := r.log.NextSegment(r.stamp(), nil); !errors.Is(err, eventlog.ErrTerms) {
		t.Errorf("next segment without the change: %v", err)
	}
	if err := r.log.NextSegment(r.stamp(), c); err != nil {
		t.Error(err)
	}
	r.cfg.Policy = policy
	r.reopen()
	if r.rec.Damaged != nil {
		t.Errorf("recovered %+v", r.rec)
	}
}

func TestNextSegmentReportsAFailingDisk(t *testing.T) {
	for op := 1; ; op++ {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.end(eventlog.EndRotation)
		disk.FailAt(len(disk.Ops())+op, syscall.ENOSPC, 0)
		err := r.log.NextSegment(r.stamp(), nil)
		if err == nil {
			if op != 11 {
				t.Errorf("%d operations could fail, want 10", op-1)
			}
			return
		}
		again := r.log.NextSegment(r.stamp(), nil)
		if !errors.Is(err, syscall.ENOSPC) || again != nil && !errors.Is(again, eventlog.ErrBroken) {
			t.Errorf("operation %d: %v, then %v", op, err, again)
		}
		// The last operation syncs the directory when the segment is there.
		if op == 10 && again == nil {
			t.Error("a segment that may not be durable is written again")
		}
		r.cfg.FS = disk.Reopen()
		r.open()
		r.begin()
		if r.rec.Damaged != nil || r.log.Newest() != 2 {
			t.Errorf("operation %d: recovered %+v", op, r.rec)
		}
	}
}

// TestReadersDoNotWait reads from many goroutines while the log is written,
// rotated and dropped; what a seal covers never changes.
func TestReadersDoNotWait(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := make([]byte, 1<<20)
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, _, ok := r.log.Seal()
				n, err := r.log.ReadAt(s.Segment, b[:s.SignedLength], 0)
				if !ok || errors.Is(err, eventlog.ErrNoSegment) {
					continue
				}
				if err != nil || uint64(n) != s.SignedLength || s.Digest != sha256.Sum256(b[:n]) {
					t.Errorf("segment %d: %d of %d bytes, %v", s.Segment, n, s.SignedLength, err)
					return
				}
				if st := r.log.Status(); st.Segment < s.Segment || st.SignedLength > st.Length {
					t.Errorf("status %+v after seal %+v", st, s)
					return
				}
				_, _ = r.log.SealOf(s.Segment)
				_, _ = r.log.Closed(), r.log.Size()
			}
		})
	}
	for i := range 200 {
		r.append(fraud, make([]byte, i%eventlog.MaxPayload))
		r.seal()
		if i%20 == 19 {
			r.rotate()
		}
		if closed := r.log.Closed(); len(closed) > 3 {
			r.dropped(closed[0])
			if err := r.log.Drop(closed[0].Segment); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// TestReadersDoNotWaitForASync holds a sync open and reads meanwhile.
func TestReadersDoNotWaitForASync(t *testing.T) {
	disk := &slowDisk{FS: durabletest.New(), entered: make(chan struct{}), leave: make(chan struct{})}
	r := newRig(t, eventlog.SchemeDigest, disk)
	r.append(fraud, nil)
	r.seal()
	before := r.log.Status()
	disk.slow.Store(true)
	done := make(chan error)
	go func() {
		_, err := r.log.Append(r.stamp(), fraud, nil)
		done <- err
	}()
	<-disk.entered
	if got := r.log.Status(); got != before {
		t.Errorf("status during the sync %+v, want %+v", got, before)
	}
	if _, _, ok := r.log.Seal(); !ok || len(r.bytes(1)) != int(before.Length) {
		t.Error("readers do not see the state before")
	}
	disk.slow.Store(false)
	close(disk.leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := r.log.Status().LastSeq; got != before.LastSeq+1 {
		t.Errorf("last sequence %d", got)
	}
}
