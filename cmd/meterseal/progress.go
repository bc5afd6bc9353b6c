package main

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// terminal returns the terminal that w writes to, if it is one.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// progress returns a function that shows how many of the bytes are done, on a
// terminal only; it begins to draw after a second.
func progress(w io.Writer, what string) func(done, total int64) {
	f, ok := terminal(w)
	if !ok {
		return func(int64, int64) {}
	}
	var bar *progressbar.ProgressBar
	start := time.Now()
	return func(done, total int64) {
		if bar == nil && time.Since(start) < time.Second {
			return
		}
		if bar == nil || bar.GetMax64() != total {
			bar = newBar(f, what, total, progressbar.OptionShowBytes(true))
		}
		_ = bar.Set64(done) // a bar that cannot be drawn disturbs nothing
	}
}

func newBar(f *os.File, what string, total int64, more ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append(more, progressbar.OptionSetWriter(f),
		progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())...)
}

// barStep is the time between two drawings of a countdown.
const barStep = 200 * time.Millisecond

// countdown draws a bar that fills within d, on a terminal, from one second on.
// The function that it returns ends it, and leaves an empty line to write on.
func countdown(w io.Writer, what string, d time.Duration) (stop func()) {
	f, ok := terminal(w)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var drawing sync.WaitGroup
	drawing.Go(func() {
		start := time.Now()
		tick := time.NewTicker(barStep)
		defer tick.Stop()
		var bar *progressbar.ProgressBar
		for {
			select {
			case <-ctx.Done():
				if bar != nil {
					_ = bar.Clear()
				}
				return
			case <-tick.C:
			}
			gone := time.Since(start)
			if gone < time.Second {
				continue
			}
			if bar == nil {
				bar = newBar(f, what, int64(d/barStep)+1, progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
			}
			_ = bar.Set64(int64(min(gone, d) / barStep)) // never the whole: it is not over
		}
	})
	return func() {
		cancel()
		drawing.Wait()
	}
}
