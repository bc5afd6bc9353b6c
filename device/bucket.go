package device

import "time"

// bucket is a token bucket that runs by uptime. It begins full.
type bucket struct {
	size   int           // tokens that it holds
	refill time.Duration // one token comes in this time
	tokens int
	last   time.Duration // uptime of the newest token
}

func newBucket(size int, refill time.Duration) *bucket {
	return &bucket{size: size, refill: refill, tokens: size}
}

func (b *bucket) fill(uptime time.Duration) {
	n := int64(max(0, uptime-b.last) / b.refill)
	if n >= int64(b.size-b.tokens) {
		b.tokens, b.last = b.size, uptime
		return
	}
	b.tokens += int(n)
	b.last += time.Duration(n) * b.refill
}

// has reports whether a token is there.
func (b *bucket) has(uptime time.Duration) bool {
	b.fill(uptime)
	return b.tokens > 0
}

// take takes a token, if one is there.
func (b *bucket) take(uptime time.Duration) bool {
	if !b.has(uptime) {
		return false
	}
	b.tokens--
	return true
}
