package soft_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/effort"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func sign(t testing.TB, m secureelement.Module) secureelement.Signature {
	t.Helper()
	sig, err := m.Sign(t.Context(), [32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func pid(t testing.TB, m secureelement.Module) int {
	t.Helper()
	info, err := m.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.PID == 0 || info.PID == os.Getpid() {
		t.Fatalf("the key is in process %d, this one is %d", info.PID, os.Getpid())
	}
	return info.PID
}

// Killed in the middle of its work again and again, the module uses no counter
// twice and every signature that came out holds.
func TestKillLoop(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	m := open(t, c)
	var last uint64
	for round := range effort.Times(30) {
		victim := pid(t, m)
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			for i := 0; i < 1+round%7*50; i++ { // a moment that differs from round to round
				syscall.Getppid()
			}
			syscall.Kill(victim, syscall.SIGKILL)
		}()
		for n := 0; ; n++ {
			digest := eventlog.Digest{byte(round), byte(n)}
			sig, err := m.Sign(t.Context(), digest)
			if err != nil {
				if !errors.Is(err, secureelement.ErrUnavailable) {
					t.Fatalf("Sign while killed: %v, want ErrUnavailable", err)
				}
				break
			}
			if !secureelementtest.Fits(m.PublicKey(), eventlog.SchemeCounter, digest, sig) {
				t.Fatalf("round %d: signature %d does not fit", round, n)
			}
			if sig.Counter <= last {
				t.Fatalf("round %d: counter %d after %d", round, sig.Counter, last)
			}
			last = sig.Counter
			select {
			case <-killed:
			default:
				continue
			}
			if sig, err = m.Sign(t.Context(), digest); err == nil { // the death went unnoticed: it was started again
				last = sig.Counter
			}
			break
		}
		<-killed
	}
}

// A process that died is started again by the next call, which notices nothing.
func TestRespawn(t *testing.T) {
	m := open(t, newKey(t, eventlog.SchemeCounter))
	for want := uint64(1); want < 4; want++ {
		if got := sign(t, m).Counter; got != want {
			t.Fatalf("counter %d, want %d", got, want)
		}
		killAndWait(t, pid(t, m))
		var err error
		for err = errors.New("not yet asked"); err != nil; {
			if _, err = m.Info(t.Context()); err != nil && !errors.Is(err, secureelement.ErrUnavailable) {
				t.Fatalf("Info after the kill: %v, want ErrUnavailable", err)
			}
		}
	}
}

// A process that hangs costs one call its deadline, is killed, and nothing that
// it still says reaches anyone.
func TestHungProcess(t *testing.T) {
	m := open(t, newKey(t, eventlog.SchemeCounter))
	sign(t, m)
	victim := pid(t, m)
	if err := syscall.Kill(victim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := m.Sign(ctx, [32]byte{9})
	if !errors.Is(err, secureelement.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Sign: %v, want ErrTimeout", err)
	}
	info, err := m.Info(t.Context())
	if err != nil {
		t.Fatalf("Info after the hang: %v", err)
	}
	if info.PID == victim {
		t.Error("the process that hung is still in use")
	}
	syscall.Kill(victim, syscall.SIGCONT)
	digest := eventlog.Digest{10}
	sig, err := m.Sign(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if !secureelementtest.Fits(m.PublicKey(), eventlog.SchemeCounter, digest, sig) {
		t.Error("the answer does not fit the question")
	}
}

// silent opens a module whose process says on asked that it was asked to sign,
// and then nothing more, for an hour.
func silent(t *testing.T) (m *soft.Module, asked *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	c := config(t.TempDir())
	c.Command = []string{os.Args[0], "liar", "silent"}
	c.Stderr = w
	c.Timeout = time.Hour
	return open(t, c), bufio.NewReader(r)
}

// A call that is cancelled returns at once, not after the module's deadline,
// and so does one that queues behind it.
func TestCancelWhileHung(t *testing.T) {
	m, asked := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error)
	go func() {
		_, err := m.Sign(ctx, [32]byte{})
		results <- err
	}()
	if _, err := asked.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := m.Info(ctx)
		results <- err
	}()
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled call: %v, want context.Canceled", err)
		}
	}
}

func TestCloseWhileHung(t *testing.T) {
	m, asked := silent(t)
	result := make(chan error)
	go func() {
		_, err := m.Sign(t.Context(), [32]byte{})
		result <- err
	}()
	if _, err := asked.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, secureelement.ErrClosed) {
		t.Errorf("Sign during Close: %v, want ErrClosed", err)
	}
}

// Signals that reach the whole program must not take the module away from a
// meter that is about to seal its last record.
func TestSignalsToAllLeaveTheModuleAlone(t *testing.T) {
	m := open(t, newKey(t, eventlog.SchemeCounter))
	process := pid(t, m)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(process, s); err != nil {
			t.Fatal(err)
		}
	}
	sign(t, m)
	if got := pid(t, m); got != process {
		t.Errorf("process %d took the place of %d", got, process)
	}
	if group, err := syscall.Getpgid(process); err != nil || group == syscall.Getpgrp() {
		t.Errorf("the module is in the process group of the meter (%d, %v)", group, err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	first := open(t, c)
	_, err := soft.Open(t.Context(), c)
	if !errors.Is(err, secureelement.ErrBusy) {
		t.Fatalf("second Open: %v, want ErrBusy", err)
	}
	if want := fmt.Sprintf("process %d", pid(t, first)); !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not name the holder: %v, want %q", err, want)
	}
	if err := soft.Create(t.Context(), c, eventlog.SchemeDigest); !errors.Is(err, secureelement.ErrBusy) {
		t.Errorf("Create beside it: %v, want ErrBusy", err)
	}
	first.Close()
	open(t, c)
}

// Another key under the same name is refused for as long as it is there.
func TestKeyChanged(t *testing.T) {
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		t.Run(scheme.String(), func(t *testing.T) {
			c, other := newKey(t, eventlog.SchemeCounter), newKey(t, scheme)
			m := open(t, c)
			info, err := m.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sign(t, m)
			mine, mineCounter := read(t, c, "key"), read(t, c, "counter")
			write(t, c, "key", read(t, other, "key"))
			if scheme == eventlog.SchemeCounter {
				write(t, c, "counter", read(t, other, "counter"))
			}
			killAndWait(t, info.PID)
			eventually(t, m, secureelement.ErrKeyChanged)

			write(t, c, "key", mine)
			write(t, c, "counter", mineCounter)
			eventually(t, m, nil)

			other.Key = info.Key
			if _, err := soft.Open(t.Context(), other); !errors.Is(err, secureelement.ErrKeyChanged) {
				t.Errorf("Open of another key than demanded: %v, want ErrKeyChanged", err)
			}
			c.Key = info.Key
			m.Close()
			open(t, c)
		})
	}
}

// A counter that goes back while the meter runs is noticed by the meter.
func TestCounterWentBack(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	m := open(t, c)
	sign(t, m)
	older := read(t, c, "counter")
	sign(t, m)
	write(t, c, "counter", older)
	killAndWait(t, pid(t, m))
	eventually(t, m, secureelement.ErrCounter)
}

// eventually calls Info until it fails with want, or until it works if want is
// nil; a start that failed is not repeated before a pause, which the module
// announces.
func eventually(t *testing.T, m secureelement.Module, want error) {
	t.Helper()
	for {
		_, err := m.Info(t.Context())
		if want == nil && err == nil || want != nil && errors.Is(err, want) {
			return
		}
		if want != nil && (err == nil || !errors.Is(err, secureelement.ErrUnavailable)) {
			t.Fatalf("Info: %v, want %v", err, want)
		}
		if after, ok := secureelement.RetryAfter(err); ok {
			<-time.After(after)
		}
	}
}

// A start that fails is not tried again at once.
func TestStartsPause(t *testing.T) {
	c := newKey(t, eventlog.SchemeDigest)
	starts := 0
	right := c.Passphrase
	c.Passphrase = func() (soft.Secret, error) {
		if starts++; starts == 2 {
			return soft.Secret("wrong"), nil
		}
		return right()
	}
	m := open(t, c)
	killAndWait(t, pid(t, m))
	eventually(t, m, secureelement.ErrLocked)
	before := starts
	_, err := m.Info(t.Context())
	after, ok := secureelement.RetryAfter(err)
	if !errors.Is(err, secureelement.ErrLocked) || !ok || after <= 0 || after > 10*time.Second {
		t.Errorf("Info in the pause: %v, retry after %v", err, after)
	}
	if starts != before {
		t.Errorf("%d starts in the pause", starts-before)
	}
	eventually(t, m, nil)
}

// A start that takes longer than a call may goes on without the call.
func TestSlowStart(t *testing.T) {
	c := newKey(t, eventlog.SchemeDigest)
	gate := make(chan struct{}, 1)
	gate <- struct{}{}
	right := c.Passphrase
	c.Passphrase = func() (soft.Secret, error) { <-gate; return right() }
	m := open(t, c)
	killAndWait(t, pid(t, m))
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := m.Sign(ctx, [32]byte{})
		cancel()
		if errors.Is(err, secureelement.ErrTimeout) {
			break
		}
		if !errors.Is(err, secureelement.ErrUnavailable) {
			t.Fatalf("Sign while starting: %v, want ErrTimeout", err)
		}
	}
	gate <- struct{}{}
	eventuallySigns(t, m)
}

func eventuallySigns(t *testing.T, m secureelement.Module) {
	t.Helper()
	for {
		_, err := m.Sign(t.Context(), [32]byte{})
		if err == nil {
			return
		}
		if !errors.Is(err, secureelement.ErrTimeout) && !errors.Is(err, secureelement.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

func TestRateLimit(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	c.Rate, c.Burst = 0.001, 3
	m := open(t, c)
	for range 3 {
		sign(t, m)
	}
	_, err := m.Sign(t.Context(), [32]byte{})
	if !errors.Is(err, secureelement.ErrRateLimited) {
		t.Fatalf("fourth signature: %v, want ErrRateLimited", err)
	}
	if after, ok := secureelement.RetryAfter(err); !ok || after < 10*time.Second || after > 1000*time.Second {
		t.Errorf("retry after %v, %v; want something below 1000 s", after, ok)
	}
	if _, err := m.CertificateRequest(t.Context(), name); !errors.Is(err, secureelement.ErrRateLimited) {
		t.Errorf("certificate request: %v, want ErrRateLimited", err)
	}
	info, err := m.Info(t.Context())
	if err != nil {
		t.Fatalf("Info is limited too: %v", err)
	}
	if info.Counter != 3 {
		t.Errorf("counter %d after refused requests, want 3", info.Counter)
	}
}

func TestHistory(t *testing.T) {
	c := config(t.TempDir())
	os.Chmod(c.Dir, 0o700)
	c.History = 3
	if err := soft.Create(t.Context(), c, eventlog.SchemeCounter); err != nil {
		t.Fatal(err)
	}
	m := open(t, c)
	for n := range byte(5) {
		if _, err := m.Sign(t.Context(), [32]byte{n}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []eventlog.KeyUse{{Counter: 3, Digest: eventlog.Digest{2}}, {Counter: 4, Digest: eventlog.Digest{3}}, {Counter: 5, Digest: eventlog.Digest{4}}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("history %v, want %v", got, want)
	}
	plain := open(t, newKey(t, eventlog.SchemeDigest))
	if got, err := plain.History(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("a key without counter remembers %v, %v", got, err)
	}
}

// The process ends with its meter, however that ends, and gives the directory
// up.
func TestProcessEndsWithItsMeter(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	meter := exec.CommandContext(t.Context(), os.Args[0], "meter", c.Dir)
	meter.Stderr = os.Stderr
	out, err := meter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := meter.Start(); err != nil {
		t.Fatal(err)
	}
	var module int
	if _, err := fmt.Fscan(out, &module); err != nil {
		t.Fatal(err)
	}
	meter.Process.Kill()
	meter.Wait()
	m := reopen(t, c) // waits for the lock, which the module process held
	if got := pid(t, m); got == module {
		t.Error("the old process is still there")
	}
}

// reopen opens a key that a process may hold which has not noticed yet, on a
// loaded machine, that its meter is gone.
func reopen(t *testing.T, c soft.Config) *soft.Module {
	t.Helper()
	for {
		m, err := soft.Open(t.Context(), c)
		if errors.Is(err, secureelement.ErrBusy) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
}

// runMeter is the other program of TestProcessEndsWithItsMeter.
func runMeter(dir string) {
	m, err := soft.Open(context.Background(), config(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	info, err := m.Info(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(info.PID)
	select {}
}

// killAndWait kills a module process and returns when it is gone from the
// kernel's list or a zombie.
func killAndWait(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-t.Context().Done():
			t.Fatal("the process does not die")
		case <-time.After(time.Millisecond):
		}
	}
}

// Nothing that others can see of the process shows the passphrase, and the
// memory of this process does not hold the key.
func TestPassphraseStaysOffTheProcessTable(t *testing.T) {
	m := open(t, newKey(t, eventlog.SchemeCounter))
	process := pid(t, m)
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(process), name))
		if err != nil {
			t.Skipf("no such view of a process here: %v", err)
		}
		if bytes.Contains(b, []byte(passphrase)) {
			t.Errorf("%s shows the passphrase", name)
		}
		if name == "environ" && len(b) != 0 {
			t.Errorf("the process got the environment %q", b)
		}
	}
}
