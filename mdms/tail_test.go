package mdms_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// TestAForgedTailEntersNoState: its records are counted and told, nothing else.
func TestAForgedTailEntersNoState(t *testing.T) {
	eachScheme(t, func(t *testing.T, r *rig, m *eventlogtest.Meter) {
		m.Fill(5)
		m.System(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{}) // a finding that is signed
		u := m.Bundle()
		rec := m.Next(eventlogtest.Specific, []byte("forged"))
		log, err := rec.AppendBinary(u.Parts[0].Log)
		if err != nil {
			t.Fatal(err)
		}
		u.Parts[0].Log = append(log, make([]byte, eventlog.SlotSize)...)
		res := r.send("liar", u)
		want(t, res, mdms.Applied, verify.IntactWithTail)
		if !hasFinding(res, verify.FindTailSpecific) || !hasFinding(res, verify.FindTailBroken) {
			t.Errorf("the tail's findings are not told: %v", res.Findings)
		}
		st := r.verdict(m.ID, "INTACT_WITH_TAIL")
		if len(st.Findings) != 1 || st.Findings[0].Code != verify.FindModuleFailed {
			t.Errorf("kept: %+v", st.Findings)
		}
		for _, a := range st.Alerts {
			if a.Kind != verify.FindModuleFailed {
				t.Errorf("alert %+v", a)
			}
		}
	})
}
