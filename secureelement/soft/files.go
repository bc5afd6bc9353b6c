package soft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft/internal/counter"
	"github.com/meterseal/meterseal/secureelement/soft/internal/keyfile"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// The files of a directory.
const (
	keyName     = "key"
	counterName = "counter"
	lockName    = "lock"
)

// lockPatience is how long a process waits for the one before it to end, which
// it does as soon as it notices that its meter is gone.
const lockPatience = time.Second

// open locks the directory and opens key and counter.
func open(h wire.Hello) (_ *server, err error) {
	s := &server{limit: rate.NewLimiter(rate.Limit(h.Rate), int(h.Burst))}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	lock, err := lockDirectory(h.Dir)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, lock)

	sealed, err := readKey(filepath.Join(h.Dir, keyName))
	if err != nil {
		return nil, err
	}
	s.scheme = sealed.Scheme
	if s.key, err = sealed.Open(h.Passphrase); err != nil {
		return nil, refuse(wire.Locked, err)
	}
	if s.id, err = eventlog.KeyIDOf(&s.key.PublicKey); err != nil {
		return nil, err
	}
	if s.scheme != eventlog.SchemeCounter {
		return s, nil
	}
	f, size, err := openPrivate(filepath.Join(h.Dir, counterName), os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(wire.Counter, fmt.Errorf("the file %q is gone: what was signed before is unknown, the meter needs a new key", counterName))
	}
	if err != nil {
		return nil, refuse(wire.Counter, err)
	}
	s.files = append(s.files, f)
	mac, err := counterKey(s.key)
	if err != nil {
		return nil, err
	}
	if s.counter, err = counter.Open(durable{f}, size, mac); err != nil {
		return nil, refuse(wire.Counter, err)
	}
	return s, nil
}

// create writes the counter before the key: a key without a counter file has
// lost it.
func create(h wire.Hello) error {
	lock, err := lockDirectory(h.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	path := filepath.Join(h.Dir, keyName)
	switch _, err := os.Lstat(path); {
	case err == nil:
		return refuse(wire.KeyExists, errors.New(path))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if h.Scheme == eventlog.SchemeCounter {
		if err := createCounter(filepath.Join(h.Dir, counterName), key, int(h.History)); err != nil {
			return err
		}
	}
	cost := keyfile.Cost{MemoryKiB: h.MemoryKiB, Passes: h.Passes, Lanes: h.Lanes}
	sealed, err := keyfile.Seal(key, h.Scheme, cost, h.Passphrase)
	if err != nil {
		return err
	}
	content, err := sealed.AppendBinary(nil)
	if err != nil {
		return err
	}
	return writeKey(path, content)
}

func createCounter(path string, key *ecdsa.PrivateKey, slots int) error {
	mac, err := counterKey(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(counter.Create(f, mac, slots), f.Close())
}

// counterKey is the key of the counter file's checks.
func counterKey(key *ecdsa.PrivateKey) ([]byte, error) {
	scalar, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(scalar)
	return hkdf.Key(sha256.New, scalar, nil, "meterseal counter slot", 32)
}

// writeKey makes the key file appear whole or not at all, and durable.
func writeKey(path string, content []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func readKey(path string) (keyfile.File, error) {
	f, size, err := openPrivate(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return keyfile.File{}, refuse(wire.NoKey, errors.New(path))
	}
	if err != nil {
		return keyfile.File{}, err
	}
	defer f.Close()
	if size > keyfile.MaxSize {
		return keyfile.File{}, fmt.Errorf("%s: %d bytes are no key file", path, size)
	}
	content, err := io.ReadAll(io.LimitReader(f, keyfile.MaxSize+1))
	if err != nil {
		return keyfile.File{}, err
	}
	var sealed keyfile.File
	if err := sealed.UnmarshalBinary(content); err != nil {
		return keyfile.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return sealed, nil
}

// openPrivate opens a regular file that nobody but its owner may touch.
func openPrivate(path string, flag int) (*os.File, int64, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, 0, err
	}
	stat, err := f.Stat()
	switch {
	case err != nil:
	case !stat.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", path)
	case stat.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("%s: mode %04o lets others at it: chmod 600 it, and think of the key as known", path, stat.Mode().Perm())
	default:
		return f, stat.Size(), nil
	}
	f.Close()
	return nil, 0, err
}

// lockDirectory takes the directory for this process, until it ends. It
// refuses one that others could put files into.
func lockDirectory(dir string) (*os.File, error) {
	stat, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse(wire.NoKey, errors.New(dir))
	case err != nil:
		return nil, err
	case stat.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s: mode %04o lets others write to it: chmod 700 it", dir, stat.Mode().Perm())
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for patience := lockPatience; ; patience -= lockPatience / 50 {
		// A POSIX record lock: the kernel knows its holder, and drops it with
		// the process.
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		if patience <= 0 {
			err := refuse(wire.Busy, fmt.Errorf("%s is held by process %s", dir, holder(f)))
			f.Close()
			return nil, err
		}
		time.Sleep(lockPatience / 50)
	}
}

// holder names the process that holds the lock.
func holder(f *os.File) string {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return "unknown"
	}
	return fmt.Sprint(lock.Pid)
}

// durable is a file whose Sync leaves out what does not matter.
type durable struct{ *os.File }

// Sync makes the content durable.
func (d durable) Sync() error { return datasync(d.File) }
