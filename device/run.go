package device

import (
	"context"
	"errors"
	"sync"
)

// Ready is closed once Run answers on the event socket.
func (m *Meter) Ready() <-chan struct{} { return m.ready }

func (m *Meter) setReady() { m.once.Do(func() { close(m.ready) }) }

// Run has the log sealed, watches the secure element and the clocks, records
// what the MDMS sends, and serves the event socket, until ctx ends, which is no
// error. What was recorded before it returns is sealed if the module answers.
// All that it started has ended then. Only one Run at a time.
func (m *Meter) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("device: the meter runs already")
	}
	defer m.running.Store(false)

	signing, stopSealer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSealer()
	var sealer, workers sync.WaitGroup
	sealer.Go(func() { m.seal(signing) })

	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tasks := []func(context.Context) error{m.serveLink, m.keepState, m.tick}
	if m.cfg.NoEventSocket {
		m.setReady()
	} else {
		tasks = append(tasks, m.serveEvents)
	}
	for _, f := range tasks {
		workers.Go(func() {
			if err := f(working); err != nil {
				stop(err)
			}
		})
	}
	workers.Wait()
	m.whileHeld(func() { m.reportSuppressed(true) })
	stopSealer()
	sealer.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(working)
}

// Close closes the log and gives the state directory free. Run and Serve should
// have returned. A second Close does nothing.
func (m *Meter) Close() error {
	m.mu.Lock()
	lock := m.lock
	m.lock = nil
	m.mu.Unlock()
	if lock == nil {
		return nil
	}
	return errors.Join(m.log.Close(), lock.Close())
}

// keepState writes the state after other nodes have changed it, until ctx
// ends, and then once more if need be.
func (m *Meter) keepState(ctx context.Context) error {
	for {
		select {
		case <-m.dirty:
			m.writeState()
		case <-ctx.Done():
			select {
			case <-m.dirty:
				m.writeState()
			default:
			}
			return nil
		}
	}
}

func (m *Meter) writeState() {
	if err := m.saveState(func(*state) error { return nil }); err != nil {
		m.cfg.Logger.Error("installation location not kept", "err", err)
	}
}

// markDirty has keepState write the state. It never blocks.
func (m *Meter) markDirty() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// saveState changes the state and makes it durable. After an error of the disk
// the change holds for this run only.
func (m *Meter) saveState(change func(*state) error) error {
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	err := change(&m.state)
	s := m.state
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return s.save(m.dir)
}
