package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

var schemes = []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter}

func TestLogSurvivesReopening(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			dir, err := durable.Dir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, scheme, dir)
			if !r.rec.First {
				t.Error("a new log is no first start")
			}
			r.append(fraud, []byte("cover open"))
			seal := r.seal()
			r.append(plain, nil)
			before := r.bytes(1)
			r.close()
			r.open()
			want := &eventlog.Recovery{Sealed: true, Seal: seal, LastSeq: 3, LastBoot: 1, LastMillis: r.stamp().Millis}
			if diff := cmp.Diff(r.rec, want, cmp.AllowUnexported(eventlog.Recovery{}), cmp.FilterPath(func(p cmp.Path) bool {
				return p.String() == "newest"
			}, cmp.Ignore())); diff != "" {
				t.Errorf("recovery (-got +want):\n%s", diff)
			}
			if !bytes.Equal(r.bytes(1), before) {
				t.Error("the bytes of the log changed")
			}
			if got, encoded, ok := r.log.Seal(); !ok || got != seal || len(encoded) != eventlog.SealSize {
				t.Errorf("seal %+v, %x, %v", got, encoded, ok)
			}
			r.begin()
			if got := r.append(plain, nil).Seq; got != 4 {
				t.Errorf("sequence %d after reopening, want 4", got)
			}
			r.close()
		})
	}
}

func TestAppendAssignsSequenceAndMark(t *testing.T) {
	r := newRig(t, eventlog.SchemeDigest, durabletest.New())
	s := r.stamp()
	s.Flags = eventlog.FlagSpecific | eventlog.FlagClockUntrusted
	p, err := r.log.Append(s, plain, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	s.Flags = eventlog.FlagModuleDown
	f, err := r.log.Append(s, fraud, nil)
	if err != nil {
		t.Fatal(err)
	}
	y := r.system(eventlog.CodePeriodicSeal, nil)
	want := []eventlog.Record{
		{Class: plain.Class, Code: plain.Code, Seq: 2, Millis: s.Millis, Boot: s.Boot, Uptime: s.Uptime, Flags: eventlog.FlagClockUntrusted, Payload: []byte{1}},
		{Class: fraud.Class, Code: fraud.Code, Seq: 3, Millis: s.Millis, Boot: s.Boot, Uptime: s.Uptime, Flags: eventlog.FlagSpecific | eventlog.FlagModuleDown},
		{Class: eventlog.ClassSystem, Code: eventlog.CodePeriodicSeal, Seq: 4, Millis: s.Millis, Boot: s.Boot, Uptime: s.Uptime, Flags: eventlog.FlagSpecific},
	}
	if diff := cmp.Diff([]eventlog.Record{p, f, y}, want); diff != "" {
		t.Errorf("returned (-got +want):\n%s", diff)
	}
	stored := r.records(1)[1:]
	for i := range stored {
		if len(stored[i].Payload) == 0 {
			stored[i].Payload = nil
		}
	}
	if diff := cmp.Diff(stored, want); diff != "" {
		t.Errorf("stored (-got +want):\n%s", diff)
	}
}

func TestAppendRefuses(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	before := diskBytes(t, disk, "00000001.seg")
	system := func(code uint16) eventlog.Event { return eventlog.Event{Class: eventlog.ClassSystem, Code: code} }
	for name, f := range map[string]func() error{
		"a payload that is too long": func() error {
			_, err := r.log.Append(r.stamp(), plain, make([]byte, eventlog.MaxPayload+1))
			return err
		},
		"unknown flags": func() error {
			_, err := r.log.Append(eventlog.Stamp{Flags: 1 << 7}, plain, nil)
			return err
		},
		"a header": func() error {
			_, err := r.log.AppendPayload(r.stamp(), eventlog.CodeSegment, &eventlog.Header{Segment: 2})
			return err
		},
		"a header that does not encode": func() error {
			_, err := r.log.AppendPayload(r.stamp(), eventlog.CodeSegment, &eventlog.Header{})
			return err
		},
		"a system event with another payload": func() error {
			_, err := r.log.Append(r.stamp(), system(eventlog.CodeBoot), []byte{1})
			return err
		},
		"an unknown system event": func() error {
			_, err := r.log.Append(r.stamp(), system(99), nil)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s is appended", name)
		}
	}
	if !bytes.Equal(diskBytes(t, disk, "00000001.seg"), before) {
		t.Error("what was refused was written")
	}
}

func TestPendingIsTheDigestUpToTheLastSpecificRecord(t *testing.T) {
	r := newRig(t, eventlog.SchemeDigest, durabletest.New())
	r.append(fraud, nil)
	end, _ := r.log.SegmentLength(1)
	r.append(plain, []byte("the unsigned tail"))
	digest, length, seq, ok := r.log.Pending()
	if !ok || length != end || seq != 2 || digest != sha256.Sum256(r.bytes(1)[:end]) {
		t.Errorf("pending: %s over %d bytes up to %d, %v", digest, length, seq, ok)
	}
	r.seal()
	if _, _, _, ok := r.log.Pending(); ok {
		t.Error("something is pending right after a seal")
	}
	r.append(plain, nil)
	if _, _, _, ok := r.log.Pending(); ok {
		t.Error("a plain event needs a seal")
	}
}

func TestLateSealIsTakenIfItIsNewer(t *testing.T) {
	for _, scheme := range schemes {
		r := newRig(t, scheme, durabletest.New())
		var late []eventlog.Seal
		for range 3 {
			r.append(fraud, nil)
			s, err := r.sign()
			if err != nil {
				t.Fatal(err)
			}
			late = append(late, s)
		}
		if err := r.log.StoreSeal(late[1]); err != nil {
			t.Errorf("%s: a late seal: %v", scheme, err)
		}
		if err := r.log.StoreSeal(late[0]); !errors.Is(err, eventlog.ErrOldSeal) {
			t.Errorf("%s: a seal older than the stored one: %v", scheme, err)
		}
		if err := r.log.StoreSeal(late[1]); !errors.Is(err, eventlog.ErrOldSeal) {
			t.Errorf("%s: the same seal again: %v", scheme, err)
		}
		if err := r.log.StoreSeal(late[2]); err != nil {
			t.Errorf("%s: the newest seal: %v", scheme, err)
		}
		if s, _, _ := r.log.Seal(); s != late[2] {
			t.Errorf("%s: stored %+v", scheme, s)
		}
	}
}

func TestOnlySoManyDigestsAreRemembered(t *testing.T) {
	r := newRig(t, eventlog.SchemeDigest, durabletest.New())
	var seals []eventlog.Seal
	for range 80 {
		r.append(fraud, nil)
		s, err := r.sign()
		if err != nil {
			t.Fatal(err)
		}
		seals = append(seals, s)
	}
	if err := r.log.StoreSeal(seals[0]); !errors.Is(err, eventlog.ErrBadSeal) {
		t.Errorf("the oldest of 80: %v", err)
	}
	if err := r.log.StoreSeal(seals[79]); err != nil {
		t.Errorf("the newest of 80: %v", err)
	}
}

func TestStoreSealRefusesWhatDoesNotProveTheLog(t *testing.T) {
	other := newKey(t)
	cases := map[string]func(r *rig, s *eventlog.Seal){
		"another segment":                 func(_ *rig, s *eventlog.Seal) { s.Segment++ },
		"another length":                  func(_ *rig, s *eventlog.Seal) { s.SignedLength += eventlog.SlotSize },
		"another sequence":                func(_ *rig, s *eventlog.Seal) { s.LastSeq++ },
		"another key id":                  func(_ *rig, s *eventlog.Seal) { s.KeyPrefix[0] ^= 1 },
		"another digest":                  func(_ *rig, s *eventlog.Seal) { s.Digest[0] ^= 1 },
		"another scheme":                  func(_ *rig, s *eventlog.Seal) { s.Scheme ^= 3; s.Counter = 0 },
		"a flipped bit in r":              func(_ *rig, s *eventlog.Seal) { s.Signature[31] ^= 1 },
		"a flipped bit in s":              func(_ *rig, s *eventlog.Seal) { s.Signature[63] ^= 1 },
		"no signature":                    func(_ *rig, s *eventlog.Seal) { s.Signature = eventlog.Signature{} },
		"a signature of another key":      func(_ *rig, s *eventlog.Seal) { s.Signature, _ = eventlog.Sign(other, s.Digest) },
		"a signature over another digest": func(r *rig, s *eventlog.Seal) { s.Signature, _ = eventlog.Sign(r.key, [32]byte{1}) },
	}
	for _, scheme := range schemes {
		for name, change := range cases {
			t.Run(scheme.String()+"/"+name, func(t *testing.T) {
				r, disk := sealedRig(t, scheme)
				r.append(fraud, nil)
				good, err := r.sign()
				if err != nil {
					t.Fatal(err)
				}
				before := diskBytes(t, disk, "seals")
				bad := good
				change(r, &bad)
				if err := r.log.StoreSeal(bad); !errors.Is(err, eventlog.ErrBadSeal) {
					t.Errorf("stored: %v", err)
				}
				if !bytes.Equal(diskBytes(t, disk, "seals"), before) {
					t.Error("the slots were written")
				}
				if err := r.log.StoreSeal(good); err != nil {
					t.Errorf("the good seal: %v", err)
				}
			})
		}
	}
}

func TestCounterOfASealMustGrow(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeCounter)
	r.append(fraud, nil)
	r.counter = 1
	s, err := r.sign()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.log.StoreSeal(s); !errors.Is(err, eventlog.ErrOldSeal) {
		t.Errorf("counter 2 twice: %v", err)
	}
	r.append(fraud, nil)
	r.end(eventlog.EndRotation)
	if err := r.log.NextSegment(r.stamp(), nil); err != nil {
		t.Fatal(err)
	}
	r.counter = 0
	s, err = r.sign()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.log.StoreSeal(s); !errors.Is(err, eventlog.ErrOldSeal) {
		t.Errorf("a lower counter in the next segment: %v", err)
	}
}

func TestSchemeDigestHasNoCounter(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.append(fraud, nil)
	s, err := r.sign()
	if err != nil {
		t.Fatal(err)
	}
	s.Counter = 1
	if err := r.log.StoreSeal(s); !errors.Is(err, eventlog.ErrSeal) {
		t.Errorf("a counter: %v", err)
	}
}

func TestStatus(t *testing.T) {
	disk := durabletest.New()
	r := newRig(t, eventlog.SchemeCounter, disk)
	id := keyID(t, r.key)
	want := eventlog.Status{Scheme: eventlog.SchemeCounter, Segment: 1, Oldest: 1, Length: eventlog.HeaderSize, LastSeq: 1, KeyPrefix: [8]byte(id[:])}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(r.log.Status(), want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", when, diff)
		}
	}
	check("after the header")
	r.append(fraud, nil)
	want.Length, want.LastSeq = want.Length+64, 2
	check("after an event")
	r.seal()
	want.SignedLength = want.Length
	check("after a seal")
	r.end(eventlog.EndRotation)
	want.Length, want.SignedLength, want.LastSeq = want.Length+64, want.Length+64, 3
	check("at the end")
	if err := r.log.NextSegment(r.stamp(), nil); err != nil {
		t.Fatal(err)
	}
	want.Segment, want.Length, want.SignedLength, want.LastSeq = 2, eventlog.HeaderSize, 0, 4
	check("in the next segment")
}

func TestReadAt(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	all := r.bytes(1)
	p := make([]byte, 100)
	if n, err := r.log.ReadAt(1, p, 64); n != 100 || err != nil || !bytes.Equal(p, all[64:164]) {
		t.Errorf("in the middle: %d, %v", n, err)
	}
	if n, err := r.log.ReadAt(1, p, uint64(len(all)-30)); n != 30 || !errors.Is(err, io.EOF) || !bytes.Equal(p[:n], all[len(all)-30:]) {
		t.Errorf("over the end: %d, %v", n, err)
	}
	if n, err := r.log.ReadAt(1, p, uint64(len(all)-100)); n != 100 || err != nil {
		t.Errorf("up to the end: %d, %v", n, err)
	}
	for _, off := range []uint64{uint64(len(all)), uint64(len(all)) + 1, math.MaxUint64} {
		if n, err := r.log.ReadAt(1, p, off); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	for _, segment := range []uint32{0, 2, math.MaxUint32} {
		if _, err := r.log.ReadAt(segment, p, 0); !errors.Is(err, eventlog.ErrNoSegment) {
			t.Errorf("segment %d: %v", segment, err)
		}
		if _, ok := r.log.SegmentLength(segment); ok {
			t.Errorf("segment %d has a length", segment)
		}
		if _, ok := r.log.SealOf(segment); ok {
			t.Errorf("segment %d has a seal", segment)
		}
	}
}

func TestFullDiskLeavesTheLogAsItWas(t *testing.T) {
	for _, keep := range []int{0, 1, 63} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		before := r.bytes(1)
		disk.FailAt(len(disk.Ops())+1, syscall.ENOSPC, keep)
		if _, err := r.log.Append(r.stamp(), fraud, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append to a full disk: %v", err)
		}
		if !bytes.Equal(r.bytes(1), before) || !bytes.Equal(diskBytes(t, disk, "00000001.seg"), before) {
			t.Errorf("%d bytes written: the log changed", keep)
		}
		if got := r.append(plain, nil).Seq; got != 6 {
			t.Errorf("%d bytes written: sequence %d after it, want 6", keep, got)
		}
	}
}

func TestFailedSyncBreaksTheLog(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	before := r.bytes(1)
	disk.FailAt(len(disk.Ops())+2, syscall.EIO, 0)
	if _, err := r.log.Append(r.stamp(), fraud, nil); !errors.Is(err, eventlog.ErrBroken) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("append: %v", err)
	}
	if !bytes.Equal(r.bytes(1), before) {
		t.Error("readers see what is not durable")
	}
	if _, _, _, ok := r.log.Pending(); ok {
		t.Error("a broken log asks for a seal")
	}
	for name, err := range broken(r) {
		if !errors.Is(err, eventlog.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What the failed sync was to make durable is seen by the next process, and
	// must be durable before anything is built upon it.
	after := disk.Reopen()
	r.cfg.FS = after
	r.open()
	r.begin()
	r.system(eventlog.CodeBoot, &eventlog.Boot{Counters: r.rec.Counters(true, 0)})
	r.seal()
	r.cfg.FS = after.Restart(0, 0)
	r.open()
	if r.rec.Damaged != nil || r.rec.LastSeq != 7 {
		t.Errorf("after a power cut: %+v", r.rec)
	}
}

// broken calls all methods that write.
func broken(r *rig) map[string]error {
	_, appendErr := r.log.Append(r.stamp(), plain, nil)
	return map[string]error{
		"Append":      appendErr,
		"StoreSeal":   r.log.StoreSeal(eventlog.Seal{}),
		"NextSegment": r.log.NextSegment(r.stamp(), nil),
		"Begin":       r.log.Begin(r.stamp(), eventlog.Counters{}),
		"Drop":        r.log.Drop(1),
	}
}

func TestFailedTruncateBreaksTheLog(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	disk.FailAt(len(disk.Ops())+1, syscall.ENOSPC, 10)
	disk.FailAt(len(disk.Ops())+2, syscall.EIO, 0)
	if _, err := r.log.Append(r.stamp(), fraud, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append: %v", err)
	}
	if _, err := r.log.Append(r.stamp(), fraud, nil); !errors.Is(err, eventlog.ErrBroken) {
		t.Errorf("append after it: %v", err)
	}
}

func TestFailedSealLeavesTheStoredOne(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	stored, _, _ := r.log.Seal()
	r.append(fraud, nil)
	s, err := r.sign()
	if err != nil {
		t.Fatal(err)
	}
	disk.FailAt(len(disk.Ops())+1, syscall.ENOSPC, 70)
	if err := r.log.StoreSeal(s); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("store: %v", err)
	}
	if got, _, _ := r.log.Seal(); got != stored {
		t.Errorf("published %+v", got)
	}
	r.close()
	r.open()
	if r.rec.Seal != stored || r.rec.Damaged != nil {
		t.Errorf("recovered %+v", r.rec)
	}
	r.begin()
	if _, _, _, ok := r.log.Pending(); !ok {
		t.Error("nothing is pending")
	}
	if err := r.log.StoreSeal(s); err != nil {
		t.Errorf("again: %v", err)
	}
	r.append(fraud, nil)
	if s, err = r.sign(); err != nil {
		t.Fatal(err)
	}
	disk.FailAt(len(disk.Ops())+2, syscall.EIO, 0)
	if err := r.log.StoreSeal(s); !errors.Is(err, eventlog.ErrBroken) {
		t.Errorf("a failed sync: %v", err)
	}
	if _, err := r.log.Append(r.stamp(), plain, nil); !errors.Is(err, eventlog.ErrBroken) {
		t.Errorf("append after it: %v", err)
	}
}

func TestClose(t *testing.T) {
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	r.close()
	if _, err := r.log.ReadAt(1, make([]byte, 1), 0); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	for name, err := range broken(r) {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.log.Newest() != 0 || r.log.Oldest() != 0 || r.log.Size() != 0 || r.log.Closed() != nil {
		t.Error("a closed log still shows segments")
	}
}

func TestOpenRefusesWhatIsNoConfiguration(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	good := eventlog.Config{FS: durabletest.New(), Meter: meterID, Key: &key.PublicKey, Scheme: eventlog.SchemeDigest, First: true}
	for name, change := range map[string]func(*eventlog.Config){
		"no directory":     func(c *eventlog.Config) { c.FS = nil },
		"no meter":         func(c *eventlog.Config) { c.Meter = eventlog.MeterID{} },
		"no key":           func(c *eventlog.Config) { c.Key = nil },
		"another curve":    func(c *eventlog.Config) { c.Key = &p384.PublicKey },
		"no scheme":        func(c *eventlog.Config) { c.Scheme = 0 },
		"a scheme to come": func(c *eventlog.Config) { c.Scheme = eventlog.SchemeTPMNV },
		"a bad next key": func(c *eventlog.Config) {
			c.Next = &eventlog.Change{Key: &p384.PublicKey, Scheme: eventlog.SchemeDigest}
		},
		"a bad next scheme":   func(c *eventlog.Config) { c.Next = &eventlog.Change{Key: &key.PublicKey} },
		"a bad former key":    func(c *eventlog.Config) { c.Former = []*ecdsa.PublicKey{nil} },
		"a former P-384 key":  func(c *eventlog.Config) { c.Former = []*ecdsa.PublicKey{&p384.PublicKey} },
		"a directory of dust": func(c *eventlog.Config) { c.FS = cutDisk() },
	} {
		cfg := good
		change(&cfg)
		if l, _, err := eventlog.Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
			_ = l.Close()
		}
	}
	l, rec, err := eventlog.Open(good)
	if err != nil || !rec.First {
		t.Fatalf("the good configuration: %v", err)
	}
	if _, err := l.Append(eventlog.Stamp{}, plain, nil); !errors.Is(err, eventlog.ErrNotBegun) {
		t.Errorf("append before Begin: %v", err)
	}
	if l.Newest() != 0 || l.Closed() != nil {
		t.Error("a log without segments shows some")
	}
}

// cutDisk returns a disk without power.
func cutDisk() durable.FS {
	d := durabletest.New()
	d.CutAt(1)
	_, _ = d.Create("a")
	return d
}

func TestUnsortedPolicyIsTaken(t *testing.T) {
	disk := durabletest.New()
	key := newKey(t)
	cfg := eventlog.Config{
		FS: disk, Meter: meterID, Key: &key.PublicKey, Scheme: eventlog.SchemeDigest, First: true,
		Policy: eventlog.Policy{Version: 3, Specific: []eventlog.Event{{Class: 9, Code: 1}, fraud, {Class: 0, Code: 3}}},
	}
	l, rec, err := eventlog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Begin(eventlog.Stamp{}, rec.Counters(false, 9)); err != nil {
		t.Fatal(err)
	}
	r, err := l.Append(eventlog.Stamp{}, eventlog.Event{Class: 0, Code: 3}, nil)
	if err != nil || !r.Specific() {
		t.Errorf("an event of an unsorted set: %+v, %v", r, err)
	}
}
