package effort_test

import (
	"testing"

	"github.com/meterseal/meterseal/internal/effort"
)

func TestTimes(t *testing.T) {
	for env, want := range map[string]int{"": 30, "1": 30, "4": 120, "0": 30, "-2": 30, "much": 30} {
		t.Setenv("EFFORT", env)
		if got := effort.Times(30); got != want {
			t.Errorf("EFFORT=%q: %d, want %d", env, got, want)
		}
	}
}
