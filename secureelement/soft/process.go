package soft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// process is one running process and the line to it. One call at a time.
type process struct {
	conn   net.Conn
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process was reaped; cmd.ProcessState is valid then
	id     uint64        // of the last request
	buf    []byte        // one frame
	broken bool          // the last call got no answer that can be trusted
}

// self is this program, also after its file was replaced by an update.
func self() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// start starts a process, sends it the passphrase and hello, and returns its
// answer. On an error the process, if there is one, was killed and is returned
// to be waited for.
func start(ctx context.Context, c Config, verb byte, hello wire.Hello) (*process, []byte, error) {
	secret, err := c.Passphrase()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no passphrase: %w", secureelement.ErrLocked, err)
	}
	defer clear(secret)
	if len(secret) == 0 || len(secret) > maxPassphrase {
		return nil, nil, fmt.Errorf("%w: a passphrase has 1 to %d bytes", secureelement.ErrLocked, maxPassphrase)
	}
	hello.Passphrase = secret
	body, err := hello.AppendBinary(make([]byte, 0, wire.MaxFrame))
	if err != nil {
		return nil, nil, err
	}
	defer clear(body)

	p, err := spawn(c)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
	}
	answer, err := p.call(ctx, verb, body)
	if err != nil {
		p.kill()
		return p, nil, err
	}
	return p, answer, nil
}

// spawn starts the process with one end of a socket pair as descriptor 3. It
// gets no environment, and a process group of its own, so that an interrupt
// from the terminal lets the meter end first.
func spawn(c Config) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := net.FileConn(ours) // a duplicate
	ours.Close()
	if err != nil {
		return nil, err
	}
	// It lives until kill or stop, not as long as the call that starts it.
	cmd := exec.CommandContext(context.Background(), c.Command[0], c.Command[1:]...)
	if c.Command[0] == self() {
		cmd.Args[0] = os.Args[0]
	}
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, err
	}
	p := &process{conn: conn, cmd: cmd, exited: make(chan struct{}), buf: make([]byte, wire.MaxFrame)}
	go func() {
		_ = cmd.Wait() // cmd.ProcessState says the same
		close(p.exited)
	}()
	return p, nil
}

func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // so that no process started meanwhile inherits them
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "secure-element"), os.NewFile(uintptr(fds[1]), "meter"), nil
}

// call sends a request and returns the body of its answer, valid until the next
// call. If it leaves p broken, an answer may still be under way, and the process
// must be killed; any other error is the answer of a process that goes on.
func (p *process) call(ctx context.Context, verb byte, body []byte) ([]byte, error) {
	p.broken = true
	f, err := p.exchange(ctx, verb, body)
	if err != nil {
		return nil, p.explain(ctx, err)
	}
	if f.Kind == wire.OK {
		p.broken = false
		return f.Body, nil
	}
	var failure wire.Failure
	if err := failure.UnmarshalBinary(f.Body); err != nil {
		return nil, fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
	}
	p.broken = false
	return nil, statusError(f.Kind, failure)
}

func (p *process) exchange(ctx context.Context, verb byte, body []byte) (wire.Frame, error) {
	p.conn.SetDeadline(time.Time{})
	awake := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.conn.SetDeadline(time.Unix(1, 0)) // long past: reads and writes fail at once
		close(awake)
	})
	defer func() {
		if !stop() {
			<-awake
		}
	}()
	p.id++
	frame, err := wire.Frame{ID: p.id, Kind: verb, Body: body}.AppendBinary(p.buf[:0])
	if err != nil {
		return wire.Frame{}, err
	}
	_, err = p.conn.Write(frame)
	clear(frame) // it may hold the passphrase
	if err != nil {
		return wire.Frame{}, err
	}
	f, err := wire.Read(p.conn, p.buf)
	if err != nil {
		return wire.Frame{}, err
	}
	if f.ID != p.id {
		return wire.Frame{}, fmt.Errorf("answer to request %d instead of %d", f.ID, p.id)
	}
	return f, nil
}

// explain turns a failed exchange into an error of the Module contract.
func (p *process) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		// It ended or is about to: say how, if that is known at once.
		select {
		case <-p.exited:
			err = fmt.Errorf("module process ended: %v", p.cmd.ProcessState)
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("%w: %w", secureelement.ErrUnavailable, err)
}

// kill ends the process without regard to what it is doing. It does not wait:
// a process in the middle of a write to a dying disk cannot be killed.
func (p *process) kill() {
	p.conn.Close()
	_ = p.cmd.Process.Kill() // or it has ended already
}

// grace is how long a process gets to end by itself, and then to be gone.
// Nothing is lost by killing it: what it answered is durable.
const grace = 200 * time.Millisecond

// stop ends the process by closing the line, and kills it if that is not
// enough.
func (p *process) stop() {
	p.conn.Close()
	select {
	case <-p.exited:
		return
	case <-time.After(grace):
	}
	p.kill()
	select {
	case <-p.exited:
	case <-time.After(grace):
	}
}

// contextError says why ctx ended, in the terms of the Module contract.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", secureelement.ErrTimeout, ctx.Err())
	}
	return ctx.Err()
}

// statusError is the error that an answer reports.
func statusError(status byte, f wire.Failure) error {
	sentinel, ok := map[byte]error{
		wire.Busy:        secureelement.ErrBusy,
		wire.RateLimited: secureelement.ErrRateLimited,
		wire.Counter:     secureelement.ErrCounter,
		wire.Locked:      secureelement.ErrLocked,
		wire.NoKey:       ErrNoKey,
		wire.KeyExists:   ErrKeyExists,
	}[status]
	if !ok {
		sentinel = secureelement.ErrUnavailable
	}
	err := sentinel
	if f.Text != "" {
		err = fmt.Errorf("%w: %s", sentinel, f.Text)
	}
	if f.RetryAfter > 0 {
		err = &secureelement.RetryError{Err: err, After: f.RetryAfter}
	}
	return err
}
