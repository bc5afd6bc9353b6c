package main

import (
	"context"
	"errors"
)

// together runs functions until ctx ends or the first of them returns, then
// waits for all. It returns the first error that is not due to the end itself.
func together(ctx context.Context, fs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(fs))
	for _, f := range fs {
		go func() {
			err := f(ctx)
			cancel()
			errs <- err
		}()
	}
	var first error
	for range fs {
		if err := <-errs; err != nil && first == nil && !errors.Is(err, context.Canceled) {
			first = err
		}
	}
	return first
}
