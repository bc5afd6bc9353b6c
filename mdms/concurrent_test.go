package mdms_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/internal/effort"
	"github.com/meterseal/meterseal/mdms"
)

// TestManyCouriersAtOnce: bundles of several meters come at the same moment,
// each several times, each beginning where an older one ended. All that was
// acknowledged as applied is there, once.
func TestManyCouriersAtOnce(t *testing.T) {
	const meters, steps, copies = 4, 4, 4
	r := newRig(t, mdms.Limits{})
	applied := make([]int, meters)
	var mu sync.Mutex // guards applied
	var wg sync.WaitGroup
	all := make([]*eventlogtest.Meter, meters)
	for i := range all {
		m := numbered(t, i+1, schemes[i%2])
		r.enrol(m)
		all[i] = m
		var bundles [][]byte
		for range steps {
			m.Fill(10)
			bundles = append(bundles, encode(t, m.Bundle()))
		}
		for c := range copies {
			for s, b := range bundles {
				wg.Go(func() {
					res, err := r.Ingest(t.Context(), fmt.Sprintf("courier %d", c), b)
					switch {
					case err != nil:
						t.Errorf("meter %d, step %d: %v", i, s, err)
					case res.Outcome == mdms.Applied:
						mu.Lock()
						defer mu.Unlock()
						applied[i]++
					case res.Outcome != mdms.Duplicate:
						t.Errorf("meter %d, step %d: %s %s %v", i, s, res.Outcome, res.Verdict, res.Findings)
					}
				})
			}
		}
	}
	wg.Wait()
	for i, m := range all {
		if applied[i] < 1 || applied[i] > steps {
			t.Errorf("meter %d: applied %d times, want 1 to %d", i, applied[i], steps)
		}
		r.verdict(m.ID, "INTACT")
		r.holds(m)
	}
}

// TestAVerdictOfYesterdayIsNotRecorded holds a change of the registry while a
// bundle is judged by what was before. It is judged again, and what it would
// have been blamed for is not recorded.
func TestAVerdictOfYesterdayIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, mdms.Limits{})
		m := r.enrolled(eventlog.SchemeCounter)
		head := r.send("a", m.Bundle()).Head
		m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Specific))
		m.Fill(5)
		u := m.BundleFrom(1, int(head.Length))

		r.Close()
		hold, calls := make(chan struct{}), 0
		r.cfg.Now = func() time.Time {
			if calls++; calls == 3 { // Enrol is inside of its transaction
				<-hold
			}
			return r.clock.now()
		}
		r.open()
		var wg sync.WaitGroup
		wg.Go(func() { r.enrol(m) })
		synctest.Wait()
		if calls != 3 {
			t.Fatalf("the change is not held: %d", calls)
		}
		wg.Go(func() { want(t, r.send("a", u), mdms.Applied, verify.Intact) })
		synctest.Wait()
		close(hold)
		wg.Wait()
		if st := r.verdict(m.ID, "INTACT"); len(st.Alerts) != 0 {
			t.Errorf("alerts %+v", st.Alerts)
		}
	})
}

// TestAnyDeliveryEndsTheSame: whatever a courier that forges nothing does with
// what a meter says, in the end the MDMS holds all of it and the verdict is
// INTACT.
func TestAnyDeliveryEndsTheSame(t *testing.T) {
	r := newRig(t, mdms.Limits{RereadEvery: 1})
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := numbered(r.t, n, rapid.SampledFrom(schemes).Draw(t, "scheme"))
		r.enrol(m)
		var spool []*eventlog.Bundle
		send := func(u *eventlog.Bundle) {
			res := r.send("courier", u)
			if res.Charge == verify.ChargeMeter {
				t.Fatalf("%s is laid on an honest meter: %v", res.Verdict, res.Findings)
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				m.Rotate()
			case 1:
				m.Reboot()
			default:
				m.Fill(rapid.IntRange(1, 12).Draw(t, "events"))
			}
			// Collect from any segment and record on, now or later.
			s := m.Segments[rapid.IntRange(0, len(m.Segments)-1).Draw(t, "segment")]
			at := eventlogtest.Offsets(s.Log)
			u := m.BundleFrom(s.Number, at[rapid.IntRange(0, len(at)-2).Draw(t, "record")])
			if k := rapid.IntRange(1, len(u.Parts)).Draw(t, "parts"); k < len(u.Parts) {
				u.Parts, u.Newest = u.Parts[:k], false
			}
			spool = append(spool, u)
			if rapid.Bool().Draw(t, "now") {
				send(spool[rapid.IntRange(0, len(spool)-1).Draw(t, "which")])
			}
		}
		for _, u := range rapid.Permutation(spool).Draw(t, "order") {
			send(u)
		}
		for _, s := range m.Segments { // what was lost on the way is collected again
			u := m.BundleFrom(s.Number, 0)
			if s != m.Open() {
				u.Parts, u.Newest = u.Parts[:1], false
			}
			send(u)
		}
		r.verdict(m.ID, "INTACT")
		r.holds(m)
	})
}

// TestAcknowledgedMeansDurable kills a process of an MDMS again and again while
// evidence comes in. What it had acknowledged is there when the next begins.
func TestAcknowledgedMeansDurable(t *testing.T) {
	if os.Getenv(victim) != "" {
		t.Skip("is the one that is killed")
	}
	store := filepath.Join(t.TempDir(), "mdms.db")
	m := numbered(t, 1, eventlog.SchemeCounter)
	acknowledged := mdms.Head{}
	for round := range effort.Times(4) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), victim+"="+store)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n <= 5+round && lines.Scan(); {
			var h mdms.Head
			if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d %d", &h.Segment, &h.Length); err == nil {
				acknowledged, n = h, n+1
			}
		}
		_ = cmd.Process.Kill()
		for lines.Scan() {
			var h mdms.Head
			if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d %d", &h.Segment, &h.Length); err == nil {
				acknowledged = h
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the victim was not killed: %v", err)
		}

		s, err := mdms.Open(t.Context(), mdms.Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Meter(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if acknowledged.Length == 0 || st.Head.Segment < acknowledged.Segment ||
			st.Head.Segment == acknowledged.Segment && st.Head.Length < acknowledged.Length {
			t.Errorf("round %d: acknowledged up to %+v, on disk up to %+v", round, acknowledged, st.Head)
		}
		if _, err := s.Export(t.Context(), m.ID); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

// victim names the store in the environment of the process that is killed.
const victim = "MDMS_TEST_VICTIM"

// TestVictim is the process that is killed: it takes up the meter's log where
// the store left it and goes on, one bundle after the other.
func TestVictim(t *testing.T) {
	store := os.Getenv(victim)
	if store == "" {
		t.Skip("has a part in TestAcknowledgedMeansDurable")
	}
	s, err := mdms.Open(t.Context(), mdms.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	m := eventlogtest.New("victim", eventlog.SchemeCounter)
	if err := s.Enrol(t.Context(), mdms.Enrolment{Meter: m.ID, PublicKey: m.Key.PublicKey(), Scheme: m.Key.Scheme, Policy: m.Policy}); err != nil {
		t.Fatal(err)
	}
	// The same calls give the same bytes, so the log of the process before
	// this one is the beginning of this one's.
	for i := 0; ; i++ {
		if m.Fill(3); i%10 == 9 {
			m.Rotate()
		}
		st, err := s.Meter(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		from, offset := uint32(1), 0
		if st.Head.Segment > 0 {
			from, offset = st.Head.Segment, int(st.Head.Length)
		}
		if last := m.Open(); from > last.Number || from == last.Number && offset >= len(last.Log) {
			continue // an earlier process had come further
		}
		res, err := s.Ingest(t.Context(), "courier", encode(t, m.BundleFrom(from, offset)))
		if err != nil || res.Outcome != mdms.Applied || res.Verdict != verify.Intact {
			t.Fatalf("%+v, %v", res, err)
		}
		fmt.Printf("acknowledged %d %d\n", res.Head.Segment, res.Head.Length)
	}
}
