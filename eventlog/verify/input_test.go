package verify_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestBundlesThatNobodyDecoded(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		part := m.Open().Part(0)
		shifted := m.Open().Part(0)
		shifted.Offset = 250
		inHeader := m.Open().Part(64)
		zero := part
		zero.Segment = 0
		for name, p := range map[string][]eventlog.Part{
			"no parts": nil, "segment 0": {zero}, "the same segment twice": {part, part},
			"an offset inside a slot": {shifted}, "an offset inside the header": {inHeader},
		} {
			r, err := verify.Verify(w.input(parts(m, p...)))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(name)
			wantReport(t, r, verify.Malformed, verify.FindBundle)
			wantProof(t, r, verify.ChargeCourier)
		}
		r, err := verify.VerifyRaw(w.input(nil), []byte("no bundle"))
		if err != nil {
			t.Fatal(err)
		}
		wantReport(t, r, verify.Malformed, verify.FindBundle)
		if want := eventlog.ErrBundle.Error(); r.Findings[0].Detail != want {
			t.Errorf("%q, want %q", r.Findings[0].Detail, want)
		}
		if r.Meter != m.ID {
			t.Errorf("meter %s", r.Meter)
		}
	})
}

func TestFirstPartThatIsNotAppliedDecides(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Rotate()
		m.Rotate()
		honest := m.BundleFrom(1, len(w.bytes[1]))
		if r := w.verify(honest); r.Verdict != verify.Intact || len(r.Advance) != 3 {
			t.Fatalf("the baseline is %s", r.Verdict)
		}
		u := m.BundleFrom(1, len(w.bytes[1]))
		u.Parts[1].Seal[90] ^= 1
		eventlogtest.FixChecksum(u.Parts[1].Seal)
		u.Parts[2].Seal = nil
		r := w.verify(u)
		wantReport(t, r, verify.Altered, verify.FindSignature)
		if r.Segment != 1 || r.SignedLength != uint64(len(m.Segment(1).Log)) {
			t.Errorf("the newest signed state is segment %d, %d bytes", r.Segment, r.SignedLength)
		}
		// A part without a seal behind one with: it has one on file.
		u = m.BundleFrom(1, len(w.bytes[1]))
		u.Parts[2].Seal = nil
		fresh := newWorld(t, m)
		u.Parts[0] = m.Segment(1).Part(0)
		r = fresh.verify(u)
		wantReport(t, r, verify.Incomplete, verify.FindNoSeal)
		wantNeed(t, r, &verify.Position{Segment: 3})
	})
}

func TestBrokenMidstateIsACacheMiss(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		good := w.heads[1].Midstate
		m.Fill(5)
		u := m.BundleFrom(1, len(w.bytes[1]))
		other := eventlogtest.New("other", m.Key.Scheme)
		ow := newWorld(t, other)
		ow.intact(other.Bundle())
		for name, state := range map[string][]byte{
			"none": nil, "cut": good[:20], "spoiled": append(slices.Clone(good[:10]), make([]byte, len(good)-10)...),
			"that of other bytes": ow.heads[1].Midstate,
		} {
			w.heads[1].Midstate = state
			w.bytesCalls = 0
			t.Log(name)
			wantReport(t, w.verify(u), verify.Intact)
			if w.bytesCalls == 0 {
				t.Error("the stored bytes were not read")
			}
			w.forgetBytes = true
			r := w.verify(u)
			wantReport(t, r, verify.Incomplete, verify.FindMissing)
			wantNeed(t, r, &verify.Position{Segment: 1})
			w.forgetBytes = false
		}
		w.heads[1].Midstate = good
		w.bytesCalls = 0
		w.intact(u)
		if w.bytesCalls > 0 {
			t.Error("the stored bytes were read although the midstate is good")
		}
	})
}

func TestMemoryThatFailsIsAnErrorAndNoVerdict(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := m.Clone()
		m.Fill(5)
		m.Rotate()
		fails := func(name string, u *eventlog.Bundle, want error) {
			t.Helper()
			r, err := verify.Verify(w.input(u))
			if r != nil || err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		increment := m.BundleFrom(1, len(w.bytes[1]))
		w.segmentErr = errStore
		fails("the state of the segment", segment(m, 2), errStore)
		w.segmentErr = nil

		in := w.input(segment(m, 2))
		in.Known.Segment = func(n uint32) (*verify.Head, error) {
			if n == 1 {
				return nil, errStore
			}
			return nil, nil
		}
		in.Known.Head = &verify.Head{Header: eventlog.Header{Segment: 9}, Accepted: w.received}
		if _, err := verify.Verify(in); !errors.Is(err, errStore) {
			t.Errorf("the state of the segment before: %v", err)
		}

		w.accept(increment, verify.Intact)
		prefix := parts(m, older.Open().Part(0))
		wantReport(t, w.verify(prefix), verify.Intact)
		w.bytesErr = errStore
		fails("the bytes of a longer log", prefix, errStore)
		fails("the bytes before an overlap", m.BundleFrom(1, 4*eventlog.SlotSize), errStore)
		w.bytesErr = nil

		good := w.bytes[1]
		w.bytes[1] = slices.Clone(good)
		w.bytes[1][200] ^= 1
		fails("bytes that rotted", prefix, nil)
		w.bytes[1] = good[:len(good)-64]
		fails("bytes that were lost", prefix, nil)
		w.bytes[1] = good
		wantReport(t, w.verify(prefix), verify.Intact)

		if m.Key.Scheme == eventlog.SchemeCounter {
			w.sealErr = errStore
			fails("the seals", prefix, errStore)
			w.sealErr = nil
		}
	})
}

func TestMemoryThatFailsWhileTheChainIsCompared(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		fails := func(name string, u *eventlog.Bundle) {
			t.Helper()
			if r, err := verify.Verify(w.input(u)); !errors.Is(err, errStore) {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		image := m.Clone()
		image.Begin(2, 192, image.Open().Digest(192))
		image.Seal()
		w.bytesErr = errStore
		fails("a link to a prefix", segment(image, 2))
		w.bytesErr = nil

		live := m.Clone()
		live.Event(eventlogtest.Specific)
		live.Damage(known)
		w.accept(segment(live, 2), verify.Gap)
		w.bytesErr = errStore
		fails("a late end of a damaged segment", parts(m, live.Segment(1).Part(known)))
		w.bytesErr = nil

		in := w.input(parts(m, live.Segment(1).Part(known)))
		in.Known.Segment = func(n uint32) (*verify.Head, error) {
			if n < 2 {
				return w.heads[n], nil
			}
			return nil, errStore
		}
		head := *w.heads[2]
		head.Header.Segment = 5
		in.Known.Head = &head
		if r, err := verify.Verify(in); !errors.Is(err, errStore) {
			t.Errorf("the segment after a late one: %+v, %v", r, err)
		}
	})
}

func TestMemoryThatFailsLater(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := parts(m, m.Open().At(6*eventlog.SlotSize, 1))
		twin := m.Clone()
		m.Fill(5)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		twin.Key.Counter += 10
		twin.Fill(5)
		for name, u := range map[string]*eventlog.Bundle{
			"a prefix": older, "a fork": twin.BundleFrom(1, 6*eventlog.SlotSize),
		} {
			in := w.input(u)
			calls, failing := 0, 0
			in.Known.Bytes = func(n uint32) ([]byte, error) {
				if calls++; calls == failing {
					return nil, errStore
				}
				return w.bytes[n], nil
			}
			if _, err := verify.Verify(in); err != nil {
				t.Fatal(err)
			}
			for failing = calls; failing > 0; failing-- {
				calls = 0
				if r, err := verify.Verify(in); !errors.Is(err, errStore) {
					t.Errorf("%s, call %d: %+v, %v", name, failing, r, err)
				}
			}
		}
	})
}

func TestMemoryThatKeepsOnlyTheHead(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		older := m.Bundle()
		m.Fill(5)
		only := func(u *eventlog.Bundle) *verify.Report {
			in := w.input(u)
			in.Known = verify.Known{Head: w.heads[1]}
			r, err := verify.Verify(in)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		wantReport(t, only(m.BundleFrom(1, len(w.bytes[1]))), verify.Intact)
		w.intact(m.BundleFrom(1, len(w.bytes[1])))
		r := only(older) // taken for a prefix: it cannot be compared
		wantReport(t, r, verify.Intact)
		if !r.Duplicate {
			t.Error("not a duplicate")
		}
	})
}

func TestVerifyChangesNothingThatItIsGiven(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Fill(5)
		u := m.BundleFrom(1, len(w.bytes[1]))
		before, head, bytes := *w.heads[1], *w.heads[1], slices.Clone(w.bytes[1])
		head.Midstate = slices.Clone(before.Midstate)
		first := w.verify(u)
		second := w.verify(u)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("two calls differ:\n%s", diff)
		}
		if diff := cmp.Diff(head, *w.heads[1]); diff != "" || !slices.Equal(bytes, w.bytes[1]) {
			t.Errorf("the memory changed:\n%s", diff)
		}
	})
}

func TestHeadIsReadBackFromJSON(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.ChangeKey(eventlogtest.NewKey("next", m.Key.Scheme))
		w.accept(parts(m, m.Segment(1).Part(len(w.bytes[1]))), verify.Intact)
		b, err := json.Marshal(w.heads[1])
		if err != nil {
			t.Fatal(err)
		}
		var got verify.Head
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*w.heads[1], got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReportInJSON(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeDigest)
	w := newWorld(t, m)
	u := m.Bundle()
	u.Parts[0].Seal = nil
	b, err := json.Marshal(w.verify(u))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"verdict":"NOT_SEALED","charge":"courier","proven":false,"meter":"FFFFFF-MS0000000001",` +
		`"key":"0000000000000000000000000000000000000000000000000000000000000000","segment":0,"signedLength":0,"lastSeq":0,"tail":0,` +
		`"findings":[{"code":"no-seal","segment":1,"offset":0,"detail":"the bytes come without a seal"}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
	w.intact(m.Bundle())
	b, err = json.Marshal(w.verify(m.Bundle()))
	if err != nil {
		t.Fatal(err)
	}
	want = `{"verdict":"INTACT","proven":true,"duplicate":true,"meter":"FFFFFF-MS0000000001",` +
		`"key":"` + m.Key.ID.String() + `","scheme":"digest","segment":1,"signedLength":192,"lastSeq":1,"asOf":"2026-01-01T00:00:00Z","tail":0,"findings":[]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
}
