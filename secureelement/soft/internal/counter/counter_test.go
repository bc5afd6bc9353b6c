package counter_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/secureelement/soft/internal/counter"
)

var key = bytes.Repeat([]byte{7}, 32)

const block = 4096

// disk is a file whose writes are durable only after Sync. A power cut keeps
// an arbitrary part of what was written since.
type disk struct {
	durable, cached []byte
	writes          []write // since the last Sync
	failWrite       error
	failSync        error
}

type write struct {
	at   int64
	data []byte
}

func (d *disk) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(d.cached).ReadAt(b, at)
}

func (d *disk) WriteAt(b []byte, at int64) (int, error) {
	if d.failWrite != nil {
		return 0, d.failWrite
	}
	d.cached = overwrite(d.cached, write{at, b})
	d.writes = append(d.writes, write{at, bytes.Clone(b)})
	return len(b), nil
}

func (d *disk) Sync() error {
	if d.failSync != nil {
		return d.failSync
	}
	d.durable, d.writes = bytes.Clone(d.cached), nil
	return nil
}

// cut is a power cut of which the first keep bytes of the last write, and
// every write before it, reached the disk.
func (d *disk) cut(keep int) {
	for i, w := range d.writes {
		if i == len(d.writes)-1 {
			w.data = w.data[:min(keep, len(w.data))]
		}
		d.durable = overwrite(d.durable, w)
	}
	d.cached, d.writes = bytes.Clone(d.durable), nil
}

func overwrite(file []byte, w write) []byte {
	if missing := int(w.at) + len(w.data) - len(file); missing > 0 {
		file = append(file, make([]byte, missing)...)
	}
	copy(file[w.at:], w.data)
	return file
}

func create(t testing.TB, slots int) *disk {
	t.Helper()
	d := new(disk)
	if err := counter.Create(d, key, slots); err != nil {
		t.Fatal(err)
	}
	if got := int64(len(d.durable)); got != counter.Size(slots) {
		t.Fatalf("new file has %d durable bytes, want %d", got, counter.Size(slots))
	}
	return d
}

func open(t testing.TB, d *disk) *counter.Counter {
	t.Helper()
	c, err := counter.Open(d, int64(len(d.cached)), key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func next(t testing.TB, c *counter.Counter, digest byte) uint64 {
	t.Helper()
	n, err := c.Next([32]byte{digest})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCounterSurvivesReopening(t *testing.T) {
	for _, slots := range []int{2, 3, 128} {
		d := create(t, slots)
		c := open(t, d)
		if got := c.Last(); got != 0 {
			t.Fatalf("new counter at %d, want 0", got)
		}
		for want := uint64(1); want < 300; want++ {
			if got := next(t, c, 1); got != want {
				t.Fatalf("%d slots: counter %d, want %d", slots, got, want)
			}
			c = open(t, d)
			if got := c.Last(); got != want {
				t.Fatalf("%d slots: reopened at %d, want %d", slots, got, want)
			}
		}
	}
}

// The safety rule: whatever a power cut leaves of a write, no value that was
// returned comes again, and the one in progress is used at most once.
func TestPowerCutAtEveryByte(t *testing.T) {
	for last := range uint64(5) {
		for keep := range 81 {
			d := create(t, 2)
			c := open(t, d)
			for range last {
				next(t, c, 1)
			}
			d.failSync = errors.New("power cut")
			if _, err := c.Next([32]byte{2}); err == nil {
				t.Fatal("a value was returned that is not durable")
			}
			d.failSync = nil
			d.cut(keep)
			c = open(t, d)
			if got := c.Last(); got != last && got != last+1 {
				t.Fatalf("at %d, cut after %d bytes: reopened at %d", last, keep, got)
			}
			if got, want := open(t, d).Last(), c.Last(); got != want {
				t.Fatalf("at %d, cut after %d bytes: reopened at %d, then at %d", last, keep, want, got)
			}
			if got := next(t, c, 3); got <= last {
				t.Fatalf("at %d, cut after %d bytes: value %d came again", last, keep, got)
			}
			if got, want := open(t, d).Last(), c.Last(); got != want {
				t.Fatalf("reopened at %d, want %d", got, want)
			}
		}
	}
}

// Any history of signatures, failures, power cuts and reopenings gives every
// value once.
func TestNoValueTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := new(disk)
		slots := rapid.IntRange(counter.MinSlots, 5).Draw(t, "slots")
		if err := counter.Create(d, key, slots); err != nil {
			t.Fatal(err)
		}
		reopen := func() *counter.Counter {
			c, err := counter.Open(d, int64(len(d.cached)), key)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c, last, asked := reopen(), uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				asked++
				n, err := c.Next([32]byte{byte(asked)})
				if err != nil {
					t.Fatal(err)
				}
				if n <= last {
					t.Fatalf("value %d after %d", n, last)
				}
				if n > asked {
					t.Fatalf("value %d after only %d requests", n, asked)
				}
				last = n
			},
			"power cut": func(t *rapid.T) {
				asked++
				d.failSync = errors.New("power cut")
				if _, err := c.Next([32]byte{byte(asked)}); err == nil {
					t.Fatal("a value was returned that is not durable")
				}
				d.failSync = nil
				d.cut(rapid.IntRange(0, 80).Draw(t, "bytes kept"))
				c = reopen()
			},
			"kill -9": func(t *rapid.T) { c = reopen() },
			"disk full": func(t *rapid.T) {
				d.failWrite = errors.New("no space")
				if _, err := c.Next([32]byte{}); err == nil {
					t.Fatal("a value was returned that was not written")
				}
				d.failWrite = nil
			},
		})
	})
}

func TestFailedWriteUsesNothingUp(t *testing.T) {
	d := create(t, 2)
	c := open(t, d)
	next(t, c, 1)
	for _, fail := range []func(error){
		func(err error) { d.failWrite = err },
		func(err error) { d.failSync = err },
	} {
		full := errors.New("no space left on device")
		fail(full)
		if _, err := c.Next([32]byte{2}); !errors.Is(err, full) {
			t.Errorf("Next: %v, want the error of the file", err)
		}
		fail(nil)
		if got := c.Last(); got != 1 {
			t.Errorf("counter %d after the failure, want 1", got)
		}
	}
	if got := next(t, c, 3); got != 2 {
		t.Errorf("next value %d, want 2", got)
	}
}

func TestDamagedFiles(t *testing.T) {
	used := create(t, 2)
	c := open(t, used)
	for range 4 {
		next(t, c, 1) // slot 0 holds 4, slot 1 holds 3
	}
	older := bytes.Clone(used.cached)
	next(t, c, 1) // slot 1 holds 5
	spoil := func(b []byte, slots ...int) []byte {
		b = bytes.Clone(b)
		for _, s := range slots {
			b[s*block+20] ^= 1
		}
		return b
	}
	blank := func(b []byte, slot int) []byte {
		b = bytes.Clone(b)
		clear(b[slot*block:][:block])
		return b
	}
	swapped := append(bytes.Clone(used.cached[block:]), used.cached[:block]...)
	for _, test := range []struct {
		name string
		file []byte
		want uint64 // last value; 0: refused
	}{
		{"untouched", used.cached, 5},
		{"the older slot torn: 6 may have been used", spoil(used.cached, 0), 6},
		{"the newer slot torn: 5 may have been used", spoil(used.cached, 1), 5},
		{"the older slot blank", blank(used.cached, 0), 6},
		{"the newer slot blank", blank(used.cached, 1), 5},
		{"both torn", spoil(used.cached, 0, 1), 0},
		{"both blank", make([]byte, 2*block), 0},
		{"slots swapped", swapped, 0},
		{"the newer slot over the older one", append(bytes.Clone(used.cached[block:]), used.cached[block:]...), 6},
		{"an older copy: not to be noticed here", older, 4},
		{"empty", nil, 0},
		{"cut", used.cached[:block], 0},
		{"cut within a block", used.cached[:2*block-1], 0},
		{"a block too many", append(bytes.Clone(used.cached), make([]byte, block)...), 0},
		{"far too large", append(bytes.Clone(used.cached), make([]byte, 1000*block)...), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &disk{durable: test.file, cached: bytes.Clone(test.file)}
			c, err := counter.Open(d, int64(len(test.file)), key)
			if test.want == 0 {
				if err == nil {
					t.Fatalf("opened at %d, want an error", c.Last())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Last(); got != test.want {
				t.Errorf("opened at %d, want %d", got, test.want)
			}
			if len(d.writes) != 0 {
				t.Error("what Open repaired is not durable")
			}
		})
	}
	if _, err := counter.Open(used, counter.Size(2), bytes.Repeat([]byte{8}, 32)); err == nil {
		t.Error("the counter file of another key was opened")
	}
}

func TestEveryBitOfASlotIsChecked(t *testing.T) {
	d := create(t, 2)
	for bit := range 80 * 8 {
		file := bytes.Clone(d.cached)
		file[bit/8] ^= 1 << (bit % 8)
		if c, err := counter.Open(&disk{cached: file}, int64(len(file)), key); err == nil {
			t.Fatalf("bit %d may be flipped: opened at %d", bit, c.Last())
		}
	}
}

func TestHistory(t *testing.T) {
	d := create(t, 4)
	c := open(t, d)
	for n := range byte(6) {
		got, err := c.History()
		if err != nil {
			t.Fatal(err)
		}
		want := []counter.Entry{}
		for v := max(int(n)-4, 0) + 1; v <= int(n); v++ {
			want = append(want, counter.Entry{Value: uint64(v), Digest: [32]byte{byte(v)}})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %d (-want +got):\n%s", n, diff)
		}
		next(t, c, n+1)
	}
}

func TestSlotsAreBounded(t *testing.T) {
	for _, slots := range []int{-1, 0, 1, 129, math.MaxInt} {
		if err := counter.Create(new(disk), key, slots); err == nil {
			t.Errorf("a ring of %d slots was made", slots)
		}
	}
}

// unreadable fails every read, as a dying disk does.
type unreadable struct{ disk }

func (*unreadable) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUnreadableFileIsNoNewFile(t *testing.T) {
	if _, err := counter.Open(&unreadable{}, counter.Size(2), key); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Open: %v, want the error of the file", err)
	}
}

// FuzzOpen: no content of the file makes Open panic, and what it accepts counts
// upward.
func FuzzOpen(f *testing.F) {
	d := create(f, 2)
	f.Add(d.cached[:80], d.cached[block:][:80])
	c := open(f, d)
	next(f, c, 1)
	f.Add(d.cached[:80], d.cached[block:][:80])
	f.Fuzz(func(t *testing.T, a, b []byte) {
		file := make([]byte, 2*block)
		copy(file[:block], a)
		copy(file[block:], b)
		d := &disk{cached: file}
		c, err := counter.Open(d, int64(len(file)), key)
		if err != nil {
			return
		}
		last := c.Last()
		if got := next(t, c, 1); got != last+1 {
			t.Fatalf("value %d after %d", got, last)
		}
	})
}
