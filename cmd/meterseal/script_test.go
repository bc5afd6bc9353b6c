package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meterseal/meterseal/fixtures/evidence"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func TestMain(m *testing.M) {
	if soft.Invoked() { // the soft module is this program again
		syscall.Exit(runModule(os.Stderr)) // not os.Exit, which takes the race detector a second
	}
	testscript.Main(m, map[string]func(){"meterseal": main})
}

// TestCommands runs each script of testdata: one behaviour each, with what a
// user sees.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata",
		Deadline: time.Now().Add(10 * time.Minute), // then what hangs is named
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Defer(func() { endLeftovers(e.WorkDir) })
			readme, err := os.ReadFile("../../README.md")
			if err != nil {
				return err
			}
			return errors.Join(
				os.WriteFile(filepath.Join(e.WorkDir, "README.md"), readme, 0o600),
				os.CopyFS(filepath.Join(e.WorkDir, "evidence"), evidence.Files))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "await": await, "capture": capture, "fetch": fetch},
	})
}

// endLeftovers kills what a script that failed has left running: the processes
// of its .pid files that still work in its directory.
func endLeftovers(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid")) // the pattern is well formed
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil && cwd == dir {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// exits CODE COMMAND ARGS... runs a command and checks its exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// eventually waits for a condition, long enough for a loaded machine.
func eventually(cond func() bool) error { return untilOr(context.Background(), 2*time.Minute, cond) }

// await FILE TEXT waits until a file that a background command writes contains
// a text.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	err := eventually(func() bool {
		b, err := os.ReadFile(path)
		return err == nil && bytes.Contains(b, []byte(args[1]))
	})
	if err != nil {
		b, _ := os.ReadFile(path)
		ts.Fatalf("%s never said %q:\n%s", args[0], args[1], b)
	}
}

// capture VAR FILE REGEXP sets a variable to what the first group of the
// expression matches in a file.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: capture VAR FILE REGEXP")
	}
	m := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(m) != 2 {
		ts.Fatalf("%s does not match %s", args[1], args[2])
	}
	ts.Setenv(args[0], m[1])
}

// fetch URL FILE TEXT gets a page until it contains a text, and keeps it in a file.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fetch URL FILE TEXT")
	}
	var page []byte
	err := eventually(func() bool {
		resp, err := http.Get(args[0])
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		page, err = io.ReadAll(resp.Body)
		return err == nil && bytes.Contains(page, []byte(args[2]))
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), page, 0o600))
	if err != nil {
		ts.Fatalf("%s never said %q:\n%s", args[0], args[2], page)
	}
}
