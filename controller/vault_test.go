package controller_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
)

// vault is a small MDMS: it keeps the logs of one meter's segments, and accepts
// what a seal of the meter's key covers.
type vault struct {
	key *eventlogtest.Key
	id  eventlog.MeterID

	mu       sync.Mutex // guards what follows
	segments map[uint32][]byte
	outcomes []controller.Outcome
	work     []controller.Work
	news     chan struct{} // closed and replaced when work comes
	down     bool
	unknown  bool
	reject   bool
}

func newVault(m *testMeter) *vault {
	return &vault{key: m.log.Key, id: m.log.ID, segments: map[uint32][]byte{}, news: make(chan struct{})}
}

func (v *vault) change(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

// add gives work to carry.
func (v *vault) add(w controller.Work) {
	v.change(func() {
		v.work = append(v.work, w)
		close(v.news)
		v.news = make(chan struct{})
	})
}

func (v *vault) head() controller.MDMSHead {
	var h controller.MDMSHead
	for n, log := range v.segments {
		if n > h.Segment {
			h = controller.MDMSHead{Segment: n, Length: uint64(len(log)), Digest: (&eventlogtest.Segment{Log: log}).Digest(len(log))}
		}
	}
	return h
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	down, unknown, news := v.down, v.unknown, v.news
	v.mu.Unlock()
	switch {
	case down:
		http.Error(w, `{"error":"down"}`, http.StatusInternalServerError)
	case r.URL.Path == "/v1/evidence":
		body, _ := io.ReadAll(r.Body)
		v.mu.Lock()
		a := v.ingest(body)
		v.outcomes = append(v.outcomes, a.Outcome)
		v.mu.Unlock()
		_ = json.NewEncoder(w).Encode(a)
	case r.URL.Path == "/v1/work":
		sec, _ := strconv.Atoi(r.FormValue("wait"))
		v.mu.Lock()
		empty := len(v.work) == 0
		v.mu.Unlock()
		if empty {
			select {
			case <-news:
			case <-time.After(time.Duration(sec) * time.Second):
			case <-r.Context().Done():
			}
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"work": v.work})
		v.work = nil
	case r.URL.Path == "/v1/meters/"+v.id.String() && !unknown:
		v.mu.Lock()
		defer v.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"head": v.head()})
	default:
		http.Error(w, `{"error":"no such thing"}`, http.StatusNotFound)
	}
}

func (v *vault) ingest(body []byte) controller.Answer {
	var b eventlog.Bundle
	if b.UnmarshalBinary(body) != nil || b.Meter != v.id || v.reject {
		return controller.Answer{Outcome: controller.Rejected, Verdict: "MALFORMED"}
	}
	next := map[uint32][]byte{}
	outcome := controller.Duplicate
	for _, p := range b.Parts {
		have := v.segments[p.Segment]
		if p.Offset > uint64(len(have)) {
			return controller.Answer{Outcome: controller.NeedFrom, Verdict: "INCOMPLETE", NeedFrom: &controller.MDMSPosition{Segment: p.Segment, Offset: uint64(len(have))}}
		}
		log := append(bytes.Clone(have[:p.Offset]), p.Log...)
		seal := eventlogtest.Decode(p.Seal)
		if uint64(len(log)) < seal.SignedLength {
			return controller.Answer{Outcome: controller.NeedFrom, Verdict: "INCOMPLETE", NeedFrom: &controller.MDMSPosition{Segment: p.Segment, Offset: 0}}
		}
		s := eventlogtest.Segment{Log: log}
		if !seal.Signs(v.key.PublicKey(), v.key.ID, v.key.Scheme, s.Digest(int(seal.SignedLength))) {
			return controller.Answer{Outcome: controller.Rejected, Verdict: "ALTERED"}
		}
		if int(seal.SignedLength) > len(have) {
			outcome = controller.Applied
			next[p.Segment] = log[:seal.SignedLength]
		}
	}
	for n, log := range next {
		v.segments[n] = log
	}
	h := v.head()
	return controller.Answer{Outcome: outcome, Verdict: "INTACT", Head: &h}
}

// missing returns how many sealed bytes of the meter the vault does not have.
func (v *vault) missing(t testing.TB, m *testMeter) (n int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.log.Segments {
		got := v.segments[s.Number]
		if !bytes.Equal(got, s.Log[:len(got)]) {
			t.Errorf("segment %d: other bytes", s.Number)
		}
		if k := len(s.Seals); k > 0 {
			n += int(s.Seals[k-1].SignedLength) - len(got)
		}
	}
	return n
}

// counts returns how often each outcome was answered.
func (v *vault) counts() map[controller.Outcome]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[controller.Outcome]int{}
	for _, o := range v.outcomes {
		out[o]++
	}
	return out
}
