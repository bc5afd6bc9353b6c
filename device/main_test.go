package device_test

import (
	"fmt"
	"os"
	"syscall"
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

// exit ends the process at once. os.Exit takes the race detector a second, in
// which a module that lost its meter would keep its key locked.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}
