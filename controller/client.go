package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Outcome is what the MDMS did with a bundle.
type Outcome string

// The outcomes.
const (
	Applied   Outcome = "applied"   // it is part of what is known
	Duplicate Outcome = "duplicate" // it was known
	NeedFrom  Outcome = "need-from" // bytes before it are missing
	Fork      Outcome = "fork"      // it contradicts what is known, and both are kept
	Rejected  Outcome = "rejected"  // it is not accepted, now or later
)

// Answer is what the MDMS answers to a bundle. It is shown to people and steers
// the collection; it is never proof of anything.
type Answer struct {
	Outcome  Outcome       `json:"outcome"`
	Verdict  string        `json:"verdict"`
	NeedFrom *MDMSPosition `json:"need_from"`
	Head     *MDMSHead     `json:"head"`
	Findings []Finding     `json:"findings"`
	Missing  []Missing     `json:"missing"`
	Work     []Work        `json:"work"`
}

// Missing is a range of segments of a meter that the MDMS does not hold, or the
// end of a single one.
type Missing struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
	From  uint64 `json:"from"` // bytes that it holds of a single one
	By    string `json:"by"`   // who says that they are gone: meter or courier
}

// MDMSPosition is a place in a meter's log.
type MDMSPosition struct {
	Segment uint32 `json:"segment"`
	Offset  uint64 `json:"offset"` // bytes
}

// MDMSHead is how far the MDMS has verified a meter's log.
type MDMSHead struct {
	Segment uint32          `json:"segment"`
	Length  uint64          `json:"length"` // bytes
	Digest  eventlog.Digest `json:"digest"`
	LastSeq uint32          `json:"last_seq"`
}

func (h *MDMSHead) head() Head {
	if h == nil {
		return Head{}
	}
	return Head{h.Segment, h.Length, h.Digest}
}

// head returns what the MDMS says that it has; nil if it does not say.
func (a Answer) head() *Head {
	if a.Head == nil {
		return nil
	}
	h := a.Head.head()
	return &h
}

// Finding is an observation of the MDMS beside its verdict.
type Finding struct {
	Code    string `json:"code"`
	Segment uint32 `json:"segment"`
	Offset  uint64 `json:"offset"` // bytes
	Seq     uint32 `json:"seq"`
	Detail  string `json:"detail"`
}

// WorkKind says which property a message of the MDMS is for.
type WorkKind string

// The kinds of work.
const (
	WorkChallenge WorkKind = "challenge" // property F7
	WorkReceipt   WorkKind = "receipt"   // property F8
)

// Work is a message that the MDMS wants carried to a meter.
type Work struct {
	Meter   eventlog.MeterID `json:"meter"`
	Kind    WorkKind         `json:"kind"`
	Message []byte           `json:"message"`
}

// check reports whether the message is what it is said to be. What is not, is
// not worth a meter's time; whether it is genuine, the meter knows.
func (w Work) check() error {
	var err error
	var id eventlog.MeterID
	switch w.Kind {
	case WorkChallenge:
		var c eventlog.Challenge
		err = c.UnmarshalBinary(w.Message)
		id = c.Meter
	case WorkReceipt:
		var r eventlog.Receipt
		err = r.UnmarshalBinary(w.Message)
		id = r.Meter
	default:
		return fmt.Errorf("controller: work of kind %q", w.Kind)
	}
	if err == nil && id != w.Meter {
		err = fmt.Errorf("controller: %s for %v given as one for %v", w.Kind, id, w.Meter)
	}
	return err
}

// HTTPError is an answer of the MDMS that is no success.
type HTTPError struct {
	Status     int
	Text       string        // what the MDMS says
	RetryAfter time.Duration // 0 if it does not say
}

// Error implements error.
func (e *HTTPError) Error() string {
	return fmt.Sprintf("controller: the MDMS answers %d: %s", e.Status, e.Text)
}

// poison reports whether the same bundle would fail again for ever.
func (e *HTTPError) poison() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// ErrAnswer: the MDMS, or what is at its address, answers something that makes
// no sense.
var ErrAnswer = errors.New("controller: the answer makes no sense")

// Client speaks to an MDMS over HTTP. Its methods may be called concurrently.
type Client struct {
	base *url.URL
	http *http.Client
}

const (
	maxAnswer   = 1 << 20         // bytes of an answer that are read
	maxFindings = 100             // of an answer that are kept
	maxRanges   = 256             // of missing segments that are kept
	maxText     = 200             // bytes of an error text that are kept
	postTimeout = 2 * time.Minute // for a bundle of 8 MiB on a poor line
	callTimeout = 30 * time.Second
)

// NewClient returns a client of the MDMS at base, such as
// "http://127.0.0.1:8288" or "https://mdms.example". Plain HTTP is for loopback
// only. c may be nil; what it says of TLS, proxies and timeouts counts.
// Redirects are not followed: evidence goes where it was told to go.
func NewClient(base string, c *http.Client) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // without the address, in which a password may stand
		}
		return nil, fmt.Errorf("controller: MDMS address: %w", err)
	}
	switch {
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("controller: MDMS address %q: want https://HOST[:PORT]", u.Redacted())
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("controller: MDMS address %q: plain HTTP is for loopback only, use https", base)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("controller: MDMS address %q: want https", base)
	}
	if c == nil {
		c = http.DefaultClient
	}
	copied := *c
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{u, &copied}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Post sends a bundle. Errors: *HTTPError, ErrAnswer, or that of the transport.
func (c *Client) Post(ctx context.Context, bundle []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	var a Answer
	err := c.call(ctx, http.MethodPost, "/v1/evidence", bundle, &a)
	if err != nil {
		return a, err
	}
	a.Findings = a.Findings[:min(len(a.Findings), maxFindings)]
	a.Missing = a.Missing[:min(len(a.Missing), maxRanges)]
	switch a.Outcome {
	case Applied, Duplicate, Fork, Rejected:
		return a, nil
	case NeedFrom:
		if a.NeedFrom != nil {
			return a, nil
		}
	}
	return a, fmt.Errorf("%w: outcome %.40q", ErrAnswer, string(a.Outcome))
}

// Head asks how far the MDMS has verified a meter's log: the zero Head if not at
// all, ErrUnknownMeter if it does not know the meter. missing is what it does not
// hold below that, at most 256 ranges.
func (c *Client) Head(ctx context.Context, id eventlog.MeterID) (h Head, missing []Missing, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a struct {
		Head    *MDMSHead `json:"head"`
		Missing []Missing `json:"missing"`
	}
	err = c.call(ctx, http.MethodGet, "/v1/meters/"+url.PathEscape(id.String()), nil, &a)
	var status *HTTPError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return Head{}, nil, ErrUnknownMeter
	}
	return a.Head.head(), a.Missing[:min(len(a.Missing), maxRanges)], err
}

// Work asks what there is to carry to the meters, and waits for it if there is
// nothing, at most that long.
func (c *Client) Work(ctx context.Context, wait time.Duration, meters ...eventlog.MeterID) ([]Work, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	q := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	for _, id := range meters {
		q.Add("meter", id.String())
	}
	var a struct {
		Work []Work `json:"work"`
	}
	err := c.call(ctx, http.MethodGet, "/v1/work?"+q.Encode(), nil, &a)
	return a.Work, err
}

// call sends a request and decodes a JSON answer of at most maxAnswer bytes.
func (c *Client) call(ctx context.Context, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("controller: MDMS: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", eventlog.MediaType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("controller: MDMS: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("controller: MDMS: %w", err)
	case resp.StatusCode != http.StatusOK:
		return &HTTPError{resp.StatusCode, errorText(data, resp.StatusCode), retryAfter(resp.Header)}
	case len(data) > maxAnswer:
		return fmt.Errorf("%w: more than %d bytes", ErrAnswer, maxAnswer)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %.200s", ErrAnswer, err.Error())
	}
	return nil
}

// errorText returns what an answer that is no success says, for people.
func errorText(data []byte, status int) string {
	var e struct {
		Error string `json:"error"`
	}
	if len(data) > maxAnswer || json.Unmarshal(data, &e) != nil || e.Error == "" {
		return http.StatusText(status)
	}
	return strings.ToValidUTF8(e.Error[:min(len(e.Error), maxText)], "")
}

// retryAfter reads Retry-After in either form; 0 if there is none. A date
// counts from the answer's own.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if sec, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(sec) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
