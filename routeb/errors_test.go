package routeb_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/meterseal/meterseal/routeb"
)

// There are words for whatever a session can fail by, and other words for each thing that a person can do.
func TestAdvice(t *testing.T) {
	seen := make(map[string]error)
	for _, err := range []error{
		routeb.ErrCredentials, routeb.ErrPortBusy, routeb.ErrNotPort, routeb.ErrUnplugged, routeb.ErrNoAnswer, routeb.ErrNoBeacon, routeb.ErrRefused,
		routeb.ErrLimited, routeb.ErrRadio, routeb.ErrSilent, fs.ErrPermission, fs.ErrNotExist,
		&routeb.CommandError{Command: "SKSCAN", Answer: "ER04"}, &routeb.CommandError{Command: "SKSCAN", Answer: "ER05"},
		&routeb.CommandError{Command: "SKSCAN", Answer: "ER06"}, &routeb.CommandError{Command: "SKSCAN", Answer: "ER09"},
		&routeb.CommandError{Command: "SKSCAN", Answer: "ER10"},
	} {
		advice := routeb.Advice(fmt.Errorf("dial: %w", err))
		if other, ok := seen[advice]; advice == "" || ok {
			t.Errorf("%v: %q, as for %v", err, advice, other)
		}
		seen[advice] = err
	}
	for _, err := range []error{nil, errors.New("something else")} {
		if s := routeb.Advice(err); s != "" {
			t.Errorf("%v: %q", err, s)
		}
	}
}
