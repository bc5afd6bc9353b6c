package main

import (
	"fmt"
	"io"
	"time"

	"github.com/meterseal/meterseal/routeb"
)

// stepPrinter prints the steps of a session as they come, and what fails with
// what a person can do about it, said once. While a step takes long there is a
// bar, if w is a terminal.
type stepPrinter struct {
	w       io.Writer
	brief   bool // only what fails
	last    routeb.Status
	opened  bool            // the port, which was said
	module  routeb.Module   // the one that was shown
	advised map[string]bool // what was said
	stop    func()          // ends the bar; nil if there is none
}

func newStepPrinter(w io.Writer, brief bool) *stepPrinter {
	return &stepPrinter{w: w, brief: brief, last: routeb.Status{State: -1}, advised: map[string]bool{}}
}

// take is a routeb.Config.OnChange.
func (p *stepPrinter) take(st routeb.Status) {
	last := p.last
	p.last = st
	failed := failedAnew(last, st)
	if !failed && st.State == last.State && st.Since.Equal(last.Since) {
		return // the same step
	}
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	switch {
	case failed:
		p.opened = false
		p.failure(last.State, st)
	case !p.brief:
		p.step(last.State, st)
	}
	if st.Expected > 0 {
		p.stop = countdown(p.w, st.State.String(), st.Expected)
	}
}

// failedAnew reports whether something has failed since the last status, whose
// error stays until the session has joined.
func failedAnew(last, st routeb.Status) bool {
	if st.Err == nil {
		return false
	}
	if last.Err == nil || last.Err.Error() != st.Err.Error() {
		return true
	}
	ends := st.State == routeb.Lost || st.State == routeb.Closed
	return ends && last.State != routeb.NoPort && last.State != routeb.Lost
}

// failure says what failed. If that was the end, the command says so itself.
func (p *stepPrinter) failure(at routeb.State, st routeb.Status) {
	advice := routeb.Advice(st.Err)
	switch {
	case p.brief && st.State == routeb.Closed:
		return
	case p.brief:
		fmt.Fprintf(p.w, "%v; tries again\n", st.Err)
	case at == routeb.Joined:
		fmt.Fprintf(p.w, "lost     %v\n", st.Err)
	default:
		fmt.Fprintf(p.w, "failed   %v\n", st.Err)
	}
	if advice != "" && !p.advised[advice] {
		p.advised[advice] = true
		fmt.Fprintf(p.w, "advice   %s\n", advice)
	}
}

func (p *stepPrinter) step(before routeb.State, st routeb.Status) {
	switch st.State {
	case routeb.Probing:
		if !p.opened {
			p.opened = true
			fmt.Fprintf(p.w, "port     is open; asks what module it is\n")
		}
	case routeb.Scanning:
		if st.Module != p.module {
			p.module = st.Module
			fmt.Fprintf(p.w, "module   %s, %s%s, at %d bit/s\n", st.Module.Family, st.Module.Version, suffix(st.Module.Firmware), st.Module.Baud)
		}
		again := ""
		if before == routeb.Scanning {
			again = " again"
		}
		fmt.Fprintf(p.w, "scan     for the meter%s, up to %s\n", again, st.Expected.Round(time.Second))
	case routeb.Joining:
		fmt.Fprintf(p.w, "found    channel %d, PAN %04X, link quality %d\n", st.Network.Channel, st.Network.PAN, st.Network.LQI)
		if st.Weak() {
			fmt.Fprintf(p.w, "signal   weak: put the dongle nearer to the meter, away from metal and USB 3 ports\n")
		}
		fmt.Fprintf(p.w, "join     authenticates\n")
	case routeb.Joined:
		fmt.Fprintf(p.w, "joined   %s\n", st.Meter)
	case routeb.NoPort, routeb.Lost, routeb.Closed:
	}
}

// explain adds to an error what a person can do about it, if that was not said.
func (p *stepPrinter) explain(err error) error {
	if advice := routeb.Advice(err); advice != "" && !p.advised[advice] {
		return fmt.Errorf("%w. %s", err, advice)
	}
	return err
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}
