package device

import (
	"context"
	"errors"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// failure is an error of the secure element, with what SE_FAILED says of it.
type failure struct {
	reason eventlog.FailReason
	err    error
}

func (f *failure) Error() string { return "device: secure element: " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func reasonOf(err error) eventlog.FailReason {
	switch {
	case errors.Is(err, secureelement.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return eventlog.FailTimeout
	case errors.Is(err, secureelement.ErrUnavailable), errors.Is(err, secureelement.ErrRemoved), errors.Is(err, secureelement.ErrClosed):
		return eventlog.FailUnavailable
	}
	return eventlog.FailRefused
}
