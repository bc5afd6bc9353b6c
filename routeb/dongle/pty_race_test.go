//go:build linux || darwin || freebsd

package dongle_test

import (
	"testing"

	"github.com/meterseal/meterseal/routeb/dongle"
)

// TestBaudWhileThePortCloses is for the race detector.
func TestBaudWhileThePortCloses(t *testing.T) {
	p, err := dongle.OpenPTY("")
	if err != nil {
		t.Fatal(err)
	}
	asking := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if p.Baud() != 0 {
				select {
				case asking <- struct{}{}:
				default:
				}
			}
		}
	}()
	select {
	case <-asking:
	case <-done:
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if got := p.Baud(); got != 0 {
		t.Errorf("rate %d of a closed port", got)
	}
}
