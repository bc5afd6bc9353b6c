//go:build linux

package lan_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long something may take that has to happen. It is long: the tests share their machine.
const patience = 90 * time.Second

// scratch is a directory for what all tests share.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "meterseal-lan-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// errMissing is what a test is skipped for.
var errMissing = errors.New("needs")

// need skips the test where it cannot run. With CI=true that is a failure.
func need(t *testing.T) {
	t.Helper()
	err := prepared()
	if err == nil {
		err = built()
	}
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// meterseal is the command under test, built once.
var meterseal string

var built = sync.OnceValue(func() error {
	meterseal = filepath.Join(scratch, "meterseal")
	if out, err := exec.Command("go", "build", "-C", "../..", "-o", meterseal, "./cmd/meterseal").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
})

// prepared sees to the programs by others, once.
var prepared = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w root, for network namespaces", errMissing)
	}
	ci := os.Getenv("CI") == "true"
	if ci || !resolvable() {
		for _, name := range []string{"ip", "node", "npm"} {
			if _, err := exec.LookPath(name); err != nil && !ci {
				return fmt.Errorf("%w %s", errMissing, name)
			}
		}
		if out, err := exec.Command("./prepare", scratch).CombinedOutput(); err != nil {
			return fmt.Errorf("%w the npm packages of ../package.json: %w\n%s", errMissing, err, out)
		}
		if !resolvable() {
			return errors.New("node does not find the npm packages that were installed")
		}
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w ip", errMissing)
	}
	return nil
})

// modules is the environment in which node finds the packages.
func modules() string {
	above, err := filepath.Abs("../node_modules")
	if err != nil {
		panic(err) // there is no working directory
	}
	return "NODE_PATH=" + strings.Join([]string{above, filepath.Join(scratch, "node_modules"), os.Getenv("NODE_PATH")}, ":")
}

// resolvable reports whether node finds the packages.
func resolvable() bool {
	cmd := exec.Command("node", "-e", "['date-utils', 'echonet-lite', 'node-echonet-lite'].forEach(require.resolve)")
	cmd.Env = append(os.Environ(), modules())
	return cmd.Run() == nil
}

// eventually waits for something that nothing tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}
