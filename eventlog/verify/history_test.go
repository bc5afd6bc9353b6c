package verify_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// eachScheme runs a test on a meter with 21 records, and a verifier that has
// accepted them as INTACT.
func eachScheme(t *testing.T, f func(t *testing.T, m *eventlogtest.Meter, w *world)) {
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			m := eventlogtest.New("meter", scheme)
			m.Fill(20)
			w := newWorld(t, m)
			w.intact(m.Bundle())
			f(t, m, w)
		})
	}
}

// segment is a bundle of one segment from its start, without the claim that
// its seal is the newest.
func segment(m *eventlogtest.Meter, number uint32) *eventlog.Bundle {
	return parts(m, m.Segment(number).Part(0))
}

func parts(m *eventlogtest.Meter, p ...eventlog.Part) *eventlog.Bundle {
	return &eventlog.Bundle{Meter: m.ID, Collected: m.Now.UnixMilli(), Parts: p}
}

func wantProof(t testing.TB, r *verify.Report, charge verify.Charge) {
	t.Helper()
	if r.Charge != charge || r.Proven != (charge != verify.ChargeCourier) {
		t.Errorf("%s is charged to %q, proven %t; want %q", r.Verdict, r.Charge, r.Proven, charge)
	}
}

func TestReplayedBundleIsADuplicate(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		first := m.Bundle()
		m.Fill(10)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		first.Newest = false
		for name, u := range map[string]*eventlog.Bundle{
			"older":  first,
			"same":   m.Bundle(),
			"empty":  m.BundleFrom(1, len(w.bytes[1])),
			"middle": m.BundleFrom(1, 5*eventlog.SlotSize),
			// The seal is older than the bytes that it comes with.
			"behind": parts(m, m.Open().At(len(w.bytes[1]), 2)),
		} {
			r := w.verify(u)
			wantReport(t, r, verify.Intact)
			if !r.Duplicate || len(r.Advance) > 0 {
				t.Errorf("%s: duplicate %t, %d advances", name, r.Duplicate, len(r.Advance))
			}
			if seal := eventlogtest.Decode(u.Parts[0].Seal); r.SignedLength != seal.SignedLength || r.LastSeq != seal.LastSeq {
				t.Errorf("%s: up to byte %d, record %d; the seal says %d, %d", name, r.SignedLength, r.LastSeq, seal.SignedLength, seal.LastSeq)
			}
		}
	})
}

func TestOlderPrefixSaidToBeTheNewestIsRolledBackByTheCouriersWord(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := m.Bundle()
		m.Fill(10)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))

		older.Newest, older.Collected = true, w.received.Add(time.Second).UnixMilli()
		r := w.verify(older)
		wantReport(t, r, verify.RolledBack, verify.FindClaimed)
		wantProof(t, r, verify.ChargeCourier)

		w.limits.ClockSkew = time.Minute
		wantReport(t, w.verify(older), verify.Intact)
		w.limits.ClockSkew = 0

		older.Newest = false
		wantReport(t, w.verify(older), verify.Intact)
		older.Newest, older.Collected = true, w.received.UnixMilli()
		wantReport(t, w.verify(older), verify.Intact)

		// The newest state itself is not older than itself.
		same := m.Bundle()
		same.Collected = w.received.Add(time.Hour).UnixMilli()
		wantReport(t, w.verify(same), verify.Intact)

		// Only the last part can be the newest.
		m.Rotate()
		both := parts(m, m.Segment(1).At(0, 0), m.Segment(2).Part(0))
		both.Newest, both.Collected = true, w.received.Add(time.Hour).UnixMilli()
		wantReport(t, w.verify(both), verify.Gap, verify.FindSegmentPartial)
		m.Segment(1).Log = m.Segment(1).Log[:len(w.bytes[1])]
	})
}

func TestEarlierSegmentSaidToBeTheNewestIsRolledBack(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Rotate()
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		u := segment(m, 1)
		wantReport(t, w.verify(u), verify.Intact)
		u.Newest, u.Collected = true, w.received.Add(time.Second).UnixMilli()
		wantReport(t, w.verify(u), verify.RolledBack, verify.FindClaimed)
	})
}

func TestForkIsFoundFromWhereverItIsRead(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		image := m.Clone()
		m.Fill(10)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		image.Key.Counter = m.Key.Counter
		image.Reboot()
		want := []string{verify.FindForkBytes}
		if m.Key.Scheme == eventlog.SchemeCounter {
			want = []string{verify.FindSealRemoved, verify.FindForkBytes}
		}

		// Shorter than what is known.
		wantReport(t, w.verify(image.Bundle()), verify.Forked, want...)

		// Longer, from the middle, where both still agree: that is a whole
		// string, too.
		image.Fill(40)
		wantReport(t, w.verify(image.BundleFrom(1, 6*eventlog.SlotSize)), verify.Forked, want...)
	})
}

func TestOneCounterOverTwoDigestsIsAFork(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Fill(20)
	w := newWorld(t, m)
	w.intact(m.Bundle())
	twin := m.Clone()
	m.Event(eventlogtest.Specific, 1)
	twin.Event(eventlogtest.Specific, 2)
	older := m.Open().Part(len(w.bytes[1]))
	w.intact(parts(m, older))
	m.Event(eventlogtest.Specific, 3)
	w.intact(m.BundleFrom(1, len(w.bytes[1])))

	r := w.verify(twin.Bundle())
	wantReport(t, r, verify.Forked, verify.FindForkCounter)
	wantProof(t, r, verify.ChargeMeter)
	if w.sealCalls == 0 {
		t.Error("the stored seals were not asked")
	}

	// A counter beyond that of the head cannot be on file: no need to look.
	w.sealCalls = 0
	m.Event(eventlogtest.Specific, 4)
	w.intact(m.BundleFrom(1, len(w.bytes[1])))
	if w.sealCalls > 0 {
		t.Error("the stored seals were asked for a new counter")
	}

	// The head's own counter needs no store, not even under an appended log.
	reuse := m.Clone()
	reuse.Key.Counter--
	reuse.Event(eventlogtest.Specific, 5)
	wantReport(t, w.verify(reuse.BundleFrom(1, len(w.bytes[1]))), verify.Forked, verify.FindForkCounter)

	// Without a memory of seals only the bytes speak.
	in := w.input(twin.Bundle())
	in.Known.SealAt = nil
	r, err := verify.Verify(in)
	if err != nil {
		t.Fatal(err)
	}
	wantReport(t, r, verify.Forked, verify.FindForkBytes)
}

func TestOneCounterInTwoSegmentsIsAFork(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	w := newWorld(t, m)
	m.Rotate()
	m.Open().Seals = nil
	m.Key.Counter -= 2
	m.Seal()
	wantReport(t, w.verify(m.Bundle()), verify.Forked, verify.FindForkCounter)
}

func TestCountersOfTwoKeysAreNotCompared(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Fill(30)
	w := newWorld(t, m)
	w.intact(parts(m, m.Open().At(0, 1)))
	twin := m.Clone()
	twin.Segments[0].Log = twin.Segments[0].Log[:len(w.bytes[1])]
	twin.Seq = 12
	for range 2 {
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		m.Event(eventlogtest.Specific)
	}

	// The new key's first counter is the last one of the old key.
	next := eventlogtest.NewKey("next", eventlog.SchemeCounter)
	next.Counter = m.Key.Counter + 1
	start := next.Counter
	w.register(next).StartCounter = start
	m.ChangeKey(next)
	if a, b := m.Segment(1).Seals, m.Open().Seals; a[len(a)-1].Counter != b[0].Counter {
		t.Fatalf("counters %d and %d", a[len(a)-1].Counter, b[0].Counter)
	}
	w.accept(m.BundleFrom(1, len(w.bytes[1])), verify.Intact)

	// Under the old key its own counters still tell, also those beyond the
	// new key's.
	w.heads[2].Seal.Counter = 1
	twin.Key.Counter = 3
	twin.Event(eventlogtest.Specific, 99)
	wantReport(t, w.verify(parts(twin, twin.Open().Part(0))), verify.Forked, verify.FindForkCounter)
}

func TestAnotherKeyOnASegmentThatIsKnownIsNoForkOfOneKey(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		again := eventlogtest.New("again", m.Key.Scheme)
		again.Fill(5)
		w.register(again.Key)
		r := w.verify(again.Bundle())
		wantReport(t, r, verify.RolledBack, verify.FindChain)
		wantProof(t, r, verify.ChargeMeter)
	})
}

func TestGrowingLogWithAFallingCounterIsRolledBack(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Key.Counter += 10 // room below, unused
	m.Fill(20)
	w := newWorld(t, m)
	w.accept(m.Bundle(), verify.Intact)

	t.Run("in the segment", func(t *testing.T) {
		back := m.Clone()
		back.Key.Counter = 5
		back.Event(eventlogtest.Specific)
		r := w.verify(back.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.RolledBack, verify.FindCounterBack)
		wantProof(t, r, verify.ChargeMeter)
	})
	t.Run("in the next segment", func(t *testing.T) {
		back := m.Clone()
		back.Rotate()
		back.Open().Seals = nil
		back.Key.Counter = 5
		back.Seal()
		wantReport(t, w.verify(back.BundleFrom(1, len(w.bytes[1]))), verify.RolledBack, verify.FindCounterBack)
	})
}

func TestSealsThatWereRemovedAreFound(t *testing.T) {
	t.Run("by the growth of the counter", func(t *testing.T) {
		eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
			m.Event(eventlogtest.Specific)
			m.Seal() // over the same bytes: a module that answers twice
			u := m.BundleFrom(1, len(w.bytes[1]))
			if m.Key.Scheme == eventlog.SchemeDigest {
				wantReport(t, w.verify(u), verify.Intact)
				return
			}
			wantReport(t, w.accept(u, verify.Intact), verify.Intact, verify.FindCounterGap)
			// Known from now on: said once.
			m.Event(eventlogtest.Specific)
			w.intact(m.BundleFrom(1, len(w.bytes[1])))
		})
	})
	t.Run("from the first seal on", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		m.Key.Counter = 7
		m.Event(eventlogtest.Specific)
		wantReport(t, w.verify(m.Bundle()), verify.Intact, verify.FindCounterGap)
		w.reg.Keys[0].StartCounter = 6
		w.intact(m.Bundle())
	})
	t.Run("in the next segment", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		m.Rotate()
		m.Key.Counter += 2
		m.Event(eventlogtest.Specific)
		wantReport(t, w.verify(m.Bundle()), verify.Intact, verify.FindCounterGap)
	})
	t.Run("under the next key", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		next := eventlogtest.NewKey("next", m.Key.Scheme)
		next.Counter = 100
		w.register(next).StartCounter = 100
		m.ChangeKey(next)
		m.Key.Counter += 2
		m.Event(eventlogtest.Specific)
		wantReport(t, w.verify(m.Bundle()), verify.Intact, verify.FindKeyChange, verify.FindCounterGap)
	})
	t.Run("not behind a gap, where nobody can count", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		m.Fill(20)
		m.Rotate()
		wantReport(t, w.verify(segment(m, 2)), verify.Gap, verify.FindSegmentMissing)
	})
	t.Run("the known bytes under a new counter", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		w.intact(m.Bundle())
		m.Seal()
		r := w.verify(m.Bundle())
		wantReport(t, r, verify.Intact, verify.FindResealed)
		if !r.Duplicate {
			t.Error("not a duplicate")
		}
	})
}

// begin restarts the meter and leaves BOOT without a seal.
func begin(m *eventlogtest.Meter) {
	m.Boot++
	m.Uptime = 0
	m.AppendSystem(eventlog.CodeBoot, &eventlog.Boot{Counters: m.Counters()})
}

// boot restarts the meter and lets BOOT say what the test wants.
func boot(m *eventlogtest.Meter, f func(*eventlog.Boot)) {
	m.Boot++
	m.Uptime = 0
	b := eventlog.Boot{Counters: m.Counters()}
	f(&b)
	m.System(eventlog.CodeBoot, &b)
}

func TestBootTellsOfSealsThatAreGone(t *testing.T) {
	for name, tc := range map[string]struct {
		live func(m *eventlogtest.Meter)
		want []string
	}{
		"nothing is gone": {func(m *eventlogtest.Meter) { boot(m, func(*eventlog.Boot) {}) }, nil},
		"a seal was asked for and lost in a power cut": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"the same, and again at each start": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			for range 3 {
				m.Append(m.Next(eventlogtest.Ordinary, nil))
				m.Key.Counter++
				begin(m)
			}
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"one more than that": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			for range 3 {
				m.Append(m.Next(eventlogtest.Specific, nil))
				m.Key.Counter++
				begin(m)
			}
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"a start with nothing to seal before it asks once": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Ordinary, nil))
			begin(m)
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"a start with nothing to seal before it asks no more than once": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Ordinary, nil))
			begin(m)
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"two records since the newest seal, and no start in between": {func(m *eventlogtest.Meter) {
			for range 2 {
				m.Append(m.Next(eventlogtest.Specific, nil))
				m.Key.Counter++
			}
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"ordinary records ask for nothing": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Seal()
			m.Append(m.Next(eventlogtest.Ordinary, nil))
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"events of other classes are no starts, whatever their code": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlog.Event{Class: eventlog.ClassPowerQuality, Code: eventlog.CodeBoot}, nil))
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"events of other classes excuse nothing, whatever their code": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlog.Event{Class: eventlog.ClassPowerQuality, Code: eventlog.CodeBoot}, nil))
			m.Append(m.Next(eventlog.Event{Class: eventlog.ClassPowerQuality, Code: eventlog.CodeModuleRestored}, nil))
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"a module that comes back with nothing to seal before it asks no more than once": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.Counters()})
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindModuleRestored, verify.FindSealRemoved, verify.FindCounterGap}},
		"starts before the newest seal excuse nothing": {func(m *eventlogtest.Meter) {
			for range 3 {
				begin(m)
			}
			m.Event(eventlogtest.Specific)
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"the newest seal slot was torn": {func(m *eventlogtest.Meter) {
			m.Event(eventlogtest.Specific)
			m.Event(eventlogtest.Specific)
			seals := &m.Open().Seals
			*seals = (*seals)[:len(*seals)-1]
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"an image was restored": {func(m *eventlogtest.Meter) {
			m.Event(eventlogtest.Specific)
			image := m.Clone()
			m.Event(eventlogtest.Specific)
			m.Event(eventlogtest.Specific)
			image.Key.Counter = m.Key.Counter
			*m = *image
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"an image was restored, and uncovered records do not excuse it": {func(m *eventlogtest.Meter) {
			// Two records share a seal, so the growth alone proves nothing.
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Event(eventlogtest.Specific)
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"the newest seal is older than at the boot before": {func(m *eventlogtest.Meter) {
			m.Event(eventlogtest.Specific)
			older := m.Counters()
			m.Event(eventlogtest.Specific)
			boot(m, func(*eventlog.Boot) {})
			boot(m, func(b *eventlog.Boot) { b.SealLength, b.SealCounter = older.SealLength, older.SealCounter })
		}, []string{verify.FindSealRemoved}},
		"the module was down at the start": {func(m *eventlogtest.Meter) {
			m.Key.Counter += 3
			boot(m, func(b *eventlog.Boot) { b.ModuleUp, b.ModuleCounter = false, 9 })
		}, []string{verify.FindCounterGap}},
		"a seal counter without a seal excuses nothing": {func(m *eventlogtest.Meter) {
			m.Key.Counter += 2
			boot(m, func(b *eventlog.Boot) { b.SealLength, b.SealCounter = 0, b.ModuleCounter })
		}, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"the module's counter went back": {func(m *eventlogtest.Meter) {
			boot(m, func(b *eventlog.Boot) { b.ModuleCounter = 0 })
		}, nil},
		"a module that comes back tells it, too": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailTimeout})
			m.Key.Counter += 2
			m.System(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.Counters()})
		}, []string{verify.FindModuleFailed, verify.FindModuleRestored, verify.FindSealRemoved, verify.FindCounterGap}},
		"a seal of the segment before": {func(m *eventlogtest.Meter) {
			m.Rotate()
			m.Open().Seals = nil // made, and lost in a power cut
			boot(m, func(*eventlog.Boot) {})
		}, nil},
		"a seal of the segment before, and one more that is gone": {func(m *eventlogtest.Meter) {
			m.Rotate()
			m.Event(eventlogtest.Specific)
			m.Open().Seals = nil
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"a seal of the segment before, at a length that this one has, too": {func(m *eventlogtest.Meter) {
			m.Rotate()
			m.Open().Seals = nil
			for range 100 {
				m.Append(m.Next(eventlogtest.Ordinary, nil))
			}
			boot(m, func(b *eventlog.Boot) { b.SealLength = uint64(len(m.Segment(1).Log)) })
		}, nil},
		"an older seal than that which ended the segment before": {func(m *eventlogtest.Meter) {
			older := m.Counters()
			m.Rotate()
			boot(m, func(b *eventlog.Boot) { b.SealLength, b.SealCounter = 0, older.SealCounter })
		}, []string{verify.FindSealRemoved}},
		"a late answer of the module is one seal of its record": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter++
			m.AppendSystem(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailTimeout})
			m.System(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.Counters()})
		}, []string{verify.FindModuleFailed, verify.FindModuleRestored}},
	} {
		t.Run(name, func(t *testing.T) {
			m := eventlogtest.New("meter", eventlog.SchemeCounter)
			m.Fill(20)
			w := newWorld(t, m)
			w.intact(m.Bundle())
			tc.live(m)
			wantReport(t, w.verify(m.BundleFrom(1, len(w.bytes[1]))), verify.Intact, tc.want...)
			wantReport(t, newWorld(t, m).verify(m.Bundle()), verify.Intact, tc.want...)
		})
	}
}

// TestInterruptedFirstStarts: a first start that is cut off may have cost a
// signature, and leaves no log. The BOOT of the one that succeeds says how many
// there were.
func TestInterruptedFirstStarts(t *testing.T) {
	removed := []string{verify.FindSealRemoved}
	both := []string{verify.FindSealRemoved, verify.FindCounterGap}
	events := func(m *eventlogtest.Meter) { m.Fill(3) }
	for name, tc := range map[string]struct {
		start, signed uint64 // at enrolment; when the log was begun
		live          func(m *eventlogtest.Meter)
		want          []string
	}{
		"none":                              {0, 0, events, nil},
		"one":                               {0, 1, events, nil},
		"several":                           {0, 5, events, nil},
		"as many as may be":                 {0, eventlog.MaxFirstStarts, events, nil},
		"one more":                          {0, eventlog.MaxFirstStarts + 1, events, both},
		"after others knew the key":         {100, 100 + eventlog.MaxFirstStarts, events, nil},
		"the same, and one more":            {100, 101 + eventlog.MaxFirstStarts, events, both},
		"before the meter was enrolled":     {4, 3, events, nil},
		"all before the meter was enrolled": {3, 3, events, nil},
		"the first seal was lost, the next one came": {0, 5, func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Specific, nil))
			m.Key.Counter++
		}, nil},
		"the header was not there to be sealed": {0, 5, func(m *eventlogtest.Meter) { m.Key.Counter += 2 }, []string{verify.FindCounterGap}},
		"then a start that lost its seal":       {0, 5, func(m *eventlogtest.Meter) { m.Key.Counter++; begin(m) }, nil},
		"then a start that lost two":            {0, 5, func(m *eventlogtest.Meter) { m.Key.Counter += 2; begin(m) }, removed},
	} {
		t.Run(name, func(t *testing.T) {
			m, w := newborn(t, tc.signed)
			w.reg.Keys[0].StartCounter = tc.start
			begin(m)
			tc.live(m)
			m.Event(eventlogtest.Specific)
			wantReport(t, w.verify(m.Bundle()), verify.Intact, tc.want...)
		})
	}
}

// TestOnlyTheVeryFirstBootTellsOfFirstStarts: whatever else states a counter is
// compared with what the log explains.
func TestOnlyTheVeryFirstBootTellsOfFirstStarts(t *testing.T) {
	for name, tc := range map[string]struct {
		live func(m *eventlogtest.Meter)
		want []string
	}{
		"a BOOT behind another record": {func(m *eventlogtest.Meter) {
			m.Append(m.Next(eventlogtest.Ordinary, nil))
			begin(m)
		}, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"SE_RESTORED in its place": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.Counters()})
		}, []string{verify.FindModuleRestored, verify.FindSealRemoved, verify.FindCounterGap}},
		"a BOOT that tells of a seal": {func(m *eventlogtest.Meter) {
			boot(m, func(b *eventlog.Boot) { b.SealCounter = b.ModuleCounter })
		}, []string{verify.FindSealRemoved, verify.FindCounterGap}},
	} {
		t.Run(name, func(t *testing.T) {
			m, w := newborn(t, 5)
			tc.live(m)
			m.Seal()
			wantReport(t, w.verify(m.Bundle()), verify.Intact, tc.want...)
		})
	}
	t.Run("the BOOT of a later segment", func(t *testing.T) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		w := newWorld(t, m)
		next := eventlogtest.NewKey("next", m.Key.Scheme)
		w.register(next)
		m.ChangeKey(next)
		m.Open().Seals = nil
		m.Key.Counter = 5
		boot(m, func(b *eventlog.Boot) { b.SealCounter, b.SealLength = 0, 0 })
		wantReport(t, w.verify(m.Bundle()), verify.Intact, verify.FindKeyChange, verify.FindSealRemoved, verify.FindCounterGap)
	})
}

// newborn returns a meter with nothing but the header of segment 1, and no
// seal, whose secure element has signed so often, and an MDMS that knows it.
func newborn(t testing.TB, signed uint64) (*eventlogtest.Meter, *world) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Segments, m.Seq, m.Key.Counter = nil, 1, signed
	m.Begin(1, 0, eventlog.Digest{})
	return m, newWorld(t, m)
}

func TestSealOlderThanTheKnownOneIsARollbackMadeVisible(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Fill(20)
	w := newWorld(t, m)
	w.intact(m.Bundle())
	known := m.Counters()
	for name, tc := range map[string]struct {
		counter, length uint64
		want            []string
	}{
		"the known one":                {known.SealCounter, known.SealLength, nil},
		"an older one":                 {known.SealCounter - 1, 832, []string{verify.FindSealRemoved}},
		"none":                         {0, 0, []string{verify.FindSealRemoved}},
		"one of the segment before":    {known.SealCounter, 0, []string{verify.FindSealRemoved}},
		"a higher counter, less bytes": {known.SealCounter + 1, 832, []string{verify.FindSealRemoved}},
		"more bytes than there are":    {known.SealCounter + 1, 1 << 40, nil},
	} {
		live := m.Clone()
		boot(live, func(b *eventlog.Boot) { b.SealCounter, b.SealLength = tc.counter, tc.length })
		t.Log(name)
		wantReport(t, w.verify(live.BundleFrom(1, len(w.bytes[1]))), verify.Intact, tc.want...)
	}
}

func TestSealOfBytesThatDoNotExistExcusesNothing(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Fill(20)
	for range 5 {
		m.Append(m.Next(eventlogtest.Specific, nil))
	}
	m.Key.Counter += 5
	boot(m, func(b *eventlog.Boot) { b.SealCounter, b.SealLength = b.ModuleCounter, 1<<40 })
	wantReport(t, newWorld(t, m).verify(m.Bundle()), verify.Intact, verify.FindSealRemoved)
}

func TestStartThatIsNotMarkedIsNoEndOfTheCount(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	c := eventlog.Boot{Counters: m.Counters()}
	payload, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Next(eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeBoot}, payload)
	r.Flags = 0
	m.Append(r)
	m.Seal()
	wantReport(t, newWorld(t, m).verify(m.Bundle()), verify.PolicyMismatch, verify.FindPolicy)
}

func TestFirstSealsOfAKeyAreCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		start uint64
		live  func(m *eventlogtest.Meter)
		want  []string
	}{
		"nothing is gone":                   {0, func(*eventlogtest.Meter) {}, nil},
		"one power cut":                     {0, func(m *eventlogtest.Meter) { m.Key.Counter++ }, nil},
		"more than power cuts explain":      {0, func(m *eventlogtest.Meter) { m.Key.Counter += 17 }, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"the key began with a higher count": {1, func(m *eventlogtest.Meter) { m.Key.Counter += 17 }, nil},
	} {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		m.Open().Seals, m.Key.Counter = nil, 0
		tc.live(m)
		boot(m, func(*eventlog.Boot) {})
		if tc.want != nil {
			m.Seal() // so that the growth shows it, too
		}
		w := newWorld(t, m)
		w.reg.Keys[0].StartCounter = tc.start
		t.Log(name)
		wantReport(t, w.verify(m.Bundle()), verify.Intact, tc.want...)
	}
}

func TestNewKeyIsCountedFromItsAnnouncement(t *testing.T) {
	for name, tc := range map[string]struct {
		enrolled, announced, module uint64
		want                        []string
	}{
		"announced as enrolled":       {40, 40, 41, nil},
		"announced later":             {30, 40, 41, nil},
		"enrolled later":              {40, 30, 41, nil},
		"more than announced":         {30, 40, 42, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"more than enrolled":          {40, 30, 42, []string{verify.FindSealRemoved, verify.FindCounterGap}},
		"announced higher than it is": {30, 50, 42, nil},
	} {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		m.Fill(20)
		w := newWorld(t, m)
		next := eventlogtest.NewKey("next", eventlog.SchemeCounter)
		next.Counter = tc.announced
		w.register(next).StartCounter = tc.enrolled
		m.ChangeKey(next)
		m.Open().Seals = nil
		next.Counter = tc.module
		// The newest seal is still one of the old key: its counter says nothing.
		boot(m, func(*eventlog.Boot) {})
		t.Log(name)
		wantReport(t, w.verify(m.Bundle()), verify.Intact, append([]string{verify.FindKeyChange}, tc.want...)...)
		// The same when the old key's segment was known before.
		w.accept(parts(m, m.Segment(1).Part(0)), verify.Intact)
		wantReport(t, w.verify(segment(m, 2)), verify.Intact, tc.want...)
	}
}

func TestDamageIsNoExcuseForSealsThatAreGone(t *testing.T) {
	live := func(f func(m *eventlogtest.Meter), change func(*eventlog.LogDamaged)) (*world, *eventlog.Bundle) {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		m.Fill(20)
		w := newWorld(t, m)
		w.intact(m.Bundle())
		s := m.Open()
		m.Append(m.Next(eventlogtest.Specific, nil))
		d := eventlog.LogDamaged{
			Segment: 1, Found: uint64(len(s.Log)), Verifiable: s.Seals[2].SignedLength, Digest: s.Seals[2].Digest, Counters: m.Counters(),
		}
		d.ModuleCounter++
		m.Key.Counter++
		change(&d)
		m.Boot++
		m.Uptime = 0
		m.Begin(2, d.Verifiable, d.Digest)
		m.AppendSystem(eventlog.CodeLogDamaged, &d)
		f(m)
		return w, segment(m, 2)
	}
	same := func(*eventlog.LogDamaged) {}
	booted := func(up bool, counters ...uint64) func(m *eventlogtest.Meter) {
		return func(m *eventlogtest.Meter) {
			c := m.Counters() // those of the damaged segment, as in LOG_DAMAGED
			c.SealLength = m.Segment(1).Seals[2].SignedLength
			for i, n := range counters {
				m.Key.Counter = n
				c.ModuleUp, c.ModuleCounter = up || i > 0, n
				m.AppendSystem(eventlog.CodeBoot, &eventlog.Boot{Counters: c})
			}
			m.Seal()
		}
	}
	damaged := []string{verify.FindDamaged, verify.FindSegmentPartial}
	removed := []string{verify.FindSealRemoved, verify.FindDamaged, verify.FindSegmentPartial}
	later := []string{verify.FindDamaged, verify.FindSealRemoved, verify.FindSegmentPartial}
	for name, tc := range map[string]struct {
		live   func(m *eventlogtest.Meter)
		change func(*eventlog.LogDamaged)
		want   []string
	}{
		"nothing is gone":            {booted(true, 4), same, damaged},
		"no seal is left":            {booted(true, 4), func(d *eventlog.LogDamaged) { d.SealCounter, d.SealLength = 0, 0 }, damaged},
		"more signatures than slots": {booted(true, 5), func(d *eventlog.LogDamaged) { d.ModuleCounter++ }, removed},
		"more than the slots since a newer seal": {booted(true, 5), func(d *eventlog.LogDamaged) {
			d.ModuleCounter, d.SealCounter, d.SealLength = 5, 4, d.Found
		}, removed},
		"as many as slots since a newer seal": {booted(true, 4), func(d *eventlog.LogDamaged) {
			d.SealCounter, d.SealLength = 4, d.Found
		}, damaged},
		"a newer seal, and nothing since": {booted(true, 9), func(d *eventlog.LogDamaged) {
			d.ModuleCounter, d.SealCounter, d.SealLength = 9, 9, d.Found
		}, damaged},
		"less bytes than are known":               {booted(true, 4), func(d *eventlog.LogDamaged) { d.Found = 1472 - 64; d.ModuleCounter = 3 }, removed},
		"another segment is damaged":              {booted(true, 9), func(d *eventlog.LogDamaged) { d.Segment, d.ModuleCounter = 9, 9 }, damaged},
		"a start after it asks once":              {booted(true, 4, 5), same, damaged},
		"a start after it asks no more than once": {booted(true, 4, 6), same, later},
		"more than LOG_DAMAGED says":              {booted(true, 5), same, later},
		"the module was down":                     {booted(false, 0, 9, 10), func(d *eventlog.LogDamaged) { d.ModuleUp, d.ModuleCounter = false, 0 }, damaged},
		"the module was down, then more than a start asks for": {booted(false, 0, 9, 11), func(d *eventlog.LogDamaged) {
			d.ModuleUp, d.ModuleCounter = false, 0
		}, later},
		"seals of the new segment": {func(m *eventlogtest.Meter) {
			booted(true, 4)(m)
			m.Fill(20)
			boot(m, func(*eventlog.Boot) {})
		}, same, damaged},
		"seals of the new segment, one is gone": {func(m *eventlogtest.Meter) {
			booted(true, 4)(m)
			m.Fill(20)
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, same, later},
	} {
		w, u := live(tc.live, tc.change)
		t.Log(name)
		wantReport(t, w.verify(u), verify.Gap, tc.want...)
	}

	// The key is another one than that of the damaged segment: its counter
	// has nothing to do with the seals there.
	w, u := live(booted(true, 4), func(d *eventlog.LogDamaged) { d.ModuleCounter = 9 })
	w.heads[1].Header.Key[0]++
	wantReport(t, w.verify(u), verify.Gap, verify.FindDamaged, verify.FindSegmentPartial)

	// Nothing is known of the damaged segment.
	w.forgetAll = true
	wantReport(t, w.verify(u), verify.Gap, verify.FindDamaged, verify.FindSegmentMissing)

	// In scheme digest nothing is counted.
	m := eventlogtest.New("meter", eventlog.SchemeDigest)
	m.Fill(20)
	w = newWorld(t, m)
	w.intact(m.Bundle())
	d := eventlog.LogDamaged{Segment: 1, Found: 192, Verifiable: 192, Digest: m.Open().Digest(192), Counters: m.Counters()}
	m.Begin(2, d.Verifiable, d.Digest)
	m.System(eventlog.CodeLogDamaged, &d)
	wantReport(t, w.verify(segment(m, 2)), verify.Gap, verify.FindDamaged, verify.FindSegmentPartial)
}

func TestCountersBehindAGapAreThoseThatTheMeterStates(t *testing.T) {
	for name, tc := range map[string]struct {
		live func(m *eventlogtest.Meter)
		want []string
	}{
		"nothing is gone": {func(m *eventlogtest.Meter) { boot(m, func(*eventlog.Boot) {}) }, nil},
		"a seal is gone": {func(m *eventlogtest.Meter) {
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"no seal yet: the first answer is believed, the next one is not": {func(m *eventlogtest.Meter) {
			m.Open().Seals = nil
			m.Key.Counter += 7
			begin(m)
			m.Key.Counter += 2
			boot(m, func(*eventlog.Boot) {})
		}, []string{verify.FindSealRemoved}},
		"no seal yet: one signature is asked for after the first answer": {func(m *eventlogtest.Meter) {
			m.Open().Seals = nil
			m.Key.Counter += 7
			begin(m)
			m.Key.Counter++
			boot(m, func(*eventlog.Boot) {})
		}, nil},
	} {
		m := eventlogtest.New("meter", eventlog.SchemeCounter)
		m.Fill(20)
		m.Rotate()
		tc.live(m)
		t.Log(name)
		want := append(tc.want, verify.FindSegmentMissing)
		wantReport(t, newWorld(t, m).verify(segment(m, 2)), verify.Gap, want...)
	}
}

func TestBootWhereNobodyCanCountIsNoFinding(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Fill(20)
	m.Rotate()
	boot(m, func(b *eventlog.Boot) { b.SealLength, b.SealCounter = 0, 0 })
	wantReport(t, newWorld(t, m).verify(segment(m, 2)), verify.Gap, verify.FindSegmentMissing)

	m = eventlogtest.New("meter", eventlog.SchemeDigest)
	boot(m, func(b *eventlog.Boot) { b.ModuleCounter = 99 })
	newWorld(t, m).intact(m.Bundle())
}

func TestAPinnedHeadMustBeContained(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := m.Bundle()
		m.Fill(10)
		newest := m.Bundle()
		pin, err := verify.Pin(&w.reg, newest.Parts[0].Seal)
		if err != nil {
			t.Fatal(err)
		}
		twin := eventlogtest.New("meter", m.Key.Scheme)
		twin.Fill(60)
		twin.Rotate()
		m.Rotate()
		for name, tc := range map[string]struct {
			bundle *eventlog.Bundle
			want   cell
		}{
			"the log that the seal is of":    {newest, is(verify.Intact)},
			"a longer one":                   {m.Bundle(), is(verify.Intact)},
			"the segment alone":              {segment(m, 1), is(verify.Intact)},
			"an older one":                   {older, is(verify.RolledBack, verify.FindHeadLost)},
			"another longer one":             {segment(twin, 1), is(verify.RolledBack, verify.FindHeadLost)},
			"another one with more segments": {twin.Bundle(), is(verify.RolledBack, verify.FindHeadLost)},
			"a later segment without it":     {segment(m, 2), is(verify.Gap, verify.FindSegmentMissing)},
			"only new bytes, which need all": {m.BundleFrom(1, int(pin.Length)), is(verify.Incomplete, verify.FindMissing)},
		} {
			in := w.input(tc.bundle)
			in.Known = verify.Known{Head: pin}
			r, err := verify.Verify(in)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(name)
			wantReport(t, r, tc.want.verdict, tc.want.findings...)
			if r.Verdict == verify.RolledBack {
				wantProof(t, r, verify.ChargeCourier)
			}
		}

		// A pin in a later segment than anything that is shown.
		pin2, err := verify.Pin(&w.reg, m.Segment(2).Part(0).Seal)
		if err != nil {
			t.Fatal(err)
		}
		in := w.input(segment(m, 1))
		in.Known = verify.Known{Head: pin2}
		r, err := verify.Verify(in)
		if err != nil {
			t.Fatal(err)
		}
		wantReport(t, r, verify.RolledBack, verify.FindHeadLost)
		in.Bundle = m.Bundle()
		if r, err = verify.Verify(in); err != nil {
			t.Fatal(err)
		}
		wantReport(t, r, verify.Intact)

		// A pin beside a memory that fails.
		in = w.input(parts(m, m.Segment(1).Part(len(w.bytes[1]))))
		in.Known.Head = pin
		w.bytesErr = errStore
		if r, err := verify.Verify(in); !errors.Is(err, errStore) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestPinRefusesWhatNoRegisteredKeySealed(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	other := eventlogtest.New("other", eventlog.SchemeCounter)
	w := newWorld(t, m)
	if _, err := verify.Pin(&w.reg, other.Bundle().Parts[0].Seal); err == nil {
		t.Error("the seal of another meter is a pin")
	}
	if _, err := verify.Pin(&w.reg, []byte("seal")); !errors.Is(err, eventlog.ErrSeal) {
		t.Errorf("garbage is a pin: %v", err)
	}
	got, err := verify.Pin(&w.reg, m.Bundle().Parts[0].Seal)
	if err != nil {
		t.Fatal(err)
	}
	s := m.Open()
	want := &verify.Head{
		Header: eventlog.Header{Meter: m.ID, Segment: 1, Key: m.Key.ID, Scheme: m.Key.Scheme},
		Length: uint64(len(s.Log)), Digest: s.Digest(len(s.Log)), LastSeq: 1, Seal: s.Seals[0],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
