package verify_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestVerdictTextIsReadBack(t *testing.T) {
	names := map[string]bool{}
	for v := verify.Malformed; v <= verify.Intact; v++ {
		text, err := v.MarshalText()
		if err != nil || names[string(text)] {
			t.Fatalf("%d: %q, %v", v, text, err)
		}
		names[string(text)] = true
		var got verify.Verdict
		if err := got.UnmarshalText(text); err != nil || got != v {
			t.Errorf("%s reads back as %s, %v", text, got, err)
		}
	}
	if len(names) != 14 {
		t.Errorf("%d verdicts, want 14", len(names))
	}
	var v verify.Verdict
	for _, text := range []string{"", "intact", "VALID", "verdict(0)"} {
		if err := v.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %s", text, v)
		}
	}
	for v, want := range map[verify.Verdict]string{0: "verdict(0)", 15: "verdict(15)", verify.WrongMeter: "WRONG_METER"} {
		if got := v.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestOnlyTheLastVerdictsAreAppliedAndIntact(t *testing.T) {
	for v := verify.Verdict(0); v < 20; v++ {
		intact := v == verify.Intact || v == verify.IntactWithTail
		if got := v.Intact(); got != intact {
			t.Errorf("%s.Intact() = %t", v, got)
		}
		applied := intact || v == verify.Gap || v == verify.Stale
		if got := v.Applied(); got != applied {
			t.Errorf("%s.Applied() = %t", v, got)
		}
	}
}
