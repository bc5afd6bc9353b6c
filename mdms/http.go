package mdms

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Bounds of a request.
const (
	maxWait  = 60 * time.Second // of a long poll
	maxPage  = 1000             // rows of a list
	maxJSON  = 4 << 10          // bytes of a JSON body
	pageSize = 100              // rows of a list unless limit= asks otherwise
)

// Handler returns the HTTP interface of the MDMS:
//
//	POST /v1/evidence                    a bundle; answers a Result
//	GET  /v1/meters                      meters: after=, limit=
//	GET  /v1/meters/{id}                 one meter
//	GET  /v1/meters/{id}/export          its evidence, a bundle
//	POST /v1/meters/{id}/challenge       ask it for a fresh seal; operator
//	POST /v1/meters/{id}/alerts/{alert}  {"status":"open|acknowledged|closed"}; operator
//	GET  /v1/alerts                      alerts: status=open|all, after=, limit=
//	GET  /v1/work                        receipts and challenges to carry: meter=, wait= seconds
//	GET  /healthz                        200 when the store answers
//	GET  /                               the meters and their verdicts, for people
//
// What is the operator's is taken from this machine only. Over HTTP an alert that
// the meter's signature proves can be acknowledged, not closed. On loopback only
// requests for a loopback host are answered. An error is {"error":"..."} with a
// fitting status. 503 carries Retry-After.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/evidence", s.postEvidence)
	mux.HandleFunc("GET /v1/meters", s.getMeters)
	mux.HandleFunc("GET /v1/meters/{id}", s.getMeter)
	mux.HandleFunc("GET /v1/meters/{id}/export", s.getExport)
	mux.HandleFunc("POST /v1/meters/{id}/challenge", operator(s.postChallenge))
	mux.HandleFunc("POST /v1/meters/{id}/alerts/{alert}", operator(s.postAlert))
	mux.HandleFunc("GET /v1/alerts", s.getAlerts)
	mux.HandleFunc("GET /v1/work", s.getWork)
	mux.HandleFunc("GET /healthz", s.getHealth)
	mux.HandleFunc("GET /{$}", s.getPage)
	mux.HandleFunc("GET /page.css", getStyle)
	// No page of another origin may make a browser post here.
	guard := http.NewCrossOriginProtection()
	return knownHost(guard.Handler(secureHeaders(mux)))
}

// secureHeaders lets a browser do nothing with what it gets but show it.
func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) postEvidence(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != eventlog.MediaType {
		writeError(w, http.StatusUnsupportedMediaType, "the body must be "+eventlog.MediaType)
		return
	}
	from := courier(r)
	if !s.readers.enter(from) {
		busy(w)
		return
	}
	defer s.readers.leave(from)
	body, ok := s.readBody(w, r, eventlog.MaxBundle)
	if !ok {
		return
	}
	// Only what has arrived takes a place at work: a sender that is slow, or
	// wants to be, holds none.
	turn := time.NewTimer(s.cfg.Limits.BodyTimeout)
	defer turn.Stop()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-turn.C:
		busy(w)
		return
	case <-r.Context().Done():
		return
	}
	res, err := s.Ingest(r.Context(), from, body)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, res)
}

// readBody reads a body of at most limit bytes within the body timeout. If it
// cannot, it answers and reports false.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	// Sockets go by the machine's clock, whatever Config.Now says.
	setReadDeadline(w, time.Now().Add(s.cfg.Limits.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	var timeout net.Error
	switch {
	case err == nil:
		setReadDeadline(w, time.Time{})
		return body, true
	case errors.As(err, &large):
		writeError(w, http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.FormatInt(limit, 10)+" bytes")
	case errors.As(err, &timeout) && timeout.Timeout():
		w.Header().Set("Connection", "close")
		writeError(w, http.StatusRequestTimeout, "the body did not arrive in time")
	default:
		writeError(w, http.StatusBadRequest, "the body is cut short")
	}
	return nil, false
}

// setReadDeadline bounds the reading of a request. The server watches the
// connection while the handler works: a deadline that passes then ends the
// request, so a handler that takes its time lifts it. Not every ResponseWriter
// has a deadline; the server's own then rules.
func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

func (s *Server) getMeters(w http.ResponseWriter, r *http.Request) {
	limit, ok := pageLimit(w, r)
	if !ok {
		return
	}
	meters, err := s.Meters(r.Context(), r.FormValue("after"), limit)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page := struct {
		Meters []Status `json:"meters"`
		Next   string   `json:"next,omitempty"` // after= of the next page
	}{Meters: meters}
	if len(meters) == limit {
		page.Next = meters[limit-1].Meter.String()
	}
	writeJSON(w, http.StatusOK, page)
}

func (s *Server) getMeter(w http.ResponseWriter, r *http.Request) {
	id, ok := meterOf(w, r.PathValue("id"))
	if !ok {
		return
	}
	st, err := s.Meter(r.Context(), id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, st)
}

func (s *Server) getExport(w http.ResponseWriter, r *http.Request) {
	id, ok := meterOf(w, r.PathValue("id"))
	if !ok {
		return
	}
	bundle, err := s.Export(r.Context(), id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", eventlog.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(bundle)))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": id.String() + eventlog.BundleExt}))
	_, _ = w.Write(bundle) // the client may be gone
}

func (s *Server) postChallenge(w http.ResponseWriter, r *http.Request) {
	id, ok := meterOf(w, r.PathValue("id"))
	if !ok {
		return
	}
	work, err := s.Challenge(r.Context(), id, "asked for by "+courier(r))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, work)
}

func (s *Server) postAlert(w http.ResponseWriter, r *http.Request) {
	id, ok := meterOf(w, r.PathValue("id"))
	if !ok {
		return
	}
	body, ok := s.readBody(w, r, maxJSON)
	if !ok {
		return
	}
	var req struct {
		Status string `json:"status"`
	}
	if err := strictJSON(body, &req); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not {\"status\":\"...\"}: "+err.Error())
		return
	}
	if err := s.setAlert(r.Context(), id, r.PathValue("alert"), req.Status, mayClose); err != nil {
		s.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) getAlerts(w http.ResponseWriter, r *http.Request) {
	limit, ok := pageLimit(w, r)
	if !ok {
		return
	}
	var all bool
	switch r.FormValue("status") {
	case "", "open":
	case "all":
		all = true
	default:
		writeError(w, http.StatusBadRequest, "status is open or all")
		return
	}
	alerts, err := s.Alerts(r.Context(), r.FormValue("after"), all, limit)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page := struct {
		Alerts []Alert `json:"alerts"`
		Next   string  `json:"next,omitempty"` // after= of the next page
	}{Alerts: alerts}
	if len(alerts) == limit {
		page.Next = alerts[limit-1].cursor()
	}
	writeJSON(w, http.StatusOK, page)
}

func (s *Server) getWork(w http.ResponseWriter, r *http.Request) {
	var wait time.Duration
	if v := r.FormValue("wait"); v != "" {
		sec, err := strconv.ParseUint(v, 10, 16)
		if err != nil {
			writeError(w, http.StatusBadRequest, "wait is a number of seconds")
			return
		}
		wait = min(time.Duration(sec)*time.Second, maxWait)
	}
	var meters []eventlog.MeterID
	for _, v := range r.URL.Query()["meter"] {
		id, ok := meterOf(w, v)
		if !ok {
			return
		}
		if meters = append(meters, id); len(meters) > maxPollMeters {
			writeError(w, http.StatusBadRequest, "at most "+strconv.Itoa(maxPollMeters)+" meters a request")
			return
		}
	}
	setReadDeadline(w, time.Time{})
	work, err := s.Work(r.Context(), courier(r), wait, meters...)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Work []Work `json:"work"`
	}{work})
}

func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) {
	if err := s.Ping(r.Context()); err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// meterOf parses a meter id. If it cannot, it answers and reports false.
func meterOf(w http.ResponseWriter, text string) (eventlog.MeterID, bool) {
	id, err := eventlog.ParseMeterID(text)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
	}
	return id, err == nil
}

// pageLimit reads limit=. If it cannot, it answers and reports false.
func pageLimit(w http.ResponseWriter, r *http.Request) (int, bool) {
	v := r.FormValue("limit")
	if v == "" {
		return pageSize, true
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxPage {
		writeError(w, http.StatusBadRequest, "limit is a number from 1 to "+strconv.Itoa(maxPage))
		return 0, false
	}
	return n, true
}

// fail answers with the status that fits err.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		writeError(w, http.StatusNotFound, strings.TrimPrefix(err.Error(), ErrNotFound.Error()+": "))
	case errors.Is(err, ErrInvalid):
		writeError(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, errProven):
		writeError(w, http.StatusForbidden, err.Error())
	case errors.Is(err, ErrBusy):
		busy(w)
	case errors.Is(err, ErrTooSoon):
		w.Header().Set("Retry-After", strconv.Itoa(int(s.cfg.Limits.ChallengeEvery/time.Second)+1))
		writeError(w, http.StatusTooManyRequests, err.Error())
	case r.Context().Err() != nil:
		// The client is gone: nobody reads an answer.
	default:
		s.log.Error("request failed", "path", r.URL.Path, "err", err)
		writeError(w, http.StatusInternalServerError, "the MDMS could not do this; its log says why")
	}
}

// busy asks the client to come again, not all at the same moment.
func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	writeError(w, http.StatusServiceUnavailable, "too many requests at once: come again later")
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// strictJSON decodes exactly one JSON value with no unknown fields.
func strictJSON(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing data")
	}
	return nil
}
