package secureelementtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// Fault is a way in which a module fails a call.
type Fault int

// The faults. Those that concern only Sign leave Info alone.
const (
	None    Fault = iota // the call works
	Dead                 // Info and Sign: ErrUnavailable at once, nothing is signed: the process was killed
	Hung                 // Info and Sign: no answer until the context ends, nothing is signed
	Swapped              // Info and Sign: ErrKeyChanged, nothing is signed
	Stuck                // Sign: ErrCounter, nothing is signed: the counter could not be made durable
	Limited              // Sign: ErrRateLimited, nothing is signed, to be tried again after a second
	Lost                 // Sign: signs, then ErrUnavailable: it died before it could answer
	Late                 // Sign: signs, but does not answer until the context ends
	Twice                // Sign: signs, but answers with the signature of the call before
	Garbled              // Sign: signs, but the signature arrives with a bit flipped
)

// Faulty makes a module fail. Without a fault it passes everything on. It
// starts no goroutine and reads no clock, so it works in a synctest bubble if
// the module behind it does.
type Faulty struct {
	inner secureelement.Module

	mu      sync.Mutex // guards what follows
	always  Fault
	next    []Fault
	signs   int
	infos   int
	closed  bool
	freed   chan struct{} // closed and replaced to free the calls that hang
	sent    secureelement.Signature
	sentAny bool
}

// Wrap returns a Faulty in front of m. Closing it closes m.
func Wrap(m secureelement.Module) *Faulty {
	return &Faulty{inner: m, freed: make(chan struct{})}
}

// Fail makes every call from now on fail like f, and forgets what FailNext laid
// down; None heals the module. Calls that hang are freed with ErrUnavailable.
func (f *Faulty) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always, f.next = fault, nil
	f.free()
}

// FailNext lays down how the next calls of Sign fail, one after the other;
// after them the setting of Fail holds again.
func (f *Faulty) FailNext(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, faults...)
}

// Signs returns how many calls of Sign have begun, those that fail included.
func (f *Faulty) Signs() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signs
}

// Infos returns how many calls of Info have begun, those that fail included.
func (f *Faulty) Infos() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.infos
}

// PublicKey implements [secureelement.Module].
func (f *Faulty) PublicKey() *ecdsa.PublicKey { return f.inner.PublicKey() }

// Info implements [secureelement.Module].
func (f *Faulty) Info(ctx context.Context) (secureelement.Info, error) {
	f.mu.Lock()
	f.infos++
	fault, freed, closed := f.always, f.freed, f.closed
	f.mu.Unlock()
	if err := f.refuse(ctx, fault, freed, closed); err != nil {
		return secureelement.Info{}, fmt.Errorf("secureelementtest: info: %w", err)
	}
	return f.inner.Info(ctx)
}

// Sign implements [secureelement.Module].
func (f *Faulty) Sign(ctx context.Context, digest [32]byte) (secureelement.Signature, error) {
	f.mu.Lock()
	f.signs++
	fault, freed, closed := f.always, f.freed, f.closed
	if len(f.next) > 0 {
		fault, f.next = f.next[0], f.next[1:]
	}
	f.mu.Unlock()
	sig, err := f.sign(ctx, digest, fault, freed, closed)
	if err != nil {
		return secureelement.Signature{}, fmt.Errorf("secureelementtest: sign: %w", err)
	}
	return sig, nil
}

func (f *Faulty) sign(ctx context.Context, digest [32]byte, fault Fault, freed chan struct{}, closed bool) (secureelement.Signature, error) {
	if err := f.refuse(ctx, fault, freed, closed); err != nil {
		return secureelement.Signature{}, err
	}
	switch fault {
	case Stuck:
		return secureelement.Signature{}, secureelement.ErrCounter
	case Limited:
		return secureelement.Signature{}, &secureelement.RetryError{Err: secureelement.ErrRateLimited, After: time.Second}
	}
	sig, err := f.inner.Sign(ctx, digest)
	if err != nil {
		return secureelement.Signature{}, err
	}
	f.mu.Lock()
	before, some := f.sent, f.sentAny
	f.sent, f.sentAny = sig, true
	f.mu.Unlock()
	switch fault {
	case Lost:
		return secureelement.Signature{}, secureelement.ErrUnavailable
	case Late:
		return secureelement.Signature{}, f.hang(ctx, freed)
	case Twice:
		if some {
			return before, nil
		}
	case Garbled:
		sig.Signature[eventlog.SignatureSize-1] ^= 1
	}
	return sig, nil
}

// refuse is what fails before anything is signed, for every kind of call.
func (f *Faulty) refuse(ctx context.Context, fault Fault, freed chan struct{}, closed bool) error {
	switch {
	case closed:
		return secureelement.ErrClosed
	case ctx.Err() != nil:
		return contextError(ctx)
	case fault == Dead:
		return secureelement.ErrUnavailable
	case fault == Swapped:
		return secureelement.ErrKeyChanged
	case fault == Hung:
		return f.hang(ctx, freed)
	}
	return nil
}

// hang waits until the context ends or the module is healed or closed.
func (f *Faulty) hang(ctx context.Context, freed <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return contextError(ctx)
	case <-freed:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return secureelement.ErrClosed
	}
	return secureelement.ErrUnavailable
}

// CertificateRequest implements [secureelement.Requester] for what it wraps.
func (f *Faulty) CertificateRequest(ctx context.Context, subject pkix.Name) ([]byte, error) {
	f.mu.Lock()
	fault, freed, closed := f.always, f.freed, f.closed
	f.mu.Unlock()
	if err := f.refuse(ctx, fault, freed, closed); err != nil {
		return nil, fmt.Errorf("secureelementtest: certificate request: %w", err)
	}
	return secureelement.CertificateRequest(ctx, f.inner, subject)
}

// Close implements [secureelement.Module].
func (f *Faulty) Close() error {
	f.mu.Lock()
	f.closed = true
	f.free()
	f.mu.Unlock()
	return f.inner.Close()
}

// free lets the calls that hang go. The caller holds mu.
func (f *Faulty) free() {
	close(f.freed)
	f.freed = make(chan struct{})
}

// contextError says why ctx ended, in the terms of the Module contract.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", secureelement.ErrTimeout, ctx.Err())
	}
	return ctx.Err()
}
