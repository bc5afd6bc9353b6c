package secureelementtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// broken is a module with one thing wrong.
type broken struct {
	*secureelementtest.Module
	how string

	mu     sync.Mutex
	last   secureelement.Signature
	closed bool
}

func (b *broken) Sign(ctx context.Context, digest [32]byte) (secureelement.Signature, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.how {
	case "ignores the context":
		ctx = context.Background()
	case "signs after Close":
		ctx = context.Background()
		if b.closed {
			return b.last, nil
		}
	case "uses up the counter when the context has ended":
		if ctx.Err() != nil {
			if _, err := b.Module.Sign(context.Background(), digest); err != nil {
				return secureelement.Signature{}, err
			}
		}
	}
	sig, err := b.Module.Sign(ctx, digest)
	if err != nil {
		return sig, err
	}
	switch b.how {
	case "signs the bare digest":
		sig.Signature, err = eventlog.Sign(b.Key(), digest)
	case "skips a counter value":
		return b.Module.Sign(ctx, digest)
	case "repeats an answer":
		if b.last != (secureelement.Signature{}) {
			sig = b.last
		}
	case "flips a bit":
		sig.Signature[0] ^= 1
	case "forgets the counter":
		sig.Counter = 0
	}
	b.last = sig
	return sig, err
}

func (b *broken) Info(ctx context.Context) (secureelement.Info, error) {
	info, err := b.Module.Info(ctx)
	switch b.how {
	case "Info uses up the counter":
		if _, err := b.Module.Sign(ctx, [32]byte{}); err != nil {
			return info, err
		}
	case "names another key":
		info.Key[0] ^= 1
	case "names no scheme":
		info.Scheme = 0
	case "Info is behind":
		info.Counter = max(info.Counter, 1) - 1
	}
	return info, err
}

func (b *broken) PublicKey() *ecdsa.PublicKey {
	if b.how == "changes its key" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			return &key.PublicKey
		}
	}
	return b.Module.PublicKey()
}

func (b *broken) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.how == "closes once" && b.closed {
		return errors.New("closed already")
	}
	b.closed = true
	if b.how == "signs after Close" {
		return nil
	}
	return b.Module.Close()
}

// TestBrokenModule runs the suite over a module that is broken as the
// environment says; it is the other program of TestSuiteCatches.
func TestBrokenModule(t *testing.T) {
	how := os.Getenv("METERSEAL_TEST_BROKEN")
	if how == "" {
		t.Skip("only with METERSEAL_TEST_BROKEN")
	}
	secureelementtest.Run(t, func(t *testing.T) secureelement.Module {
		return &broken{Module: secureelementtest.New(t, eventlog.SchemeCounter), how: how}
	})
}

// The suite is worth what it catches.
func TestSuiteCatches(t *testing.T) {
	run := func(how string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestBrokenModule$", "-test.timeout", "30s")
		cmd.Env = append(os.Environ(), "METERSEAL_TEST_BROKEN="+how)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("not at all"); err != nil {
		t.Fatalf("a module with nothing wrong fails: %v\n%s", err, out)
	}
	for _, how := range []string{
		"ignores the context",
		"uses up the counter when the context has ended",
		"signs after Close",
		"closes once",
		"signs the bare digest",
		"skips a counter value",
		"repeats an answer",
		"flips a bit",
		"forgets the counter",
		"Info uses up the counter",
		"Info is behind",
		"names another key",
		"names no scheme",
		"changes its key",
	} {
		t.Run(how, func(t *testing.T) {
			out, err := run(how)
			if err == nil || !strings.Contains(out, "--- FAIL") {
				t.Errorf("the suite passes: %v\n%s", err, out)
			}
		})
	}
}
