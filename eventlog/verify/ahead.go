package verify

import "sync"

// aheadFrom is the signed length in bytes from which a second goroutine gains
// more than it costs.
const aheadFrom = 256 << 10

// ahead is a scan in a goroutine of its own.
type ahead struct {
	running sync.WaitGroup
	scan    *scan
}

// readAhead begins to read the records of a segment of which nothing is known
// while its digest is computed, if that takes long. What it finds counts for
// nothing before signature has returned 0.
func (p *part) readAhead() (step, error) {
	if p.head != nil {
		return 0, nil
	}
	p.followErr = p.follow()
	if p.seal.SignedLength < aheadFrom {
		return 0, nil
	}
	a, s := new(ahead), p.scan(p.in.Log[:p.seal.SignedLength])
	a.running.Go(func() {
		// A panic here would end the process: records reads again instead,
		// where the caller can recover.
		defer func() { _ = recover() }()
		s.run()
		a.scan = &s
	})
	p.ahead = a
	return 0, nil
}

// wait returns the scan when it has ended, nil if there is none.
func (a *ahead) wait() *scan {
	if a == nil {
		return nil
	}
	a.running.Wait()
	return a.scan
}
