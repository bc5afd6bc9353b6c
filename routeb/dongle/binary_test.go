package dongle_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meterseal/meterseal/routeb/dongle"
	"github.com/meterseal/meterseal/routeb/internal/j11"
)

// request returns the bytes of one.
func request(code uint16, data ...byte) []byte {
	b, err := j11.Frame{Code: code, Data: data}.Append(nil, j11.FromHost)
	if err != nil {
		panic(err)
	}
	return b
}

// response returns one.
func response(code uint16, data ...byte) j11.Frame {
	return j11.Frame{Code: code + j11.Response, Data: data}
}

// frames has a J11 module answer requests, and returns what it says.
func frames(t *testing.T, cfg dongle.Config, requests ...[]byte) (said []j11.Frame) {
	t.Helper()
	say := make([]string, len(requests))
	for i, r := range requests {
		say[i] = string(r)
	}
	cfg.Model = dongle.BP35C2J11
	d := j11.Decoder{Unique: j11.FromModule}
	d.Feed([]byte(talk(t, cfg, say...)))
	for f, _, ok := d.Next(); ok; f, _, ok = d.Next() {
		said = append(said, f)
	}
	return said
}

func TestBinaryReset(t *testing.T) {
	scan := append([]byte{6, 0, 3, 0xFF, 0xF0, 1}, credentials.PairID()...)
	got := frames(t, dongle.Config{}, slices.Concat(request(j11.Setup, 5, 0, 4, 0), request(j11.Scan, scan...), request(j11.Reset)))
	want := []j11.Frame{response(j11.Setup, j11.OK), {Code: j11.PoweredOn}}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Every request that is documented has an answer, before and within a session.
func TestBinaryRequests(t *testing.T) {
	var (
		mac     = []byte{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xA1}
		own     = []byte{0xFE, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0x5E, 0xEF, 0x10, 0, 0, 1}
		peer    = []byte{0xFE, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xA1}
		key     = []byte{0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x5B, 0x5C, 0x5D, 0x5E, 0x5F}
		session = slices.Concat(request(j11.Setup, 5, 0, 17, 1), request(j11.Credentials, []byte(credentials.ID+credentials.Password)...),
			request(j11.Start), request(j11.OpenPort, 0x0E, 0x1A), request(j11.OpenPort, 0, 7))
		refused = []byte{j11.BadParameter}
		ok      = []byte{j11.OK}
	)
	for _, tt := range []struct {
		name           string
		code           uint16
		data           []byte
		before, within []byte
	}{
		{"open ports", 0x0007, nil, ok, []byte{j11.OK, 0x0E, 0x1A, 0, 7}},
		{"own address", 0x0009, nil, append(ok, own...), append(ok, own...)},
		{"MAC address of the meter", 0x0011, nil, refused, append(ok, mac...)},
		{"address of the meter", 0x0100, nil, refused, append(ok, peer...)},
		{"key", 0x0059, nil, refused, append(ok, key...)},
		{"PAN", 0x005E, nil, refused, []byte{j11.OK, 0x88, 0x88}},
		{"neighbour discovery off", 0x0101, []byte{0}, ok, ok},
		{"neighbour discovery neither on nor off", 0x0101, []byte{2}, refused, refused},
		{"neighbour discovery", 0x0102, nil, []byte{j11.OK, 1}, []byte{j11.OK, 1}},
		{"setup", 0x0107, nil, refused, []byte{j11.OK, 5, 0, 17, 1}},
		{"flow control on", 0x010A, []byte{1}, ok, ok},
		{"flow control, without a value", 0x010A, nil, refused, refused},
		{"flow control", 0x010B, nil, []byte{j11.OK, 0}, []byte{j11.OK, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := frames(t, dongle.Config{}, request(tt.code, tt.data...))
			if d := cmp.Diff([]j11.Frame{response(tt.code, tt.before...)}, got); d != "" {
				t.Errorf("before a session (-want +got):\n%s", d)
			}
			got = frames(t, dongle.Config{}, session, request(j11.Authenticate), request(tt.code, tt.data...))
			if d := cmp.Diff(response(tt.code, tt.within...), got[len(got)-1]); d != "" {
				t.Errorf("within a session (-want +got):\n%s", d)
			}
		})
	}
	for set, get := range map[uint16]uint16{0x0101: 0x0102, 0x010A: 0x010B} {
		for v := range byte(2) {
			got := frames(t, dongle.Config{}, request(set, v), request(get))
			if d := cmp.Diff([]j11.Frame{response(set, j11.OK), response(get, j11.OK, v)}, got); d != "" {
				t.Errorf("%04X (-want +got):\n%s", set, d)
			}
		}
	}
	if d := cmp.Diff([]j11.Frame{{Code: j11.UnknownRequest, Data: []byte{j11.BadCode}}}, frames(t, dongle.Config{}, request(0x0FFF))); d != "" {
		t.Errorf("a request that is none (-want +got):\n%s", d)
	}
}

// A frame whose rest does not come within a second is answered, and what comes later is read.
func TestBinaryFrameIsCutShort(t *testing.T) {
	for _, n := range []int{5, 12, 13} {
		got := frames(t, dongle.Config{}, request(j11.OpenPort, 0x0E, 0x1A)[:n], request(j11.OpenPort, 0x0E, 0x1A))
		want := []j11.Frame{{Code: j11.BrokenRequest, Data: []byte{0x13}}, response(j11.OpenPort, j11.OK)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d bytes of a request (-want +got):\n%s", n, d)
		}
	}
}

// A start that fails ends the operation that was started before.
func TestBinaryStartFailsLater(t *testing.T) {
	got := frames(t, dongle.Config{},
		slices.Concat(request(j11.Setup, 5, 0, 17, 0), request(j11.Credentials, []byte(credentials.ID+credentials.Password)...)),
		request(j11.Start), request(j11.Setup, 5, 0, 4, 0), request(j11.Start), request(j11.Authenticate))
	want := []j11.Frame{response(j11.Start, j11.NoConnection), response(j11.Authenticate, j11.BadParameter)}
	if d := cmp.Diff(want, got[max(0, len(got)-2):]); d != "" {
		t.Errorf("the end (-want +got):\n%s", d)
	}
}
