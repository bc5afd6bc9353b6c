// Package soft is a secure element in software: a process of its own that
// holds the key, so that the meter's process never does.
//
// The process is the same program started again with the one argument
// "secure-element"; the two talk over a socket pair and nothing else. It signs
// 32-byte digests, keeps the counter, builds its own certificate request, and
// ends when the socket closes. It has no verb that exports or imports a key.
//
// A directory holds one key: the file "key", sealed with a passphrase, for a
// key of the scheme counter the file "counter", and an empty file "lock".
//
// What it does not do: whoever can read the directory and the passphrase has
// the key, and whoever can write the directory can put an older copy of it
// back, which only the MDMS notices. A chip is the cure for both.
package soft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft/internal/counter"
	"github.com/meterseal/meterseal/secureelement/soft/internal/keyfile"
	"github.com/meterseal/meterseal/secureelement/soft/internal/wire"
)

// Errors beside those of package secureelement.
var (
	// ErrNoKey: the directory holds no key yet; see [Create].
	ErrNoKey = fmt.Errorf("no key in this directory: %w", fs.ErrNotExist)
	// ErrKeyExists: Create never overwrites a key.
	ErrKeyExists = fmt.Errorf("this directory holds a key already: %w", fs.ErrExist)
)

// Config says where the key is and how its process is run.
type Config struct {
	// Dir is the directory of the key. Required. Create makes it, mode 0700.
	Dir string

	// Passphrase returns the passphrase, 1 to 1,024 bytes. Required. It is
	// called at each start of the process, so that it need not stay in the
	// memory of the meter; what it returns is wiped after use. It must not
	// block: Close waits for it. See [PassphraseFile].
	Passphrase func() (Secret, error)

	// Key is the id that the key must have; another one is ErrKeyChanged. Zero:
	// the key that is found first.
	Key eventlog.KeyID

	// Timeout bounds a call. Default 2 s.
	Timeout time.Duration

	// StartTimeout bounds the start of the process, most of which is the
	// derivation of a key from the passphrase. A call does not wait for it
	// beyond its own time. Default 30 s.
	StartTimeout time.Duration

	// Rate and Burst limit the signatures: Rate per second in the long run,
	// Burst at once. Default 5,000 each. The limit is against a fault in the
	// meter; one that was broken into can start the process anew.
	Rate  float64
	Burst int

	// Command starts the process, [Argument] included. Default: this program.
	Command []string

	// Stderr receives what the process prints when it panics. Default nowhere.
	Stderr *os.File

	// Logger hears of starts (Info) and of processes killed (Warn). Default
	// none.
	Logger *slog.Logger

	// Cost is what one guess at the passphrase costs. For Create.
	Cost Cost

	// History is how many of the newest (counter, digest) pairs the counter
	// file remembers, 2 to 128, at 4 KiB each. Default 2. For Create.
	History int
}

// Cost is the price of argon2id. The zero value is the second choice of RFC
// 9106, 4: 64 MiB, 3 passes, 4 lanes; about a third of a second.
type Cost struct {
	MemoryKiB int // 8 per lane, to 262144
	Passes    int // 1 to 16
	Lanes     int // 1 to 16
}

// withDefaults checks c and fills in what is not set.
func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Passphrase == nil {
		return c, errors.New("soft: Config needs Dir and Passphrase")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("soft: directory: %w", err)
	}
	c.Dir = dir
	if c.Timeout < 0 || c.StartTimeout < 0 || c.Rate < 0 || c.Burst < 0 {
		return c, errors.New("soft: negative time or rate in Config")
	}
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	c.StartTimeout = cmp.Or(c.StartTimeout, 30*time.Second)
	c.Rate = cmp.Or(c.Rate, 5000)
	c.Burst = cmp.Or(c.Burst, 5000)
	c.History = cmp.Or(c.History, counter.MinSlots)
	c.Cost = cmp.Or(c.Cost, Cost{MemoryKiB: 64 << 10, Passes: 3, Lanes: 4})
	if c.History < counter.MinSlots || c.History > counter.MaxSlots {
		return c, fmt.Errorf("soft: history of %d, want %d to %d", c.History, counter.MinSlots, counter.MaxSlots)
	}
	if err := c.Cost.check(); err != nil {
		return c, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Command) == 0 {
		c.Command = []string{self(), Argument}
	}
	return c, nil
}

func (c Cost) check() error {
	if c.MemoryKiB < 0 || c.MemoryKiB > 1<<30 || c.Passes < 0 || c.Passes > 255 || c.Lanes < 0 || c.Lanes > 255 {
		return fmt.Errorf("soft: argon2id with %d KiB, %d passes, %d lanes is out of range", c.MemoryKiB, c.Passes, c.Lanes)
	}
	return keyfile.Cost{MemoryKiB: uint32(c.MemoryKiB), Passes: uint8(c.Passes), Lanes: uint8(c.Lanes)}.Check()
}

// hello is the first message to a process that is to open the key.
func (c Config) hello() wire.Hello {
	return wire.Hello{Rate: c.Rate, Burst: uint32(c.Burst), Dir: c.Dir}
}

// Create makes a new key of the given scheme, digest or counter, in c.Dir, in a
// process of its own that ends with it: the key never was in this one. It
// fails with [ErrKeyExists] rather than overwrite a key.
func Create(ctx context.Context, c Config, scheme eventlog.Scheme) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if scheme != eventlog.SchemeDigest && scheme != eventlog.SchemeCounter {
		return fmt.Errorf("soft: no software key of scheme %v", scheme)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("soft: create: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.StartTimeout)
	defer cancel()
	hello := c.hello()
	hello.Scheme = scheme
	hello.History = uint8(c.History)
	hello.MemoryKiB = uint32(c.Cost.MemoryKiB)
	hello.Passes = uint8(c.Cost.Passes)
	hello.Lanes = uint8(c.Cost.Lanes)
	p, _, err := start(ctx, c, wire.Create, hello)
	if p != nil {
		p.stop()
	}
	if err != nil {
		return fmt.Errorf("soft: create: %w", err)
	}
	return nil
}

// HasKey reports whether a directory holds a key. It starts no process.
func HasKey(dir string) (bool, error) {
	switch _, err := os.Lstat(filepath.Join(dir, keyName)); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("soft: %w", err)
	}
}

// Secret is a passphrase. It prints as "[secret]", whatever the verb.
type Secret []byte

// Format hides the content from package fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String hides the content.
func (Secret) String() string { return hidden }

// MarshalText hides the content from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the content from package slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

const hidden = "[secret]"

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 1024

// PassphraseFile reads the passphrase from a file each time, without the line
// end. A systemd credential is such a file.
func PassphraseFile(path string) func() (Secret, error) {
	return func() (Secret, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("soft: passphrase: %w", err)
		}
		defer f.Close()
		b := make([]byte, maxPassphrase+2)
		n, err := io.ReadFull(f, b)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			clear(b)
			return nil, fmt.Errorf("soft: passphrase: %w", err)
		}
		for n > 0 && (b[n-1] == '\n' || b[n-1] == '\r') {
			n--
		}
		return b[:n], nil
	}
}
