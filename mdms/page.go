package mdms

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS []byte

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"when": func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.UTC().Format("2006-01-02 15:04:05 UTC")
	},
	"path": func(id eventlog.MeterID) string { return url.PathEscape(id.String()) },
}).Parse(pageHTML))

// getPage shows the meters and what was judged of them. It needs no script.
func (s *Server) getPage(w http.ResponseWriter, r *http.Request) {
	after := r.FormValue("after")
	meters, err := s.Meters(r.Context(), after, pageSize)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	alerts, err := s.Alerts(r.Context(), "", false, pageSize)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	data := struct {
		Meters []Status
		Alerts []Alert
		Next   string
	}{Meters: meters, Alerts: alerts}
	if len(meters) == pageSize {
		data.Next = meters[pageSize-1].Meter.String()
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the client may be gone
}

func getStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(pageCSS) // the client may be gone
}
