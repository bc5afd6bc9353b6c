//go:build linux

package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A step that takes long shows its share of the time, and the line is free when
// it has ended.
func TestCountdownOnATerminal(t *testing.T) {
	t.Parallel()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	drawn, raw := make(chan struct{}), make(chan []byte)
	go func() {
		var all []byte
		seen := sync.OnceFunc(func() { close(drawn) })
		for b := make([]byte, 1024); ; {
			n, err := screen.Read(b)
			if all = append(all, b[:n]...); strings.Contains(string(all), "%") {
				seen()
			}
			if err != nil { // the other side has closed
				raw <- all
				return
			}
		}
	}()
	stop := countdown(tty, "scanning", 4*time.Second)
	<-drawn
	stop()
	fmt.Fprintln(tty, "found")
	tty.Close()
	text := string(<-raw)
	if !regexp.MustCompile(`scanning +[0-9]+% [|]`).MatchString(text) {
		t.Errorf("no bar:\n%q", text)
	}
	if strings.Contains(text, "B/s") || strings.Contains(text, "kB") {
		t.Errorf("time is shown as bytes:\n%q", text)
	}
	if got := lastLine(text); got != "found" {
		t.Errorf("what follows the bar reads %q", got)
	}
}

// lastLine is the last line as it stands on a screen.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\r\n"), "\n")
	var shown []rune
	for _, written := range strings.Split(lines[len(lines)-1], "\r") {
		r := []rune(written)
		shown = append(r, shown[min(len(r), len(shown)):]...)
	}
	return strings.TrimRight(string(shown), " ")
}
