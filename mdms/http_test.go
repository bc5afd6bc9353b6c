package mdms_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// web is a rig behind HTTP.
type web struct {
	*rig
	url string
}

func newWeb(t *testing.T, limits mdms.Limits) *web {
	t.Helper()
	r := newRig(t, limits)
	srv := httptest.NewServer(r.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &web{r, srv.URL}
}

// reply is the head of an answer.
type reply struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// do sends a request and returns the answer's head and body.
func (w *web) do(method, path, mediaType string, body []byte) (reply, []byte) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{res.Status, res.StatusCode, res.Header}, b
}

// get decodes the JSON answer to a GET that must succeed.
func (w *web) get(path string, v any) {
	w.t.Helper()
	res, b := w.do(http.MethodGet, path, "", nil)
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: %s %s", path, res.Status, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		w.t.Fatalf("GET %s: %v in %s", path, err, b)
	}
}

// TestTheContractOfTheController holds the JSON to the names that couriers read.
func TestTheContractOfTheController(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeCounter)
	m.Fill(5)
	m.Rotate()
	res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, encode(t, m.Bundle()))
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s", res.Status, b)
	}
	var got struct {
		Outcome, Verdict string
		Tail             int
		Head             struct {
			Segment uint32
			Length  uint64
			Digest  string
			LastSeq uint32 `json:"last_seq"`
		}
		Findings []struct{ Code string }
		Work     []struct {
			Meter, Kind string
			Message     []byte
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	log := m.Open().Log
	if got.Outcome != "applied" || got.Verdict != "INTACT" || got.Findings == nil || got.Head.Segment != 2 ||
		got.Head.Length != uint64(len(log)) || got.Head.Digest != m.Open().Digest(len(log)).String() || got.Head.LastSeq != m.Seq-1 {
		t.Errorf("answer %s", b)
	}
	var receipt eventlog.Receipt
	if len(got.Work) != 1 || got.Work[0].Kind != "receipt" || got.Work[0].Meter != m.ID.String() || receipt.UnmarshalBinary(got.Work[0].Message) != nil {
		t.Errorf("work in %s", b)
	}

	m.Fill(20)
	_, b = w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, encode(t, m.BundleFrom(2, len(log)+2*eventlog.SlotSize)))
	var need struct {
		Outcome  string
		NeedFrom struct {
			Segment uint32
			Offset  uint64
		} `json:"need_from"`
	}
	if err := json.Unmarshal(b, &need); err != nil || need.Outcome != "need-from" || need.NeedFrom.Segment != 2 || need.NeedFrom.Offset != uint64(len(log)) {
		t.Errorf("answer %s, %v", b, err)
	}

	var meter struct {
		Meter, Verdict string
		VerdictAt      time.Time `json:"verdict_at"`
		Head           struct{ Length uint64 }
		Findings       []struct{ Code string }
	}
	w.get("/v1/meters/"+m.ID.String(), &meter)
	if meter.Meter != m.ID.String() || meter.Verdict != "INTACT" || !meter.VerdictAt.Equal(w.clock.now()) || meter.Head.Length != uint64(len(log)) || meter.Findings == nil {
		t.Errorf("meter %+v", meter)
	}
	var work struct {
		Work []struct{ Kind string }
	}
	w.get("/v1/work", &work)
	if len(work.Work) != 1 {
		t.Errorf("work %+v", work)
	}
}

func TestExportIsABundle(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeCounter)
	if res, b := w.do(http.MethodGet, "/v1/meters/"+m.ID.String()+"/export", "", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("export of nothing: %s %s", res.Status, b)
	}
	m.Fill(5)
	m.Rotate()
	w.send("a", m.Bundle())
	res, b := w.do(http.MethodGet, "/v1/meters/"+m.ID.String()+"/export", "", nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != eventlog.MediaType ||
		res.Header.Get("Content-Disposition") != "attachment; filename="+m.ID.String()+eventlog.BundleExt {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	key, err := verify.NewKey(m.Key.PublicKey(), m.Key.Scheme)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := verify.VerifyRaw(&verify.Input{
		Registration: verify.Registration{Meter: m.ID, Keys: []verify.Key{key}, Policy: &m.Policy}, Received: w.clock.now(),
	}, b)
	if err != nil || rep.Verdict != verify.Intact || rep.LastSeq != m.Seq-1 {
		t.Errorf("the export is %s as of record %d, %v %v", rep.Verdict, rep.LastSeq, rep.Findings, err)
	}
}

func TestBadRequestsGetAClearAnswer(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	id := m.ID.String()
	bundle := encode(t, m.Bundle())
	cases := map[string]struct {
		method, path, mediaType string
		body                    []byte
		status                  int
		text                    string
	}{
		"no media type":          {"POST", "/v1/evidence", "", bundle, 415, eventlog.MediaType},
		"another media type":     {"POST", "/v1/evidence", "application/json", bundle, 415, eventlog.MediaType},
		"an oversized body":      {"POST", "/v1/evidence", eventlog.MediaType, make([]byte, eventlog.MaxBundle+1), 413, "larger"},
		"evidence is not read":   {"GET", "/v1/evidence", "", nil, 405, ""},
		"an unknown path":        {"GET", "/v2", "", nil, 404, ""},
		"an unknown meter":       {"GET", "/v1/meters/FFFFFF-MS0000000099", "", nil, 404, "meter FFFFFF-MS0000000099 is not enrolled"},
		"no meter id":            {"GET", "/v1/meters/x", "", nil, 400, "not of the form"},
		"export of unknown":      {"GET", "/v1/meters/FFFFFF-MS0000000099/export", "", nil, 404, "meter FFFFFF-MS0000000099 is not enrolled"},
		"challenge to unknown":   {"POST", "/v1/meters/FFFFFF-MS0000000099/challenge", "", nil, 404, "meter FFFFFF-MS0000000099 is not enrolled"},
		"limit too high":         {"GET", "/v1/meters?limit=1001", "", nil, 400, "1 to 1000"},
		"limit is no number":     {"GET", "/v1/alerts?limit=x", "", nil, 400, "1 to 1000"},
		"unknown status":         {"GET", "/v1/alerts?status=x", "", nil, 400, "open or all"},
		"wait is no number":      {"GET", "/v1/work?wait=-1", "", nil, 400, "seconds"},
		"work for no meter id":   {"GET", "/v1/work?meter=x", "", nil, 400, "not of the form"},
		"work for many":          {"GET", "/v1/work?" + strings.Repeat("meter="+id+"&", 65), "", nil, 400, "at most 64"},
		"nonsense JSON":          {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", []byte("{"), 400, "status"},
		"unknown field":          {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", []byte(`{"state":"open"}`), 400, "unknown field"},
		"trailing JSON":          {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", []byte(`{"status":"open"}{}`), 400, "trailing"},
		"unknown state":          {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", []byte(`{"status":"gone"}`), 400, "acknowledged"},
		"unknown alert":          {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", []byte(`{"status":"open"}`), 404, "has no alert 0"},
		"oversized JSON":         {"POST", "/v1/meters/" + id + "/alerts/0", "application/json", make([]byte, 5000), 413, "larger"},
		"a number out of range":  {"GET", "/v1/work?wait=99999999", "", nil, 400, "seconds"},
		"an id with a space":     {"GET", "/v1/meters/FFFFFF-MS0000%2000001", "", nil, 400, "printable"},
		"a script as the cursor": {"GET", "/v1/meters?limit=0&after=<script>", "", nil, 400, "1 to 1000"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			res, b := w.do(c.method, c.path, c.mediaType, c.body)
			if res.StatusCode != c.status {
				t.Fatalf("%s, want %d: %s", res.Status, c.status, b)
			}
			if c.text == "" {
				return
			}
			var e struct{ Error string }
			if err := json.Unmarshal(b, &e); err != nil || !strings.Contains(e.Error, c.text) {
				t.Errorf("%q does not say %q", b, c.text)
			}
		})
	}
	// Nonsense of the right type is judged: a verdict is not an error.
	for _, body := range [][]byte{nil, []byte("nonsense"), bundle[:len(bundle)-1]} {
		res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, body)
		var got mdms.Result
		if err := json.Unmarshal(b, &got); err != nil || res.StatusCode != http.StatusOK || got.Outcome != mdms.Rejected || got.Verdict != verify.Malformed {
			t.Errorf("%s %s", res.Status, b)
		}
	}
	res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType+"; v=1", bundle)
	if res.StatusCode != http.StatusOK {
		t.Errorf("after all that: %s %s", res.Status, b)
	}
}

func TestForeignPagesCannotPost(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/meters/"+m.ID.String()+"/challenge", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("%s, want 403", res.Status)
	}
}

// TestASlowBodyIsCutOff: it holds no place longer than its time.
func TestASlowBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, mdms.Limits{BodyTimeout: 50 * time.Millisecond, Readers: 1}, nil)
		m := b.enrolled(eventlog.SchemeDigest)
		conn, err := b.dial("127.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /v1/evidence HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+eventlog.MediaType+"\r\nContent-Length: 1000\r\n\r\nMSB"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			t.Errorf("%q, %v", answer, err)
		}
		if got := b.web().post(t, b.client("127.0.0.3"), bytes.NewReader(encode(t, m.Bundle()))); got != http.StatusOK {
			t.Errorf("another one's bundle: %d", got)
		}
	})
}

func TestTooManyAtOnceAreToldToComeAgain(t *testing.T) {
	w := newWeb(t, mdms.Limits{Readers: 1})
	// A body that stays open holds the only place.
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/evidence HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 3\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n", eventlog.MediaType)
	answer := bufio.NewReader(conn)
	if line, err := answer.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v: want that the body is waited for", line, err)
	}
	res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, []byte("x"))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v %s", res.Status, res.Header, b)
	}
	if _, err := io.WriteString(conn, "MSB"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(answer); err != nil || !strings.Contains(string(rest), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("the one that held the place: %q, %v", rest, err)
	}
	if res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, []byte("x")); res.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s %s", res.Status, b)
	}
}

func TestListsAreReadInPages(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	for n := range 7 {
		w.enrol(numbered(t, n+1, eventlog.SchemeDigest))
	}
	w.clock.advance(27 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"meters", "alerts"} {
		var got []string
		after := ""
		for range 10 {
			var page map[string]json.RawMessage
			w.get("/v1/"+what+"?limit=3&after="+url.QueryEscape(after), &page)
			var rows []struct{ Meter string }
			if err := json.Unmarshal(page[what], &rows); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				got = append(got, r.Meter)
			}
			if page["next"] == nil {
				break
			}
			if err := json.Unmarshal(page["next"], &after); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 7 || got[0] != "FFFFFF-MS0000000001" || got[6] != "FFFFFF-MS0000000007" {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestAlertsHaveALifeCycle(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	w.clock.advance(27 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	type alerts struct{ Alerts []mdms.Alert }
	var got alerts
	w.get("/v1/alerts", &got)
	if len(got.Alerts) != 1 || got.Alerts[0].Status != "open" || got.Alerts[0].Kind != "STALE" {
		t.Fatalf("alerts %+v", got.Alerts)
	}
	for _, state := range []string{"acknowledged", "closed"} {
		res, b := w.do(http.MethodPost, "/v1/meters/"+m.ID.String()+"/alerts/"+got.Alerts[0].ID, "application/json", []byte(`{"status":"`+state+`"}`))
		if res.StatusCode != http.StatusNoContent {
			t.Fatalf("%s: %s %s", state, res.Status, b)
		}
	}
	got = alerts{}
	w.get("/v1/alerts", &got)
	if len(got.Alerts) != 0 {
		t.Errorf("alerts %+v", got.Alerts)
	}
	w.get("/v1/alerts?status=all", &got)
	if len(got.Alerts) != 1 || got.Alerts[0].Status != "closed" || !got.Alerts[0].ClosedAt.Equal(w.clock.now()) {
		t.Errorf("alerts %+v", got.Alerts)
	}
}

func TestThePageShowsMetersAndRunsNothing(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	m := eventlogtest.New("page", eventlog.SchemeDigest)
	var err error
	if m.ID, err = eventlog.ParseMeterID("FFFFFF-<b>\"/&'0000?"); err != nil {
		t.Fatal(err)
	}
	w.enrol(m)
	res, b := w.do(http.MethodGet, "/", "", nil)
	page := string(b)
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "no evidence yet") || strings.Contains(page, "<b>") || strings.Contains(page, "<script") {
		t.Errorf("%s\n%s", res.Status, page)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	link := strings.SplitN(strings.SplitN(page, `<a href="`, 2)[1], `"`, 2)[0]
	var st mdms.Status
	w.get(strings.ReplaceAll(link, "&amp;", "&"), &st)
	if st.Meter != m.ID {
		t.Errorf("the link leads to %s", st.Meter)
	}
	if res, b := w.do(http.MethodGet, "/page.css", "", nil); res.StatusCode != http.StatusOK || len(b) == 0 {
		t.Errorf("style: %s", res.Status)
	}
	if res, b := w.do(http.MethodGet, "/healthz", "", nil); res.StatusCode != http.StatusOK {
		t.Errorf("health: %s %s", res.Status, b)
	}
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		ln, err := r.Listen(t.Context(), addr)
		if err == nil {
			ln.Close()
			t.Errorf("%s: listens", addr)
		} else if !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0"} {
		ln, err := r.Listen(t.Context(), addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		again, err := r.Listen(t.Context(), ln.Addr().String())
		if err == nil {
			again.Close()
			t.Errorf("%s: listens twice", addr)
		}
		ln.Close()
	}
}
