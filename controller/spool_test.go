package controller_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// bundle makes a bundle of n log bytes of a meter, told from others by its
// collection time.
func bundle(meter byte, n int, collected int64) *eventlog.Bundle {
	b := &eventlog.Bundle{Collected: collected, Parts: []eventlog.Part{{Segment: 1, Offset: uint64(collected) * 64, Log: make([]byte, n)}}}
	b.Meter = eventlog.MeterID([]byte(fmt.Sprintf("\x00\x00%cMS%010d", meter, meter)))
	return b
}

func open(t testing.TB, c controller.SpoolConfig) *controller.Spool {
	t.Helper()
	s, err := controller.OpenSpool(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *controller.Spool, b *eventlog.Bundle) controller.Entry {
	t.Helper()
	e, err := s.Put(0, b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// content returns the collection times of the bundles that wait, in order.
func content(t testing.TB, s *controller.Spool) (out []int64) {
	t.Helper()
	for _, e := range s.Waiting() {
		data, err := s.Read(e)
		if err != nil {
			t.Fatal(err)
		}
		var b eventlog.Bundle
		if err := b.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.Collected)
	}
	return out
}

func TestSpoolKeepsBundlesInOrderOverARestart(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "spool")} {
		s := open(t, controller.SpoolConfig{Dir: dir})
		first := put(t, s, bundle(1, 100, 1))
		put(t, s, bundle(2, 100, 2))
		put(t, s, bundle(1, 100, 3))
		if err := s.Remove(first); err != nil {
			t.Fatal(err)
		}
		if dir != "" {
			before := s.Waiting()
			s = open(t, controller.SpoolConfig{Dir: dir})
			if d := cmp.Diff(before, s.Waiting(), cmpopts.IgnoreUnexported(controller.Entry{})); d != "" {
				t.Error(d)
			}
		}
		put(t, s, bundle(3, 100, 4))
		if d := cmp.Diff([]int64{2, 3, 4}, content(t, s)); d != "" {
			t.Errorf("dir %q: %s", dir, d)
		}
		last, ok := s.Last(0, bundle(1, 0, 0).Meter)
		if want := (controller.Head{Segment: 1, Length: 3*64 + 100}); !ok || last.Head != want {
			t.Errorf("last %+v, want head %+v", last, want)
		}
		if _, ok := s.Last(0, bundle(9, 0, 0).Meter); ok {
			t.Error("a meter without bundles has a last one")
		}
	}
}

func TestAFullSpoolTakesNoMoreAndDropsNothing(t *testing.T) {
	s := open(t, controller.SpoolConfig{Dir: t.TempDir(), Limit: 5 * 4096})
	for i := range int64(4) {
		put(t, s, bundle(1, 100, i))
	}
	if s.Full() {
		t.Error("full before its time")
	}
	if _, err := s.Put(0, bundle(1, 5000, 9)); !errors.Is(err, controller.ErrSpoolFull) {
		t.Errorf("error %v", err)
	}
	if _, err := s.Put(0, bundle(1, 5*4096, 9)); !errors.Is(err, controller.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	last := put(t, s, bundle(1, 100, 4))
	if !s.Full() {
		t.Error("not full")
	}
	if d := cmp.Diff([]int64{0, 1, 2, 3, 4}, content(t, s)); d != "" {
		t.Error(d)
	}
	changed := s.Changed()
	if err := s.Remove(last); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("the change is not told")
	}
	if err := s.Remove(last); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	put(t, s, bundle(1, 100, 5))
}

func TestReplaceTakesThePlaceOfAMetersBundles(t *testing.T) {
	s := open(t, controller.SpoolConfig{Dir: t.TempDir(), Limit: 4 * 4096})
	for i := range int64(3) {
		put(t, s, bundle(1, 100, i))
	}
	put(t, s, bundle(2, 100, 3))
	if _, err := s.Replace(0, bundle(1, 4096, 4)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int64{3, 4}, content(t, s)); d != "" {
		t.Error(d)
	}
	if _, err := s.Replace(0, bundle(1, 3*4096, 5)); !errors.Is(err, controller.ErrSpoolFull) {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff([]int64{3, 4}, content(t, s)); d != "" {
		t.Errorf("after a Replace that failed: %s", d)
	}
}

func TestRejectedBundlesAreKeptWithTheReasonUpToALimit(t *testing.T) {
	dir := t.TempDir()
	c := controller.SpoolConfig{Dir: dir, Rejected: 3 * 4096}
	s := open(t, c)
	for i := range int64(5) {
		e := put(t, s, bundle(1, 100, i))
		if err := s.Reject(e, fmt.Sprintf("ALTERED %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(s *controller.Spool) {
		t.Helper()
		if n := len(s.Waiting()); n != 0 {
			t.Errorf("%d bundles wait", n)
		}
		var reasons []string
		for _, e := range s.Rejected() {
			reasons = append(reasons, s.Reason(e))
		}
		if d := cmp.Diff([]string{"ALTERED 2", "ALTERED 3", "ALTERED 4"}, reasons); d != "" {
			t.Error(d)
		}
	}
	check(s)
	check(open(t, c))
	if names, _ := os.ReadDir(dir); len(names) != 6 {
		t.Errorf("%d files, want 6", len(names))
	}
}

func TestSpoolOpensWhateverLiesInItsDirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, controller.SpoolConfig{Dir: dir})
	e := put(t, s, bundle(1, 100, 1))
	name := filepath.Join(dir, fmt.Sprintf("%016x.mseal", e.ID))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"0000000000000002.mseal":     good[:len(good)-1],
		"0000000000000003.mseal":     nil,
		"0000000000000004.mseal":     []byte("nonsense"),
		"0000000000000005.mseal.tmp": good,
		"0000000000000006.reason":    []byte("of nothing"),
		"note.txt":                   []byte("somebody's"),
		"zz.mseal":                   good,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, controller.SpoolConfig{Dir: dir})
	if d := cmp.Diff([]int64{1}, content(t, s)); d != "" {
		t.Error(d)
	}
	if n := len(s.Rejected()); n != 3 {
		t.Errorf("%d set aside, want 3", n)
	}
	for _, e := range s.Rejected() {
		if r := s.Reason(e); !strings.HasPrefix(r, "unreadable") {
			t.Errorf("reason %q", r)
		}
	}
	for name, want := range map[string]bool{"note.txt": true, "zz.mseal": true, "0000000000000005.mseal.tmp": false, "0000000000000006.reason": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
	if e := put(t, s, bundle(1, 100, 2)); e.ID < 5 {
		t.Errorf("id %d is used again", e.ID)
	}
}

// TestSpoolSurvivesPowerCutAtEveryOperation cuts the power at every operation of
// a sequence, in every state that a disk may be in afterwards: what Put had
// returned for, and nobody removed, is there again.
func TestSpoolSurvivesPowerCutAtEveryOperation(t *testing.T) {
	// live runs the sequence and returns what must be there then, and what may.
	live := func(fs *durabletest.FS) (must, may map[int64]bool) {
		must, may = map[int64]bool{}, map[int64]bool{}
		s, err := controller.OpenSpool(controller.SpoolConfig{FS: fs})
		if err != nil {
			return must, may
		}
		add := func(n int64, put func(controller.Source, *eventlog.Bundle) (controller.Entry, error)) (controller.Entry, bool) {
			may[n] = true
			e, err := put(0, bundle(1, 10, n))
			must[n] = err == nil
			return e, err == nil
		}
		first, _ := add(1, s.Put)
		second, _ := add(2, s.Put)
		must[1] = false
		_ = s.Remove(first)
		must[2] = false
		_ = s.Reject(second, "for a reason")
		add(3, s.Put)
		add(4, s.Put)
		if _, ok := add(5, s.Replace); ok {
			must[3], must[4] = false, false
		}
		return must, may
	}
	whole := durabletest.New()
	live(whole)
	states := 0
	for cut := 1; cut <= len(whole.Ops())+1; cut++ {
		fs := durabletest.New()
		fs.CutAt(cut)
		must, may := live(fs)
		for outcome := range fs.Outcomes() {
			for _, keep := range []int{0, fs.Torn() / 2, fs.Torn()} {
				states++
				s, err := controller.OpenSpool(controller.SpoolConfig{FS: fs.Restart(outcome, keep)})
				if err != nil {
					t.Fatalf("cut at %d, outcome %d: %v", cut, outcome, err)
				}
				there := map[int64]bool{}
				for _, n := range content(t, s) {
					there[n] = true
					if !may[n] {
						t.Errorf("cut at %d: bundle %d from nowhere", cut, n)
					}
				}
				for n, want := range must {
					replaced := there[5] && (n == 3 || n == 4)
					if want && !there[n] && !replaced {
						t.Fatalf("cut at %d, outcome %d, keep %d: bundle %d is lost", cut, outcome, keep, n)
					}
				}
				for _, e := range s.Rejected() {
					if s.Reason(e) == "" {
						t.Errorf("cut at %d: rejected without a reason", cut)
					}
				}
			}
		}
	}
	if states < 50 {
		t.Errorf("only %d states tried", states)
	}
}

// TestSpoolNeverExceedsItsLimit does anything in any order.
func TestSpoolNeverExceedsItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 8 * 4096
		s, err := controller.OpenSpool(controller.SpoolConfig{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var want []uint64
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			b := bundle(rapid.SampledFrom([]byte{1, 2}).Draw(t, "meter"), rapid.IntRange(0, 20000).Draw(t, "size"), 0)
			switch rapid.SampledFrom([]string{"put", "replace", "remove", "reject"}).Draw(t, "step") {
			case "put":
				if e, err := s.Put(0, b); err == nil {
					want = append(want, e.ID)
				}
			case "replace":
				before := s.Waiting()
				if e, err := s.Replace(0, b); err == nil {
					kept := want[:0:0]
					for _, w := range before {
						if w.Meter != b.Meter {
							kept = append(kept, w.ID)
						}
					}
					want = append(kept, e.ID)
				}
			case "remove":
				if len(want) > 0 {
					_ = s.Remove(s.Waiting()[0])
					want = want[1:]
				}
			case "reject":
				if len(want) > 0 {
					_ = s.Reject(s.Waiting()[0], "for a reason")
					want = want[1:]
				}
			}
			var got []uint64
			var sum int64
			for _, e := range s.Waiting() {
				got = append(got, e.ID)
				sum += (e.Size + 4095) / 4096 * 4096
			}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Fatal(d)
			}
			if sum > limit {
				t.Fatalf("%d bytes, the limit is %d", sum, limit)
			}
		}
	})
}

func TestSpoolSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := controller.OpenSpool(controller.SpoolConfig{Dir: file}); err == nil || !strings.HasPrefix(err.Error(), "controller: open spool") {
		t.Errorf("error %v", err)
	}
	s := open(t, controller.SpoolConfig{})
	if _, err := s.Put(0, &eventlog.Bundle{}); err == nil {
		t.Error("a bundle without parts is taken")
	}
}
