package mdms_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/internal/effort"
	"github.com/meterseal/meterseal/mdms"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// SQLite in Go is slow under the race detector: fewer checks, more of
	// them with EFFORT.
	if err := flag.Set("rapid.checks", strconv.Itoa(effort.Times(20))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// clock is a clock that moves when it is told to.
type clock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// rig is an MDMS on a store of its own.
type rig struct {
	*mdms.Server
	t     testing.TB
	cfg   mdms.Config
	clock *clock
}

// newRig opens an MDMS whose clock is a little ahead of a new meter's.
func newRig(t testing.TB, limits mdms.Limits) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{t: eventlogtest.Epoch.Add(time.Hour)}}
	r.cfg = mdms.Config{Store: filepath.Join(t.TempDir(), "mdms.db"), Limits: limits, Now: r.clock.now}
	r.open()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := mdms.Open(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Server = s
}

// reopen closes the store and opens it again, as after a restart.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) enrol(m *eventlogtest.Meter) {
	r.t.Helper()
	err := r.Enrol(r.t.Context(), mdms.Enrolment{
		Meter: m.ID, PublicKey: m.Key.PublicKey(), Scheme: m.Key.Scheme, Policy: m.Policy,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// enrolled returns a new meter that the MDMS knows.
func (r *rig) enrolled(scheme eventlog.Scheme) *eventlogtest.Meter {
	r.t.Helper()
	m := eventlogtest.New(r.t.Name(), scheme)
	r.enrol(m)
	return m
}

// numbered returns a new meter with another id and key than any other number.
func numbered(t testing.TB, n int, scheme eventlog.Scheme) *eventlogtest.Meter {
	t.Helper()
	m := eventlogtest.New(fmt.Sprintf("%s %d", t.Name(), n), scheme)
	var err error
	if m.ID, err = eventlog.ParseMeterID(fmt.Sprintf("FFFFFF-MS%010d", n)); err != nil {
		t.Fatal(err)
	}
	m.Segments, m.Seq, m.Now, m.Uptime = nil, 1, eventlogtest.Epoch, 0
	m.Key.Counter = 0
	m.Begin(1, 0, eventlog.Digest{})
	m.Seal()
	return m
}

func encode(t testing.TB, u *eventlog.Bundle) []byte {
	t.Helper()
	b, err := u.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send lets a courier bring a bundle.
func (r *rig) send(courier string, u *eventlog.Bundle) *mdms.Result {
	r.t.Helper()
	res, err := r.Ingest(r.t.Context(), courier, encode(r.t, u))
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// want checks outcome and verdict of a result.
func want(t testing.TB, r *mdms.Result, outcome mdms.Outcome, verdict verify.Verdict) {
	t.Helper()
	if r.Outcome != outcome || r.Verdict != verdict {
		t.Fatalf("got %s %s %v, want %s %s", r.Outcome, r.Verdict, r.Findings, outcome, verdict)
	}
}

// verdict checks what the MDMS thinks of a meter.
func (r *rig) verdict(id eventlog.MeterID, want string) *mdms.Status {
	r.t.Helper()
	st, err := r.Meter(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	if st.Verdict != want {
		r.t.Fatalf("the meter is %q, want %q; alerts %+v", st.Verdict, want, st.Alerts)
	}
	return st
}

// holds checks that the MDMS holds the meter's log up to the given seal of the
// open segment, and gives it out unchanged.
func (r *rig) holds(m *eventlogtest.Meter) {
	r.t.Helper()
	raw, err := r.Export(r.t.Context(), m.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	var got eventlog.Bundle
	if err := got.UnmarshalBinary(raw); err != nil {
		r.t.Fatal(err)
	}
	if len(got.Parts) != len(m.Segments) {
		r.t.Fatalf("%d segments exported, want %d", len(got.Parts), len(m.Segments))
	}
	for i, s := range m.Segments {
		seal := s.Seals[len(s.Seals)-1]
		if !slices.Equal(got.Parts[i].Log, s.Log[:seal.SignedLength]) {
			r.t.Errorf("segment %d: %d bytes exported, want the %d that are signed", s.Number, len(got.Parts[i].Log), seal.SignedLength)
		}
	}
}

// hasFinding reports whether a result has a finding of that code.
func hasFinding(res *mdms.Result, code string) bool {
	return slices.ContainsFunc(res.Findings, func(f verify.Finding) bool { return f.Code == code })
}

// alert returns the alert of that kind and subject that is not closed, or nil.
func (r *rig) alert(id eventlog.MeterID, kind verify.Verdict, subject string) *mdms.Alert {
	r.t.Helper()
	st, err := r.Meter(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range st.Alerts {
		if st.Alerts[i].Kind == kind.String() && st.Alerts[i].Subject == subject {
			return &st.Alerts[i]
		}
	}
	return nil
}

// challengeIn returns the challenge among work; it must be signed by the MDMS.
func (r *rig) challengeIn(work []mdms.Work) (c eventlog.Challenge, ok bool) {
	r.t.Helper()
	for _, w := range work {
		if w.Kind != mdms.WorkChallenge {
			continue
		}
		if err := c.UnmarshalBinary(w.Message); err != nil {
			r.t.Fatal(err)
		}
		if err := c.Verify(r.PublicKey()); err != nil {
			r.t.Fatal(err)
		}
		return c, true
	}
	return c, false
}

// answer lets a meter record and seal a challenge.
func answer(m *eventlogtest.Meter, c eventlog.Challenge) {
	m.System(eventlog.CodeChallenge, &eventlog.ChallengeAccepted{Nonce: c.Nonce, Issued: c.Issued, MDMS: c.MDMS})
}

var schemes = []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter}

// eachScheme runs a test with a meter of each scheme.
func eachScheme(t *testing.T, f func(t *testing.T, r *rig, m *eventlogtest.Meter)) {
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			r := newRig(t, mdms.Limits{})
			f(t, r, r.enrolled(scheme))
		})
	}
}
