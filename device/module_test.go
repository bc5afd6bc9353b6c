package device_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

func TestPathFromEventToSeal(t *testing.T) {
	r := newRig(t).start()
	r.steps = nil
	r.record(powerUp)
	rec := r.record(coverOpened)
	if !rec.Specific || !rec.Sealed {
		t.Fatalf("got %+v", rec)
	}
	r.close()
	log := readSegments(t, r.cfg.Dir)[0].bytes
	digest := eventlog.Digest(sha256.Sum256(log))
	_, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
	var got []string
	for _, s := range r.stepsSoFar() {
		switch s := s.(type) {
		case *device.Appended:
			got = append(got, "appended "+s.Record.Event().String())
		case *device.Digested:
			got = append(got, "digested")
			if s.Digest != digest || s.Length != uint64(len(log)) || s.LastSeq != rec.Seq {
				t.Errorf("digest %v over %d bytes up to %d; the file has %v over %d", s.Digest, s.Length, s.LastSeq, digest, len(log))
			}
		case *device.Sealed:
			got = append(got, "sealed")
			if s.Seal != seal {
				t.Errorf("the seal on disk is %+v, not %+v", seal, s.Seal)
			}
		}
	}
	if diff := cmp.Diff(got, []string{"appended 0/2", "appended 1/40", "digested", "sealed"}); diff != "" {
		t.Error(diff)
	}
}

func TestOrdinaryEventAsksForNoSignature(t *testing.T) {
	r := newRig(t).start()
	r.record(coverOpened)
	_, before := audit(t, r.cfg.Dir, r.module.PublicKey())
	signs := r.module.Signs()
	rec := r.record(powerUp)
	if rec.Specific || rec.Sealed {
		t.Errorf("got %+v", rec)
	}
	r.close()
	if _, after := audit(t, r.cfg.Dir, r.module.PublicKey()); after != before || r.module.Signs() != signs {
		t.Errorf("%d signatures, seal %+v", r.module.Signs()-signs, after)
	}
}

func TestEveryEventIsSpecificUnderTheEmptySet(t *testing.T) {
	r := newRig(t, func(c *device.Config) { c.Policy = eventlog.Policy{} }).start()
	if rec := r.record(powerUp); !rec.Specific || !rec.Sealed {
		t.Errorf("got %+v", rec)
	}
}

func TestDigestScheme(t *testing.T) {
	r := newRig(t)
	r.module = secureelementtest.New(t, eventlog.SchemeDigest)
	r.cfg.Module = r.module
	r.start()
	if rec := r.record(coverOpened); !rec.Sealed {
		t.Errorf("got %+v", rec)
	}
	r.close()
	if _, seal := audit(t, r.cfg.Dir, r.module.PublicKey()); seal.Scheme != eventlog.SchemeDigest || seal.Counter != 0 {
		t.Errorf("seal %+v", seal)
	}
}

// TestModuleFails takes the module through each of its faults: nothing is
// lost, nothing blocks, one SE_FAILED, and when the module is back SE_RESTORED
// and a seal over all.
func TestModuleFails(t *testing.T) {
	cases := map[string]struct {
		fault  secureelementtest.Fault
		reason eventlog.FailReason
	}{
		"dead":               {secureelementtest.Dead, eventlog.FailUnavailable},
		"hung":               {secureelementtest.Hung, eventlog.FailTimeout},
		"another key":        {secureelementtest.Swapped, eventlog.FailRefused},
		"counter stuck":      {secureelementtest.Stuck, eventlog.FailRefused},
		"dies after signing": {secureelementtest.Lost, eventlog.FailUnavailable},
		"answers late":       {secureelementtest.Late, eventlog.FailTimeout},
		"answers twice":      {secureelementtest.Twice, eventlog.FailSignature},
		"answers garbled":    {secureelementtest.Garbled, eventlog.FailSignature},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, brisk).start()
				r.record(coverOpened) // so that there is an answer to give twice
				r.module.Fail(c.fault)
				began := time.Now()
				first := r.record(coverOpened)
				if took := time.Since(began); first.Sealed || took > 2*time.Second {
					t.Errorf("sealed %t after %v", first.Sealed, took)
				}
				synctest.Wait()
				began = time.Now()
				for range 20 {
					if rec := r.record(coverOpened); rec.Sealed {
						t.Error("sealed while the module is down")
					}
				}
				r.record(powerUp)
				if took := time.Since(began); took != 0 {
					t.Errorf("records wait %v for a module that is known to be down", took)
				}
				if h := r.Status().Health; h != eventlog.HealthDown {
					t.Errorf("health %v", h)
				}
				r.module.Fail(secureelementtest.None)
				time.Sleep(6 * time.Second) // a probe comes every 5 s
				synctest.Wait()
				if h := r.Status().Health; h != eventlog.HealthUp {
					t.Errorf("health %v when the module is back", h)
				}
				if rec := r.record(coverOpened); !rec.Sealed {
					t.Error("not sealed when the module is back")
				}
				r.close()

				list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
				if seal.LastSeq != list[len(list)-1].Seq {
					t.Errorf("sealed to %d of %d", seal.LastSeq, list[len(list)-1].Seq)
				}
				if f := find[*eventlog.ModuleFailed](t, list); f.Reason != c.reason {
					t.Errorf("SE_FAILED says %d, want %d", f.Reason, c.reason)
				}
				back := find[*eventlog.ModuleRestored](t, list)
				if !back.ModuleUp || back.SealCounter != 2 {
					t.Errorf("SE_RESTORED says %+v", back)
				}
				if n := count(list, eventlog.CodeModuleFailed); n != count(list, eventlog.CodeModuleRestored) || n > 2 {
					t.Errorf("%d SE_FAILED, %d SE_RESTORED", n, count(list, eventlog.CodeModuleRestored))
				}
				if n := specifics(list) - 1; r.module.Signs() > n { // the header was never asked for alone
					t.Errorf("%d signatures asked for %d specific records", r.module.Signs(), n)
				}
				checkDownFlags(t, list)
			})
		})
	}
}

// checkDownFlags checks that the records from SE_FAILED until SE_RESTORED, and
// no others, say that the module was not available.
func checkDownFlags(t *testing.T, list []entry) {
	t.Helper()
	down := false
	for _, e := range list {
		switch e.payload.(type) {
		case *eventlog.ModuleFailed:
			down = true
		case *eventlog.ModuleRestored:
			down = false
		}
		if flagged := e.Flags&eventlog.FlagModuleDown != 0; flagged != down {
			t.Errorf("record %d, %v: module down %t", e.Seq, e.Event(), flagged)
		}
	}
}

func TestModuleThatFailsOnceMakesNoFork(t *testing.T) {
	for name, fault := range map[string]secureelementtest.Fault{
		"lost": secureelementtest.Lost, "late": secureelementtest.Late, "twice": secureelementtest.Twice, "garbled": secureelementtest.Garbled,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, brisk).start()
				r.record(coverOpened)
				r.module.FailNext(fault)
				lost := r.record(coverOpened)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				r.close()
				list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
				if lost.Sealed || seal.LastSeq != list[len(list)-1].Seq {
					t.Errorf("%+v, sealed to %d of %d", lost, seal.LastSeq, list[len(list)-1].Seq)
				}
				if diff := cmp.Diff(events(list)[3:], []string{"1/40", "SE_FAILED", "SE_RESTORED"}); diff != "" {
					t.Error(diff)
				}
				if seal.Counter != 4 { // BOOT, 1/40, the lost one, SE_RESTORED
					t.Errorf("counter %d", seal.Counter)
				}
			})
		})
	}
}

// TestModuleWantsRest: a rate limit is no failure.
func TestModuleWantsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.module.FailNext(secureelementtest.Limited)
		began := time.Now()
		if rec := r.record(coverOpened); !rec.Sealed {
			t.Error("not sealed after the rest")
		}
		if rested := time.Since(began); rested < time.Second {
			t.Errorf("the module was asked again after %v", rested)
		}
		r.module.FailNext(secureelementtest.Limited)
		done := make(chan device.Recorded)
		go func() { done <- r.record(coverOpened) }()
		synctest.Wait()
		if rec := r.record(coverOpened); !rec.Sealed || !(<-done).Sealed {
			t.Error("not sealed after the rest")
		}
		r.told("1/40", "SE_RESTORED", "1/40", "1/40") // the later event needs no record of its own
	})
}

func TestModuleIsProbedWithoutCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.module.Fail(secureelementtest.Dead)
		r.record(coverOpened)
		signs, infos := r.module.Signs(), r.module.Infos()
		time.Sleep(time.Minute)
		if n := r.module.Infos() - infos; n < 10 || n > 13 {
			t.Errorf("%d probes in a minute", n)
		}
		if n := r.module.Signs() - signs; n != 0 {
			t.Errorf("%d signatures asked of a dead module", n)
		}
		r.close()
	})
}

func TestModuleDownAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.record(coverOpened)
		r.close()
		r.module.Fail(secureelementtest.Dead)
		r.start()
		if rec := r.record(coverOpened); rec.Sealed {
			t.Error("sealed without a module")
		}
		r.close()
		r.start() // again, with a tail that no seal covers
		r.module.Fail(secureelementtest.None)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		r.close()
		list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
		want := []string{"SEGMENT", "BOOT", "1/40", "BOOT", "SE_FAILED", "1/40", "BOOT", "SE_FAILED", "SE_RESTORED"}
		if diff := cmp.Diff(events(list), want); diff != "" {
			t.Error(diff)
		}
		if b := find[*eventlog.Boot](t, list); b.ModuleUp || b.ModuleCounter != 0 || b.SealCounter != 2 {
			t.Errorf("BOOT says %+v", b)
		}
		if seal.LastSeq != list[len(list)-1].Seq {
			t.Errorf("sealed to %d", seal.LastSeq)
		}
	})
}

func TestRecordEndsByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).start()
		r.module.Fail(secureelementtest.Hung)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		rec, err := r.Record(ctx, coverOpened, nil)
		if err != nil || rec.Sealed || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%+v, %v after %v", rec, err, time.Since(began))
		}
		r.close()
		if list, _ := audit(t, r.cfg.Dir, r.module.PublicKey()); list[2].Seq != rec.Seq || list[2].Event() != coverOpened {
			t.Errorf("recorded as %d: %v", rec.Seq, events(list))
		}
	})
}

func TestRecordRefuses(t *testing.T) {
	r := newRig(t).start()
	length := r.Status().Length
	boot := eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeBoot}
	if _, err := r.Record(t.Context(), boot, make([]byte, 29)); !errors.Is(err, device.ErrSystemEvent) {
		t.Errorf("BOOT from outside: %v", err)
	}
	if _, err := r.Record(t.Context(), coverOpened, make([]byte, eventlog.MaxPayload+1)); err == nil {
		t.Error("a payload that fits no record was taken")
	}
	if now := r.Status().Length; now != length {
		t.Errorf("the log grew by %d bytes", now-length)
	}
	if rec, err := r.Record(t.Context(), coverOpened, make([]byte, eventlog.MaxPayload)); err != nil || !rec.Sealed {
		t.Errorf("the largest payload: %+v, %v", rec, err)
	}
	periodic := eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodePeriodicSeal}
	if rec, err := r.Record(t.Context(), periodic, nil); err != nil || !rec.Sealed {
		t.Errorf("a seal on demand: %+v, %v", rec, err)
	}
}

// TestConcurrentRecordsShareSeals: each Record returns with its own seal, but
// not every one costs a signature.
func TestConcurrentRecordsShareSeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *device.Config) { c.FloodBurst, c.Module = 10_000, slow{c.Module} }).start()
		const writers, each = 16, 10
		var wg sync.WaitGroup
		var mu sync.Mutex
		var seqs []uint32
		for range writers {
			wg.Go(func() {
				for range each {
					rec, err := r.Record(t.Context(), coverOpened, nil)
					if err != nil || !rec.Sealed {
						t.Errorf("%+v, %v", rec, err)
					}
					mu.Lock()
					seqs = append(seqs, rec.Seq)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		r.close()
		slices.Sort(seqs)
		if got := len(slices.Compact(seqs)); got != writers*each {
			t.Errorf("%d records for %d events", got, writers*each)
		}
		list, seal := audit(t, r.cfg.Dir, r.module.PublicKey())
		if seal.LastSeq != list[len(list)-1].Seq {
			t.Errorf("sealed to %d of %d", seal.LastSeq, list[len(list)-1].Seq)
		}
		// While one signature is made, each of the others has time to record.
		if n := r.module.Signs(); n > 2+2*each {
			t.Errorf("%d signatures for %d events", n, writers*each)
		}
	})
}
