//go:build linux

package lan_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	class "github.com/meterseal/meterseal/echonet/meter"
)

// payloadLimit is what one answer may hold: what Wi-SUN carries in one packet.
const payloadLimit = 1232

// decoded is what the two decoders of testdata/decode.js make of a frame.
type decoded struct {
	A struct {
		TID, SEOJ, DEOJ, ESV, OPC string
		Details                   values
	}
	B *struct {
		TID        int
		SEOJ, DEOJ octets
		Properties []struct {
			EPC byte
			EDT string
		}
	}
}

// octets are bytes that JSON tells as numbers.
type octets []byte

func (o *octets) UnmarshalJSON(b []byte) error {
	var list []json.Number
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*o = make(octets, len(list))
	for i, n := range list {
		v, err := strconv.ParseUint(n.String(), 10, 8)
		if err != nil {
			return err
		}
		(*o)[i] = byte(v)
	}
	return nil
}

// checkWire has what our programs sent decoded by others, who must find in it what our own decoder does, and looks at
// the rules that an answer obeys. It returns how often each service was sent.
func checkWire(t *testing.T, all []datagram, ours ...*host) map[string]int {
	t.Helper()
	var frames []echonet.Frame
	var in bytes.Buffer
	services := map[string]int{}
	for _, d := range all {
		if !slices.ContainsFunc(ours, func(h *host) bool { return h.is(d.from.Addr()) }) {
			continue
		}
		var f echonet.Frame
		if err := f.UnmarshalBinary(d.payload); err != nil {
			t.Errorf("%v to %v: % X: %v", d.from, d.to, d.payload, err)
			continue
		}
		if len(d.payload) > payloadLimit {
			t.Errorf("%v to %v: %d bytes, want at most %d", d.from, d.to, len(d.payload), payloadLimit)
		}
		frames = append(frames, f)
		services[fmt.Sprintf("%02x", byte(f.ESV))]++
		fmt.Fprintf(&in, "%x\n", d.payload)
	}
	h := ours[0]
	cmd := h.command("node", "testdata/decode.js")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("decode.js: %v", err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(frames) {
		t.Fatalf("the decoders took %d frames of %d", len(lines), len(frames))
	}
	for i, f := range frames {
		var d decoded
		if err := json.Unmarshal(lines[i], &d); err != nil {
			t.Fatalf("decode.js: %v\n%s", err, lines[i])
		}
		compare(t, &f, &d)
	}
	t.Logf("%d frames on the wire, decoded by others alike: %v", len(frames), services)
	return services
}

// is reports whether the host has an address.
func (h *host) is(a netip.Addr) bool { return a.String() == h.addr || a.String() == h.addr6 }

// compare compares a frame, as we decode it, with how others do.
func compare(t *testing.T, f *echonet.Frame, d *decoded) {
	t.Helper()
	head := fmt.Sprintf("%04x %x %x %02x %02x", f.TID, f.SEOJ[:], f.DEOJ[:], byte(f.ESV), len(f.Properties))
	if got := strings.Join([]string{d.A.TID, d.A.SEOJ, d.A.DEOJ, d.A.ESV, d.A.OPC}, " "); got != head {
		t.Errorf("echonet-lite: got %s, want %s", got, head)
	}
	want := values{}
	for _, p := range f.Properties {
		want[fmt.Sprintf("%02x", p.EPC)] = hex.EncodeToString(listed(p))
	}
	if !maps.Equal(d.A.Details, want) {
		t.Errorf("echonet-lite: %s: got %v, want %v", head, d.A.Details, want)
	}
	if d.B == nil {
		return
	}
	if d.B.TID != int(f.TID) || !slices.Equal(d.B.SEOJ, f.SEOJ[:]) || !slices.Equal(d.B.DEOJ, f.DEOJ[:]) {
		t.Errorf("node-echonet-lite: got %04x %x %x, want %s", d.B.TID, d.B.SEOJ, d.B.DEOJ, head)
	}
	if len(d.B.Properties) != len(f.Properties) {
		t.Fatalf("node-echonet-lite: %s: got %d properties", head, len(d.B.Properties))
	}
	for i, p := range d.B.Properties {
		if want := f.Properties[i]; p.EPC != want.EPC || p.EDT != hex.EncodeToString(want.EDT) {
			t.Errorf("node-echonet-lite: %s: got %02x %s, want %02x %x", head, p.EPC, p.EDT, want.EPC, want.EDT)
		}
	}
}

// listed returns the data of a property as echonet-lite tells it: a property map of the second form as a list.
func listed(p echonet.Property) []byte {
	if p.EPC < echonet.EPCAnnounceMap || p.EPC > echonet.EPCGetMap || len(p.EDT) < 17 {
		return p.EDT
	}
	set, err := echonet.ParsePropertyMap(p.EDT)
	if err != nil {
		return p.EDT
	}
	return append([]byte{byte(set.Len())}, set.EPCs()...)
}

// request is what an answer repeats.
type request struct {
	from  netip.Addr
	tid   uint16
	asker echonet.EOJ
	class [2]byte // of the object asked; its instance may be 0
	epcs  string
}

func requestOf(from netip.Addr, f *echonet.Frame, asker, asked echonet.EOJ) request {
	r := request{from: from, tid: f.TID, asker: asker, class: [2]byte(asked[:2])}
	for _, p := range slices.Concat(f.Properties, f.GetProperties) {
		r.epcs += fmt.Sprintf("%02x ", p.EPC)
	}
	return r
}

// answered are the services that are answered to the asker alone, and what the answer is if nothing is refused.
var answered = map[echonet.ESV]echonet.ESV{
	echonet.SetC: echonet.SetRes, echonet.Get: echonet.GetRes, echonet.SetGet: echonet.SetGetRes,
}

// allAnswered waits until each request that reached the meter has had its answer, in which nothing was refused, and
// returns how many requests there were. The last answers may be on their way.
func allAnswered(t *testing.T, wire *tap, m *host) (requests int) {
	t.Helper()
	var open map[request]int
	eventually(t, "answer to every request", func() bool {
		requests, open = balance(t, wire.heard(t), m)
		return len(open) == 0 || t.Failed()
	})
	return requests
}

// balance compares the requests that reached the meter with the answers that left it. It returns how many requests there
// were, and by how many they exceed the answers.
func balance(t *testing.T, all []datagram, m *host) (requests int, open map[request]int) {
	t.Helper()
	open = map[request]int{}
	want := map[request]echonet.ESV{}
	for _, d := range all {
		var f echonet.Frame
		if f.UnmarshalBinary(d.payload) != nil {
			continue
		}
		if res, ok := answered[f.ESV]; ok && !m.is(d.from.Addr()) && m.reachedBy(d.to.Addr()) {
			r := requestOf(d.from.Addr(), &f, f.SEOJ, f.DEOJ)
			open[r]++
			want[r] = res
			if noChain(&f) {
				want[r] = echonet.SetGetSNA
			}
			requests++
		}
	}
	for _, d := range all {
		var f echonet.Frame
		if f.UnmarshalBinary(d.payload) != nil || !m.is(d.from.Addr()) || d.to.Addr().IsMulticast() {
			continue
		}
		r := requestOf(d.to.Addr(), &f, f.DEOJ, f.SEOJ)
		if open[r]--; open[r] < 0 {
			t.Errorf("an answer to no request, or a second one: % X", d.payload)
		}
		if f.ESV != want[r] {
			t.Errorf("got %v, want %v: % X", f.ESV, want[r], d.payload)
		}
	}
	maps.DeleteFunc(open, func(_ request, n int) bool { return n == 0 })
	return requests, open
}

// noChain knows the request for the meter's certificate chain, which it does not have.
func noChain(f *echonet.Frame) bool {
	cursor, ok := f.Find(class.EPCCursor)
	return ok && f.ESV == echonet.SetGet && class.CursorObject(cursor[0]) == class.CursorChain
}

// reachedBy reports whether a datagram to an address is for the host too.
func (h *host) reachedBy(a netip.Addr) bool {
	return h.is(a) || a.IsMulticast() || a == netip.MustParseAddr("10.36.10.255")
}
