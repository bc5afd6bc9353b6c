package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
)

// codec is what every type that travels implements.
type codec interface {
	AppendBinary(b []byte) ([]byte, error)
	UnmarshalBinary(b []byte) error
}

// sample is a value of a type with its encoding: its size, the offsets of the
// bytes that must be zero, and whether a checksum ends it.
type sample struct {
	name     string
	value    codec
	size     int
	zeros    []int
	checksum bool
}

func fill(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

var (
	digestA = eventlog.Digest(fill(32, 0xA0))
	digestB = eventlog.Digest(fill(32, 0xB0))
	sigA    = eventlog.Signature(fill(64, 0x11))

	countersA = eventlog.Counters{ModuleUp: true, SealLength: 640, SealCounter: 9, ModuleCounter: 10}
)

// samples returns a value of every type that travels.
func samples() []sample {
	return []sample{
		{name: "record", value: &eventlog.Record{
			Class: eventlog.ClassFraud, Code: 40, Seq: 7, Millis: -5, Boot: 3, Uptime: 99,
			Flags: eventlog.FlagSpecific, Payload: fill(10, 1),
		}, size: 64, zeros: []int{27, 38, 59}, checksum: true},
		{name: "record of four slots", value: &eventlog.Record{Payload: fill(eventlog.MaxPayload-1, 1)}, size: 256, zeros: []int{27, 251}, checksum: true},
		{name: "header", value: &eventlog.Header{
			Meter: meterID, Scheme: eventlog.SchemeCounter, Key: digestA, Segment: 2, PrevLength: 640, PrevDigest: digestB,
			FirstSeq: 8, Profile: eventlog.ProfileDSMR, PolicyVersion: 3, PolicyDigest: digestA,
		}, size: 141},
		{name: "segment end", value: &eventlog.SegmentEnd{Reason: eventlog.EndKey, Next: 4}, size: 5},
		{name: "segment dropped", value: &eventlog.SegmentDropped{Segment: 4, Length: 640, Digest: digestA, Reason: eventlog.DropReceipt}, size: 45},
		{name: "boot", value: &eventlog.Boot{Dropped: 60, Counters: countersA}, size: 29},
		{name: "log damaged", value: &eventlog.LogDamaged{Segment: 1, Found: 900, Verifiable: 640, Digest: digestB, Counters: countersA}, size: 77},
		{name: "challenge accepted", value: &eventlog.ChallengeAccepted{Nonce: digestA, Issued: -1, MDMS: digestB}, size: 72},
		{name: "key change", value: &eventlog.KeyChange{Key: digestA, Scheme: eventlog.SchemeDigest, Counter: 5}, size: 41},
		{name: "policy change", value: &eventlog.PolicyChange{Old: digestA, New: digestB, Version: 4}, size: 68},
		{name: "receipt accepted", value: &eventlog.ReceiptAccepted{Segment: 1, Length: 640, Digest: digestA, Millis: 5, MDMS: digestB}, size: 84},
		{name: "clock set", value: &eventlog.ClockSet{Old: -1, New: 1, Source: eventlog.ClockSync}, size: 17},
		{name: "module failed", value: &eventlog.ModuleFailed{Reason: eventlog.FailTimeout}, size: 1},
		{name: "module restored", value: &eventlog.ModuleRestored{Counters: countersA}, size: 25},
		{name: "events suppressed", value: &eventlog.EventsSuppressed{Count: 12, Reason: eventlog.SuppressFlood}, size: 5},
		{name: "seal", value: &eventlog.Seal{
			Scheme: eventlog.SchemeCounter, Segment: 1, SignedLength: 640, LastSeq: 7, KeyPrefix: [8]byte{1, 2}, Counter: 5,
			Digest: digestA, Signature: sigA,
		}, size: eventlog.SealSize, checksum: true},
		{name: "status", value: &eventlog.Status{
			Scheme: eventlog.SchemeDigest, Health: eventlog.HealthDown, Segment: 3, Oldest: 2, Length: 900, SignedLength: 640,
			LastSeq: 9, KeyPrefix: [8]byte{1, 2},
		}, size: eventlog.StatusSize, zeros: []int{7}},
		{name: "receipt", value: &eventlog.Receipt{
			MDMS: digestA, Meter: meterID, Segment: 1, Length: 640, Digest: digestB, Millis: 4, Signature: sigA,
		}, size: eventlog.ReceiptSize, zeros: []int{63}},
		{name: "challenge", value: &eventlog.Challenge{Meter: meterID, Nonce: digestA, Issued: 4, MDMS: digestB, Signature: sigA}, size: eventlog.ChallengeSize, zeros: []int{31}},
		{name: "bundle", value: &eventlog.Bundle{
			Meter: meterID, Newest: true, Collected: 4,
			Parts: []eventlog.Part{
				{Segment: 1, Offset: 64, Log: fill(64, 1), Seal: fill(140, 2)},
				{Segment: 3, Log: fill(128, 3), Seal: []byte{}},
			},
			Chain: fill(20, 4),
		}, size: 38 + 18 + 64 + 140 + 18 + 128 + 4 + 20, zeros: []int{25, 36, 37}},
	}
}

// payloads names the sample of each system event that carries a payload.
var payloads = map[uint16]string{
	eventlog.CodeSegment: "header", eventlog.CodeSegmentEnd: "segment end", eventlog.CodeSegmentDropped: "segment dropped",
	eventlog.CodeBoot: "boot", eventlog.CodeLogDamaged: "log damaged", eventlog.CodeChallenge: "challenge accepted",
	eventlog.CodeKeyChange: "key change", eventlog.CodePolicyChange: "policy change", eventlog.CodeReceipt: "receipt accepted",
	eventlog.CodeClockSet: "clock set", eventlog.CodeModuleFailed: "module failed",
	eventlog.CodeModuleRestored: "module restored", eventlog.CodeEventsSuppressed: "events suppressed",
}

// sampleOf returns the value of a sample.
func sampleOf(t testing.TB, name string) codec {
	t.Helper()
	for _, s := range samples() {
		if s.name == name {
			return s.value
		}
	}
	t.Fatalf("there is no sample %q", name)
	return nil
}

// fresh returns a new value of the type of c.
func fresh(c codec) codec { return reflect.New(reflect.TypeOf(c).Elem()).Interface().(codec) }

func encode(t testing.TB, c codec) []byte {
	t.Helper()
	b, err := c.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCodecRoundTrip(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			b, err := s.value.AppendBinary([]byte("head"))
			if err != nil || string(b[:4]) != "head" {
				t.Fatalf("append: %q, %v", b[:4], err)
			}
			b = b[4:]
			if len(b) != s.size {
				t.Errorf("%d bytes, want %d", len(b), s.size)
			}
			got := fresh(s.value)
			if err := got.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, s.value); diff != "" {
				t.Errorf("decoded (-got +want):\n%s", diff)
			}
		})
	}
}

func TestCodecRefusesEveryOtherLength(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			b := encode(t, s.value)
			for n := range b {
				if err := fresh(s.value).UnmarshalBinary(b[:n]); err == nil {
					t.Errorf("%d of %d bytes decode", n, len(b))
				}
			}
			for _, more := range []int{1, 64} {
				if err := fresh(s.value).UnmarshalBinary(append(bytes.Clone(b), make([]byte, more)...)); err == nil {
					t.Errorf("%d trailing bytes are ignored", more)
				}
			}
		})
	}
}

// TestCodecIsCanonical flips each bit: the result is refused, or it encodes to
// exactly the flipped bytes, so that no byte is ignored.
func TestCodecIsCanonical(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			b := encode(t, s.value)
			refused := 0
			for bit := range 8 * len(b) {
				c := bytes.Clone(b)
				c[bit/8] ^= 1 << (bit % 8)
				if s.checksum && bit/8 < len(b)-4 {
					if fresh(s.value).UnmarshalBinary(c) == nil {
						t.Errorf("bit %d: the checksum does not notice", bit)
					}
					recode(c)
				}
				got := fresh(s.value)
				if got.UnmarshalBinary(c) != nil {
					refused++
					continue
				}
				if again, err := got.AppendBinary(nil); err != nil || !bytes.Equal(again, c) {
					t.Errorf("bit %d of byte %d is ignored: %v", bit%8, bit/8, err)
				}
			}
			for _, at := range s.zeros {
				c := bytes.Clone(b)
				c[at] = 1
				if s.checksum {
					recode(c)
				}
				if fresh(s.value).UnmarshalBinary(c) == nil {
					t.Errorf("unused byte %d may be 1", at)
				}
			}
			if s.checksum && refused == 0 {
				t.Error("nothing was refused")
			}
		})
	}
}

func TestDecodedRecordAliasesItsInputWithACap(t *testing.T) {
	b := encode(t, &eventlog.Record{Payload: []byte{1, 2}})
	var r eventlog.Record
	if n, err := r.Next(b); n != 64 || err != nil {
		t.Fatal(n, err)
	}
	if cap(r.Payload) != 2 || &r.Payload[0] != &b[28] {
		t.Errorf("payload with capacity %d", cap(r.Payload))
	}
}

func TestRecordSizes(t *testing.T) {
	for payload, size := range map[int]int{0: 64, 32: 64, 33: 128, 96: 128, 97: 192, 160: 192, 161: 256, 224: 256} {
		r := eventlog.Record{Payload: make([]byte, payload)}
		if b := encode(t, &r); len(b) != size || r.Size() != size || int(b[1]) != size/64 {
			t.Errorf("payload of %d bytes: %d bytes, Size %d", payload, len(b), r.Size())
		}
	}
}

func TestRecordErrors(t *testing.T) {
	b := encode(t, &eventlog.Record{Payload: make([]byte, 50), Seq: 1})
	edited := func(f func(b []byte)) []byte {
		c := bytes.Clone(b)
		f(c)
		return c
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":            {nil, eventlog.ErrShort},
		"one slot of two":    {b[:64], eventlog.ErrShort},
		"no version":         {edited(func(b []byte) { b[0] = 0 }), eventlog.ErrRecord},
		"no slots":           {edited(func(b []byte) { b[1] = 0 }), eventlog.ErrRecord},
		"five slots":         {edited(func(b []byte) { b[1] = 5 }), eventlog.ErrRecord},
		"a flipped bit":      {edited(func(b []byte) { b[9] ^= 1 }), eventlog.ErrChecksum},
		"too many slots":     {edited(func(b []byte) { b[25] = 20; recode(b) }), eventlog.ErrRecord},
		"too long a payload": {edited(func(b []byte) { b[25] = 255; recode(b) }), eventlog.ErrRecord},
		"trailing bytes":     {append(bytes.Clone(b), 0), eventlog.ErrTrailing},
	} {
		if err := new(eventlog.Record).UnmarshalBinary(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEncodingRefusesWhatItCouldNotDecode(t *testing.T) {
	seal := *sampleOf(t, "seal").(*eventlog.Seal)
	withSeal := func(f func(*eventlog.Seal)) codec { s := seal; f(&s); return &s }
	many := make([]eventlog.Part, 1025)
	for i := range many {
		many[i].Segment = uint32(i + 1)
	}
	big := make([]byte, eventlog.MaxBundle)
	for name, c := range map[string]codec{
		"record with too long a payload": &eventlog.Record{Payload: make([]byte, eventlog.MaxPayload+1)},
		"record with unknown flags":      &eventlog.Record{Flags: 8},
		"header of segment 0":            &eventlog.Header{},
		"seal of no scheme":              withSeal(func(s *eventlog.Seal) { s.Scheme = 0 }),
		"seal of scheme tpm-nv":          withSeal(func(s *eventlog.Seal) { s.Scheme = eventlog.SchemeTPMNV }),
		"digest seal with a counter":     withSeal(func(s *eventlog.Seal) { s.Scheme = eventlog.SchemeDigest }),
		"seal of segment 0":              withSeal(func(s *eventlog.Seal) { s.Segment = 0 }),
		"seal over less than a header":   withSeal(func(s *eventlog.Seal) { s.SignedLength = 128 }),
		"seal over half a slot":          withSeal(func(s *eventlog.Seal) { s.SignedLength = 641 }),
		"bundle of nothing":              &eventlog.Bundle{},
		"bundle of too many parts":       &eventlog.Bundle{Parts: many},
		"bundle with too long a chain":   &eventlog.Bundle{Parts: many[:1], Chain: make([]byte, 64<<10+1)},
		"bundle that is too large":       &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1, Log: big}}},
		"bundle too large by its chain":  &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1, Log: big[:eventlog.MaxBundle-56]}}, Chain: big[:60]},
		"bundle of segment 0":            &eventlog.Bundle{Parts: []eventlog.Part{{}}},
		"bundle of a segment twice":      &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1}, {Segment: 1}}},
		"bundle of half a slot":          &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1, Offset: 32}}},
		"bundle of a far offset":         &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1, Offset: 1 << 41}}},
		"bundle with a long seal":        &eventlog.Bundle{Parts: []eventlog.Part{{Segment: 1, Seal: make([]byte, 256)}}},
	} {
		if b, err := c.AppendBinary([]byte("head")); err == nil || string(b) != "head" {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestDecodingRefuses(t *testing.T) {
	encoded := map[string][]byte{}
	for _, s := range samples() {
		encoded[s.name] = encode(t, s.value)
	}
	edited := func(name string, at int, v ...byte) []byte {
		b := bytes.Clone(encoded[name])
		copy(b[at:], v)
		if name == "seal" {
			recode(b)
		}
		return b
	}
	for name, c := range map[string]struct {
		into codec
		b    []byte
		want error
	}{
		"header with another magic":     {new(eventlog.Header), edited("header", 0, 'X'), eventlog.ErrHeader},
		"header of segment 0":           {new(eventlog.Header), edited("header", 56, 0, 0, 0, 0), eventlog.ErrHeader},
		"boot with module state 2":      {new(eventlog.Boot), edited("boot", 4, 2), eventlog.ErrPayload},
		"seal with another magic":       {new(eventlog.Seal), edited("seal", 0, 'X'), eventlog.ErrSeal},
		"seal of version 2":             {new(eventlog.Seal), edited("seal", 4, 2), eventlog.ErrSeal},
		"seal that gives another size":  {new(eventlog.Seal), edited("seal", 7, 141), eventlog.ErrSeal},
		"seal of another scheme":        {new(eventlog.Seal), edited("seal", 5, 3), eventlog.ErrSeal},
		"status with another magic":     {new(eventlog.Status), edited("status", 0, 'X'), eventlog.ErrStatus},
		"status of version 2":           {new(eventlog.Status), edited("status", 4, 2), eventlog.ErrStatus},
		"status of no health":           {new(eventlog.Status), edited("status", 6, 0), eventlog.ErrStatus},
		"status with an oldest to come": {new(eventlog.Status), edited("status", 15, 4), eventlog.ErrStatus},
		"status sealed beyond its end":  {new(eventlog.Status), edited("status", 24, 1), eventlog.ErrStatus},
		"receipt with another tag":      {new(eventlog.Receipt), edited("receipt", 0, 'X'), eventlog.ErrMessage},
		"receipt as a challenge":        {new(eventlog.Challenge), encoded["receipt"][:eventlog.ChallengeSize], eventlog.ErrMessage},
		"bundle with another magic":     {new(eventlog.Bundle), edited("bundle", 0, 'X'), eventlog.ErrBundle},
		"bundle of version 2":           {new(eventlog.Bundle), edited("bundle", 8, 2), eventlog.ErrBundle},
		"bundle with unknown flags":     {new(eventlog.Bundle), edited("bundle", 9, 3), eventlog.ErrBundle},
		"bundle of no parts":            {new(eventlog.Bundle), edited("bundle", 34, 0, 0), eventlog.ErrBundle},
		"bundle of too many parts":      {new(eventlog.Bundle), edited("bundle", 34, 4, 1), eventlog.ErrBundle},
		"bundle with parts that lack":   {new(eventlog.Bundle), edited("bundle", 34, 4, 0), eventlog.ErrBundle},
		"bundle with a long log":        {new(eventlog.Bundle), edited("bundle", 50, 0xFF, 0xFF, 0xFF, 0xFF), eventlog.ErrBundle},
		"bundle of half a slot":         {new(eventlog.Bundle), edited("bundle", 49, 65), eventlog.ErrBundle},
		"bundle that is too large":      {new(eventlog.Bundle), make([]byte, eventlog.MaxBundle+1), eventlog.ErrBundle},
	} {
		if err := c.into.UnmarshalBinary(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if !reflect.ValueOf(c.into).Elem().IsZero() && !strings.HasPrefix(name, "header") && !strings.HasPrefix(name, "boot") {
			t.Errorf("%s: the value was changed", name)
		}
	}
}

func TestDecodePayload(t *testing.T) {
	for code, name := range payloads {
		r := eventlog.Record{Class: eventlog.ClassSystem, Code: code, Payload: encode(t, sampleOf(t, name))}
		if got, err := eventlog.DecodePayload(&r); err != nil || !cmp.Equal(got, eventlog.Payload(sampleOf(t, name))) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		r.Payload = append(r.Payload, 0)
		if _, err := eventlog.DecodePayload(&r); err == nil || !strings.Contains(err.Error(), r.Event().String()) {
			t.Errorf("%s with a trailing byte: %v", name, err)
		}
		r.Class = eventlog.ClassFraud
		if got, err := eventlog.DecodePayload(&r); got != nil || err != nil {
			t.Errorf("a fraud event: %+v, %v", got, err)
		}
	}
	periodic := eventlog.Record{Class: eventlog.ClassSystem, Code: eventlog.CodePeriodicSeal}
	if got, err := eventlog.DecodePayload(&periodic); got != nil || err != nil {
		t.Errorf("PERIODIC_SEAL: %+v, %v", got, err)
	}
	periodic.Payload = []byte{0}
	if _, err := eventlog.DecodePayload(&periodic); !errors.Is(err, eventlog.ErrPayload) {
		t.Errorf("PERIODIC_SEAL with a payload: %v", err)
	}
	if _, err := eventlog.DecodePayload(&eventlog.Record{Class: eventlog.ClassSystem, Code: 15}); !errors.Is(err, eventlog.ErrPayload) {
		t.Errorf("an unknown system event: %v", err)
	}
}

func TestParseHeader(t *testing.T) {
	header := eventlog.Header{Meter: meterID, Segment: 1, FirstSeq: 5}
	make := func(change func(r *eventlog.Record)) []byte {
		r := eventlog.Record{
			Class: eventlog.ClassSystem, Code: eventlog.CodeSegment, Seq: 5, Flags: eventlog.FlagSpecific,
			Payload: encode(t, &header),
		}
		change(&r)
		return encode(t, &r)
	}
	good := make(func(*eventlog.Record) {})
	if h, err := eventlog.ParseHeader(append(good, 1, 2, 3)); err != nil || h != header {
		t.Errorf("header %+v, %v", h, err)
	}
	if len(good) != eventlog.HeaderSize {
		t.Errorf("%d bytes", len(good))
	}
	for name, b := range map[string][]byte{
		"cut short":         good[:100],
		"of another class":  make(func(r *eventlog.Record) { r.Class = eventlog.ClassFraud }),
		"of another code":   make(func(r *eventlog.Record) { r.Code = eventlog.CodeBoot }),
		"not specific":      make(func(r *eventlog.Record) { r.Flags = 0 }),
		"numbered wrongly":  make(func(r *eventlog.Record) { r.Seq = 6 }),
		"without a payload": make(func(r *eventlog.Record) { r.Payload = nil }),
	} {
		if _, err := eventlog.ParseHeader(b); !errors.Is(err, eventlog.ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMDMSMessages(t *testing.T) {
	key, other := newKey(t), newKey(t)
	receipt := eventlog.Receipt{Meter: meterID, Segment: 1, Length: 640, Digest: digestA, Millis: 4}
	challenge := eventlog.Challenge{Meter: meterID, Nonce: digestA, Issued: 4}
	if err := errors.Join(receipt.Sign(key), challenge.Sign(key)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(receipt.Verify(&key.PublicKey), challenge.Verify(&key.PublicKey)); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"receipt by another key":   receipt.Verify(&other.PublicKey),
		"challenge by another key": challenge.Verify(&other.PublicKey),
	} {
		if !errors.Is(err, eventlog.ErrMessageSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if receipt.Verify(nil) == nil || challenge.Verify(nil) == nil {
		t.Error("no key verifies")
	}
	for name, c := range map[string]interface {
		codec
		Verify(*ecdsa.PublicKey) error
	}{"receipt": &receipt, "challenge": &challenge} {
		b := encode(t, c)
		for bit := range 8 * len(b) {
			flipped := bytes.Clone(b)
			flipped[bit/8] ^= 1 << (bit % 8)
			got := fresh(c).(interface {
				codec
				Verify(*ecdsa.PublicKey) error
			})
			if got.UnmarshalBinary(flipped) == nil && got.Verify(&key.PublicKey) == nil {
				t.Errorf("%s: bit %d is not signed", name, bit)
			}
		}
	}
	// The signature of the one is none for the other, nor for a log digest.
	swapped := challenge
	swapped.Signature = receipt.Signature
	if swapped.Verify(&key.PublicKey) == nil {
		t.Error("the signature of a receipt is one for a challenge")
	}
}

func TestDigestsAndStatementsDiffer(t *testing.T) {
	key := newKey(t)
	id := keyID(t, key)
	sig, err := eventlog.Sign(key, digestA)
	if err != nil {
		t.Fatal(err)
	}
	stated, err := eventlog.Sign(key, eventlog.Statement(id, 5, digestA))
	if err != nil {
		t.Fatal(err)
	}
	s := eventlog.Seal{Counter: 5, Signature: sig}
	c := eventlog.Seal{Counter: 5, Signature: stated}
	for name, got := range map[string][2]bool{
		"digest":                  {s.Signs(&key.PublicKey, id, eventlog.SchemeDigest, digestA), true},
		"digest of another log":   {s.Signs(&key.PublicKey, id, eventlog.SchemeDigest, digestB), false},
		"digest as counter":       {s.Signs(&key.PublicKey, id, eventlog.SchemeCounter, digestA), false},
		"counter":                 {c.Signs(&key.PublicKey, id, eventlog.SchemeCounter, digestA), true},
		"counter as digest":       {c.Signs(&key.PublicKey, id, eventlog.SchemeDigest, digestA), false},
		"counter for another key": {c.Signs(&key.PublicKey, digestB, eventlog.SchemeCounter, digestA), false},
		"no scheme":               {s.Signs(&key.PublicKey, id, 0, digestA), false},
		"tpm-nv":                  {s.Signs(&key.PublicKey, id, eventlog.SchemeTPMNV, digestA), false},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v", name, got[0])
		}
	}
	c.Counter = 6
	if c.Signs(&key.PublicKey, id, eventlog.SchemeCounter, digestA) {
		t.Error("another counter is signed too")
	}
}

func ExampleMeterID() {
	id, err := eventlog.ParseMeterID("FFFFFF-MS0000000001")
	fmt.Println(id, id.Serial(), err)
	// Output: FFFFFF-MS0000000001 MS0000000001 <nil>
}
