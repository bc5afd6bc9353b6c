package main

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func attackNamed(t *testing.T, name string) (int, attack) {
	t.Helper()
	i := slices.IndexFunc(attackList, func(a attack) bool { return a.name == name })
	if i < 0 {
		t.Fatalf("there is no attack %s", name)
	}
	return i, attackList[i]
}

func TestAttackNeedsMoreThanTheVerdict(t *testing.T) {
	hung := []controller.Finding{{Code: verify.FindModuleFailed}, {Code: verify.FindModuleRestored}}
	for _, tc := range []struct {
		name, attack string
		got          controller.Answer
		lacks        []string
	}{
		{"the full answer", "module-hung", controller.Answer{Verdict: "INTACT", Outcome: controller.Applied, Findings: hung}, nil},
		{"nothing happened to the module", "module-hung", controller.Answer{Verdict: "INTACT", Outcome: controller.Applied}, []string{"finding module-failed", "finding module-restored"}},
		{"another outcome", "module-hung", controller.Answer{Verdict: "INTACT", Outcome: controller.Duplicate, Findings: hung}, []string{"outcome applied"}},
		{"another verdict", "module-hung", controller.Answer{Verdict: "STALE", Outcome: controller.Applied, Findings: hung}, []string{"verdict INTACT"}},
		{"a finding where none belongs", "replay", controller.Answer{Verdict: "INTACT", Outcome: controller.Duplicate, Findings: hung}, []string{"a report without findings"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, a := attackNamed(t, tc.attack)
			if got := a.judge(tc.got); !slices.Equal(got, tc.lacks) {
				t.Errorf("lacks %q, want %q", got, tc.lacks)
			}
		})
	}
}

// The attacks whose effect depends on when processes stop and die have it each
// time, and one that changes nothing is found out.
func TestAttacksTakeEffect(t *testing.T) {
	d := &demo{dir: t.TempDir(), out: io.Discard, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if d.meter, err = newLabMeter(filepath.Join(d.dir, "meter"), demoMeter, d.log); err != nil {
		t.Fatal(err)
	}
	if err := d.meter.on(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.courier, err = newCourier(t.Context(), d.log); err != nil {
		t.Fatal(err)
	}
	r := &proving{demo: d}
	if err := r.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		for _, name := range []string{"module-hung", "module-killed", "all-restored"} {
			i, a := attackNamed(t, name)
			got, err := r.play(t.Context(), 100*round+i, a)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if lacks := a.judge(got); lacks != nil {
				t.Errorf("%s lacks %q: %s", name, lacks, reason(got))
			}
		}
	}
	idle := attack{name: "idle", run: edit(func(*eventlog.Part) error { return nil })}
	if _, err := r.play(t.Context(), 99, idle); !errors.Is(err, errNoEffect) {
		t.Errorf("an attack that changes nothing: %v, want errNoEffect", err)
	}
}
