package device_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// The events of the tests, by the default set of specific events.
var (
	coverOpened = eventlog.Event{Class: eventlog.ClassFraud, Code: 40}        // specific
	powerUp     = eventlog.Event{Class: eventlog.ClassStandard, Code: 2}      // not
	noConnect   = eventlog.Event{Class: eventlog.ClassCommunication, Code: 3} // not, and noise
)

var meterID = must(eventlog.ParseMeterID("FFFFFF-MS0000000001"))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rig is a meter on a real directory with a secure element that can be made to
// fail.
type rig struct {
	*device.Meter
	t      *testing.T
	cfg    device.Config
	module *secureelementtest.Module

	mu    sync.Mutex
	steps []device.Step

	stop    context.CancelFunc
	stopped chan error
}

// newRig prepares a meter; start opens it.
func newRig(t *testing.T, change ...func(*device.Config)) *rig {
	t.Helper()
	r := &rig{t: t, module: secureelementtest.New(t, eventlog.SchemeCounter)}
	r.cfg = device.Config{
		Dir:     filepath.Join(t.TempDir(), "meter"),
		Module:  r.module,
		Meter:   meterID,
		Policy:  eventlog.DefaultPolicy(),
		Profile: eventlog.ProfileIDIS,
		Trace: func(s device.Step) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if a, ok := s.(*device.Appended); ok {
				c := *a
				c.Record.Payload = slices.Clone(a.Record.Payload)
				s = &c
			}
			r.steps = append(r.steps, s)
		},
		NoEventSocket: true,
		SignTimeout:   time.Minute, // a test machine may be slow
	}
	for _, f := range change {
		f(&r.cfg)
	}
	return r
}

// brisk gives up a seal after the default time, for tests in a bubble.
func brisk(c *device.Config) { c.SignTimeout = 0 }

// open opens the meter without running it.
func (r *rig) open() *rig {
	r.t.Helper()
	m, err := device.Open(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Meter = m
	r.t.Cleanup(func() { r.close() })
	return r
}

// start opens the meter and runs it.
func (r *rig) start() *rig {
	r.t.Helper()
	r.open()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.stopped = make(chan error, 1)
	go func() { r.stopped <- r.Run(ctx) }()
	<-r.Ready()
	return r
}

// close ends the meter; what it left is on the disk.
func (r *rig) close() {
	r.t.Helper()
	if r.stop != nil {
		r.stop()
		if err := <-r.stopped; err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.stop = nil
	}
	if err := r.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
}

// record makes an event happen that must be recorded.
func (r *rig) record(e eventlog.Event) device.Recorded {
	r.t.Helper()
	rec, err := r.Record(r.t.Context(), e, nil)
	if err != nil {
		r.t.Fatalf("record %v: %v", e, err)
	}
	return rec
}

// reach waits until the meter is in a segment. It begins one when it comes to it.
func (r *rig) reach(segment uint32) {
	r.t.Helper()
	for end := time.Now().Add(patience); r.Status().Segment < segment; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not in segment %d: %+v", segment, r.Status())
		}
	}
}

func (r *rig) stepsSoFar() []device.Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.steps)
}

// entry is a record as a test reads it.
type entry struct {
	eventlog.Record
	segment uint32
	payload eventlog.Payload // of a system event
}

// segmentFile is a segment on the disk.
type segmentFile struct {
	number uint32
	bytes  []byte
	header eventlog.Header
}

// readSegments reads the segment files of a state directory, oldest first.
func readSegments(t testing.TB, dir string) []segmentFile {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	slices.Sort(names)
	var list []segmentFile
	for _, name := range names {
		var s segmentFile
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.seg", &s.number); err != nil {
			t.Fatal(err)
		}
		if s.bytes, err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		if s.header, err = eventlog.ParseHeader(s.bytes); err != nil {
			t.Fatalf("segment %d: %v", s.number, err)
		}
		list = append(list, s)
	}
	return list
}

// entries decodes a segment. A torn end is an error only if torn is false.
func (s *segmentFile) entries(t testing.TB, torn bool) []entry {
	t.Helper()
	var list []entry
	for rest := s.bytes; len(rest) > 0; {
		e := entry{segment: s.number}
		n, err := e.Next(rest)
		if err != nil {
			if torn {
				break
			}
			t.Fatalf("segment %d at %d: %v", s.number, len(s.bytes)-len(rest), err)
		}
		if e.payload, err = eventlog.DecodePayload(&e.Record); err != nil {
			t.Fatalf("segment %d, record %d: %v", s.number, e.Seq, err)
		}
		list = append(list, e)
		rest = rest[n:]
	}
	return list
}

// audit inspects a stopped meter's log, and asks for the verdict of an MDMS
// that knows the keys. It returns all records and the newest seal.
func audit(t testing.TB, dir string, pubs ...*ecdsa.PublicKey) ([]entry, eventlog.Seal) {
	t.Helper()
	list, seal := inspect(t, dir, pubs...)
	if !t.Failed() {
		judge(t, dir, readSegments(t, dir), seal, pubs)
	}
	return list, seal
}

// told stops the meter and audits its log, which has to tell of these events
// after SEGMENT and BOOT. It returns all records.
func (r *rig) told(want ...string) []entry {
	r.t.Helper()
	r.close()
	list, _ := audit(r.t, r.cfg.Dir, r.module.PublicKey())
	if diff := cmp.Diff(want, events(list)[2:]); diff != "" {
		r.t.Errorf("the log tells (-want +got):\n%s", diff)
	}
	return list
}

// inspect looks at the files of a log alone: sequence numbers without a gap,
// segments that link by length and digest and end with SEGMENT_END, and a
// newest seal that is the key's over the log. It returns all records and the
// newest seal.
func inspect(t testing.TB, dir string, pubs ...*ecdsa.PublicKey) ([]entry, eventlog.Seal) {
	t.Helper()
	segments := readSegments(t, dir)
	var all []entry
	for i := range segments {
		s := &segments[i]
		list := s.entries(t, i == len(segments)-1)
		if i > 0 {
			before := &segments[i-1]
			end, ok := all[len(all)-1].payload.(*eventlog.SegmentEnd)
			if !ok || end.Next != s.number {
				t.Errorf("segment %d ends with %v %+v", before.number, all[len(all)-1].Event(), end)
			}
			if s.header.PrevLength != uint64(len(before.bytes)) || s.header.PrevDigest != sha256.Sum256(before.bytes) {
				t.Errorf("segment %d does not link to segment %d", s.number, before.number)
			}
		}
		all = append(all, list...)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Seq != all[i-1].Seq+1 {
			t.Errorf("record %d follows record %d", all[i].Seq, all[i-1].Seq)
		}
	}
	newest := &segments[len(segments)-1]
	var best eventlog.Seal
	for _, seal := range readSeals(t, dir) {
		if seal.Segment != newest.number {
			continue
		}
		if seal.SignedLength > uint64(len(newest.bytes)) {
			t.Fatalf("a seal covers %d bytes of %d", seal.SignedLength, len(newest.bytes))
		}
		digest := eventlog.Digest(sha256.Sum256(newest.bytes[:seal.SignedLength]))
		if !signedByOne(&seal, pubs, digest) {
			t.Errorf("the seal over %d bytes of segment %d does not verify", seal.SignedLength, seal.Segment)
		}
		if seal.SignedLength > best.SignedLength {
			best = seal
		}
	}
	return all, best
}

// verdict has the log verified as a bundle.
func verdict(t testing.TB, dir string, segments []segmentFile, newest eventlog.Seal, pubs []*ecdsa.PublicKey) *verify.Report {
	t.Helper()
	report, err := verify.Verify(evidence(t, dir, segments, newest, pubs))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// evidence is the log as a bundle, for an MDMS that knows the keys.
func evidence(t testing.TB, dir string, segments []segmentFile, newest eventlog.Seal, pubs []*ecdsa.PublicKey) *verify.Input {
	t.Helper()
	bundle := eventlog.Bundle{Meter: meterID, Newest: true}
	for i, s := range segments {
		part := eventlog.Part{Segment: s.number, Log: s.bytes}
		if i < len(segments)-1 {
			part.Seal = must(os.ReadFile(filepath.Join(dir, "log", fmt.Sprintf("%08d.seal", s.number))))
		} else if newest.Segment != 0 {
			part.Seal = must(newest.AppendBinary(nil))
		}
		bundle.Parts = append(bundle.Parts, part)
	}
	in := &verify.Input{Registration: verify.Registration{Meter: meterID}, Received: time.Now().AddDate(100, 0, 0), Bundle: &bundle}
	for _, pub := range pubs {
		id := must(eventlog.KeyIDOf(pub))
		if i := slices.IndexFunc(segments, func(s segmentFile) bool { return s.header.Key == id }); i >= 0 {
			in.Registration.Keys = append(in.Registration.Keys, must(verify.NewKey(pub, segments[i].header.Scheme)))
		}
	}
	return in
}

// judge checks that the verdict is that of an honest meter.
func judge(t testing.TB, dir string, segments []segmentFile, newest eventlog.Seal, pubs []*ecdsa.PublicKey) {
	t.Helper()
	report := verdict(t, dir, segments, newest, pubs)
	want := verify.Intact
	if report.Tail > 0 {
		want = verify.IntactWithTail
	}
	if segments[0].number > 1 {
		want = verify.Gap // the MDMS has seen none of what was dropped
	}
	if report.Verdict != want {
		t.Errorf("verdict %v, want %v: %+v", report.Verdict, want, report.Findings)
	}
	for _, f := range report.Findings {
		switch f.Code {
		case verify.FindSealRemoved, verify.FindCounterGap, verify.FindSealOverdue, verify.FindDamaged, verify.FindClock:
			t.Errorf("an honest meter is charged: %+v", f)
		}
	}
}

func signedByOne(seal *eventlog.Seal, pubs []*ecdsa.PublicKey, digest eventlog.Digest) bool {
	return slices.ContainsFunc(pubs, func(pub *ecdsa.PublicKey) bool {
		id, err := eventlog.KeyIDOf(pub)
		return err == nil && seal.KeyPrefix == [8]byte(id[:8]) && seal.Signs(pub, id, seal.Scheme, digest)
	})
}

// readSeals returns the whole seals in the two slots.
func readSeals(t testing.TB, dir string) []eventlog.Seal {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log", "seals"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var list []eventlog.Seal
	for off := 0; off+eventlog.SealSize <= len(b); off += 4096 {
		var s eventlog.Seal
		if s.UnmarshalBinary(b[off:off+eventlog.SealSize]) == nil {
			list = append(list, s)
		}
	}
	return list
}

// events returns what happened, for comparison.
func events(list []entry) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.Event().String())
	}
	return out
}

// count returns how many records are of that system code.
func count(list []entry, code uint16) int {
	n := 0
	for _, e := range list {
		if e.Event() == (eventlog.Event{Class: eventlog.ClassSystem, Code: code}) {
			n++
		}
	}
	return n
}

// find returns the payload of the last record of that type.
func find[P eventlog.Payload](t testing.TB, list []entry) P {
	t.Helper()
	for _, e := range slices.Backward(list) {
		if p, ok := e.payload.(P); ok {
			return p
		}
	}
	var zero P
	t.Fatalf("no record with a %T", zero)
	return zero
}

// specifics returns how many records are specific.
func specifics(list []entry) int {
	n := 0
	for _, e := range list {
		if e.Specific() {
			n++
		}
	}
	return n
}
