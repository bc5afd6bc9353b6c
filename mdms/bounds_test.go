package mdms_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// TestASmallBundleCannotAskForMuchReading: a part without log bytes, with an
// older seal, has the stored segment hashed again. How much of that one bundle
// may cause is bounded; an honest one is judged as ever.
func TestASmallBundleCannotAskForMuchReading(t *testing.T) {
	const segments = 6
	w := newWeb(t, mdms.Limits{LoadBytes: 3 * 110 * eventlog.SlotSize})
	m := w.enrolled(eventlog.SchemeCounter)
	for range segments {
		m.Fill(100)
		m.Rotate()
	}
	want(t, w.send("a", m.Bundle()), mdms.Applied, verify.Intact)
	older := func(n int) *eventlog.Bundle {
		u := m.Bundle()
		u.Newest, u.Parts = false, u.Parts[:n]
		for i := range u.Parts {
			s := m.Segments[i]
			u.Parts[i] = eventlog.Part{Segment: s.Number, Offset: uint64(len(s.Log)), Seal: eventlogtest.Encode(s.Seals[len(s.Seals)-2])}
		}
		return u
	}
	want(t, w.send("a", older(1)), mdms.Duplicate, verify.Intact)
	_, err := w.Ingest(t.Context(), "a", encode(t, older(segments)))
	if !errors.Is(err, mdms.ErrInvalid) || !strings.Contains(err.Error(), "stored bytes would have to be read") {
		t.Errorf("%v, want ErrInvalid that says why", err)
	}
	res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, encode(t, older(segments)))
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "send fewer segments") {
		t.Errorf("%s %s", res.Status, b)
	}
	m.Fill(5)
	want(t, w.send("a", m.Bundle()), mdms.Applied, verify.Intact)
}

// TestAnAnswerStaysSmall: however much there is to say of a meter, a courier can
// read it.
func TestAnAnswerStaysSmall(t *testing.T) {
	const limit = 256 << 10
	w := newWeb(t, mdms.Limits{})
	m := w.enrolled(eventlog.SchemeDigest)
	for range 60 {
		for range 8 {
			m.System(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{})
		}
		m.Rotate()
	}
	for i := len(m.Segments) - 1; i >= 0; i -= 2 { // a gap between any two
		m.Segments = append(m.Segments[:max(0, i-1)], m.Segments[i:]...)
	}
	for i := range m.Segments {
		if i%2 == 0 {
			continue
		}
		u := m.BundleFrom(m.Segments[i].Number, 0)
		u.Newest, u.Parts = false, u.Parts[:1]
		w.send("a", u)
	}
	res, b := w.do(http.MethodPost, "/v1/evidence", eventlog.MediaType, encode(t, m.Bundle()))
	if res.StatusCode != http.StatusOK || len(b) > limit {
		t.Errorf("%s, an answer of %d bytes", res.Status, len(b))
	}
	var got mdms.Result
	if err := json.Unmarshal(b, &got); err != nil || got.Outcome != mdms.Applied || len(got.Findings) != 128 || len(got.Missing) == 0 {
		t.Errorf("%s %s, %d findings, %d ranges missing, %v", got.Outcome, got.Verdict, len(got.Findings), len(got.Missing), err)
	}
	for _, path := range []string{"/v1/meters/" + m.ID.String(), "/v1/meters"} {
		if res, b := w.do(http.MethodGet, path, "", nil); res.StatusCode != http.StatusOK || len(b) > limit {
			t.Errorf("%s: %s, %d bytes", path, res.Status, len(b))
		}
	}
}
