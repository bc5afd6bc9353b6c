package durabletest_test

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// create makes a file that survives, so that a test can look at what it does next.
func create(t *testing.T, d *durabletest.FS, name, content string) durable.File {
	t.Helper()
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, content, 0)
	if err := errors.Join(f.Sync(), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f durable.File, content string, off int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(content), off); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, d durable.FS, name string) string {
	t.Helper()
	b, err := durable.ReadFile(d, name, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// outcomes returns the distinct contents of a file over all outcomes.
func outcomes(t *testing.T, d *durabletest.FS, name string) []string {
	t.Helper()
	var all []string
	for i := range d.Outcomes() {
		all = append(all, read(t, d.Restart(i, d.Torn()), name))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestUnsyncedWriteMaySurvive(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "12")
	write(t, f, "34", 2)
	want := []string{"12", "12\x00\x00", "1234"}
	if diff := cmp.Diff(outcomes(t, d, "a"), want); diff != "" {
		t.Errorf("before the sync (-got +want):\n%s", diff)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomes(t, d, "a"), []string{"1234"}); diff != "" {
		t.Errorf("after the sync (-got +want):\n%s", diff)
	}
}

func TestFilesAreReordered(t *testing.T) {
	d := durabletest.New()
	a, b := create(t, d, "a", "1"), create(t, d, "b", "1")
	write(t, a, "2", 0)
	write(t, b, "2", 0)
	seen := map[string]bool{}
	for i := range d.Outcomes() {
		after := d.Restart(i, 0)
		seen[read(t, after, "a")+read(t, after, "b")] = true
	}
	for _, want := range []string{"11", "12", "21", "22"} {
		if !seen[want] {
			t.Errorf("outcome %s is missing", want)
		}
	}
}

func TestTornWriteKeepsAnyPrefix(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "12")
	d.CutAt(len(d.Ops()) + 1)
	if _, err := f.WriteAt([]byte("345"), 2); !errors.Is(err, durabletest.ErrPowerCut) {
		t.Fatalf("write: %v", err)
	}
	if d.Torn() != 3 {
		t.Fatalf("torn write of %d bytes", d.Torn())
	}
	var got []string
	for keep := range 4 {
		got = append(got, read(t, d.Restart(d.Outcomes()-1, keep), "a"))
	}
	if diff := cmp.Diff(got, []string{"12", "123", "1234", "12345"}); diff != "" {
		t.Errorf("contents (-got +want):\n%s", diff)
	}
}

func TestPowerStaysOff(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "1")
	d.CutAt(len(d.Ops()) + 1)
	_, writeErr := f.WriteAt([]byte("2"), 0)
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, openErr := d.Open("a")
	_, createErr := d.Create("b")
	_, listErr := d.List()
	all := []error{
		writeErr, readErr, openErr, createErr, listErr,
		f.Sync(), f.Truncate(0), d.SyncDir(), d.Remove("a"), d.Rename("a", "b"),
	}
	for i, err := range all {
		if !errors.Is(err, durabletest.ErrPowerCut) {
			t.Errorf("operation %d after the cut: %v", i, err)
		}
	}
}

func TestRenameIsOneStep(t *testing.T) {
	d := durabletest.New()
	create(t, d, "a", "old")
	create(t, d, "b", "new")
	if err := d.Rename("b", "a"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range d.Outcomes() {
		after := d.Restart(i, 0)
		got = append(got, read(t, after, "a")+" "+read(t, after, "b"))
	}
	if diff := cmp.Diff(got, []string{"old new", "new (none)"}); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
}

func TestUnsyncedRemoveAndTruncateMaySurvive(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "1234")
	if err := errors.Join(f.Truncate(2), d.Remove("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomes(t, d, "a"), []string{"(none)", "12", "1234"}); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
}

func TestFailedSyncLosesWhatTheProgramStillSees(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "12")
	write(t, f, "34", 2)
	d.FailAt(len(d.Ops())+1, syscall.EIO, 0)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	after := d.Reopen()
	if got := read(t, after, "a"); got != "1234" {
		t.Errorf("another process sees %q", got)
	}
	g, err := after.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	write(t, g, "5", 4)
	if err := g.Sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomes(t, after, "a"), []string{"12\x00\x005"}); diff != "" {
		t.Errorf("after the next sync (-got +want):\n%s", diff)
	}
}

func TestFailedWriteKeepsSomeBytes(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "12")
	d.FailAt(len(d.Ops())+1, syscall.ENOSPC, 1)
	if n, err := f.WriteAt([]byte("345"), 2); n != 1 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write: %d, %v", n, err)
	}
	if got := read(t, d, "a"); got != "123" {
		t.Errorf("content %q", got)
	}
}

func TestErrorsAreThoseOfADirectory(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "1")
	if _, err := d.Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create twice: %v", err)
	}
	if err := d.Remove("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove: %v", err)
	}
	if err := d.Rename("b", "c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename: %v", err)
	}
	if n, err := f.ReadAt(make([]byte, 2), 0); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %d, %v", n, err)
	}
	if _, err := f.ReadAt(make([]byte, 2), 1); !errors.Is(err, io.EOF) {
		t.Errorf("read at the end: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, readErr := f.ReadAt(nil, 0)
	_, writeErr := f.WriteAt(nil, 0)
	_, sizeErr := f.Size()
	for i, err := range []error{readErr, writeErr, sizeErr, f.Sync(), f.Truncate(0), f.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("operation %d after close: %v", i, err)
		}
	}
}

func TestFailedRead(t *testing.T) {
	d := durabletest.New()
	f := create(t, d, "a", "12")
	d.FailReads("a", syscall.EIO)
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v", err)
	}
	d.FailReads("a", nil)
	if got := read(t, d, "a"); got != "12" {
		t.Errorf("content %q", got)
	}
}
