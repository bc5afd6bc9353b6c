package soft_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func TestNoKeyYet(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		os.Chmod(dir, 0o700)
		_, err := soft.Open(t.Context(), config(dir))
		if !errors.Is(err, soft.ErrNoKey) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open: %v, want ErrNoKey", err)
		}
		if has, err := soft.HasKey(dir); has || err != nil {
			t.Errorf("HasKey: %t, %v", has, err)
		}
	}
	if has, err := soft.HasKey(newKey(t, eventlog.SchemeDigest).Dir); !has || err != nil {
		t.Errorf("HasKey of a key: %t, %v", has, err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	before := read(t, c, "key")
	for _, scheme := range []eventlog.Scheme{eventlog.SchemeDigest, eventlog.SchemeCounter} {
		err := soft.Create(t.Context(), c, scheme)
		if !errors.Is(err, soft.ErrKeyExists) || !errors.Is(err, fs.ErrExist) {
			t.Errorf("second Create: %v, want ErrKeyExists", err)
		}
	}
	if !bytes.Equal(read(t, c, "key"), before) {
		t.Error("the key file changed")
	}
	open(t, c)
}

func TestCreateFinishesWhatAnotherBegan(t *testing.T) {
	c := config(t.TempDir())
	os.Chmod(c.Dir, 0o700)
	for _, name := range []string{"counter", "key.new"} { // a power cut before the key file was there
		write(t, c, name, []byte("half of it"))
	}
	if err := soft.Create(t.Context(), c, eventlog.SchemeCounter); err != nil {
		t.Fatal(err)
	}
	m := open(t, c)
	if sig, err := m.Sign(t.Context(), [32]byte{1}); err != nil || sig.Counter != 1 {
		t.Errorf("first signature: counter %d, %v", sig.Counter, err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "key.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unfinished key file is still there: %v", err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	c := config(filepath.Join(t.TempDir(), "a", "b"))
	if err := soft.Create(t.Context(), c, eventlog.SchemeCounter); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "key": 0o600, "counter": 0o600, "lock": 0o600} {
		stat, err := os.Stat(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := stat.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", name, got, want)
		}
	}
}

func TestWrongPassphraseSaysNothingElse(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	wrong := c
	wrong.Passphrase = func() (soft.Secret, error) { return soft.Secret("hunter2hunter2"), nil }
	_, errWrong := soft.Open(t.Context(), wrong)

	key := read(t, c, "key")
	key[len(key)-1] ^= 1
	write(t, c, "key", key)
	_, errAltered := soft.Open(t.Context(), c)

	for _, err := range []error{errWrong, errAltered} {
		if !errors.Is(err, secureelement.ErrLocked) {
			t.Fatalf("Open: %v, want ErrLocked", err)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), passphrase) {
			t.Errorf("the error shows the passphrase: %v", err)
		}
	}
	if errWrong.Error() != errAltered.Error() {
		t.Errorf("a wrong passphrase (%v) and an altered file (%v) can be told apart", errWrong, errAltered)
	}
}

// A file that is damaged, missing or open to others is refused with an error
// that names it, and nothing is signed.
func TestDamagedDirectory(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, c soft.Config)
		want   error
		text   string
	}{
		{"key file cut", func(t *testing.T, c soft.Config) { write(t, c, "key", read(t, c, "key")[:100]) }, secureelement.ErrUnavailable, "cut short"},
		{"key file empty", func(t *testing.T, c soft.Config) { write(t, c, "key", nil) }, secureelement.ErrUnavailable, "no key file"},
		{"key file of another kind", func(t *testing.T, c soft.Config) { write(t, c, "key", make([]byte, 500)) }, secureelement.ErrUnavailable, "not a key file"},
		{"key file huge", func(t *testing.T, c soft.Config) { write(t, c, "key", make([]byte, 1<<20)) }, secureelement.ErrUnavailable, "no key file"},
		{"key file for all to read", chmod("key", 0o644), secureelement.ErrUnavailable, "chmod 600"},
		{"key file for the group to read", chmod("key", 0o640), secureelement.ErrUnavailable, "chmod 600"},
		{"key file a link", link("key"), secureelement.ErrUnavailable, "key"},
		{"key file a directory", func(t *testing.T, c soft.Config) {
			remove(t, c, "key")
			if err := os.Mkdir(filepath.Join(c.Dir, "key"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, secureelement.ErrUnavailable, "not a regular file"},
		{"directory for all to write", chmod(".", 0o777), secureelement.ErrUnavailable, "chmod 700"},
		{"counter file gone", func(t *testing.T, c soft.Config) { remove(t, c, "counter") }, secureelement.ErrCounter, "gone"},
		{"counter file empty", func(t *testing.T, c soft.Config) { write(t, c, "counter", nil) }, secureelement.ErrCounter, "no counter file"},
		{"counter file of another key", func(t *testing.T, c soft.Config) {
			write(t, c, "counter", read(t, newKey(t, eventlog.SchemeCounter), "counter"))
		}, secureelement.ErrCounter, "no slot"},
		{"counter file all torn", func(t *testing.T, c soft.Config) { write(t, c, "counter", bytes.Repeat([]byte{1}, 8192)) }, secureelement.ErrCounter, "no slot"},
		{"counter file for all to write", chmod("counter", 0o666), secureelement.ErrCounter, "chmod 600"},
		{"counter file a link", link("counter"), secureelement.ErrCounter, "counter"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newKey(t, eventlog.SchemeCounter)
			open(t, c).Close() // opens before
			test.damage(t, c)
			_, err := soft.Open(t.Context(), c)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Open: %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

// A torn slot gives up the value that may have been used.
func TestTornCounter(t *testing.T) {
	c := newKey(t, eventlog.SchemeCounter)
	m := open(t, c)
	for range 4 {
		sign(t, m)
	}
	m.Close()
	file := read(t, c, "counter")
	file[4096+20] ^= 1 // slot 1: the value 3, where 5 goes next
	write(t, c, "counter", file)
	m = open(t, c)
	info, err := m.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Counter != 5 {
		t.Errorf("counter %d, want 5", info.Counter)
	}
	if got := sign(t, m).Counter; got != 6 {
		t.Errorf("next signature has counter %d, want 6", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := newKey(t, eventlog.SchemeDigest)
	for name, spoil := range map[string]func(*soft.Config){
		"no directory":          func(c *soft.Config) { c.Dir = "" },
		"no passphrase":         func(c *soft.Config) { c.Passphrase = nil },
		"empty passphrase":      func(c *soft.Config) { c.Passphrase = func() (soft.Secret, error) { return nil, nil } },
		"unreadable passphrase": func(c *soft.Config) { c.Passphrase = soft.PassphraseFile("/nonexistent") },
		"endless passphrase": func(c *soft.Config) {
			c.Passphrase = func() (soft.Secret, error) { return make(soft.Secret, 5000), nil }
		},
		"negative timeout":    func(c *soft.Config) { c.Timeout = -1 },
		"negative rate":       func(c *soft.Config) { c.Rate = -1 },
		"negative burst":      func(c *soft.Config) { c.Burst = -1 },
		"too much history":    func(c *soft.Config) { c.History = 129 },
		"too costly":          func(c *soft.Config) { c.Cost = soft.Cost{MemoryKiB: 1 << 20, Passes: 1, Lanes: 1} },
		"lanes beyond a byte": func(c *soft.Config) { c.Cost = soft.Cost{MemoryKiB: 64, Passes: 1, Lanes: 257} },
		"no such program":     func(c *soft.Config) { c.Command = []string{"/nonexistent/program"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			spoil(&c)
			if _, err := soft.Open(t.Context(), c); err == nil {
				t.Error("Open took it")
			}
		})
	}
	for _, scheme := range []eventlog.Scheme{0, eventlog.SchemeTPMNV, 77} {
		if err := soft.Create(t.Context(), config(t.TempDir()), scheme); err == nil {
			t.Errorf("a key of scheme %v was made", scheme)
		}
	}
}

// The cost of a guess is that of RFC 9106, and the memory that it took is given
// back before memory is locked.
func TestDefaultCost(t *testing.T) {
	c := config(t.TempDir())
	os.Chmod(c.Dir, 0o700)
	c.Cost = soft.Cost{}
	if err := soft.Create(t.Context(), c, eventlog.SchemeDigest); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, c, "key")[8:14], []byte{0, 1, 0, 0, 3, 4}; !bytes.Equal(got, want) {
		t.Errorf("memory, passes, lanes: %x, want %x", got, want)
	}
	m := open(t, c)
	if raceDetector {
		return
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid(t, m)))
	if err != nil {
		t.Skipf("no such view of a process here: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil && kib > 48<<10 {
			t.Errorf("the process takes %d KiB", kib)
		}
	}
}

func read(t testing.TB, c soft.Config, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, c soft.Config, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, c soft.Config, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

func chmod(name string, mode fs.FileMode) func(*testing.T, soft.Config) {
	return func(t *testing.T, c soft.Config) {
		t.Helper()
		if err := os.Chmod(filepath.Join(c.Dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// link moves a file away and leaves a link to it.
func link(name string) func(*testing.T, soft.Config) {
	return func(t *testing.T, c soft.Config) {
		t.Helper()
		path := filepath.Join(c.Dir, name)
		if err := errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path)); err != nil {
			t.Fatal(err)
		}
	}
}
