//go:build linux

package lan_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// meter is our meter on a host.
type meter struct {
	*host
	*program
	state string
}

// startMeter starts our meter on a host, with an event of fraud in its log.
func startMeter(h *host) *meter {
	h.t.Helper()
	m := &meter{host: h, state: filepath.Join(h.t.TempDir(), "meter")}
	m.program = h.start(meterseal, "meter", "--state", m.state)
	m.await("ready", func(line string) bool { return strings.HasPrefix(line, "ready ") })
	m.event("fraud/40")
	return m
}

// event makes an event happen, which is sealed when it returns.
func (m *meter) event(code string) {
	m.host.t.Helper()
	out, errs, err := m.run("meter", "event", "--state", m.state, code)
	if err != nil || !strings.Contains(out, "sealed") {
		m.host.t.Fatalf("event: %v\n%s%s", err, out, errs)
	}
}

// key is the file with the meter's public key.
func (m *meter) key() string { return filepath.Join(m.state, "meter.pem") }

// values are the properties of an object, in hexadecimal, by their codes in lower case.
type values map[string]string

// get reads properties of an object by our own tool, all if none is named.
func (h *host) get(addr, eoj string, epcs ...string) values {
	h.t.Helper()
	var ps []struct{ EPC, EDT string }
	h.json(&ps, append([]string{"echonet", "get", addr, eoj}, epcs...)...)
	v := values{}
	for _, p := range ps {
		v[strings.ToLower(p.EPC)] = p.EDT
	}
	return v
}

// discover finds nodes by our own tool: the address of each, followed by its objects.
func (h *host) discover(args ...string) (nodes []string) {
	h.t.Helper()
	var found []struct {
		Addr    string
		Objects []struct{ EOJ string }
	}
	h.json(&found, append([]string{"echonet", "discover"}, args...)...)
	for _, f := range found {
		line := f.Addr
		for _, o := range f.Objects {
			line += " " + o.EOJ
		}
		nodes = append(nodes, line)
	}
	slices.Sort(nodes)
	return nodes
}

// Properties that change by themselves. Those that grow lie between an earlier and a later reading.
const (
	growing = "97 98 d0 e0 e3 ea eb"
	moving  = "e7 e8"
)

// between checks a value that someone read against what our own tool read before and after.
func between(t *testing.T, epc, got string, before, after values) {
	t.Helper()
	lo, hi := before[epc], after[epc]
	switch {
	case strings.Contains(moving, epc):
		if len(got) != len(lo) {
			t.Errorf("%s: got %s, want as many bytes as %s", epc, got, lo)
		}
	case strings.Contains(growing, epc) && lo <= hi: // else it is midnight
		if got < lo || got > hi {
			t.Errorf("%s: got %s, want %s to %s", epc, got, lo, hi)
		}
	case got != lo && got != hi:
		t.Errorf("%s: got %s, want %s", epc, got, lo)
	}
}
