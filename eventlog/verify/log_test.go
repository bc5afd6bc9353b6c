package verify_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestSignedBytesMustBeAWellFormedLog(t *testing.T) {
	system := func(code uint16) eventlog.Event {
		return eventlog.Event{Class: eventlog.ClassSystem, Code: code}
	}
	for name, tc := range map[string]struct {
		live   func(m *eventlogtest.Meter)
		detail string
	}{
		"a sequence number is left out": {func(m *eventlogtest.Meter) {
			m.Seq++
			m.Append(m.Next(eventlogtest.Ordinary, nil))
		}, "sequence number 23 where 22 was due"},
		"a checksum is wrong": {func(m *eventlogtest.Meter) {
			at := m.Append(m.Next(eventlogtest.Ordinary, nil))
			m.Open().Log[at+60] ^= 1
		}, eventlog.ErrChecksum.Error()},
		"a second header": {func(m *eventlogtest.Meter) {
			h := m.Header(1)
			m.AppendSystem(eventlog.CodeSegment, &h)
		}, "a segment has one header, at its start"},
		"an end that names another segment": {func(m *eventlogtest.Meter) {
			m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 3})
		}, "SEGMENT_END names segment 3 as the next"},
		"a system event that nobody knows": {
			func(m *eventlogtest.Meter) { m.Append(m.Next(system(99), nil)) },
			eventlog.ErrPayload.Error() + ": unknown system event 99",
		},
		"a payload that is none": {
			func(m *eventlogtest.Meter) { m.Append(m.Next(system(eventlog.CodeBoot), []byte{1})) },
			eventlog.ErrPayload.Error() + ": BOOT",
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
				tc.live(m)
				if name != "an end that names another segment" {
					m.Event(eventlogtest.Specific)
				}
				for _, r := range []*verify.Report{
					w.verify(m.BundleFrom(1, len(w.bytes[1]))), newWorld(t, m).verify(m.Bundle()),
				} {
					wantReport(t, r, verify.Malformed, verify.FindRecord)
					wantProof(t, r, verify.ChargeMeter)
					if got := r.Findings[0].Detail; got != tc.detail {
						t.Errorf("%q, want %q", got, tc.detail)
					}
				}
			})
		})
	}
}

func TestSegmentEndsOnlyWithASealOfItsOwn(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		end := &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 2}
		after := map[string]func(m *eventlogtest.Meter){
			"a power cut":       func(m *eventlogtest.Meter) { m.Reboot() },
			"an ordinary event": func(m *eventlogtest.Meter) { m.Event(eventlogtest.Ordinary) },
			"another attempt":   func(m *eventlogtest.Meter) {},
		}
		for name, live := range after {
			m := m.Clone()
			m.AppendSystem(eventlog.CodeSegmentEnd, end)
			live(m)
			m.Rotate()
			t.Log(name)
			wantReport(t, w.verify(m.BundleFrom(1, len(w.bytes[1]))), verify.Intact)
			wantReport(t, newWorld(t, m).verify(m.Bundle()), verify.Intact)
		}

		// The segment goes on, so no other one can follow yet.
		live := m.Clone()
		live.AppendSystem(eventlog.CodeSegmentEnd, end)
		live.Event(eventlogtest.Specific)
		r := w.verify(live.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.Intact)
		if r.Advance[0].Head.Closed {
			t.Error("a segment that goes on is closed")
		}
		s := live.Open()
		live.Begin(2, uint64(len(s.Log)), s.Digest(len(s.Log)))
		live.Seal()
		wantReport(t, w.verify(live.BundleFrom(1, len(w.bytes[1]))), verify.Malformed, verify.FindRecord)

		// What a seal has closed stays closed.
		m.System(eventlog.CodeSegmentEnd, end)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		m.Event(eventlogtest.Specific)
		r = w.verify(m.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.Malformed, verify.FindRecord)
		wantProof(t, r, verify.ChargeMeter)
		if got := r.Findings[0].Detail; got != "a record after SEGMENT_END" {
			t.Errorf("%q", got)
		}
	})
}

func TestSegmentMustBeginWithAHeaderOfItsKey(t *testing.T) {
	noHeader := eventlog.ErrHeader.Error()
	details := map[string]string{
		"a header that is not specific":               noHeader,
		"a header with another first sequence number": noHeader + ": first sequence 1 in record 2",
	}
	for name, begin := range map[string]func(m *eventlogtest.Meter){
		"no header": func(m *eventlogtest.Meter) {
			m.Segments = append(m.Segments, &eventlogtest.Segment{Number: 1})
			for range 4 {
				m.Append(m.Next(eventlogtest.Specific, nil))
			}
		},
		"a header of another scheme": func(m *eventlogtest.Meter) {
			m.Key.Scheme = 3 - m.Key.Scheme
			m.Begin(1, 0, eventlog.Digest{})
			m.Key.Scheme = 3 - m.Key.Scheme
		},
		"a header that is not specific": func(m *eventlogtest.Meter) {
			m.Begin(1, 0, eventlog.Digest{})
			m.Open().Log = eventlogtest.Edit(m.Open().Log, 0, func(r []byte) { r[24] = 0 })
		},
		"a header with another first sequence number": func(m *eventlogtest.Meter) {
			m.Begin(1, 0, eventlog.Digest{})
			m.Open().Log = eventlogtest.Edit(m.Open().Log, 0, func(r []byte) { r[7]++ })
			m.Seq++
		},
		"a first segment with a predecessor": func(m *eventlogtest.Meter) { m.Begin(1, 64, eventlog.Digest{1}) },
		"a length without a digest":          func(m *eventlogtest.Meter) { m.Begin(1, 64, eventlog.Digest{}) },
		"a digest without a length":          func(m *eventlogtest.Meter) { m.Begin(1, 0, eventlog.Digest{1}) },
		"nothing whole": func(m *eventlogtest.Meter) {
			m.Begin(1, 0, eventlog.Digest{})
			m.Open().Log[1] = 4 // slots, beyond the end
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, scheme := range schemes {
				m := eventlogtest.New("meter", scheme)
				m.Segments, m.Seq = nil, 1
				begin(m)
				m.Seal()
				w := newWorld(t, m)
				r := w.verify(m.Bundle())
				wantReport(t, r, verify.Malformed, verify.FindRecord)
				wantProof(t, r, verify.ChargeMeter)
				if want := details[name]; want != "" && r.Findings[0].Detail != want {
					t.Errorf("%q, want %q", r.Findings[0].Detail, want)
				}
			}
		})
	}
}

func TestAlteredNamesTheFirstBrokenRecord(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		m.Fill(10)
		for name, tc := range map[string]struct {
			edit   func(log []byte, at []int) []byte
			detail string
		}{
			"checksum": {func(log []byte, at []int) []byte {
				log[at[4]+28] ^= 1
				log[at[6]+28] ^= 1
				return log
			}, eventlog.ErrChecksum.Error()},
			"sequence": {func(log []byte, at []int) []byte {
				return eventlogtest.Edit(log, 4, func(r []byte) { r[7] ^= 64 })
			}, "sequence number"},
		} {
			for _, from := range []int{0, known} {
				u := m.BundleFrom(1, from)
				log := u.Parts[0].Log
				at := eventlogtest.Offsets(log)
				u.Parts[0].Log = tc.edit(log, at)
				u.Parts[0].Seal = eventlogtest.Relabel(u.Parts[0].Seal, func(s *eventlog.Seal) { s.Digest[0] ^= 1 })
				r := w.verify(u)
				t.Log(name, from)
				f := r.Findings[len(r.Findings)-1]
				if r.Verdict != verify.Altered || f.Code != verify.FindRecord || f.Offset != uint64(from+at[4]) || f.Detail[:len(tc.detail)] != tc.detail {
					t.Errorf("%s: %+v", r.Verdict, f)
				}
			}
		}
	})
}

func TestFindingsAreToldOnce(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		w.received = m.Now.Add(-time.Hour)
		m.System(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: 1})
		first := m.BundleFrom(1, len(w.bytes[1]))
		wantReport(t, w.accept(first, verify.Intact), verify.Intact, verify.FindSuppressed, verify.FindClockAhead)
		wantReport(t, w.verify(first), verify.Intact)
		w.received = m.Now.Add(time.Hour)
		m.Event(eventlogtest.Specific)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, w.verify(first), verify.Intact)
	})
}

func TestRecordsOfAReportThatNobodyVerified(t *testing.T) {
	r := &verify.Report{Advance: []verify.Advance{{Log: make([]byte, 64)}}}
	for at := range r.Records() {
		t.Errorf("a record at %+v", at)
	}
}

func TestFindingsBesideTheVerdict(t *testing.T) {
	at := func(d time.Duration) int64 { return eventlogtest.Epoch.Add(d).UnixMilli() }
	for name, tc := range map[string]struct {
		live func(m *eventlogtest.Meter)
		want []string
	}{
		"the clock goes back unannounced": {func(m *eventlogtest.Meter) { m.Now = m.Now.Add(-10 * time.Second) }, []string{verify.FindClock}},
		"it does not go back":             {func(m *eventlogtest.Meter) { m.Now = m.Now.Add(-time.Second) }, nil},
		"the clock goes back while it is not trusted": {func(m *eventlogtest.Meter) {
			m.Now = m.Now.Add(-10 * time.Second)
			m.Flags = eventlog.FlagClockUntrusted
		}, []string{verify.FindClockUntrusted}},
		"the clock is set back": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeClockSet, &eventlog.ClockSet{Old: m.Now.UnixMilli(), New: at(time.Second), Source: eventlog.ClockLink})
			m.Now = eventlogtest.Epoch.Add(2 * time.Second)
		}, []string{verify.FindClockSet}},
		"the clock is set back, and the record says the new time": {func(m *eventlogtest.Meter) {
			old := m.Now
			m.Now = eventlogtest.Epoch.Add(time.Second)
			m.AppendSystem(eventlog.CodeClockSet, &eventlog.ClockSet{Old: old.UnixMilli(), New: at(time.Second), Source: eventlog.ClockLocal})
		}, []string{verify.FindClockSet}},
		"the clock is set back less than it goes back": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeClockSet, &eventlog.ClockSet{Old: m.Now.UnixMilli(), New: at(10 * time.Second)})
			m.Now = eventlogtest.Epoch
		}, []string{verify.FindClockSet, verify.FindClock}},
		"uptime goes back without a boot": {func(m *eventlogtest.Meter) { m.Uptime = 3 * time.Second }, []string{verify.FindClock}},
		"uptime goes back with a boot":    {func(m *eventlogtest.Meter) { m.Uptime = 3 * time.Second; m.Boot++ }, nil},
		"the boot counter goes back":      {func(m *eventlogtest.Meter) { m.Boot-- }, []string{verify.FindClock}},
		"the clock leads":                 {func(m *eventlogtest.Meter) { m.Now = m.Now.Add(48 * time.Hour) }, []string{verify.FindClockAhead}},
		"a seal comes too late":           {func(m *eventlogtest.Meter) { m.Uptime += 25 * time.Hour }, []string{verify.FindSealOverdue}},
		"a seal comes just in time":       {func(m *eventlogtest.Meter) { m.Uptime += 24 * time.Hour }, nil},
		"records in between are no seals": {func(m *eventlogtest.Meter) {
			m.Uptime += 13 * time.Hour
			m.Append(m.Next(eventlogtest.Ordinary, nil))
			m.Uptime += 13 * time.Hour
		}, []string{verify.FindSealOverdue}},
		"specific records in between are": {func(m *eventlogtest.Meter) {
			m.Uptime += 13 * time.Hour
			m.Event(eventlogtest.Specific)
			m.Uptime += 13 * time.Hour
		}, nil},
		"uptime before and after a boot does not add up": {func(m *eventlogtest.Meter) { m.Boot++; m.Uptime += 25 * time.Hour }, nil},
		"a torn end was dropped": {func(m *eventlogtest.Meter) {
			m.System(eventlog.CodeBoot, &eventlog.Boot{Dropped: 17, Counters: m.Counters()})
		}, []string{verify.FindTornEnd}},
		"events were suppressed": {func(m *eventlogtest.Meter) {
			m.System(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: 1000, Reason: eventlog.SuppressFlood})
		}, []string{verify.FindSuppressed}},
		"the module failed": {func(m *eventlogtest.Meter) {
			m.AppendSystem(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: eventlog.FailSignature})
		}, []string{verify.FindModuleFailed}},
		"a receipt, a challenge and a timer say nothing": {func(m *eventlogtest.Meter) {
			m.System(eventlog.CodeReceipt, &eventlog.ReceiptAccepted{Segment: 1})
			m.System(eventlog.CodeChallenge, &eventlog.ChallengeAccepted{Issued: 1})
			m.System(eventlog.CodePeriodicSeal, nil)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
				tc.live(m)
				m.Event(eventlogtest.Specific)
				wantReport(t, w.verify(m.BundleFrom(1, len(w.bytes[1]))), verify.Intact, tc.want...)
				wantReport(t, newWorld(t, m).verify(m.Bundle()), verify.Intact, tc.want...)
			})
		})
	}
}

func TestClocksAreComparedAcrossSegments(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Rotate()
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		s := m.Open()
		m.System(eventlog.CodeSegmentEnd, &eventlog.SegmentEnd{Reason: eventlog.EndRotation, Next: 3})
		m.Now = eventlogtest.Epoch
		m.Begin(3, uint64(len(s.Log)), s.Digest(len(s.Log)))
		m.Seal()
		wantReport(t, w.verify(m.BundleFrom(2, len(w.bytes[2]))), verify.Intact, verify.FindClock)
	})
}

func TestLimitsMoveTheFindings(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Uptime += time.Hour
		m.Now = w.received.Add(30 * time.Second)
		m.Event(eventlogtest.Specific)
		u := m.BundleFrom(1, len(w.bytes[1]))
		wantReport(t, w.verify(u), verify.Intact, verify.FindClockAhead)
		w.limits = verify.Limits{ClockSkew: time.Minute, SealInterval: 50 * time.Minute}
		wantReport(t, w.verify(u), verify.Intact, verify.FindSealOverdue)
	})
}

func TestFindingsNameTheirRecordAndDoNotFlood(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		offset, seq := len(m.Open().Log), m.Seq
		for range 100 {
			m.AppendSystem(eventlog.CodeEventsSuppressed, &eventlog.EventsSuppressed{Count: 3})
		}
		m.Seal()
		r := w.verify(m.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.Intact, verify.FindSuppressed)
		if len(r.Findings) != 8 || r.Findings[7].More != 92 || r.Findings[6].More != 0 {
			t.Fatalf("%d findings: %+v", len(r.Findings), r.Findings)
		}
		want := verify.Finding{Code: verify.FindSuppressed, Segment: 1, Offset: uint64(offset), Seq: seq, Detail: "3 events"}
		if diff := cmp.Diff(want, r.Findings[0]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDroppedSegmentsSayWhy(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Rotate()
		m.Rotate()
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		m.Drop(1, eventlog.DropReceipt)
		m.Drop(2, eventlog.DropFull)
		r := w.verify(m.BundleFrom(3, len(w.bytes[3])))
		wantReport(t, r, verify.Intact, verify.FindDropped)
		if r.Findings[0].Detail == r.Findings[1].Detail || len(r.Dropped) != 2 || r.Dropped[0].Digest != w.heads[1].Digest {
			t.Errorf("%+v, %+v", r.Findings, r.Dropped)
		}
		for i, want := range []string{"it has a receipt", "the store was full"} {
			if d := r.Findings[i].Detail; d[len(d)-len(want):] != want {
				t.Errorf("%q, want %q", d, want)
			}
		}
	})
}

func TestRecordsAreTheNewlySignedOnes(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Rotate()
		m.Fill(4)
		m.Event(eventlogtest.Ordinary) // tail: no event row
		r := w.accept(m.BundleFrom(1, len(w.bytes[1])), verify.IntactWithTail)
		var got []uint32
		for at, rec := range r.Records() {
			log := m.Segment(at.Segment).Log[at.Offset:]
			var want eventlog.Record
			if _, err := want.Next(log); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, rec); diff != "" {
				t.Error(diff)
			}
			got = append(got, rec.Seq)
		}
		if diff := cmp.Diff([]uint32{22, 23, 24, 25, 26, 27}, got); diff != "" {
			t.Error(diff)
		}
		n := 0
		for range r.Records() {
			n++
			break
		}
		if n != 1 {
			t.Error("the iteration goes on after break")
		}
		r = w.verify(m.Bundle())
		for range r.Records() {
			t.Error("a duplicate has new records")
		}
	})
}

func TestTail(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		for i := range 3 {
			m.Append(m.Next(eventlogtest.Ordinary, make([]byte, i*60)))
		}
		u := m.BundleFrom(1, len(w.bytes[1]))
		r := w.verify(u)
		wantReport(t, r, verify.IntactWithTail)
		if r.Tail != 3 || !r.Duplicate || len(r.Advance) > 0 {
			t.Errorf("tail %d, duplicate %t, %d advances", r.Tail, r.Duplicate, len(r.Advance))
		}
		u.Parts[0].Log = u.Parts[0].Log[:len(u.Parts[0].Log)-1]
		r = w.verify(u)
		wantReport(t, r, verify.IntactWithTail, verify.FindTailBroken)
		if r.Tail != 3 {
			t.Errorf("tail %d, want 3: the torn one counts", r.Tail)
		}
	})
}
