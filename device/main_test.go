package device_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/secureelement/soft"
)

// TestMain lets the test binary be the process of a secure element, and the
// meter that the kill loop kills.
func TestMain(m *testing.M) {
	switch dir := os.Getenv(victimDir); {
	case soft.Invoked():
		exit(soft.Serve())
	case dir != "":
		exit(victim(dir))
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
