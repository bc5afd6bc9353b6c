//go:build linux

package lan_test

import (
	"encoding/json"
	"strings"
)

// frame is what the scripts around echonet-lite print: that they hear, or a message.
type frame struct {
	Ready bool
	Error string

	From            string
	Port            int
	TID             string
	SEOJ, DEOJ, ESV string
	Details         values
}

// peer is a script around npm echonet-lite.
type peer struct{ *program }

// startPeer starts one, and waits until it hears.
func (h *host) startPeer(script string, args ...string) *peer {
	h.t.Helper()
	p := &peer{h.start(append([]string{"node", "testdata/" + script}, args...)...)}
	p.frame("ready line", func(f frame) bool { return f.Ready })
	return p
}

// frame waits for a frame that is right. The library may not have failed before.
func (p *peer) frame(what string, ok func(frame) bool) (f frame) {
	p.t.Helper()
	p.await(what, func(line string) bool {
		f = p.parse(line)
		return ok(f)
	})
	return f
}

func (p *peer) parse(line string) (f frame) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(line), &f); err != nil || f.Error != "" {
		p.t.Fatalf("%s: %v: %s", p.name, err, line)
	}
	return f
}

// ask sends a request and waits for an answer of that service about the same properties.
func (p *peer) ask(eoj, esv, wantESV string, properties ...string) values {
	p.t.Helper()
	p.say("send %s %s %s", eoj, esv, strings.Join(properties, " "))
	what := strings.Join(append([]string{wantESV, "to", eoj, esv}, properties...), " ")
	return p.frame(what, func(f frame) bool {
		for _, p := range properties {
			if _, ok := f.Details[p[:2]]; !ok {
				return false
			}
		}
		return len(f.Details) == len(properties) && f.ESV == wantESV && f.SEOJ[:4] == eoj[:4]
	}).Details
}
