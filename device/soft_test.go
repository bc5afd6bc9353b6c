package device_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

// softConfig is a key whose passphrase costs a millisecond to try.
func softConfig(dir string) soft.Config {
	return soft.Config{
		Dir:        dir,
		Passphrase: func() (soft.Secret, error) { return soft.Secret("a passphrase for tests"), nil },
		Timeout:    time.Minute, // of a loaded machine
		Stderr:     os.Stderr,
		Cost:       soft.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1},
	}
}

// newSoft makes a key in a directory and opens it: a process of its own.
func newSoft(t testing.TB, scheme eventlog.Scheme) *soft.Module {
	t.Helper()
	c := softConfig(t.TempDir())
	if err := os.Chmod(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := soft.Create(t.Context(), c, scheme); err != nil {
		t.Fatal(err)
	}
	m, err := soft.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestModuleProcess kills and stops the process that holds the key, under a
// meter that goes on recording.
func TestModuleProcess(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		t.Run(scheme.String(), func(t *testing.T) {
			module := newSoft(t, scheme)
			r := newRig(t, func(c *device.Config) {
				c.Module, c.FloodBurst = module, 1_000_000
				c.SignTimeout, c.ProbeInterval = 300*time.Millisecond, 20*time.Millisecond
			}).start()
			awaitSealed(t, r)
			for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
				pid := awaitProcess(t, module)
				if pid == os.Getpid() {
					t.Fatalf("the key is in process %d", pid)
				}
				if err := syscall.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					r.record(coverOpened)
				}
				awaitSealed(t, r)
			}
			r.close()
			list, seal := audit(t, r.cfg.Dir, module.PublicKey())
			if seal.LastSeq != list[len(list)-1].Seq {
				t.Errorf("sealed to %d of %d", seal.LastSeq, list[len(list)-1].Seq)
			}
			if count(list, eventlog.CodeModuleFailed) == 0 {
				t.Errorf("no SE_FAILED: %v", events(list))
			}
			if scheme == eventlog.SchemeCounter && int(seal.Counter) > specifics(list)-1 {
				t.Errorf("counter %d for %d specific records", seal.Counter, specifics(list)-1)
			}
		})
	}
}

// patience is how long a test waits for another process on a loaded machine.
const patience = 2 * time.Minute

// awaitProcess returns the id of the module's process, which may be starting.
func awaitProcess(t *testing.T, module *soft.Module) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		info, err := module.Info(ctx)
		if err == nil && info.PID != 0 {
			return info.PID
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no process in %v: %v", patience, err)
		case <-time.After(time.Millisecond):
		}
	}
}

// awaitSealed makes events happen until one is sealed at once.
func awaitSealed(t *testing.T, r *rig) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		rec, err := r.Record(ctx, coverOpened, nil)
		if err != nil && ctx.Err() == nil && r.Status().Health == eventlog.HealthUp {
			t.Fatal(err)
		}
		if rec.Sealed {
			return
		}
	}
	t.Fatalf("no seal in %v", patience)
}

// openSoft opens a key that a killed process may still hold for a moment.
func openSoft(ctx context.Context, dir string) (*soft.Module, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		m, err := soft.Open(ctx, softConfig(dir))
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		if !errors.Is(err, secureelement.ErrBusy) {
			return nil, fmt.Errorf("key of the victim: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}
