package wire_test

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

var hello = wire.Hello{
	Scheme:     eventlog.SchemeCounter,
	History:    2,
	Passes:     3,
	Lanes:      4,
	MemoryKiB:  65536,
	Rate:       0.5,
	Burst:      7,
	Dir:        "/var/lib/meter/se",
	Passphrase: []byte("correct horse"),
}

var description = wire.Description{
	Scheme:  eventlog.SchemeDigest,
	Point:   [65]byte{4, 1, 2, 3},
	Counter: 1<<40 + 5,
	Measures: []secureelement.Measure{
		{Name: "seccomp", Applied: true, Detail: "61 calls"},
		{Name: "landlock", Detail: "the kernel has none"},
	},
}

// marshal is what every message can do.
type marshal interface {
	AppendBinary(b []byte) ([]byte, error)
}

func encode(t testing.TB, m marshal) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessagesComeBack(t *testing.T) {
	for _, test := range []struct {
		sent marshal
		got  interface {
			marshal
			encoding.BinaryUnmarshaler
		}
	}{
		{hello, new(wire.Hello)},
		{description, new(wire.Description)},
		{wire.Signed{Counter: 9, Signature: eventlog.Signature{63: 1}}, new(wire.Signed)},
		{wire.Failure{RetryAfter: 1500 * time.Millisecond, Text: "no"}, new(wire.Failure)},
	} {
		t.Run(fmt.Sprintf("%T", test.sent), func(t *testing.T) {
			b := encode(t, test.sent)
			if err := test.got.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if again := encode(t, test.got); !bytes.Equal(again, b) {
				t.Errorf("came back as %x, want %x", again, b)
			}
		})
	}
}

func TestHelloIsStrict(t *testing.T) {
	good := encode(t, hello)
	for n := range good {
		if err := new(wire.Hello).UnmarshalBinary(good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d were taken for a message", n, len(good))
		}
	}
	if err := new(wire.Hello).UnmarshalBinary(append(good, 0)); err == nil {
		t.Error("a trailing byte was accepted")
	}
	for name, spoil := range map[string]func(*wire.Hello){
		"no rate":           func(h *wire.Hello) { h.Rate = 0 },
		"negative rate":     func(h *wire.Hello) { h.Rate = -1 },
		"rate not a number": func(h *wire.Hello) { h.Rate = math.NaN() },
		"endless rate":      func(h *wire.Hello) { h.Rate = math.Inf(1) },
		"no burst":          func(h *wire.Hello) { h.Burst = 0 },
	} {
		h := hello
		spoil(&h)
		if err := new(wire.Hello).UnmarshalBinary(encode(t, h)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestHelloHidesThePassphrase(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(format, hello); bytes.Contains([]byte(got), hello.Passphrase) {
			t.Errorf("%s shows %q", format, got)
		}
	}
}

func TestFailureKeepsWithinItsBounds(t *testing.T) {
	long := wire.Failure{RetryAfter: 1 << 62, Text: string(make([]byte, 2000))}
	var got wire.Failure
	if err := got.UnmarshalBinary(encode(t, long)); err != nil {
		t.Fatal(err)
	}
	want := wire.Failure{RetryAfter: math.MaxUint32 * time.Millisecond, Text: string(make([]byte, 512))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cut failure (-want +got):\n%s", diff)
	}
	if err := got.UnmarshalBinary(encode(t, wire.Failure{RetryAfter: time.Microsecond})); err != nil {
		t.Fatal(err)
	}
	if got.RetryAfter != time.Millisecond {
		t.Errorf("a microsecond became %v, want a millisecond", got.RetryAfter)
	}
}

func TestRead(t *testing.T) {
	frame := encode(t, wire.Frame{ID: 7, Kind: wire.Sign, Body: []byte("body")})
	buf := make([]byte, wire.MaxFrame)

	got, err := wire.Read(bytes.NewReader(frame), buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.Frame{ID: 7, Kind: wire.Sign, Body: []byte("body")}, got); diff != "" {
		t.Errorf("frame (-want +got):\n%s", diff)
	}
	if _, err := wire.Read(bytes.NewReader(nil), buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	for n := 1; n < len(frame); n++ {
		if _, err := wire.Read(bytes.NewReader(frame[:n]), buf); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
	for _, length := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x08", "\x00\x00\x1f\xfd", "\xff\xff\xff\xff"} {
		if _, err := wire.Read(bytes.NewReader([]byte(length+string(make([]byte, 9000)))), buf); err == nil {
			t.Errorf("length %x was accepted", length)
		}
	}
	if _, err := (wire.Frame{Body: make([]byte, wire.MaxFrame)}).AppendBinary(nil); err == nil {
		t.Error("a frame over the limit was made")
	}
}

// FuzzRequest is what a module process does with bytes from its socket. What
// decodes encodes to the same bytes.
func FuzzRequest(f *testing.F) {
	f.Add(encode(f, wire.Frame{ID: 1, Kind: wire.Open, Body: encode(f, hello)}))
	f.Add(encode(f, wire.Frame{ID: 2, Kind: wire.Sign, Body: make([]byte, 32)}))
	f.Add(encode(f, wire.Frame{ID: 1<<64 - 1, Kind: 255}))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := wire.Read(bytes.NewReader(b), make([]byte, wire.MaxFrame))
		if err != nil {
			return
		}
		again := encode(t, frame)
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was read as %x", b, again)
		}
		var h wire.Hello
		if h.UnmarshalBinary(frame.Body) == nil && !bytes.Equal(encode(t, h), frame.Body) {
			t.Fatalf("hello %x came back as %x", frame.Body, encode(t, h))
		}
	})
}

// FuzzAnswer is what a meter does with bytes from the module process.
func FuzzAnswer(f *testing.F) {
	f.Add(encode(f, description))
	f.Add(encode(f, wire.Signed{Counter: 3}))
	f.Add(encode(f, wire.Failure{RetryAfter: time.Second, Text: "locked"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var (
			d wire.Description
			s wire.Signed
			e wire.Failure
		)
		if d.UnmarshalBinary(b) == nil && !bytes.Equal(encode(t, d), b) {
			t.Errorf("description %x came back as %x", b, encode(t, d))
		}
		if s.UnmarshalBinary(b) == nil && !bytes.Equal(encode(t, s), b) {
			t.Errorf("signature %x came back as %x", b, encode(t, s))
		}
		if e.UnmarshalBinary(b) == nil && !bytes.Equal(encode(t, e), b) {
			t.Errorf("failure %x came back as %x", b, encode(t, e))
		}
	})
}
