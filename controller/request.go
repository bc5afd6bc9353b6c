package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// retry tries until it succeeds, fails for good, or has failed as often in a
// row as the configuration allows.
func (c *Collector) retry(ctx context.Context, try func() error) error {
	wait := backoff{base: 500 * time.Millisecond, limit: 30 * time.Second}
	for {
		err := try()
		if err == nil || final(ctx, err) || wait.attempts+1 >= c.cfg.Attempts {
			return err
		}
		if err := sleep(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// final reports whether another attempt cannot help.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrUnsupported)
}

// count counts a request that ended with err.
func (c *Collector) count(err error) error {
	if err == nil || errors.Is(err, ErrRefused) {
		c.stats.RoundTrips++
	} else {
		c.stats.Failures++
	}
	return err
}

// refused turns a refusal of the property into ErrRefused, that of others into
// success.
func refused(err error, epc byte) error {
	var sna *echonet.SNAError
	if !errors.As(err, &sna) {
		return err
	}
	if slices.Contains(sna.Refused, epc) {
		return fmt.Errorf("%w: property %02X", ErrRefused, epc)
	}
	return nil
}

// read reads properties of the meter's object. Those that it refuses are not in
// the result.
func (c *Collector) read(ctx context.Context, epcs ...byte) (ps []echonet.Property, err error) {
	err = c.retry(ctx, func() (err error) {
		ps, err = c.end.get(ctx, epcs...)
		var sna *echonet.SNAError
		if errors.As(err, &sna) {
			err = nil
		}
		return c.count(err)
	})
	return ps, err
}
