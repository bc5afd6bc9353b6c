package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

func TestDir(t *testing.T) {
	path := t.TempDir()
	d, err := durable.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("1234"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(3), f.Sync(), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 3 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if info, err := os.Stat(filepath.Join(path, "a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of a new file: %v, %v", info, err)
	}
	if _, err := d.Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create twice: %v", err)
	}
	if err := errors.Join(f.Close(), d.Rename("a", "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(path, "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	names, err := d.List()
	if diff := cmp.Diff(names, []string{"b"}); diff != "" || err != nil {
		t.Errorf("list %v (-got +want):\n%s", err, diff)
	}
	if b, err := durable.ReadFile(d, "b", 3); string(b) != "123" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if err := d.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open what is gone: %v", err)
	}
}

func TestClosedFile(t *testing.T) {
	d, err := durable.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, sizeErr := f.Size()
	for i, err := range []error{readErr, sizeErr} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if f.Sync() == nil {
		t.Error("a closed file is synced")
	}
}

func TestDirMustBeADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if _, err := durable.Dir(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Dir(path); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
}

func TestDirThatVanishes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := durable.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, listErr := d.List()
	for i, err := range []error{listErr, d.SyncDir(), durable.WriteFile(d, "b", nil)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
}

func TestReadFileLimit(t *testing.T) {
	d := durabletest.New()
	if err := durable.WriteFile(d, "a", []byte("1234")); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.ReadFile(d, "a", 3); err == nil {
		t.Error("a file over the limit is read")
	}
	if b, err := durable.ReadFile(d, "a", 4); string(b) != "1234" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

// TestWriteFileIsAtomic cuts the power in each operation and at each byte, and
// takes each state that the disk may then be in.
func TestWriteFileIsAtomic(t *testing.T) {
	start := func() *durabletest.FS {
		d := durabletest.New()
		if err := durable.WriteFile(d, "a", []byte("old")); err != nil {
			t.Fatal(err)
		}
		return d.Restart(0, 0)
	}
	d := start()
	if err := durable.WriteFile(d, "a", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if d.Outcomes() != 1 {
		t.Errorf("%d outcomes after WriteFile returned", d.Outcomes())
	}
	total, states := len(d.Ops()), 0
	for op := 1; op <= total; op++ {
		d := start()
		d.CutAt(op)
		if err := durable.WriteFile(d, "a", []byte("newer")); !errors.Is(err, durabletest.ErrPowerCut) {
			t.Fatalf("cut in operation %d: %v", op, err)
		}
		for i := range d.Outcomes() {
			for keep := range d.Torn() + 1 {
				after := d.Restart(i, keep)
				b, err := durable.ReadFile(after, "a", 10)
				if got := string(b); err != nil || got != "old" && got != "newer" {
					t.Errorf("cut in operation %d, outcome %d, %d bytes: %q, %v", op, i, keep, got, err)
				}
				if err := durable.WriteFile(after, "a", []byte("last")); err != nil {
					t.Errorf("cut in operation %d, outcome %d: again: %v", op, i, err)
				}
				states++
			}
		}
	}
	if states < 20 {
		t.Errorf("only %d states were tried", states)
	}
}

// TestWriteFileFailures makes each operation fail in turn.
func TestWriteFileFailures(t *testing.T) {
	for op := 1; ; op++ {
		d := durabletest.New()
		if err := durable.WriteFile(d, "a", []byte("old")); err != nil {
			t.Fatal(err)
		}
		d = d.Restart(0, 0)
		d.FailAt(op, syscall.EIO, 1)
		err := durable.WriteFile(d, "a", []byte("new"))
		if err == nil {
			if op != 6 {
				t.Errorf("%d operations failed, want 5", op-1)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", op, err)
		}
		want := "old"
		if errors.Is(err, durable.ErrUnsure) {
			want = "new"
		}
		if b, err := durable.ReadFile(d, "a", 10); string(b) != want || err != nil {
			t.Errorf("operation %d failed: content %q, %v; want %q", op, b, err, want)
		}
	}
}
