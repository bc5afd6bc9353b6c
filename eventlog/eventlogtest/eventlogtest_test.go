package eventlogtest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
)

// life makes one of everything that a meter can do.
func life(scheme eventlog.Scheme) *eventlogtest.Meter {
	m := eventlogtest.New("life", scheme)
	m.Fill(25)
	m.Reboot()
	m.Rotate()
	m.Fill(5)
	m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Specific))
	m.ChangeKey(eventlogtest.NewKey("life 2", scheme))
	m.Drop(1, eventlog.DropFull)
	m.Fill(3)
	m.Damage(eventlog.HeaderSize)
	return m
}

func TestEverySealHoldsAndEveryRecordFollowsItsPredecessor(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		t.Run(scheme.String(), func(t *testing.T) {
			m := life(scheme)
			keys := map[[8]byte]*eventlogtest.Key{}
			for _, name := range []string{"life", "life 2"} {
				k := eventlogtest.NewKey(name, scheme)
				keys[k.Prefix()] = k
			}
			seals := 0
			for _, s := range m.Segments {
				h, err := eventlog.ParseHeader(s.Log)
				if err != nil || h.Segment != s.Number {
					t.Fatalf("header of segment %d: %+v, %v", s.Number, h, err)
				}
				seq := h.FirstSeq
				for _, at := range eventlogtest.Offsets(s.Log)[:len(eventlogtest.Offsets(s.Log))-1] {
					var r eventlog.Record
					if _, err := r.Next(s.Log[at:]); err != nil || r.Seq != seq {
						t.Fatalf("record at %d: seq %d, want %d, %v", at, r.Seq, seq, err)
					}
					if _, err := eventlog.DecodePayload(&r); err != nil {
						t.Fatalf("record at %d: %v", at, err)
					}
					seq++
				}
				for _, seal := range s.Seals {
					k := keys[seal.KeyPrefix]
					if !seal.Signs(k.PublicKey(), k.ID, scheme, s.Digest(int(seal.SignedLength))) {
						t.Errorf("segment %d: the seal at %d does not hold", s.Number, seal.SignedLength)
					}
					seals++
				}
			}
			if seals < 10 {
				t.Errorf("only %d seals", seals)
			}
		})
	}
}

func TestTheSameCallsGiveTheSameBytes(t *testing.T) {
	a, b := life(eventlog.SchemeCounter).Bundle(), life(eventlog.SchemeCounter).Bundle()
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	raw, err := a.AppendBinary(nil)
	if err != nil || len(raw) == 0 {
		t.Fatalf("encode: %v", err)
	}
}

func TestACloneSharesNothing(t *testing.T) {
	m := eventlogtest.New("clone", eventlog.SchemeCounter)
	m.Fill(3)
	want := m.Bundle()
	c := m.Clone()
	c.Fill(10)
	c.Segments[0].Log[0] ^= 1
	if diff := cmp.Diff(want, m.Bundle()); diff != "" {
		t.Error(diff)
	}
	if c.Key.Counter == m.Key.Counter {
		t.Error("the clone's counter moved that of the meter")
	}
}

func TestEditsKeepTheLogReadable(t *testing.T) {
	m := eventlogtest.New("edits", eventlog.SchemeDigest)
	m.Fill(6)
	log := m.Open().Log
	at := eventlogtest.Offsets(log)
	for name, edited := range map[string][]byte{
		"edit":   eventlogtest.Edit(log, 2, func(r []byte) { r[28] ^= 1 }),
		"delete": eventlogtest.Delete(log, 2),
		"insert": eventlogtest.Insert(log, 2, log[at[3]:at[4]]),
		"swap":   eventlogtest.Swap(log, 2),
	} {
		if cmp.Equal(edited, log) {
			t.Errorf("%s changed nothing", name)
		}
		for rest := edited; len(rest) > 0; {
			var r eventlog.Record
			n, err := r.Next(rest)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			rest = rest[n:]
		}
	}
	seal := eventlogtest.Encode(m.Open().Seals[0])
	moved := eventlogtest.Relabel(seal, func(s *eventlog.Seal) { s.Segment = 9 })
	if got := eventlogtest.Decode(moved).Segment; got != 9 {
		t.Errorf("relabelled segment %d, want 9", got)
	}
}

func TestOffsetsRefusesARecordWithoutSlots(t *testing.T) {
	defer func() {
		if got := recover(); got != "eventlogtest: the record at 192 has no slots" {
			t.Errorf("got %v", got)
		}
	}()
	m := eventlogtest.New("slots", eventlog.SchemeDigest)
	at := m.Append(m.Next(eventlogtest.Ordinary, nil))
	log := m.Open().Log
	log[at+1] = 0
	eventlogtest.Offsets(log)
}
