package mdms

import "sync"

// crowd bounds how many do something at once: all together, and those of one
// courier, so that one cannot keep the others out.
type crowd struct {
	all, each int

	mu sync.Mutex // guards what follows
	n  int
	of map[string]int // by courier; those that are there
}

func newCrowd(all, each int) *crowd { return &crowd{all: all, each: each, of: map[string]int{}} }

// enter reports whether there is room. The caller calls leave at the end.
func (c *crowd) enter(courier string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.all || c.of[courier] >= c.each {
		return false
	}
	c.n++
	c.of[courier]++
	return true
}

func (c *crowd) leave(courier string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.of[courier]--; c.of[courier] == 0 {
		delete(c.of, courier)
	}
}
