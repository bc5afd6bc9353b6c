// Package secureelement is the contract between a meter and the part that
// holds its private key: a chip, a card, or a process of its own.
//
// The meter hands over the digest of its log and gets a signature back. It
// never sees the key, and the secure element never sees the log (JP
// 2024-155626 A, claim 1). Backends live in packages below this one; every one
// of them passes secureelementtest.Run.
package secureelement

import (
	"context"
	"crypto/ecdsa"

	"github.com/meterseal/meterseal/eventlog"
)

// Module is one key of one meter. Its methods may be called from several
// goroutines; a module that can do one thing at a time lets them queue.
//
// A call ends by its context or by the module's own time limit, whichever
// comes first, and a late answer is never taken as the answer to another call.
// After a failure the module recovers by itself, at the latest when it is
// called again: the caller keeps the handle and tries later.
type Module interface {
	// Info describes the module as it is now and reads the counter without
	// using it up. It is also the probe: it costs nothing that is counted.
	Info(ctx context.Context) (Info, error)

	// PublicKey is the key that was found when the module was opened. A module
	// that comes back with another one answers ErrKeyChanged for ever. The
	// caller must not modify what it points to. It outlives Close.
	PublicKey() *ecdsa.PublicKey

	// Sign signs digest in the scheme of the key: the digest itself, or
	// [eventlog.Statement] over it with the next value of the counter. When it
	// fails, the counter may have been used up and a signature may have been
	// made and lost: the caller must not ask again for the same record.
	Sign(ctx context.Context, digest [32]byte) (Signature, error)

	// Close ends the module; calls in progress fail. Calls after it fail with
	// ErrClosed, another Close does nothing.
	Close() error
}

// Signature is what Sign returns.
type Signature struct {
	// Counter is the value under the signature, one more than the last one; 0
	// for a key of the scheme digest, which has none.
	Counter uint64
	// Signature is over the digest (scheme digest) or over
	// eventlog.Statement(key id, Counter, digest) (scheme counter).
	Signature eventlog.Signature
}

// Info describes a module.
type Info struct {
	Backend    string          `json:"backend"`    // "soft", "tpm", "card", ...
	Scheme     eventlog.Scheme `json:"scheme"`     // the key's, for life
	Key        eventlog.KeyID  `json:"key"`        // SHA-256 of the SubjectPublicKeyInfo
	Counter    uint64          `json:"counter"`    // last value used; 0 when none was, or the scheme has no counter
	Hardware   bool            `json:"hardware"`   // the key is kept by hardware of its own
	Exportable bool            `json:"exportable"` // the private key can leave the module, by whatever way
	PID        int             `json:"pid"`        // process that holds the key; 0 when there is none
	Hardening  []Measure       `json:"hardening"`  // what shields that process, and what could not be applied
}

// Measure is one step of hardening.
type Measure struct {
	Name    string `json:"name"`    // "seccomp", "mlockall", ...
	Applied bool   `json:"applied"` // false: the system refused or lacks it
	Detail  string `json:"detail"`  // what it covers, or why it was not applied
}
