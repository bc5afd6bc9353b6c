package harden_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/harden"
)

// TestMain lets the test binary harden itself, which it can do only once.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "harden" {
		json.NewEncoder(os.Stdout).Encode(hardenSelf(os.Args[2]))
		os.Exit(0)
	}
	m.Run()
}

// findings is what a hardened process sees.
type findings struct {
	Measures []secureelement.Measure

	// After Directory.
	OpenInside, OpenOutside string
	// After Calls.
	OpenLate, Exec, Dial, Socket, Kill string
	// Things that must go on working.
	WriteOpen, Threads string
}

func hardenSelf(dir string) (f findings) {
	f.Measures = harden.Process()
	f.Measures = append(f.Measures, harden.Directory(dir))
	inside, err := os.Create(filepath.Join(dir, "file"))
	f.OpenInside = text(err)
	_, err = os.ReadFile("/etc/passwd")
	f.OpenOutside = text(err)

	f.Measures = append(f.Measures, harden.Memory())
	f.Measures = append(f.Measures, harden.Calls()...)
	_, err = os.Open(filepath.Join(dir, "file"))
	f.OpenLate = text(err)
	f.Exec = text(syscall.Exec("/bin/true", []string{"true"}, nil))
	_, err = net.Dial("tcp", "127.0.0.1:9")
	f.Dial = text(err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	f.Socket = text(err)
	f.Kill = text(syscall.Kill(os.Getppid(), 0))

	_, err = inside.WriteString("still open")
	f.WriteOpen = text(errors.Join(err, inside.Sync()))
	f.Threads = text(manyThreads())
	return f
}

// manyThreads makes the runtime start threads, which the filter must allow.
func manyThreads() error {
	const n = 20
	ready, release := make(chan struct{}), make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread()
			ready <- struct{}{}
			<-release
		}()
	}
	for range n {
		<-ready
	}
	close(release)
	return nil
}

func text(err error) string {
	if err == nil {
		return "ok"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "denied"
	}
	return err.Error()
}

func TestHardening(t *testing.T) {
	out, err := exec.Command(os.Args[0], "harden", t.TempDir()).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got findings
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	applied := map[string]bool{}
	for _, m := range got.Measures {
		applied[m.Name] = m.Applied
		t.Logf("%-13s %-5v %s", m.Name, m.Applied, m.Detail)
	}
	for _, name := range []string{"no-core", "not-dumpable", "landlock", "mlockall", "seccomp", "no-new-privs"} {
		if _, ok := applied[name]; !ok {
			t.Errorf("nothing is said of %s", name)
		}
	}
	for _, name := range []string{"no-core", "not-dumpable"} {
		if !applied[name] {
			t.Errorf("%s was not applied", name)
		}
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("open in the directory", got.OpenInside, "ok")
	check("write to an open file", got.WriteOpen, "ok")
	check("new threads", got.Threads, "ok")
	if applied["landlock"] {
		check("open outside the directory", got.OpenOutside, "denied")
	}
	if !applied["seccomp"] {
		t.Skip("no seccomp here")
	}
	check("open after Calls", got.OpenLate, "denied")
	check("exec after Calls", got.Exec, "denied")
	check("connect after Calls", got.Dial, "denied")
	check("socket after Calls", got.Socket, "denied")
	check("kill after Calls", got.Kill, "denied")
	if !applied["no-new-privs"] {
		t.Error("no-new-privs is not reported where seccomp is")
	}
}
