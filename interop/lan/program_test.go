//go:build linux

package lan_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is one that runs on a host until it is stopped or the test ends.
type program struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of its standard output; closed at its end
	err   bytes.Buffer
}

// start runs a program on the host.
func (h *host) start(args ...string) *program {
	h.t.Helper()
	p := &program{t: h.t, name: strings.Join(args[:min(2, len(args))], " "), cmd: h.command(args...), lines: make(chan string, 1<<16)}
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	h.t.Cleanup(func() { p.stop() })
	return p
}

// stop ends the program and returns the lines that nobody has read.
func (p *program) stop() []string {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return p.wait()
}

// wait waits for the end of the program and returns the lines that nobody has read.
func (p *program) wait() (rest []string) {
	p.t.Helper()
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for line := range p.lines {
		rest = append(rest, line)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		p.t.Errorf("%s: %v\n%s", p.name, err, &p.err)
	}
	return rest
}

// await reads lines until one is right, and returns it.
func (p *program) await(what string, ok func(line string) bool) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, open := <-p.lines:
			if !open {
				p.wait()
				p.t.Fatalf("%s ended before %s\n%s", p.name, what, &p.err)
			}
			if ok(line) {
				return line
			}
		case <-late:
			p.t.Fatalf("%s: no %s within %v", p.name, what, patience)
		}
	}
}

// say writes a line to the program.
func (p *program) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// run runs the meterseal command on the host to its end.
func (h *host) run(args ...string) (stdout, stderr string, err error) {
	cmd := h.command(append([]string{meterseal}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err = cmd.Wait()
	return out.String(), errs.String(), err
}

// json runs the meterseal command on the host and decodes what it prints.
func (h *host) json(v any, args ...string) {
	h.t.Helper()
	out, errs, err := h.run(append(args, "--json")...)
	if err != nil {
		h.t.Fatalf("meterseal %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.t.Fatalf("meterseal %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
