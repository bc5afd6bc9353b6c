package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// inMemory carries HTTP to a handler without a network, so that it can be used
// in a bubble.
type inMemory struct{ handler http.Handler }

func (c inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		done <- w
	}()
	select {
	case w := <-done:
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

const mdmsURL = "http://127.0.0.1:8288"

func client(t testing.TB, h http.Handler) *controller.Client {
	t.Helper()
	c, err := controller.NewClient(mdmsURL, &http.Client{Transport: inMemory{h}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answers is an MDMS that gives one prepared answer after the other to bundles,
// the last one again and again.
type answers struct {
	mu    sync.Mutex // guards what follows
	list  []answer
	posts []post
}

type answer struct {
	status int
	header http.Header
	body   string
}

type post struct {
	at     time.Time
	bundle int64 // its collection time
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var b eventlog.Bundle
	if err := b.UnmarshalBinary(body); err != nil || r.URL.Path != "/v1/evidence" || r.Header.Get("Content-Type") != eventlog.MediaType {
		http.Error(w, "what is that", http.StatusTeapot)
		return
	}
	a.mu.Lock()
	now := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	a.posts = append(a.posts, post{time.Now(), b.Collected})
	a.mu.Unlock()
	for k, v := range now.header {
		w.Header()[k] = v
	}
	w.WriteHeader(now.status)
	_, _ = io.WriteString(w, now.body)
}

func (a *answers) bundles() (out []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.posts {
		out = append(out, p.bundle)
	}
	return out
}

// runRelay runs a relay until the test ends, and returns what it delivers.
func runRelay(t testing.TB, s *controller.Spool, h http.Handler) <-chan controller.Delivery {
	t.Helper()
	out := make(chan controller.Delivery, 100)
	r := controller.Relay{Client: client(t, h), Spool: s, Delivered: func(d controller.Delivery) { out <- d }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out
}

func outcome(o string) answer { return answer{200, nil, `{"outcome":"` + o + `","verdict":"V"}`} }

func TestRelayDoesWhatTheAnswerAsksFor(t *testing.T) {
	for _, test := range []struct {
		name     string
		answer   answer
		want     controller.Outcome
		waiting  int
		rejected string // reason
	}{
		{"applied", outcome("applied"), controller.Applied, 0, ""},
		{"duplicate", outcome("duplicate"), controller.Duplicate, 0, ""},
		{"fork", outcome("fork"), controller.Fork, 0, ""},
		{"need-from", answer{200, nil, `{"outcome":"need-from","need_from":{"segment":3,"offset":640}}`}, controller.NeedFrom, 1, ""},
		{"rejected", answer{200, nil, `{"outcome":"rejected","verdict":"ALTERED","findings":[{"code":"signature","detail":"does not hold"}]}`}, controller.Rejected, 0, "ALTERED: signature does not hold"},
		{"400", answer{400, nil, `{"error":"no bundle"}`}, controller.Rejected, 0, "400 Bad Request: no bundle"},
		{"413", answer{413, nil, strings.Repeat("x", 3<<20)}, controller.Rejected, 0, "413 Request Entity Too Large: Request Entity Too Large"},
		{"415", answer{415, nil, ``}, controller.Rejected, 0, "415 Unsupported Media Type: Unsupported Media Type"},
		{"422", answer{422, nil, `{"error":7}`}, controller.Rejected, 0, "422 Unprocessable Entity: Unprocessable Entity"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, controller.SpoolConfig{FS: durabletest.New()})
				put(t, s, bundle(1, 10, 1))
				d := <-runRelay(t, s, &answers{list: []answer{test.answer}})
				if d.Answer.Outcome != test.want || d.Reason != test.rejected {
					t.Errorf("outcome %q, reason %q", d.Answer.Outcome, d.Reason)
				}
				if n := len(s.Waiting()); n != test.waiting {
					t.Errorf("%d bundles wait, want %d", n, test.waiting)
				}
				if r := s.Rejected(); (len(r) == 1) != (test.rejected != "") || len(r) == 1 && s.Reason(r[0]) != test.rejected {
					t.Errorf("rejected: %v", r)
				}
				if test.want == controller.NeedFrom && *d.Answer.NeedFrom != (controller.MDMSPosition{Segment: 3, Offset: 640}) {
					t.Errorf("need from %v", d.Answer.NeedFrom)
				}
			})
		})
	}
}

func TestRelayTriesAgainUntilTheAnswerMakesSense(t *testing.T) {
	bad := []answer{
		{500, nil, ``},
		{404, nil, `not here`},
		{401, nil, `{"error":"who are you"}`},
		{301, http.Header{"Location": {"http://127.0.0.1:9/v1/evidence"}}, ``},
		{204, nil, ``},
		{200, nil, ``},
		{200, nil, `[]`},
		{200, nil, `{"outcome":"splendid"}`},
		{200, nil, `{"outcome":"need-from"}`},
		{200, nil, `{"outcome":"applied","work":[{"meter":"x"}]}`},
		{200, nil, `{"outcome":"applied","x":"` + strings.Repeat("x", 2<<20) + `"}`},
		{200, nil, strings.Repeat("[", 1<<20)},
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, controller.SpoolConfig{})
		put(t, s, bundle(1, 10, 1))
		mdms := &answers{list: append(bad, outcome("applied"))}
		start := time.Now()
		d := <-runRelay(t, s, mdms)
		if d.Answer.Outcome != controller.Applied || len(s.Waiting()) != 0 {
			t.Errorf("outcome %q", d.Answer.Outcome)
		}
		if n := len(mdms.bundles()); n != len(bad)+1 {
			t.Errorf("%d posts, want %d", n, len(bad)+1)
		}
		if d := time.Since(start); d < 10*time.Second || d > 3*time.Hour {
			t.Errorf("it took %v", d)
		}
	})
}

func TestRelayWaitsLongerAndLongerUpToAQuarterOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, controller.SpoolConfig{})
		put(t, s, bundle(1, 10, 1))
		mdms := &answers{list: []answer{{500, nil, ``}}}
		runRelay(t, s, mdms)
		time.Sleep(48 * time.Hour) // of the bubble
		synctest.Wait()
		mdms.mu.Lock()
		defer mdms.mu.Unlock()
		longest := time.Duration(0)
		for i, p := range mdms.posts[1:] {
			longest = max(longest, p.at.Sub(mdms.posts[i].at))
		}
		if n := len(mdms.posts); n < 200 || n > 1200 || longest > 15*time.Minute+time.Second || longest < 10*time.Minute {
			t.Errorf("%d posts in 48 h, at most %v apart", n, longest)
		}
	})
}

func TestRelayHonoursRetryAfterWithinReason(t *testing.T) {
	for _, test := range []struct {
		name     string
		header   http.Header
		min, max time.Duration
	}{
		{"seconds", http.Header{"Retry-After": {"100"}}, 100 * time.Second, 110 * time.Second},
		{"date", http.Header{"Date": {"Thu, 01 Jan 2026 00:00:00 GMT"}, "Retry-After": {"Thu, 01 Jan 2026 00:05:00 GMT"}}, 5 * time.Minute, 6 * time.Minute},
		{"for ever", http.Header{"Retry-After": {"2000000000"}}, 15 * time.Minute, 15 * time.Minute},
		{"nonsense", http.Header{"Retry-After": {"-1"}}, 0, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, controller.SpoolConfig{})
				put(t, s, bundle(1, 10, 1))
				start := time.Now()
				<-runRelay(t, s, &answers{list: []answer{{503, test.header, `{"error":"busy"}`}, outcome("applied")}})
				if d := time.Since(start); d < test.min || d > test.max {
					t.Errorf("posted again after %v, want %v to %v", d, test.min, test.max)
				}
			})
		})
	}
}

func TestOneMetersTroubleDoesNotHoldUpAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, controller.SpoolConfig{})
		need := answer{200, nil, `{"outcome":"need-from","need_from":{"segment":1,"offset":0}}`}
		put(t, s, bundle(1, 10, 1))
		put(t, s, bundle(1, 10, 2))
		put(t, s, bundle(2, 10, 3))
		mdms := &answers{list: []answer{need, outcome("applied"), need, outcome("applied")}}
		out := runRelay(t, s, mdms)
		<-out
		<-out
		synctest.Wait()
		if d := cmp.Diff([]int64{1, 3}, mdms.bundles()); d != "" {
			t.Errorf("posted: %s", d)
		}
		if d := <-out; d.Answer.Outcome != controller.NeedFrom || d.Entry.ID != 1 {
			t.Errorf("after a while: %+v", d)
		}
		if _, err := s.Replace(0, bundle(1, 10, 4)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-out
		if d := cmp.Diff([]int64{1, 3, 1, 4}, mdms.bundles()); d != "" || time.Since(start) > time.Second {
			t.Errorf("posted %v later: %s", time.Since(start), d)
		}
		if n := len(s.Waiting()); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

func TestRelayOverHTTP(t *testing.T) {
	mdms := &answers{list: []answer{outcome("applied")}}
	server := httptest.NewServer(mdms)
	defer server.Close()
	dir := t.TempDir()
	s := open(t, controller.SpoolConfig{Dir: dir})
	put(t, s, bundle(1, 1000, 1))
	put(t, s, bundle(2, 1000, 2))
	s = open(t, controller.SpoolConfig{Dir: dir}) // as after a crash
	c, err := controller.NewClient(server.URL+"/", server.Client())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := 2
	r := controller.Relay{Client: c, Spool: s, Delivered: func(controller.Delivery) {
		if left--; left == 0 {
			cancel()
		}
	}}
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]int64{1, 2}, mdms.bundles()); d != "" || len(s.Waiting()) != 0 {
		t.Errorf("%d wait; posted: %s", len(s.Waiting()), d)
	}
}

func TestClientReadsHeadAndWork(t *testing.T) {
	id := eventlogtest.New("meter", eventlog.SchemeCounter).ID
	other := func(n byte) eventlog.MeterID { o := id; o[14] = n; return o }
	head := controller.Head{Segment: 2, Length: 6400, Digest: eventlog.Digest{1, 2, 3}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/meters/{id}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("id") {
		case id.String():
			fmt.Fprintf(w, `{"meter":%q,"head":{"segment":2,"length":6400,"digest":%q,"last_seq":9},"missing":[{"first":1,"last":1,"from":640,"by":"courier"}]}`, id, head.Digest)
		case "FFFFFF-MS0000000002":
			fmt.Fprint(w, `{"head":null}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no such meter"}`)
		}
	})
	mux.HandleFunc("GET /v1/work", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"work": []controller.Work{{
			Meter: id, Kind: controller.WorkChallenge, Message: []byte(r.URL.RawQuery),
		}}})
	})
	c := client(t, mux)
	got, missing, err := c.Head(t.Context(), id)
	if err != nil || got != head || !slices.Equal(missing, []controller.Missing{{First: 1, Last: 1, From: 640, By: "courier"}}) {
		t.Errorf("head %v, missing %v, %v", got, missing, err)
	}
	if got, _, err := c.Head(t.Context(), other('2')); err != nil || got != (controller.Head{}) {
		t.Errorf("head of a meter without evidence: %v, %v", got, err)
	}
	if _, _, err := c.Head(t.Context(), other('3')); !errors.Is(err, controller.ErrUnknownMeter) {
		t.Errorf("error %v", err)
	}
	work, err := c.Work(t.Context(), 60*time.Second, id)
	if err != nil || len(work) != 1 || string(work[0].Message) != "meter=FFFFFF-MS0000000001&wait=60" {
		t.Errorf("work %+v, %v", work, err)
	}
}

func TestClientSendsEvidenceWhereItWasToldToOnly(t *testing.T) {
	for address, ok := range map[string]bool{
		"http://127.0.0.1:8288": true, "http://localhost:1": true, "http://[::1]:1/": true, "https://mdms.example/base": true,
		"http://mdms.example": false, "http://192.0.2.1": false, "ftp://127.0.0.1": false, "127.0.0.1:8288": false,
		"": false, "https://": false, "https://a:b@mdms.example": false, "https://mdms.example?x": false, "https://a:b@mdms.example/\x00": false,
	} {
		if _, err := controller.NewClient(address, nil); (err == nil) != ok {
			t.Errorf("%q: error %v", address, err)
		} else if err != nil && bytes.Contains([]byte(err.Error()), []byte("a:b@")) {
			t.Errorf("%q: the error shows a password", address)
		}
	}
}
