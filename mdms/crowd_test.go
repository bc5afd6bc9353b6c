package mdms_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

// as returns a client of its own address on loopback.
func as(t *testing.T, addr string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	tr := &http.Transport{DialContext: d.DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// post sends a bundle and returns the status.
func (w *web) post(t *testing.T, c *http.Client, body io.Reader) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/evidence", body)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", eventlog.MediaType)
	res, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// TestOneCouriersSlowBodiesKeepNobodyOut: it has as many on their way as it may,
// and another one's bundle is judged all the same.
func TestOneCouriersSlowBodiesKeepNobodyOut(t *testing.T) {
	w := newWeb(t, mdms.Limits{Concurrent: 1, Readers: 3, ReadersEach: 2})
	m := w.enrolled(eventlog.SchemeDigest)
	slow := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for range 2 {
		conn, err := slow.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/evidence HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n", eventlog.MediaType)
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q, %v: want that its body is waited for", line, err)
		}
	}
	if got := w.post(t, as(t, "127.0.0.2"), strings.NewReader("x")); got != http.StatusServiceUnavailable {
		t.Errorf("a third one of the slow courier: %d", got)
	}
	if got := w.post(t, as(t, "127.0.0.3"), strings.NewReader(string(encode(t, m.Bundle())))); got != http.StatusOK {
		t.Errorf("another courier's bundle: %d", got)
	}
}

// TestWhatHasArrivedWaitsForItsTurn, and not for ever.
func TestWhatHasArrivedWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		working, release := make(chan struct{}), make(chan struct{})
		b := inBubble(t, mdms.Limits{Concurrent: 1, BodyTimeout: 50 * time.Millisecond}, func(c *mdms.Config, _ *http.Server) {
			c.Trace = func(courier string, _ *mdms.Result) {
				if courier == "127.0.0.2" {
					close(working)
					<-release
				}
			}
		})
		w, one, two := b.web(), b.client("127.0.0.2"), b.client("127.0.0.3")
		first := make(chan int, 1)
		go func() { first <- w.post(t, one, strings.NewReader("x")) }()
		<-working
		if got := w.post(t, two, strings.NewReader("x")); got != http.StatusServiceUnavailable {
			t.Errorf("while another is in work: %d", got)
		}
		close(release)
		if got := <-first; got != http.StatusOK {
			t.Errorf("the one in work: %d", got)
		}
		if got := w.post(t, two, strings.NewReader("x")); got != http.StatusOK {
			t.Errorf("afterwards: %d", got)
		}
	})
}

// TestOneCouriersPollsKeepNobodyOut: nor do they add up beyond its bound.
func TestOneCouriersPollsKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, mdms.Limits{Polls: 3, PollsEach: 2})
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				if _, err := r.Work(ctx, "greedy", time.Hour); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := r.Work(t.Context(), "greedy", time.Second); !errors.Is(err, mdms.ErrBusy) {
			t.Errorf("a third one of the same courier: %v", err)
		}
		if work, err := r.Work(t.Context(), "other", time.Second); err != nil || len(work) != 0 {
			t.Errorf("another courier: %v, %v", work, err)
		}
		cancel()
		waiting.Wait()
		if _, err := r.Work(t.Context(), "greedy", time.Second); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.Close()
	})
}
