package soft_test

import (
	"crypto/x509/pkix"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
	"github.com/meterseal/meterseal/secureelement/soft"
)

// TestMain lets the test binary be the module process too.
func TestMain(m *testing.M) {
	if soft.Invoked() {
		if err := soft.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		syscall.Exit(0) // not os.Exit, which takes the race detector a second
	}
	if len(os.Args) == 3 && os.Args[1] == "meter" {
		runMeter(os.Args[2])
	}
	if len(os.Args) == 3 && os.Args[1] == "liar" {
		lie(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

// cheap makes a key that is opened in a millisecond.
var cheap = soft.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}

var name = pkix.Name{CommonName: "FFFFFF-MS0000000001"}

const passphrase = "a passphrase for tests"

func config(dir string) soft.Config {
	return soft.Config{
		Dir:        dir,
		Passphrase: func() (soft.Secret, error) { return soft.Secret(passphrase), nil },
		Timeout:    time.Minute, // of a loaded machine
		Stderr:     os.Stderr,
		Cost:       cheap,
	}
}

// newKey makes a key in a directory of its own.
func newKey(t testing.TB, scheme eventlog.Scheme) soft.Config {
	t.Helper()
	c := config(t.TempDir())
	if err := os.Chmod(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := soft.Create(t.Context(), c, scheme); err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, c soft.Config) *soft.Module {
	t.Helper()
	m, err := soft.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestConformance(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		t.Run(scheme.String(), func(t *testing.T) {
			c := newKey(t, scheme)
			secureelementtest.Run(t, func(t *testing.T) secureelement.Module { return open(t, c) })
		})
	}
}
