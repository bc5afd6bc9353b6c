package eventlog_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

func TestRecordCostsNoAllocation(t *testing.T) {
	r := eventlog.Record{Class: eventlog.ClassFraud, Code: 40, Seq: 1, Payload: make([]byte, 30)}
	buf := make([]byte, 0, eventlog.MaxRecordSize)
	b := encode(t, &r)
	if n := testing.AllocsPerRun(100, func() { _, _ = r.AppendBinary(buf) }); n != 0 {
		t.Errorf("encoding a record allocates %v times", n)
	}
	var v eventlog.Record
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Next(b) }); n != 0 {
		t.Errorf("decoding a record allocates %v times", n)
	}
}

func TestAppendCostsOneAllocation(t *testing.T) {
	dir, err := durable.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, eventlog.SchemeDigest, &unsyncedDisk{FS: dir})
	s, payload := r.stamp(), make([]byte, 30)
	n := testing.AllocsPerRun(100, func() {
		if _, err := r.log.Append(s, fraud, payload); err != nil {
			t.Fatal(err)
		}
		if _, _, _, ok := r.log.Pending(); !ok {
			t.Fatal("nothing is pending")
		}
	})
	// One for the snapshot that readers see.
	if n > 1 {
		t.Errorf("appending a record allocates %v times", n)
	}
}

// unsyncedDisk syncs nothing unless sync is set, to fill a log quickly.
type unsyncedDisk struct {
	durable.FS
	sync atomic.Bool
}

func (d *unsyncedDisk) Open(name string) (durable.File, error) {
	f, err := d.FS.Open(name)
	return &unsyncedFile{f, d}, err
}

type unsyncedFile struct {
	durable.File
	disk *unsyncedDisk
}

func (f *unsyncedFile) Sync() error {
	if f.disk.sync.Load() {
		return f.File.Sync()
	}
	return nil
}

// BenchmarkAppend makes one event durable and computes what the secure element
// signs, in logs of different lengths.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, records := range []int{100, 1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("sync=%v/records=%d", sync, records), func(b *testing.B) {
				dir, err := durable.Dir(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				disk := &unsyncedDisk{FS: dir}
				r := newRig(b, eventlog.SchemeDigest, disk)
				for range records - 1 {
					r.append(plain, nil)
				}
				disk.sync.Store(sync)
				r.append(plain, nil) // and with it all before
				s := r.stamp()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.log.Append(s, fraud, nil); err != nil {
						b.Fatal(err)
					}
					if _, _, _, ok := r.log.Pending(); !ok {
						b.Fatal("nothing is pending")
					}
				}
			})
		}
	}
}

// BenchmarkDecode decodes a month of half-hourly records.
func BenchmarkDecode(b *testing.B) {
	var log []byte
	for i := range 1440 {
		r := eventlog.Record{Class: eventlog.ClassStandard, Code: 1, Seq: uint32(i), Payload: make([]byte, 30)}
		var err error
		if log, err = r.AppendBinary(log); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for rest := log; len(rest) > 0; n++ {
			var r eventlog.Record
			size, err := r.Next(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[size:]
		}
		if n != 1440 {
			b.Fatalf("%d records", n)
		}
	}
}

// BenchmarkEncode encodes one record.
func BenchmarkEncode(b *testing.B) {
	r := eventlog.Record{Class: eventlog.ClassFraud, Code: 40, Seq: 1, Payload: make([]byte, 30)}
	buf := make([]byte, 0, eventlog.MaxRecordSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.AppendBinary(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen recovers a year of half-hourly records.
func BenchmarkOpen(b *testing.B) {
	dir, err := durable.Dir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, eventlog.SchemeDigest, &unsyncedDisk{FS: dir})
	for range 17_520 {
		r.append(plain, nil)
	}
	r.append(fraud, nil)
	r.seal()
	r.close()
	b.ReportAllocs()
	for b.Loop() {
		r.open()
		if r.rec.Damaged != nil || r.rec.LastSeq != 17_522 {
			b.Fatalf("recovered %+v", r.rec)
		}
		r.close()
	}
}
