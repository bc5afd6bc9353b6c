package secureelement

import (
	"errors"
	"fmt"
	"time"
)

// Errors of a [Module], for errors.Is. None of them means that the log is in
// danger: the meter goes on logging and seals later.
var (
	// ErrUnavailable: the module does not answer: it died, could not be
	// started, or the line to it broke. Every transport error is this one.
	ErrUnavailable = errors.New("secure element unavailable")
	// ErrTimeout: no answer in time. The module may still have signed.
	ErrTimeout = errors.New("secure element timed out")
	// ErrBusy: another program holds the module.
	ErrBusy = errors.New("secure element in use")
	// ErrRateLimited: too many signatures in too short a time; see
	// [RetryAfter]. Nothing was signed.
	ErrRateLimited = errors.New("secure element refuses: too many signatures")
	// ErrKeyChanged: the module came back with another key than it was opened
	// with, or than the caller demanded.
	ErrKeyChanged = errors.New("secure element holds another key")
	// ErrCounter: the counter cannot be trusted, or could not be made durable.
	// Nothing was signed.
	ErrCounter = errors.New("secure element counter unusable")
	// ErrRemoved: the card or token is gone.
	ErrRemoved = errors.New("secure element removed")
	// ErrLocked: wrong PIN or passphrase, or locked against guessing; see
	// [RetryAfter].
	ErrLocked = errors.New("secure element locked")
	// ErrClosed: the module was closed by its owner.
	ErrClosed = errors.New("secure element closed")
	// ErrNoRequest: the module cannot make a certificate request.
	ErrNoRequest = errors.New("secure element makes no certificate request")
)

// RetryError is an error that passes by itself.
type RetryError struct {
	Err   error         // a sentinel of this package
	After time.Duration // how long to wait, at least
}

// Error says what failed and how long to wait.
func (e *RetryError) Error() string { return fmt.Sprintf("%v; try again in %v", e.Err, e.After) }

// Unwrap returns the sentinel.
func (e *RetryError) Unwrap() error { return e.Err }

// RetryAfter returns how long the module asked to be left alone; ok is false
// when err carries no such wish.
func RetryAfter(err error) (after time.Duration, ok bool) {
	var e *RetryError
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.After, true
}
