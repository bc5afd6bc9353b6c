package soft_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// When the counter cannot be written there is no signature, and when it can
// again no value is missing. A file size limit of zero makes every write fail.
func TestNoCounterNoSignature(t *testing.T) {
	m := open(t, newKey(t, eventlog.SchemeCounter))
	sign(t, m)
	process := pid(t, m)
	limit := func(n uint64) {
		t.Helper()
		err := unix.Prlimit(process, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil)
		if errors.Is(err, unix.EPERM) {
			t.Skip("the module process is closed to us, as it should be: this test needs root")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(0)
	for range 3 {
		if _, err := m.Sign(t.Context(), [32]byte{}); !errors.Is(err, secureelement.ErrCounter) {
			t.Fatalf("Sign on a full disk: %v, want ErrCounter", err)
		}
	}
	limit(unix.RLIM_INFINITY)
	if got := sign(t, m).Counter; got != 2 {
		t.Errorf("counter %d after the disk was full, want 2", got)
	}
	if got := pid(t, m); got != process {
		t.Error("the process did not outlive the full disk")
	}
}
