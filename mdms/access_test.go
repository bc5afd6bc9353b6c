package mdms_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// from sends a request that seems to come from an address.
func (r *rig) from(addr, method, path, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body))
	req.RemoteAddr = addr
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// TestACourierIsNoOperator: it takes no verdict off a meter and makes no meter
// sign.
func TestACourierIsNoOperator(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeDigest)
	r.clock.advance(27 * time.Hour)
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := "/v1/meters/" + m.ID.String()
	alert := base + "/alerts/" + r.alert(m.ID, verify.Stale, "").ID
	for addr, operator := range map[string]bool{
		"192.0.2.7:40000": false, "[2001:db8::1]:40000": false, "10.0.0.1:1": false, "hems": false,
		"127.0.0.1:40000": true, "127.8.8.8:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
	} {
		for path, ok := range map[string]int{base + "/challenge": http.StatusOK, alert: http.StatusNoContent} {
			want := http.StatusForbidden
			if operator {
				want = ok
			}
			if w := r.from(addr, http.MethodPost, path, `{"status":"acknowledged"}`); w.Code != want {
				t.Errorf("%s to %s: %d %s, want %d", path, addr, w.Code, w.Body, want)
			}
		}
		if w := r.from(addr, http.MethodGet, base, ""); w.Code != http.StatusOK {
			t.Errorf("reading from %s: %d", addr, w.Code)
		}
	}
}

// TestWhatIsProvenIsNotClosedOverHTTP: not from this machine either.
func TestWhatIsProvenIsNotClosedOverHTTP(t *testing.T) {
	r := newRig(t, mdms.Limits{})
	m := r.enrolled(eventlog.SchemeCounter)
	m.Fill(5)
	image, old := m.Clone(), m.Bundle()
	m.Fill(5)
	r.send("a", m.Bundle())
	image.Fill(8)
	want(t, r.send("a", image.BundleFrom(1, 0)), mdms.Fork, verify.Forked)
	r.send("a", rollback(r, old))
	set := func(a *mdms.Alert, state string) int {
		return r.from("127.0.0.1:1", http.MethodPost, "/v1/meters/"+m.ID.String()+"/alerts/"+a.ID, `{"status":"`+state+`"}`).Code
	}
	forked, claimed := r.alert(m.ID, verify.Forked, ""), r.alert(m.ID, verify.RolledBack, "claimed")
	if got := set(forked, "acknowledged"); got != http.StatusNoContent {
		t.Errorf("acknowledged: %d", got)
	}
	if got := set(forked, "closed"); got != http.StatusForbidden {
		t.Errorf("closed: %d, want 403", got)
	}
	r.verdict(m.ID, "FORKED")
	if got := set(claimed, "closed"); got != http.StatusNoContent {
		t.Errorf("a claim is closed: %d", got)
	}
	if err := r.SetAlert(t.Context(), m.ID, forked.ID, "closed"); err != nil {
		t.Error(err)
	}
	r.verdict(m.ID, "INTACT")
}

// TestOnLoopbackTheHostIsThisMachine: a page that has its own name lead here
// reads nothing.
func TestOnLoopbackTheHostIsThisMachine(t *testing.T) {
	w := newWeb(t, mdms.Limits{})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for host, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:" + port: true, "127.1.2.3": true, "[::1]": true, "[::1]:" + port: true, "localhost": true, "LocalHost:" + port: true,
		"evil.example": false, "evil.example:" + port: false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "192.0.2.1": false, "0.0.0.0": false, "[::]": false,
	} {
		for _, path := range []string{"/", "/v1/meters", "/healthz"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if (res.StatusCode == http.StatusOK) != ok || !ok && res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s of %s: %s", path, host, res.Status)
			}
		}
	}
}
