package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// order is something that only the goroutine that talks to the module may do.
type order struct {
	do   func(ctx context.Context) error
	done chan error // capacity 1
}

// command has the sealer carry out f.
func (m *Meter) command(ctx context.Context, f func(context.Context) error) error {
	o := order{f, make(chan error, 1)}
	select {
	case m.orders <- o:
	case <-ctx.Done():
		return fmt.Errorf("device: not done: %w", context.Cause(ctx))
	}
	return <-o.done
}

// wakeSealer tells the sealer that there may be work. It never blocks.
func (m *Meter) wakeSealer() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// seal is the goroutine that talks to the module: it has what is pending
// signed, closes segments, and asks a module that failed whether it is back.
// When ctx ends it signs what is pending, so that a clean stop leaves no tail; it
// closes no segment then, for the next one would begin without a seal.
func (m *Meter) seal(ctx context.Context) {
	for ctx.Err() == nil {
		timer := time.NewTimer(m.work(ctx))
		select {
		case <-m.wake:
		case <-timer.C:
		case o := <-m.orders:
			o.done <- o.do(ctx)
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if m.moduleUp() && m.retry.IsZero() && m.unasked() {
		m.advance(context.WithoutCancel(ctx))
	}
}

const (
	// idle is how long the sealer sleeps when nothing is due.
	idle = time.Hour
	// longestRest is how long a module is left alone at its own wish.
	longestRest = time.Minute
)

// work does all that can be done now, and returns when to come again.
func (m *Meter) work(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		if wait := time.Until(m.retry); wait > 0 {
			return wait
		}
		if !m.retry.IsZero() {
			m.resume(ctx)
			continue
		}
		if !m.advance(ctx) {
			break
		}
	}
	return idle
}

// advance does one thing, if there is one to do: sign, or close a segment. It
// reports whether it did, or has to wait for the module.
func (m *Meter) advance(ctx context.Context) bool {
	var err error
	switch {
	case m.unasked():
		var p pending
		m.whileHeld(func() { p, _ = m.pending() })
		if err = m.sign(ctx, p); err != nil {
			m.whileHeld(func() { m.signFailed(err) })
		}
	case m.change != nil:
		err = m.finishChange(ctx)
	case m.wanted != nil:
		p := *m.wanted
		m.wanted = nil
		err = m.changePolicy(ctx, p)
	case m.full():
		err = m.closeSegment(ctx, ending{reason: eventlog.EndRotation})
	default:
		return false
	}
	return err == nil || !m.retry.IsZero()
}

// full reports whether the segment has to end: it has its size, or the store is
// cramped and only more segments make an oldest one that may go. That happens
// when a segment grew large while the module was down.
func (m *Meter) full() bool {
	length := m.log.Status().Length
	return length >= uint64(m.cfg.SegmentSize) ||
		length >= crampedSegment && m.free() < m.cfg.Reserve && len(m.log.Closed()) <= closedKept
}

// unasked reports whether there is something to sign that was never asked for.
// At most one signature is asked for per specific record: the first one may
// have been made, and counted, and lost.
func (m *Meter) unasked() bool {
	p, ok := m.pending()
	return ok && p.LastSeq != m.asked
}

// pending is what the module has to sign.
type pending = Digested

// pending returns what no seal covers yet. With the log held, all records
// under it have been traced.
func (m *Meter) pending() (p pending, ok bool) {
	p.Segment = m.log.Newest()
	p.Digest, p.Length, p.LastSeq, ok = m.log.Pending()
	return p, ok
}

// sign asks the module for a signature over p, once. The signature is a seal
// only if it fits the digest that was handed out: one that comes late, twice or
// damaged fits none. Errors of the module are a *failure.
func (m *Meter) sign(ctx context.Context, p pending) error {
	m.asked, m.lost = p.LastSeq, true
	m.cfg.Trace(&p)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.SignTimeout)
	defer cancel()
	sig, err := m.module.Sign(ctx, p.Digest)
	if err != nil {
		return &failure{reasonOf(err), err}
	}
	s := eventlog.Seal{
		Scheme: m.info.Scheme, Segment: p.Segment, SignedLength: p.Length, LastSeq: p.LastSeq,
		KeyPrefix: [8]byte(m.info.Key[:8]), Counter: sig.Counter, Digest: p.Digest, Signature: sig.Signature,
	}
	switch err := m.log.StoreSeal(s); {
	case errors.Is(err, eventlog.ErrBadSeal), errors.Is(err, eventlog.ErrOldSeal), errors.Is(err, eventlog.ErrSeal):
		return &failure{eventlog.FailSignature, err}
	case err != nil:
		m.storageFailed(err)
		return err
	}
	m.lost = false
	m.sealed(s)
	return nil
}

// sealed tells of a new seal.
func (m *Meter) sealed(s eventlog.Seal) {
	m.cfg.Trace(&Sealed{Seal: s})
	m.mu.Lock()
	m.lastSeal = m.cfg.Uptime()
	m.mu.Unlock()
	m.news.announce()
}

// signFailed handles an error of sign, with the log held.
func (m *Meter) signFailed(err error) {
	if after, ok := secureelement.RetryAfter(err); ok && errors.Is(err, secureelement.ErrRateLimited) {
		after = min(max(after, time.Millisecond), longestRest)
		m.retry, m.lost = time.Now().Add(after), false // it is well, and wants to be left alone
		m.cfg.Logger.Debug("secure element wants rest", "for", after)
		return
	}
	var f *failure
	if errors.As(err, &f) {
		m.moduleFailed(f)
		return
	}
	m.retry = time.Now().Add(m.cfg.ProbeInterval) // the store failed
}

// moduleFailed records SE_FAILED, once until the module is back. It is called
// with the log held.
func (m *Meter) moduleFailed(f *failure) {
	m.retry = time.Now().Add(m.cfg.ProbeInterval)
	if m.setUp(false) {
		m.recordFailure(f)
	}
}

// recordFailure is called with the log held.
func (m *Meter) recordFailure(f *failure) {
	m.retry = time.Now().Add(m.cfg.ProbeInterval)
	m.cfg.Logger.Warn("secure element failed: events are recorded, seals come later", "err", f.err)
	m.appendSystem(eventlog.CodeModuleFailed, &eventlog.ModuleFailed{Reason: f.reason}) //nolint:errcheck // the store has told of its own failure
}

// resume asks a module that failed, or wanted rest, for its counter, which
// costs none. If it answers, SE_RESTORED goes first: what was asked for before
// is never asked for again.
func (m *Meter) resume(ctx context.Context) {
	if m.moduleUp() && !m.lost && m.unasked() {
		m.retry = time.Time{} // it has rested, and newer records wait
		return
	}
	info, err := m.probe(ctx, m.module)
	if err == nil && (info.Key != m.info.Key || info.Scheme != m.info.Scheme) {
		err = secureelement.ErrKeyChanged
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.cfg.Logger.Debug("probe secure element", "err", err)
		m.whileHeld(func() { m.moduleFailed(&failure{reasonOf(err), err}) })
		return
	}
	m.whileHeld(func() { m.moduleBack(info) })
}

// moduleBack records SE_RESTORED. Without that record nothing is asked for. It
// is called with the log held.
func (m *Meter) moduleBack(info secureelement.Info) {
	news := m.setUp(true)
	m.sealSoon()
	if _, err := m.appendSystem(eventlog.CodeModuleRestored, &eventlog.ModuleRestored{Counters: m.counters(info)}); err != nil {
		if news {
			m.setUp(false)
		}
		m.retry = time.Now().Add(m.cfg.ProbeInterval)
		return
	}
	m.retry, m.lost = time.Time{}, false
	if news {
		m.cfg.Logger.Info("secure element is back", "counter", info.Counter)
	}
}

// probe asks a module what it is.
func (m *Meter) probe(ctx context.Context, module secureelement.Module) (secureelement.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.SignTimeout)
	defer cancel()
	return module.Info(ctx)
}

// counters are what BOOT and SE_RESTORED say of a module that answers.
func (m *Meter) counters(info secureelement.Info) eventlog.Counters {
	c := eventlog.Counters{ModuleUp: true, ModuleCounter: info.Counter}
	if s, _, ok := m.log.Seal(); ok {
		c.SealCounter = s.Counter
		if s.Segment == m.log.Newest() {
			c.SealLength = s.SignedLength
		}
	}
	return c
}
