package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestStateDirectoryOfAnotherUser: whoever may not use the state directory is
// told whose it is to use; what else is not permitted is left as it is.
func TestStateDirectoryOfAnotherUser(t *testing.T) {
	denied := func(path string) error {
		return fmt.Errorf("lock: %w", &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
	}
	for name, c := range map[string]struct {
		err  error
		dir  string
		told bool
	}{
		"a file in it":        {denied("m1/se.passphrase"), "m1", true},
		"itself":              {denied("/var/lib/m1"), "/var/lib/m1/", true},
		"a serial port":       {denied("/dev/ttyUSB0"), "/var/lib/hems", false},
		"a relative neighbor": {denied("m2/lock"), "m1", false},
		"no state directory":  {denied("m1/lock"), "", false},
		"another error":       {&fs.PathError{Op: "open", Path: "m1/lock", Err: syscall.EIO}, "m1", false},
		"no error":            {nil, "m1", false},
	} {
		got := withOwner(c.err, c.dir)
		if told := got != nil && strings.Contains(got.Error(), "run this as the user"); told != c.told {
			t.Errorf("%s: %v", name, got)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%s: %v has lost its cause", name, got)
		}
	}
}
