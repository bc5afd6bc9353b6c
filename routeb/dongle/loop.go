package dongle

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// loop runs functions one after another, in one goroutine: what other goroutines post, and what is due.
type loop struct {
	speed float64
	posts chan func()
	ended chan struct{} // closed when run is about to return
	tasks sync.WaitGroup
	due   timers
	count uint64
}

func newLoop(speed float64) *loop {
	return &loop{speed: speed, posts: make(chan func()), ended: make(chan struct{})}
}

// run returns when ctx ends. What spawn started may still run.
func (l *loop) run(ctx context.Context) {
	defer close(l.ended)
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for {
		if len(l.due) > 0 {
			clock.Reset(time.Until(l.due[0].at))
		}
		select {
		case f := <-l.posts:
			f()
		case <-clock.C:
			for len(l.due) > 0 && !l.due[0].at.After(time.Now()) {
				heap.Pop(&l.due).(*timer).f()
			}
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// post has f run soon. It is called by other goroutines, and returns false when the loop has ended.
func (l *loop) post(f func()) bool {
	select {
	case l.posts <- f:
		return true
	case <-l.ended:
		return false
	}
}

// after has f run when the dongle's time has advanced by d, unless the timer is stopped. It is called by the loop's own
// goroutine. What is due at the same time runs in the order of the calls.
func (l *loop) after(d time.Duration, f func()) *timer {
	l.count++
	t := &timer{at: time.Now().Add(l.scale(d)), order: l.count, f: f}
	heap.Push(&l.due, t)
	return t
}

// scale returns the real time that d of the dongle's time takes.
func (l *loop) scale(d time.Duration) time.Duration { return time.Duration(float64(d) / l.speed) }

// spawn runs f in a goroutine of its own, counted in tasks.
func (l *loop) spawn(f func()) { l.tasks.Go(f) }

type timer struct {
	at    time.Time
	order uint64
	f     func()
}

// stop keeps the timer's function from running.
func (t *timer) stop() {
	if t != nil {
		t.f = func() {}
	}
}

type timers []*timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}

func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *timers) Push(x any) { *h = append(*h, x.(*timer)) }

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	return t
}
