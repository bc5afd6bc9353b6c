package mdms_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// TestAnUnregisteredKeyEndsNoOther: a KEY_CHANGE to a key that nobody registered
// takes nothing away from the meter's own.
func TestAnUnregisteredKeyEndsNoOther(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		thief := eventlogtest.NewKey("thief", m.Key.Scheme)
		m.System(eventlog.CodeKeyChange, &eventlog.KeyChange{Key: thief.ID, Scheme: thief.Scheme})
		m.Rotate() // the meter goes on with its own key
		m.Fill(5)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		m.Fill(5)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		r.holds(m)
	})
}

// TestAKeyThatIsRegisteredLateEndsTheOldOne: the announcement had come before.
func TestAKeyThatIsRegisteredLateEndsTheOldOne(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		next := eventlogtest.NewKey(t.Name()+" next", m.Key.Scheme)
		old := *m.Key
		m.ChangeKey(next)
		m.Fill(5)
		u := m.Bundle()
		u.Newest, u.Parts = false, u.Parts[:1]
		want(t, r.send("a", u), mdms.Applied, verify.Intact)
		if err := r.AddKey(t.Context(), mdms.NewKey{Meter: m.ID, PublicKey: next.PublicKey(), Scheme: next.Scheme}); err != nil {
			t.Fatal(err)
		}
		thief := m.Clone() // has the old key still
		thief.Key, thief.Segments = &old, thief.Segments[:1]
		first := thief.Segments[0]
		thief.Begin(2, uint64(len(first.Log)), first.Digest(len(first.Log)))
		thief.Seal()
		want(t, r.send("b", thief.BundleFrom(2, 0)), mdms.Rejected, verify.KeyRevoked)
		want(t, r.send("a", m.BundleFrom(2, 0)), mdms.Applied, verify.Intact)
	})
}

// TestAKeyChangeThatWasTakenBackEndsNoKey: after a restart the meter says that
// its own key stays.
func TestAKeyChangeThatWasTakenBackEndsNoKey(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		next := eventlogtest.NewKey(t.Name()+" next", m.Key.Scheme)
		if err := r.AddKey(t.Context(), mdms.NewKey{Meter: m.ID, PublicKey: next.PublicKey(), Scheme: next.Scheme}); err != nil {
			t.Fatal(err)
		}
		m.TakeBackKey(next)
		m.Rotate()
		m.Fill(5)
		want(t, r.send("a", m.Bundle()), mdms.Applied, verify.Intact)
		m.Fill(5)
		want(t, r.send("a", m.BundleFrom(2, 0)), mdms.Applied, verify.Intact)
		m.ChangeKey(next) // ordered again
		m.Fill(5)
		want(t, r.send("a", m.BundleFrom(2, 0)), mdms.Applied, verify.Intact)
		r.holds(m)
	})
}
