package device_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

func withSocket(c *device.Config) { c.NoEventSocket = false }

func TestSendEvent(t *testing.T) {
	r := newRig(t, withSocket).start()
	rec, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, []byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if !rec.Sealed || rec.Seq != 3 || rec.Segment != 1 {
		t.Errorf("got %+v", rec)
	}
	if mode := must(os.Stat(filepath.Join(r.cfg.Dir, "event.sock"))).Mode(); mode.Type() != os.ModeSocket {
		t.Errorf("event.sock is a %v", mode)
	}
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	if e := list[2]; e.Event() != coverOpened || string(e.Payload) != "\x01\x02\x03" {
		t.Errorf("recorded %v with % X", e.Event(), e.Payload)
	}
	if _, err := os.Stat(filepath.Join(r.cfg.Dir, "event.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket outlives the meter: %v", err)
	}
}

func TestSendEventFails(t *testing.T) {
	r := newRig(t, withSocket).open()
	if _, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); !errors.Is(err, device.ErrNotRunning) {
		t.Errorf("with no meter running: %v", err)
	}
	// What a killed meter leaves is no meter either.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(r.cfg.Dir, "event.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); !errors.Is(err, device.ErrNotRunning) {
		t.Errorf("with a socket left behind: %v", err)
	}
	r.close()
	r.start()
	if _, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); err != nil {
		t.Errorf("after a killed meter: %v", err)
	}
	boot := eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeBoot}
	if _, err := device.SendEvent(t.Context(), r.cfg.Dir, boot, nil); err == nil || !strings.Contains(err.Error(), "only the meter makes this event") {
		t.Errorf("BOOT from outside: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := device.SendEvent(ctx, r.cfg.Dir, coverOpened, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// TestEventSocketInADeepDirectory: the path is longer than a socket address.
func TestEventSocketInADeepDirectory(t *testing.T) {
	r := newRig(t, withSocket, func(c *device.Config) {
		c.Dir = filepath.Join(c.Dir, strings.Repeat("d", 100), strings.Repeat("e", 100))
	}).start()
	if rec, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); err != nil || !rec.Sealed {
		t.Errorf("%+v, %v", rec, err)
	}
	r.close()
	if _, err := os.Stat(filepath.Join(r.cfg.Dir, "event.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket outlives the meter: %v", err)
	}
}

func TestEventSocketRefusesNonsense(t *testing.T) {
	r := newRig(t, withSocket).start()
	length := r.Status().Length
	for name, line := range map[string]string{
		"empty line":       "\n",
		"no line":          "",
		"no JSON":          "40\n",
		"unknown field":    `{"event":"1/40","sealed":true}` + "\n",
		"no event":         "{}\n",
		"event too large":  `{"event":"1/65536"}` + "\n",
		"odd payload":      `{"event":"1/40","payload":"abc"}` + "\n",
		"payload too long": `{"event":"1/40","payload":"` + strings.Repeat("00", eventlog.MaxPayload+1) + `"}` + "\n",
		"line too long":    `{"event":"` + strings.Repeat("1", 8192) + `"}` + "\n",
		"two requests":     `{"event":"1/40"}{"event":"1/40"}` + "\n",
		"bytes":            "\x00\xff\xfe\n",
	} {
		var reply struct {
			Recorded *device.Recorded
			Error    string
		}
		answer := ask(t, r.cfg.Dir, line)
		if err := json.Unmarshal(answer, &reply); err != nil || reply.Error == "" || reply.Recorded != nil {
			t.Errorf("%s: answered %q", name, answer)
		}
	}
	if now := r.Status().Length; now != length {
		t.Errorf("the log grew by %d bytes", now-length)
	}
	if _, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// ask sends bytes to the event socket, ends the sending side, and returns what
// comes back.
func ask(t *testing.T, dir, line string) []byte {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dir, "event.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, line); err != nil {
		t.Logf("write: %v", err) // the meter has had enough
	}
	conn.(*net.UnixConn).CloseWrite()
	answer, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil && len(answer) == 0 && len(line) < 4096 {
		t.Errorf("no answer to %.40q: %v", line, err)
	}
	return answer
}

// TestEventSocketServesManyAndNoMore: idle clients cannot keep it from
// stopping, and beyond the limit they are sent away.
func TestEventSocketServesManyAndNoMore(t *testing.T) {
	r := newRig(t, withSocket).start()
	var idle []net.Conn
	for range 40 {
		conn, err := net.Dial("unix", filepath.Join(r.cfg.Dir, "event.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	sentAway := 0
	for _, c := range idle[16:] {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			sentAway++
		}
	}
	if sentAway != 24 {
		t.Errorf("%d of 24 clients too many were sent away", sentAway)
	}
	for _, c := range idle[:16] {
		c.(*net.UnixConn).CloseWrite()
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("an idle client that gives up: %v", err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if _, err := device.SendEvent(t.Context(), r.cfg.Dir, coverOpened, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
