package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestWhatWasAcceptedStaysSoWhenTheKeyIsRevoked(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		w.reg.Keys[0].Revoked = true
		wantReport(t, w.verify(m.Bundle()), verify.Intact)
		wantReport(t, w.verify(parts(m, m.Open().At(0, 1))), verify.Intact)
	})
}

func TestKeyIsValidForItsRecordsOnly(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeCounter)
	m.Key.Counter = 99
	m.Segments, m.Seq = nil, 10
	m.Begin(1, 0, eventlog.Digest{})
	m.Fill(20) // records 10 to 30, counters 100 and 101
	ok := func(*verify.Key) {}
	for name, tc := range map[string]struct {
		bound func(k *verify.Key)
		want  verify.Verdict
	}{
		"no bounds":                {ok, verify.Intact},
		"from the first record on": {func(k *verify.Key) { k.FirstSeq = 10 }, verify.Intact},
		"from a later record on":   {func(k *verify.Key) { k.FirstSeq = 11 }, verify.KeyRevoked},
		"up to the last record":    {func(k *verify.Key) { k.LastSeq = 30 }, verify.Intact},
		"up to an earlier record":  {func(k *verify.Key) { k.LastSeq = 29 }, verify.KeyRevoked},
		"from the counter before":  {func(k *verify.Key) { k.StartCounter = 100 }, verify.Intact},
		"from this counter":        {func(k *verify.Key) { k.StartCounter = 101 }, verify.KeyRevoked},
		"up to this counter":       {func(k *verify.Key) { k.LastCounter = 101 }, verify.Intact},
		"up to an earlier counter": {func(k *verify.Key) { k.LastCounter = 100 }, verify.KeyRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, m)
			w.reg.Keys[0].StartCounter = 99
			tc.bound(&w.reg.Keys[0])
			if tc.want == verify.Intact {
				wantReport(t, w.verify(m.Bundle()), verify.Intact)
			} else {
				wantReport(t, w.verify(m.Bundle()), tc.want, verify.FindKeyRange)
			}
		})
	}
	// In scheme digest there is no counter to compare.
	d := eventlogtest.New("meter", eventlog.SchemeDigest)
	w := newWorld(t, d)
	w.reg.Keys[0].StartCounter = 7
	w.intact(d.Bundle())
}

func TestKeyChange(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		known := len(w.bytes[1])
		next := eventlogtest.NewKey("next", eventlog.SchemeCounter)
		m.ChangeKey(next)
		m.Fill(3)

		// Without the registry's consent the change is told, and refused.
		r := w.accept(parts(m, m.Segment(1).Part(known)), verify.Intact)
		wantReport(t, r, verify.Intact, verify.FindKeyChange)
		r = w.verify(segment(m, 2))
		wantReport(t, r, verify.WrongKey, verify.FindKey)
		wantProof(t, r, verify.ChargeCourier)

		w.register(next)
		r = w.accept(m.BundleFrom(2, 0), verify.Intact)
		wantReport(t, r, verify.Intact)
		if r.Key != next.ID || r.Scheme != eventlog.SchemeCounter {
			t.Errorf("key %s, scheme %s", r.Key, r.Scheme)
		}
	})
}

func TestKeyChangeSaysWhetherTheRegistryKnowsTheKey(t *testing.T) {
	m := eventlogtest.New("meter", eventlog.SchemeDigest)
	next := eventlogtest.NewKey("next", eventlog.SchemeDigest)
	other := *next
	other.Scheme = eventlog.SchemeCounter
	for key, want := range map[*eventlogtest.Key]string{
		next:   "registered: true",
		&other: "registered: false", // the scheme is another
		eventlogtest.NewKey("nobody's", eventlog.SchemeDigest): "registered: false",
	} {
		live := m.Clone()
		w := newWorld(t, m)
		w.register(next)
		live.System(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: key.ID, Scheme: key.Scheme})
		r := w.verify(live.Bundle())
		wantReport(t, r, verify.Intact, verify.FindKeyChange)
		if got := r.Findings[0].Detail; len(got) < len(want) || got[len(got)-len(want):] != want {
			t.Errorf("%q, want %q at its end", got, want)
		}
	}
}

func TestHeadThatRemembersAKeyTheRegistryForgot(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Fill(3)
		w.reg.Keys = nil
		wantReport(t, w.verify(m.BundleFrom(1, len(w.bytes[1]))), verify.WrongKey, verify.FindKey)
	})
}

func TestPolicy(t *testing.T) {
	narrow := eventlog.NewPolicy(2, eventlogtest.Specific)
	every := eventlog.Policy{Version: 3}
	for name, tc := range map[string]struct {
		registered *eventlog.Policy
		former     []eventlog.Policy
		meter      eventlog.Policy
		live       func(m *eventlogtest.Meter)
		want       verify.Verdict
	}{
		"as registered":               {new(eventlog.DefaultPolicy()), nil, eventlog.DefaultPolicy(), nil, verify.Intact},
		"shrunk":                      {new(eventlog.DefaultPolicy()), nil, narrow, nil, verify.PolicyMismatch},
		"a former one":                {new(eventlog.DefaultPolicy()), []eventlog.Policy{every, narrow}, narrow, nil, verify.Intact},
		"none of the former ones":     {new(eventlog.DefaultPolicy()), []eventlog.Policy{every}, narrow, nil, verify.PolicyMismatch},
		"every event, as registered":  {&every, nil, every, nil, verify.Intact},
		"every event, not registered": {nil, nil, every, nil, verify.Intact},
		"any, not registered":         {nil, nil, narrow, nil, verify.Intact},
		"an event of the set is not marked": {new(eventlog.DefaultPolicy()), nil, eventlog.DefaultPolicy(), func(m *eventlogtest.Meter) {
			r := m.Next(eventlogtest.Specific, nil)
			r.Flags = 0
			m.Append(r)
		}, verify.PolicyMismatch},
		"an event outside of the set is marked": {new(eventlog.DefaultPolicy()), nil, eventlog.DefaultPolicy(), func(m *eventlogtest.Meter) {
			r := m.Next(eventlogtest.Ordinary, nil)
			r.Flags = eventlog.FlagSpecific
			m.Append(r)
		}, verify.PolicyMismatch},
		"every event, but one is not marked": {nil, nil, every, func(m *eventlogtest.Meter) {
			r := m.Next(eventlogtest.Ordinary, nil)
			r.Flags = 0
			m.Append(r)
		}, verify.PolicyMismatch},
		"a set that nobody knows, and marks that nobody can judge": {nil, nil, narrow, func(m *eventlogtest.Meter) {
			r := m.Next(eventlogtest.Ordinary, nil)
			r.Flags = eventlog.FlagSpecific
			m.Append(r)
			r = m.Next(eventlogtest.Ordinary, nil)
			r.Flags = 0
			m.Append(r)
		}, verify.Intact},
		"a system event is not marked, whatever the set": {nil, nil, narrow, func(m *eventlogtest.Meter) {
			r := m.Next(eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodePeriodicSeal}, nil)
			r.Flags = 0
			m.Append(r)
		}, verify.PolicyMismatch},
		"a system event is not marked, whatever the registered set": {new(eventlog.DefaultPolicy()), nil, eventlog.DefaultPolicy(), func(m *eventlogtest.Meter) {
			r := m.Next(eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodePeriodicSeal}, nil)
			r.Flags = 0
			m.Append(r)
		}, verify.PolicyMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			m := eventlogtest.New("meter", eventlog.SchemeDigest)
			m.Policy = tc.meter
			m.Segments, m.Seq = nil, 1
			m.Begin(1, 0, eventlog.Digest{})
			m.Fill(12)
			if tc.live != nil {
				tc.live(m)
			}
			m.Event(eventlogtest.Specific)
			w := newWorld(t, m)
			w.reg.Policy, w.reg.FormerPolicies = tc.registered, tc.former
			r := w.verify(m.Bundle())
			if tc.want == verify.Intact {
				wantReport(t, r, verify.Intact)
				return
			}
			wantReport(t, r, verify.PolicyMismatch, verify.FindPolicy)
			wantProof(t, r, verify.ChargeMeter)

			// The same in an increment.
			if tc.live != nil {
				w.accept(parts(m, m.Open().At(0, 0)), verify.Intact)
				wantReport(t, w.verify(m.BundleFrom(1, len(w.bytes[1]))), verify.PolicyMismatch, verify.FindPolicy)
			}
		})
	}
}

func TestSealMustEndAtASpecificRecord(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		m.Event(eventlogtest.Ordinary)
		m.Seal()
		r := w.verify(m.BundleFrom(1, len(w.bytes[1])))
		wantReport(t, r, verify.PolicyMismatch, verify.FindPolicy)
		wantProof(t, r, verify.ChargeMeter)
	})
}

func TestPolicyChange(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		first := m.Policy
		m.ChangePolicy(eventlog.NewPolicy(2, eventlogtest.Specific))
		m.Fill(3)
		u := m.BundleFrom(1, len(w.bytes[1]))
		w.reg.Policy, w.reg.FormerPolicies = &m.Policy, []eventlog.Policy{first}
		w.intact(u)
		// What is accepted stays, although the set is not registered any more.
		w.reg.Policy, w.reg.FormerPolicies = &first, nil
		wantReport(t, w.verify(segment(m, 2)), verify.Intact)
		wantReport(t, w.verify(parts(m, m.Segment(2).At(0, 0))), verify.Intact)
	})
}

func TestOfflineWithABareKeyAnyMeterWillDo(t *testing.T) {
	eachScheme(t, func(t *testing.T, m *eventlogtest.Meter, w *world) {
		w.forgetAll = true
		w.reg = verify.Registration{AnyMeter: true, Keys: w.reg.Keys}
		r := w.verify(m.Bundle())
		wantReport(t, r, verify.Intact)
		if r.Meter != m.ID || r.Key != m.Key.ID || r.Scheme != m.Key.Scheme || r.Segment != 1 || r.LastSeq != 21 {
			t.Errorf("got %+v", r)
		}
		if want := eventlogtest.Epoch.Add(20 * m.Step); !r.AsOf.Equal(want) {
			t.Errorf("as of %s, want %s", r.AsOf, want)
		}
	})
}

func TestKeyMustBeOnP256(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.NewKey(&k.PublicKey, eventlog.SchemeDigest); err == nil {
		t.Error("a P-384 key was taken")
	}
}
