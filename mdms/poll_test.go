package mdms_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

// serve serves on ln until the returned function is called.
func (r *rig) serve(ln net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	s := r.Server
	go func() { done <- s.Serve(ctx, ln) }()
	return func() {
		r.t.Helper()
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func TestALongPollHearsOfNewWork(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	type answer struct {
		Work []mdms.Work
	}
	heard := make(chan answer)
	go func() {
		defer close(heard)
		res, err := http.DefaultClient.Get(w.url + "/v1/work?wait=60&meter=" + m.ID.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		var a answer
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
			t.Error(err)
		}
		heard <- a
	}()
	res, b := w.do(http.MethodPost, "/v1/meters/"+m.ID.String()+"/challenge", "", nil)
	var made mdms.Work
	if err := json.Unmarshal(b, &made); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", res.Status, b)
	}
	a := <-heard
	if len(a.Work) != 1 || string(a.Work[0].Message) != string(made.Message) {
		t.Fatalf("heard %+v", a)
	}
	if _, ok := w.challengeIn(a.Work); !ok {
		t.Error("no challenge")
	}
}

// TestALongPollDoesNotSpin: what a courier was told and could not deliver does
// not make its next poll return at once; another courier is told.
func TestALongPollDoesNotSpin(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeDigest)
	if _, err := r.Challenge(t.Context(), m.ID, "test"); err != nil {
		t.Fatal(err)
	}
	for _, courier := range []string{"a", "b"} {
		if work, err := r.Work(t.Context(), courier, time.Hour, m.ID); err != nil || len(work) != 1 {
			t.Fatalf("%s: %+v, %v", courier, work, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if work, err := r.Work(ctx, "a", time.Hour, m.ID); err == nil {
		t.Errorf("told again at once: %+v", work)
	}
	if work, err := r.Work(t.Context(), "a", time.Millisecond, m.ID); err != nil || len(work) != 1 {
		t.Errorf("when the wait is over: %+v, %v", work, err)
	}
	if work, err := r.Work(t.Context(), "a", 0, m.ID); err != nil || len(work) != 1 {
		t.Errorf("without a wait: %+v, %v", work, err)
	}
	r.clock.advance(31 * time.Second)
	if work, err := r.Work(t.Context(), "a", time.Hour, m.ID); err != nil || len(work) != 1 {
		t.Errorf("later: %+v, %v", work, err)
	}
}

func TestWorkIsForTheMetersThatAreAskedFor(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	a, b := numbered(t, 1, eventlog.SchemeDigest), numbered(t, 2, eventlog.SchemeDigest)
	r.enrol(a)
	r.enrol(b)
	if _, err := r.Challenge(t.Context(), b.ID, "test"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		meters []eventlog.MeterID
		want   int
	}{{nil, 1}, {[]eventlog.MeterID{a.ID}, 0}, {[]eventlog.MeterID{a.ID, b.ID}, 1}} {
		work, err := r.Work(t.Context(), "x", 0, c.meters...)
		if err != nil || len(work) != c.want {
			t.Errorf("%v: %+v, %v", c.meters, work, err)
		}
	}
}

func TestPollsAreBoundedAndEndWithTheServer(t *testing.T) {
	r := newRig(t, mdms.Limits{Polls: 1})
	ln, err := r.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := r.serve(ln)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answers := make(chan int, 2)
	for range 2 {
		go func() {
			res, err := client.Get("http://" + ln.Addr().String() + "/v1/work?wait=60")
			if err != nil {
				t.Error(err)
				answers <- 0
				return
			}
			res.Body.Close()
			answers <- res.StatusCode
		}()
	}
	if got := <-answers; got != http.StatusServiceUnavailable {
		t.Errorf("the poll that is too many: %d", got)
	}
	stop() // and not in 60 seconds
	if got := <-answers; got != http.StatusOK {
		t.Errorf("the poll that waited: %d", got)
	}
}

// TestALongPollOutlivesTheReadTimeout: the time to send a request in does not
// count while it waits for its answer.
func TestALongPollOutlivesTheReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, mdms.Limits{}, func(_ *mdms.Config, s *http.Server) { s.ReadTimeout = 50 * time.Millisecond })
		res, err := b.client("127.0.0.1").Get(b.web().url + "/v1/work?wait=1")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "{\"work\":[]}\n" {
			t.Errorf("%s %q, %v", res.Status, body, err)
		}
	})
}

func TestChallengesAreLimitedInRate(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	path := "/v1/meters/" + m.ID.String() + "/challenge"
	var said string // to the last request
	ask := func() (int, mdms.Work) {
		res, b := w.do(http.MethodPost, path, "", nil)
		said = string(b)
		var made mdms.Work
		if res.StatusCode == http.StatusOK {
			if err := json.Unmarshal(b, &made); err != nil {
				t.Fatal(err)
			}
		}
		return res.StatusCode, made
	}
	_, first := ask()
	if status, again := ask(); status != http.StatusOK || string(again.Message) != string(first.Message) {
		t.Error("asking again at once makes another challenge")
	}
	c, ok := w.challengeIn([]mdms.Work{first})
	if !ok {
		t.Fatal("no challenge")
	}
	answer(m, c)
	w.send("a", m.Bundle())
	if status, _ := ask(); status != http.StatusTooManyRequests {
		t.Errorf("just after the answer: %d", status)
	}
	next := w.clock.now().Add(time.Minute).UTC().Format(time.RFC3339)
	if want := "the next one in 1m0s, at " + next; !strings.Contains(said, want) {
		t.Errorf("%s does not say %q", said, want)
	}
	w.clock.advance(time.Minute)
	if status, next := ask(); status != http.StatusOK || string(next.Message) == string(first.Message) {
		t.Errorf("a minute later: %d", status)
	}
	// Those that nobody answers do not pile up.
	distinct := map[string]bool{}
	for range 20 {
		w.clock.advance(time.Minute)
		_, made := ask()
		distinct[string(made.Message)] = true
	}
	if len(distinct) > 8 {
		t.Errorf("%d challenges are outstanding", len(distinct))
	}
	if work, err := w.Work(t.Context(), "a", 0, m.ID); err != nil || len(work) != 1 {
		t.Errorf("work %+v, %v: want the youngest challenge alone", work, err)
	}
}
