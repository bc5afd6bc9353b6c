package controller

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxBackoff is the longest wait between two attempts.
const maxBackoff = 15 * time.Minute

// backoff gives the waits between attempts: a random time up to a ceiling that
// doubles, "full jitter", so that many controllers do not return together.
type backoff struct {
	base     time.Duration // first ceiling
	limit    time.Duration // last ceiling; 0 means maxBackoff
	attempts int           // failures in a row
}

// next returns the wait after one more failure.
func (b *backoff) next() time.Duration {
	limit := b.limit
	if limit == 0 {
		limit = maxBackoff
	}
	ceiling := limit
	if b.attempts < 32 {
		ceiling = min(limit, b.base<<b.attempts)
	}
	if ceiling <= 0 { // the shift overflowed
		ceiling = limit
	}
	b.attempts++
	return time.Duration(rand.Int64N(int64(ceiling))) + time.Millisecond
}

// reset forgets the failures.
func (b *backoff) reset() { b.attempts = 0 }

// sleep waits, and returns the error of ctx if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
