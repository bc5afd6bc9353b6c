package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"testing"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// modelLog is a log as a list: what the real one must look like after any
// sequence of operations.
type modelLog struct {
	segments map[uint32][]byte
	oldest   uint32
	newest   uint32
	seq      uint32
	specific uint64 // end of the last specific record of the newest segment
	signed   uint64 // what the newest seal covers of it
	ended    bool   // the last record is SEGMENT_END
}

func (m *modelLog) append(t *rapid.T, r eventlog.Record, ended bool) {
	b, err := r.AppendBinary(m.segments[m.newest])
	if err != nil {
		t.Fatal(err)
	}
	m.segments[m.newest], m.seq, m.ended = b, r.Seq, ended
	if r.Specific() {
		m.specific = uint64(len(b))
	}
}

// TestLogIsAList runs random operations on a log and on a list.
func TestLogIsAList(t *testing.T) {
	events := []eventlog.Event{plain, fraud, {Class: 5, Code: 7}, {Class: 2, Code: 60}}
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(&quietTB{TB: nil, t: t}, eventlog.SchemeCounter, durabletest.New())
		policy := r.cfg.Policy
		m := &modelLog{segments: map[uint32][]byte{1: r.bytes(1)}, oldest: 1, newest: 1, seq: 1, specific: eventlog.HeaderSize}
		system := func(code uint16, p eventlog.Payload) {
			m.append(t, r.system(code, p), code == eventlog.CodeSegmentEnd)
		}
		seal := func() {
			if m.specific > m.signed {
				r.seal()
				m.signed = m.specific
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				e := rapid.SampledFrom(events).Draw(t, "event")
				payload := rapid.SliceOfN(rapid.Byte(), 0, eventlog.MaxPayload).Draw(t, "payload")
				got := r.append(e, payload)
				if got.Seq != m.seq+1 || got.Specific() != policy.IsSpecific(e) {
					t.Fatalf("record %+v after %d", got, m.seq)
				}
				m.append(t, got, false)
			},
			"periodic": func(*rapid.T) { system(eventlog.CodePeriodicSeal, nil) },
			"seal":     func(*rapid.T) { seal() },
			"rotate": func(t *rapid.T) {
				system(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: m.newest + 1})
				seal()
				if err := r.log.NextSegment(r.stamp(), nil); err != nil {
					t.Fatal(err)
				}
				m.next(r)
			},
			"reopen": func(t *rapid.T) {
				if r.cfg.First {
					seal() // before the first seal nothing is promised
				}
				closed := m.ended && m.signed == uint64(len(m.segments[m.newest]))
				r.reopen()
				if r.rec.Damaged != nil || r.rec.LastSeq != m.seq {
					t.Fatalf("recovered %+v", r.rec)
				}
				if closed {
					m.next(r)
				}
			},
			"drop": func(t *rapid.T) {
				closed := r.log.Closed()
				if len(closed) < 3 {
					t.Skip("nothing can be dropped")
				}
				c := closed[0]
				system(eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{Segment: c.Segment, Length: c.Length, Digest: c.Digest})
				if err := r.log.Drop(c.Segment); err != nil {
					t.Fatal(err)
				}
				delete(m.segments, m.oldest)
				m.oldest++
			},
			"": func(t *rapid.T) { m.compare(t, r) },
		})
	})
}

// next takes the header of a new segment from the log; that it is right is
// what other tests say.
func (m *modelLog) next(r *rig) {
	m.newest++
	m.segments[m.newest] = r.bytes(m.newest)
	m.seq++
	m.specific, m.signed, m.ended = eventlog.HeaderSize, 0, false
}

func (m *modelLog) compare(t *rapid.T, r *rig) {
	want := r.log.Status()
	want.Segment, want.Oldest, want.LastSeq = m.newest, m.oldest, m.seq
	want.Length, want.SignedLength = uint64(len(m.segments[m.newest])), m.signed
	if got := r.log.Status(); got != want {
		t.Fatalf("status %+v, want %+v", got, want)
	}
	var size uint64
	for n, b := range m.segments {
		size += uint64(len(b))
		if !bytes.Equal(r.bytes(n), b) {
			t.Fatalf("segment %d differs", n)
		}
	}
	if r.log.Size() != size {
		t.Fatalf("size %d, want %d", r.log.Size(), size)
	}
	for _, c := range r.log.Closed() {
		if b := m.segments[c.Segment]; c.Length != uint64(len(b)) || c.Digest != sha256.Sum256(b) {
			t.Fatalf("closed %+v", c)
		}
	}
	digest, length, _, ok := r.log.Pending()
	if ok != (m.specific > m.signed) || ok && (length != m.specific || digest != sha256.Sum256(m.segments[m.newest][:length])) {
		t.Fatalf("pending %s over %d bytes, %v", digest, length, ok)
	}
}

// quietTB lets the helpers of a rig report to rapid.
type quietTB struct {
	testing.TB
	t *rapid.T
}

func (q *quietTB) Helper()                   { q.t.Helper() }
func (q *quietTB) Fatal(args ...any)         { q.t.Fatal(args...) }
func (q *quietTB) Fatalf(f string, a ...any) { q.t.Fatalf(f, a...) }

// TestDigestIsThatOfSha256sum compares what the secure element is asked to
// sign with what a stranger computes from the file.
func TestDigestIsThatOfSha256sum(t *testing.T) {
	tool, err := exec.LookPath("sha256sum")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("sha256sum is not installed")
		}
		t.Skip("sha256sum is not installed")
	}
	r, _ := sealedRig(t, eventlog.SchemeDigest)
	for i := range 30 {
		r.append(fraud, make([]byte, i*7))
		want, length, _, ok := r.log.Pending()
		if !ok {
			t.Fatal("nothing is pending")
		}
		r.append(plain, []byte("tail"))
		if i%10 == 9 {
			r.seal()
		}
		cmd := exec.Command(tool)
		cmd.Stdin = bytes.NewReader(r.bytes(1)[:length])
		out, err := cmd.Output()
		if err != nil || len(out) < 64 {
			t.Fatalf("sha256sum: %q, %v", out, err)
		}
		if got, err := hex.DecodeString(string(out[:64])); err != nil || eventlog.Digest(got) != want {
			t.Errorf("%d bytes: sha256sum says %s, the log %s", length, out[:64], want)
		}
	}
}
