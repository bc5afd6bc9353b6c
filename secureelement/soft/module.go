package soft

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// Module is a [secureelement.Module] whose key lives in another process. The
// process is started again by the first call after it died, was killed from
// outside, or had to be killed because it did not answer in time.
type Module struct {
	config Config
	pinned *ecdsa.PublicKey
	id     eventlog.KeyID
	point  [65]byte
	scheme eventlog.Scheme

	life  context.Context // the module's own, never a caller's: ends with Close
	end   context.CancelFunc
	close sync.Once

	turn    chan struct{} // holds one token; whoever has it may use what follows
	proc    *process      // nil: to be started
	old     *process      // the one before, perhaps not gone yet
	seen    uint64        // counter of the last answer
	pause   <-chan time.Time
	backoff time.Duration // length of pause
	failed  error         // why the last start failed, while pause lasts
}

// The pause after a start that failed, doubled each time.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// Open starts the process and pins its public key. [ErrNoKey] says that the
// directory holds no key, secureelement.ErrLocked that the passphrase is wrong.
// ctx bounds the start only.
func Open(ctx context.Context, c Config) (*Module, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	m := &Module{config: c, life: life, end: end, turn: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	if err := m.start(ctx); err != nil {
		end()
		if m.old != nil {
			m.old.stop()
		}
		return nil, fmt.Errorf("soft: open: %w", err)
	}
	m.release()
	return m, nil
}

// PublicKey implements [secureelement.Module].
func (m *Module) PublicKey() *ecdsa.PublicKey { return m.pinned }

// Info implements [secureelement.Module].
func (m *Module) Info(ctx context.Context) (secureelement.Info, error) {
	var info secureelement.Info
	err := m.call(ctx, wire.Info, nil, func(p *process, answer []byte) (err error) {
		info, err = m.describe(p, answer)
		return err
	})
	if err != nil {
		return secureelement.Info{}, fmt.Errorf("soft: info: %w", err)
	}
	return info, nil
}

// Sign implements [secureelement.Module].
func (m *Module) Sign(ctx context.Context, digest [32]byte) (secureelement.Signature, error) {
	var signed wire.Signed
	err := m.call(ctx, wire.Sign, digest[:], func(_ *process, answer []byte) error {
		if err := signed.UnmarshalBinary(answer); err != nil {
			return fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
		}
		return m.advance(signed.Counter)
	})
	if err != nil {
		return secureelement.Signature{}, fmt.Errorf("soft: sign: %w", err)
	}
	return secureelement.Signature(signed), nil
}

// CertificateRequest implements [secureelement.Requester].
func (m *Module) CertificateRequest(ctx context.Context, subject pkix.Name) ([]byte, error) {
	name, err := asn1.Marshal(subject.ToRDNSequence())
	if err != nil {
		return nil, fmt.Errorf("soft: certificate request: subject: %w", err)
	}
	var der []byte
	err = m.call(ctx, wire.Request, name, func(_ *process, answer []byte) error {
		der = append(der, answer...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("soft: certificate request: %w", err)
	}
	return der, nil
}

// History implements [secureelement.Historian]: at most Config.History uses. A
// digest of zeros was given up after a torn write.
func (m *Module) History(ctx context.Context) ([]eventlog.KeyUse, error) {
	var uses []eventlog.KeyUse
	err := m.call(ctx, wire.History, nil, func(_ *process, b []byte) error {
		if len(b)%40 != 0 {
			return fmt.Errorf("%w: history of %d bytes", secureelement.ErrUnavailable, len(b))
		}
		for ; len(b) > 0; b = b[40:] {
			uses = append(uses, eventlog.KeyUse{Counter: binary.BigEndian.Uint64(b), Digest: eventlog.Digest(b[8:40])})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("soft: history: %w", err)
	}
	return uses, nil
}

// Close implements [secureelement.Module]. It returns when the process is gone,
// or could not be killed within half a second.
func (m *Module) Close() error {
	m.close.Do(func() {
		m.end()
		<-m.turn // for good
		for _, p := range []*process{m.proc, m.old} {
			if p != nil {
				p.stop()
			}
		}
	})
	return nil
}

// call makes one request and hands the answer to accept before anyone else may
// use the line. An answer that accept refuses costs the process its life.
func (m *Module) call(ctx context.Context, verb byte, body []byte, accept func(*process, []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.config.Timeout)
	defer cancel()
	stop := context.AfterFunc(m.life, cancel)
	defer stop()
	err := m.callInTurn(ctx, verb, body, accept)
	if err != nil && m.life.Err() != nil {
		return secureelement.ErrClosed
	}
	return err
}

func (m *Module) callInTurn(ctx context.Context, verb byte, body []byte, accept func(*process, []byte) error) error {
	if err := m.acquire(ctx); err != nil {
		return err
	}
	defer m.release()
	answer, err := m.proc.call(ctx, verb, body)
	if m.proc.broken {
		m.drop()
		return err
	}
	if err != nil {
		return err
	}
	if err := accept(m.proc, answer); err != nil {
		m.drop()
		return err
	}
	m.backoff = 0
	return nil
}

// acquire waits for the turn and for a process that runs. When it fails, the
// caller does not have the turn.
func (m *Module) acquire(ctx context.Context) error {
	select {
	case <-m.turn:
	case <-ctx.Done():
		return contextError(ctx)
	}
	if ctx.Err() != nil { // the choice above is a toss-up
		m.release()
		return contextError(ctx)
	}
	if m.proc != nil {
		select {
		case <-m.proc.exited:
			m.drop()
		default:
			return nil
		}
	}
	if m.pause != nil {
		select {
		case <-m.pause:
			m.pause = nil
		default:
			err := &secureelement.RetryError{Err: m.failed, After: m.backoff}
			m.release()
			return err
		}
	}
	return m.restart(ctx)
}

// restart starts the process. That may take longer than a call may: then the
// start goes on without the caller, and the turn is given back at its end.
func (m *Module) restart(ctx context.Context) error {
	started := make(chan error)
	go func() {
		startCtx, cancel := context.WithTimeout(m.life, m.config.StartTimeout)
		defer cancel()
		err := m.start(startCtx)
		if err != nil {
			m.backoff = min(max(2*m.backoff, firstPause), longestPause)
			m.pause, m.failed = time.After(m.backoff), err
		}
		select {
		case started <- err: // the turn goes back to the caller
		case <-ctx.Done():
			m.release()
		}
	}()
	select {
	case err := <-started:
		if err != nil {
			m.release()
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("module process is starting: %w", contextError(ctx))
	}
}

// start starts the process and compares what it finds with what was pinned.
func (m *Module) start(ctx context.Context) error {
	if m.old != nil {
		select {
		case <-m.old.exited: // and its lock with it
			m.old = nil
		case <-ctx.Done():
			return fmt.Errorf("%w: the module process before does not end", secureelement.ErrUnavailable)
		}
	}
	p, answer, err := start(ctx, m.config, wire.Open, m.config.hello())
	if err != nil {
		m.old = p
		return err
	}
	m.proc = p
	if _, err := m.describe(p, answer); err != nil {
		m.drop()
		return err
	}
	m.config.Logger.Info("module process started", "pid", p.cmd.Process.Pid)
	return nil
}

// drop ends the process: its line is broken, or it is not the one it was.
func (m *Module) drop() {
	m.config.Logger.Warn("module process lost", "pid", m.proc.cmd.Process.Pid)
	m.proc.kill()
	m.old, m.proc = m.proc, nil
}

func (m *Module) release() { m.turn <- struct{}{} }

// describe reads the answer to Open and Info. The first one pins the key.
func (m *Module) describe(p *process, answer []byte) (secureelement.Info, error) {
	var d wire.Description
	if err := d.UnmarshalBinary(answer); err != nil {
		return secureelement.Info{}, fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
	}
	if m.pinned == nil {
		if err := m.pin(d); err != nil {
			return secureelement.Info{}, err
		}
	}
	if d.Point != m.point || d.Scheme != m.scheme {
		return secureelement.Info{}, secureelement.ErrKeyChanged
	}
	if d.Counter < m.seen {
		return secureelement.Info{}, fmt.Errorf("%w: it went back from %d to %d", secureelement.ErrCounter, m.seen, d.Counter)
	}
	m.seen = d.Counter
	return secureelement.Info{
		Backend:    "soft",
		Scheme:     m.scheme,
		Key:        m.id,
		Counter:    d.Counter,
		Exportable: true,
		PID:        p.cmd.Process.Pid,
		Hardening:  d.Measures,
	}, nil
}

func (m *Module) pin(d wire.Description) error {
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), d.Point[:])
	if err != nil {
		return fmt.Errorf("%w: public key: %w", secureelement.ErrUnavailable, err)
	}
	id, err := eventlog.KeyIDOf(pub)
	if err != nil {
		return fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
	}
	if want := m.config.Key; want != (eventlog.KeyID{}) && id != want {
		return fmt.Errorf("%w: %v instead of %v", secureelement.ErrKeyChanged, id, want)
	}
	m.pinned, m.id, m.point, m.scheme = pub, id, d.Point, d.Scheme
	return nil
}

// advance checks the counter of a signature against the one before.
func (m *Module) advance(counter uint64) error {
	want := uint64(0)
	if m.scheme == eventlog.SchemeCounter {
		want = m.seen + 1
	}
	if counter != want {
		return fmt.Errorf("%w: %d after %d", secureelement.ErrCounter, counter, m.seen)
	}
	m.seen = counter
	return nil
}
