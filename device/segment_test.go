package device_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// small makes segments that a test can fill.
func small(c *device.Config) {
	c.SegmentSize, c.StoreSize, c.Reserve, c.FloodBurst = 4<<10, 64<<10, 16<<10, 100_000
}

func TestRotation(t *testing.T) {
	r := newRig(t, small).start()
	for range 200 {
		if rec := r.record(coverOpened); !rec.Sealed {
			t.Fatalf("not sealed: %+v", rec)
		}
	}
	r.close()
	segments := readSegments(t, r.cfg.Dir)
	if len(segments) < 3 {
		t.Errorf("%d segments", len(segments))
	}
	for _, s := range segments[:len(segments)-1] {
		if len(s.bytes) > 4<<10+4*64 {
			t.Errorf("segment %d has %d bytes", s.number, len(s.bytes))
		}
		seal := must(os.ReadFile(filepath.Join(r.cfg.Dir, "log", fmt.Sprintf("%08d.seal", s.number))))
		var last eventlog.Seal
		if err := last.UnmarshalBinary(seal); err != nil || last.SignedLength != uint64(len(s.bytes)) || last.Digest != sha256.Sum256(s.bytes) {
			t.Errorf("segment %d: its seal covers %d of %d bytes: %v", s.number, last.SignedLength, len(s.bytes), err)
		}
	}
	audit(t, r.cfg.Dir, r.module.PublicKey())
}

func TestRotationWithoutSpecificEvents(t *testing.T) {
	r := newRig(t, small).start()
	for range 100 {
		r.record(powerUp)
	}
	r.reach(2)
	r.close()
	if n := len(readSegments(t, r.cfg.Dir)); n < 2 {
		t.Errorf("%d segments", n)
	}
	audit(t, r.cfg.Dir, r.module.PublicKey())
}

// TestRotationWaitsForTheModule: the segment exceeds its size, and a
// SEGMENT_END that got no seal ends nothing.
func TestRotationWaitsForTheModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, small).start()
		for r.Status().Length < 4<<10-64 {
			r.record(powerUp)
		}
		r.module.FailNext(secureelementtest.Lost) // that of SEGMENT_END
		r.record(powerUp)
		synctest.Wait()
		for range 30 {
			r.record(coverOpened)
		}
		if s := r.Status(); s.Segment != 1 || s.Length < 5<<10 {
			t.Errorf("while the module is down: %+v", s)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := r.Status(); s.Segment != 2 {
			t.Errorf("when the module is back: %+v", s)
		}
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
		if n := count(list, eventlog.CodeSegmentEnd); n != 2 {
			t.Errorf("%d SEGMENT_END", n)
		}
	})
}

// slow is a module that takes a second for a signature.
type slow struct{ secureelement.Module }

func (s slow) Sign(ctx context.Context, digest [32]byte) (secureelement.Signature, error) {
	time.Sleep(time.Second)
	return s.Module.Sign(ctx, digest)
}

// TestStopLeavesNoTail: the meter stops while a segment that has its size waits
// for its seal. It gets it, and is closed after the next start.
func TestStopLeavesNoTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, small, func(c *device.Config) { c.Module = slow{c.Module} }).start()
		for r.Status().Length < 4<<10-64 {
			r.record(powerUp)
		}
		recorded := make(chan error, 1)
		go func() {
			_, err := r.Record(t.Context(), coverOpened, nil)
			recorded <- err
		}()
		synctest.Wait()
		r.close()
		if err := <-recorded; err != nil {
			t.Error(err)
		}
		list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
		if last := list[len(list)-1]; seal.LastSeq != last.Seq {
			t.Errorf("the seal covers up to %d, the last record is %d %v", seal.LastSeq, last.Seq, last.Event())
		}
		if n := len(readSegments(t, r.cfg.Dir)); n != 1 {
			t.Errorf("%d segments", n)
		}
		r.start()
		time.Sleep(10 * time.Second)
		if s := r.Status(); s.Segment != 2 {
			t.Errorf("after the start: %+v", s)
		}
		r.close()
		audit(t, r.cfg.Dir, r.module.PublicKey())
	})
}

func TestRotationThatAPowerCutInterrupted(t *testing.T) {
	r := newRig(t, small).start()
	for range 80 {
		r.record(coverOpened)
	}
	r.close()
	// Take the newest segment away, as if it had never been written.
	segments := readSegments(t, r.cfg.Dir)
	newest := segments[len(segments)-1]
	if newest.number != 2 {
		t.Fatalf("newest segment %d", newest.number)
	}
	r.module.SetCounter(restoreSeals(t, r.cfg.Dir, 1).Counter)
	if err := os.Remove(filepath.Join(r.cfg.Dir, "log", "00000002.seg")); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.record(coverOpened)
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	got := events(list)
	if diff := cmp.Diff(got[len(got)-4:], []string{"SEGMENT_END", "SEGMENT", "BOOT", "1/40"}); diff != "" {
		t.Error(diff)
	}
}

// restoreSeals puts the slots of seals back to the last seal of a segment, and
// returns it.
func restoreSeals(t *testing.T, dir string, segment int) (last eventlog.Seal) {
	t.Helper()
	seal := must(os.ReadFile(filepath.Join(dir, "log", fmt.Sprintf("%08d.seal", segment))))
	if err := os.WriteFile(filepath.Join(dir, "log", "seals"), seal, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "log", fmt.Sprintf("%08d.seal", segment))); err != nil {
		t.Fatal(err)
	}
	if err := last.UnmarshalBinary(seal); err != nil {
		t.Fatal(err)
	}
	return last
}

func TestFullStoreDropsTheOldestSegments(t *testing.T) {
	r := newRig(t, small).start()
	for range 500 {
		if _, err := r.Record(t.Context(), coverOpened, make([]byte, eventlog.MaxPayload)); err != nil {
			t.Fatal(err)
		}
	}
	if size := storeSize(t, r.cfg.Dir); size > 64<<10 {
		t.Errorf("the log takes %d bytes of %d", size, 64<<10)
	}
	oldest := r.Status().Oldest
	if oldest < 3 {
		t.Errorf("the oldest segment is %d", oldest)
	}
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	if list[0].segment != oldest {
		t.Errorf("segment %d is there, the oldest is to be %d", list[0].segment, oldest)
	}
	d := find[*eventlog.SegmentDropped](t, list)
	if d.Segment != oldest-1 || d.Reason != eventlog.DropFull || d.Length == 0 {
		t.Errorf("SEGMENT_DROPPED says %+v, the oldest is %d", d, oldest)
	}
	r.start() // after a restart it goes on
	r.record(coverOpened)
}

func storeSize(t *testing.T, dir string) (sum int) {
	t.Helper()
	for _, s := range readSegments(t, dir) {
		sum += len(s.bytes)
	}
	return sum
}

func TestPolicyChange(t *testing.T) {
	r := newRig(t).start()
	if rec := r.record(powerUp); rec.Specific {
		t.Fatal("0/2 is specific")
	}
	set := eventlog.NewPolicy(0, powerUp)
	if err := r.ChangePolicy(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if rec := r.record(powerUp); !rec.Sealed || rec.Segment != 2 {
		t.Errorf("under the new set: %+v", rec)
	}
	if rec := r.record(coverOpened); rec.Specific {
		t.Error("1/40 is still specific")
	}
	if err := r.ChangePolicy(t.Context(), set); err != nil || r.Status().Segment != 2 {
		t.Errorf("the same set again: %v, segment %d", err, r.Status().Segment)
	}
	r.close()
	r.cfg.Policy = set
	r.start() // nothing to change
	r.record(powerUp)
	r.close()
	r.cfg.Policy = eventlog.DefaultPolicy()
	r.start() // changes it back
	r.record(powerUp)
	r.reach(3)
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	segments := readSegments(t, r.cfg.Dir)
	want := eventlog.DefaultPolicy()
	for i, h := range []struct {
		version uint32
		digest  eventlog.Digest
	}{{1, want.Digest()}, {2, set.Digest()}, {3, want.Digest()}} {
		if got := segments[i].header; got.PolicyVersion != h.version || got.PolicyDigest != h.digest {
			t.Errorf("segment %d: version %d, set %v", i+1, got.PolicyVersion, got.PolicyDigest)
		}
	}
	if p := find[*eventlog.PolicyChange](t, list); p.Old != set.Digest() || p.New != want.Digest() || p.Version != 3 {
		t.Errorf("POLICY_CHANGE says %+v", p)
	}
	if end := find[*eventlog.SegmentEnd](t, list); end.Reason != eventlog.EndPolicy {
		t.Errorf("SEGMENT_END says %+v", end)
	}
}

func TestPolicyChangeWaitsForTheModule(t *testing.T) {
	for name, restart := range map[string]bool{"that comes back": false, "over a restart": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, brisk).start()
				r.record(coverOpened)
				r.module.FailNext(secureelementtest.Hung)
				set := eventlog.NewPolicy(0, powerUp)
				if err := r.ChangePolicy(t.Context(), set); err == nil {
					t.Fatal("the change took effect without a seal")
				}
				if err := r.ChangePolicy(t.Context(), eventlog.NewPolicy(0, noConnect)); err == nil {
					t.Error("a second change was begun before the first one has ended")
				}
				if rec := r.record(powerUp); rec.Segment != 1 || rec.Specific {
					t.Errorf("recorded under the old set: %+v", rec)
				}
				if restart {
					r.close()
					r.cfg.Policy = set
					r.start()
				}
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if rec := r.record(powerUp); rec.Segment != 2 || !rec.Sealed {
					t.Errorf("recorded under the new set: %+v", rec)
				}
				r.close()
				audit(t, r.cfg.Dir, r.module.PublicKey())
			})
		})
	}
}

func TestPolicyChangeNeedsTheModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.module.Fail(secureelementtest.Dead)
		r.record(coverOpened)
		if err := r.ChangePolicy(t.Context(), eventlog.Policy{}); !errors.Is(err, device.ErrModuleDown) {
			t.Errorf("got %v", err)
		}
		r.close()
	})
}

func TestKeyChange(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	old, fresh := r.module, secureelementtest.New(t, eventlog.SchemeDigest)
	if err := r.ChangeKey(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	old.Close()
	if rec := r.record(coverOpened); !rec.Sealed || rec.Segment != 2 {
		t.Errorf("under the new key: %+v", rec)
	}
	id := must(eventlog.KeyIDOf(fresh.PublicKey()))
	if s := r.Status(); s.Scheme != eventlog.SchemeDigest || s.KeyPrefix != [8]byte(id[:8]) {
		t.Errorf("status %+v", s)
	}
	if !r.PublicKey().Equal(fresh.PublicKey()) {
		t.Error("PublicKey is the old one")
	}
	r.close()
	if _, err := device.Open(t.Context(), r.cfg); !errors.Is(err, device.ErrOtherKey) {
		t.Errorf("start with the old module: %v", err)
	}
	r.cfg.Module = fresh
	r.start()
	if rec := r.record(coverOpened); !rec.Sealed {
		t.Errorf("after a restart: %+v", rec)
	}
	r.close()
	list, _ := audit(t, r.cfg.Dir, old.PublicKey(), fresh.PublicKey())
	k := find[*eventlog.KeyChange](t, list)
	if k.Key != id || k.Scheme != eventlog.SchemeDigest {
		t.Errorf("KEY_CHANGE says %+v", k)
	}
	if diff := cmp.Diff(events(list), []string{
		"SEGMENT", "BOOT", "1/40", "KEY_CHANGE", "SEGMENT_END",
		"SEGMENT", "1/40", "BOOT", "1/40",
	}); diff != "" {
		t.Error(diff)
	}
}

func TestKeyChangeRefuses(t *testing.T) {
	r := newRig(t).start()
	if err := r.ChangeKey(t.Context(), r.module); err == nil {
		t.Error("changed to the same key")
	}
	defer func() { // which leaves no trace of the others
		fresh := secureelementtest.New(t, eventlog.SchemeCounter)
		if err := r.ChangeKey(t.Context(), fresh); err != nil {
			t.Error(err)
		}
		if err := r.ChangeKey(t.Context(), r.module); err == nil {
			t.Error("changed to a key that was replaced")
		}
	}()
	dead := secureelementtest.New(t, eventlog.SchemeCounter)
	dead.Fail(secureelementtest.Dead)
	if err := r.ChangeKey(t.Context(), dead); err == nil {
		t.Error("changed to a key that nobody has seen")
	}
	if s := r.Status(); s.Segment != 1 || s.LastSeq != 2 {
		t.Errorf("the log says of it: %+v", s)
	}
}

// TestKeyChangeOverARestart: the change was ordered, the old module failed, and
// the meter was switched off. What stands in the log then could be anybody's.
func TestKeyChangeOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, small).start()
		fresh := secureelementtest.New(t, eventlog.SchemeCounter)
		r.module.FailNext(secureelementtest.Lost)
		if err := r.ChangeKey(t.Context(), fresh); err == nil {
			t.Fatal("changed without a seal of the old key")
		}
		r.close()
		r.cfg.Module = fresh
		if _, err := device.Open(t.Context(), r.cfg); !errors.Is(err, device.ErrOtherKey) {
			t.Fatalf("start with the new module before the old one has ended its segment: %v", err)
		}
		r.cfg.Module = r.module
		r.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if rec := r.record(coverOpened); rec.Segment != 1 || !rec.Sealed {
			t.Errorf("under the old key: %+v", rec)
		}
		for range 80 {
			r.record(coverOpened)
		}
		if rec := r.record(coverOpened); rec.Segment != 2 || !rec.Sealed {
			t.Errorf("in the next segment: %+v", rec)
		}
		if err := r.ChangeKey(t.Context(), fresh); err != nil {
			t.Errorf("ordered again: %v", err)
		}
		if rec := r.record(coverOpened); rec.Segment != 3 || !rec.Sealed {
			t.Errorf("under the new key: %+v", rec)
		}
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey(), fresh.PublicKey())
		want := []string{"SEGMENT", "BOOT", "KEY_CHANGE", "SEGMENT_END", "SE_FAILED", "BOOT", "KEY_CHANGE", "1/40"}
		if diff := cmp.Diff(events(list)[:len(want)], want); diff != "" {
			t.Error(diff)
		}
		if back, ok := list[6].payload.(*eventlog.KeyChange); !ok || back.Key != must(eventlog.KeyIDOf(r.module.PublicKey())) || back.Counter != 1 {
			t.Errorf("taken back by %+v", list[6].payload)
		}
	})
}

// TestChangeThatOnlyTheStateKnows has somebody write a change into meter.json
// while the meter is off, alone and together with its records in the tail. The meter obeys
// neither.
func TestChangeThatOnlyTheStateKnows(t *testing.T) {
	thief := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	id := must(eventlog.KeyIDOf(&thief.PublicKey))
	set := eventlog.NewPolicy(2, powerUp)
	for name, c := range map[string]struct {
		next  map[string]any
		event eventlog.Record
	}{
		"a key": {
			map[string]any{"key": must(x509.MarshalPKIXPublicKey(&thief.PublicKey)), "scheme": "counter"},
			eventlog.Record{Code: eventlog.CodeKeyChange, Payload: must((&eventlog.KeyChange{Key: id, Scheme: eventlog.SchemeCounter}).AppendBinary(nil))},
		},
		"a set": {
			map[string]any{"policy": set},
			eventlog.Record{Code: eventlog.CodePolicyChange, Payload: must((&eventlog.PolicyChange{New: set.Digest(), Version: 2}).AppendBinary(nil))},
		},
	} {
		for _, tail := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in the tail too: %t", name, tail), func(t *testing.T) {
				r := newRig(t, small).start()
				r.record(coverOpened)
				r.close()
				path := filepath.Join(r.cfg.Dir, "meter.json")
				var state map[string]any
				if err := json.Unmarshal(must(os.ReadFile(path)), &state); err != nil {
					t.Fatal(err)
				}
				state["next"] = c.next
				write(t, path, must(json.Marshal(state)))
				if tail {
					s := readSegments(t, r.cfg.Dir)[0]
					list := s.entries(t, false)
					last := list[len(list)-1]
					rec := c.event
					rec.Class, rec.Flags = eventlog.ClassSystem, eventlog.FlagSpecific
					rec.Seq, rec.Millis, rec.Boot, rec.Uptime = last.Seq+1, last.Millis, last.Boot, last.Uptime
					write(t, filepath.Join(r.logOf(), "00000001.seg"), must(rec.AppendBinary(s.bytes)))
				}
				r.start()
				for range 100 {
					if rec := r.record(coverOpened); !rec.Sealed {
						t.Fatalf("not sealed: %+v", rec)
					}
				}
				r.close()
				list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
				segments := readSegments(t, r.cfg.Dir)
				newest, first := segments[len(segments)-1].header, segments[0].header
				if newest.Segment < 2 || newest.Key != first.Key || newest.PolicyDigest != first.PolicyDigest || newest.PolicyVersion != 1 {
					t.Errorf("the log goes on under %+v", newest)
				}
				if n := count(list, c.event.Code); tail != (n == 2) || !tail && n > 0 {
					t.Errorf("%d records of the change", n)
				}
				if b := must(os.ReadFile(path)); bytes.Contains(b, []byte(`"next"`)) {
					t.Errorf("the state still has it: %s", b)
				}
				r.start().close() // it starts again
			})
		}
	}
}
