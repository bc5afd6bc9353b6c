package device_test

import (
	"crypto/ecdsa"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/internal/effort"
)

// anyRecord makes up a record that follows another one, or nearly.
func anyRecord(rnd *rand.Rand, last *eventlog.Record) eventlog.Record {
	few := func() uint32 { return rnd.Uint32N(4) }
	rarely := func() bool { return rnd.IntN(8) == 0 }
	counters := eventlog.Counters{ModuleUp: true, ModuleCounter: uint64(few() * few()), SealCounter: uint64(few()), SealLength: uint64(few()) * 64}
	if rarely() {
		counters.ModuleUp, counters.ModuleCounter = false, 0
	}
	digest := eventlog.Digest{byte(few())}
	payloads := []struct {
		code    uint16
		payload eventlog.Payload
	}{
		{eventlog.CodePeriodicSeal, nil},
		{eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: few()}},
		{eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndKey, Next: 2}},
		{eventlog.CodeSegmentDropped, &eventlog.SegmentDropped{Segment: 1 + few(), Length: uint64(few()) * 64, Digest: digest, Reason: eventlog.DropFull}},
		{eventlog.CodeBoot, &eventlog.Boot{Dropped: few(), Counters: counters}},
		{eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: counters}},
		{eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailTimeout}},
		{eventlog.CodeLogDamaged, &eventlog.LogDamaged{Segment: 1, Found: 640, Counters: counters}},
		{eventlog.CodeKeyChange, &eventlog.KeyChange{Key: eventlog.KeyID{byte(few())}, Scheme: eventlog.SchemeCounter, Counter: uint64(few())}},
		{eventlog.CodePolicyChange, &eventlog.PolicyChange{Old: digest, New: eventlog.Digest{byte(few())}, Version: few()}},
		{eventlog.CodeReceipt, &eventlog.ReceiptAccepted{Segment: 1 + few(), Length: 640, Digest: digest, Millis: last.Millis}},
		{eventlog.CodeClockSet, &eventlog.ClockSet{Old: last.Millis, New: last.Millis + int64(few()), Source: eventlog.ClockLocal}},
		{eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: few(), Reason: eventlog.SuppressFlood}},
	}
	c := payloads[rnd.IntN(len(payloads))]
	r := eventlog.Record{
		Class: eventlog.ClassSystem, Code: c.code, Seq: last.Seq + 1, Boot: last.Boot + few()/3, Uptime: last.Uptime,
		Millis: last.Millis, Flags: eventlog.FlagSpecific,
	}
	if c.payload != nil {
		r.Payload = must(c.payload.AppendBinary(nil))
	}
	switch {
	case rarely():
		r.Class, r.Code = coverOpened.Class, coverOpened.Code
	case rarely():
		r.Class, r.Code, r.Flags = powerUp.Class, powerUp.Code, 0
	case rarely():
		r.Seq += few()
	case rarely():
		r.Boot = rnd.Uint32()
	case rarely():
		r.Flags = 0
	}
	return r
}

// TestForgedTail: whatever records somebody without the key puts after the
// newest seal while the meter is off, the meter starts and signs nothing that
// the verifier takes for malformed. What no seal covered it may believe.
func TestForgedTail(t *testing.T) {
	for seed := range effort.Times(40) {
		rnd := rand.New(rand.NewPCG(1, uint64(seed)))
		r := newRig(t, small).start()
		for range 1 + rnd.IntN(3) {
			r.record(coverOpened)
		}
		r.close()
		pubs := []*ecdsa.PublicKey{r.module.PublicKey()}
		known := verdictFrom(t, r, nil, pubs)

		segment := readSegments(t, r.cfg.Dir)[0]
		list := segment.entries(t, false)
		last := &list[len(list)-1].Record
		var put []string
		for range 1 + rnd.IntN(3) {
			forged := anyRecord(rnd, last)
			segment.bytes = must(forged.AppendBinary(segment.bytes))
			put = append(put, forged.Event().String())
			last = &forged
		}
		if err := os.WriteFile(filepath.Join(r.logOf(), "00000001.seg"), segment.bytes, 0o600); err != nil {
			t.Fatal(err)
		}

		for range 2 {
			r.start()
			r.record(coverOpened)
			r.close()
		}
		for _, head := range []*verify.Head{nil, &known.Advance[0].Head} {
			report := verdictFrom(t, r, head, pubs)
			damaged := slices.ContainsFunc(report.Findings, func(f verify.Finding) bool { return f.Code == verify.FindDamaged })
			if report.Verdict != verify.Intact && (!damaged || report.Verdict != verify.Gap) {
				t.Errorf("seed %d, %v, from a head: %t: %v: %+v", seed, put, head != nil, report.Verdict, report.Findings)
			}
		}
	}
}

// verdictFrom has the log of a stopped meter verified by an MDMS that has seen
// segment 1 up to a head, or nothing.
func verdictFrom(t *testing.T, r *rig, head *verify.Head, pubs []*ecdsa.PublicKey) *verify.Report {
	t.Helper()
	segments := readSegments(t, r.cfg.Dir)
	var newest eventlog.Seal
	for _, s := range readSeals(t, r.cfg.Dir) {
		if s.Segment == segments[len(segments)-1].number && s.SignedLength > newest.SignedLength {
			newest = s
		}
	}
	in := evidence(t, r.cfg.Dir, segments, newest, pubs)
	if head != nil {
		part := &in.Bundle.Parts[0]
		part.Offset, part.Log = head.Length, part.Log[head.Length:]
		in.Known.Head = head
	}
	report, err := verify.Verify(in)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
