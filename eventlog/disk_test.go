package eventlog_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// TestOpenReportsAFailingDisk makes each operation of Open fail.
func TestOpenReportsAFailingDisk(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.rotate()
	r.append(fraud, nil)
	r.close()
	edit(t, disk, "00000002.seg", func(b []byte) []byte { return append(b, 1) })
	if f, err := disk.Create("seals.tmp"); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir(); err != nil {
		t.Fatal(err)
	}
	for op := 1; ; op++ {
		after := disk.Restart(0, 0)
		after.FailAt(op, syscall.EIO, 0)
		r.cfg.FS = after
		l, _, err := eventlog.Open(r.cfg)
		if err == nil {
			if op < 6 {
				t.Errorf("only %d operations could fail", op-1)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", op, err)
		}
	}
}

// TestBeginReportsAFailingDisk makes each operation of Begin after a damage
// fail, and calls it again.
func TestBeginReportsAFailingDisk(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", func(b []byte) []byte { b[firstSealed+40] ^= 1; return b })
	if err := disk.Remove("seals"); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir(); err != nil {
		t.Fatal(err)
	}
	for op := 1; ; op++ {
		after := disk.Restart(0, 0)
		r.cfg.FS = after
		r.open()
		after.FailAt(len(after.Ops())+op, syscall.EIO, 0)
		err := r.log.Begin(r.stamp(), eventlog.Counters{})
		if err == nil {
			if op < 10 {
				t.Errorf("only %d operations could fail", op-1)
			}
			return
		}
		again := r.log.Begin(r.stamp(), eventlog.Counters{})
		if !errors.Is(err, syscall.EIO) || again != nil && !errors.Is(again, eventlog.ErrBroken) {
			t.Errorf("operation %d: %v, then %v", op, err, again)
		}
		r.cfg.FS = after.Reopen()
		r.open()
		r.begin()
		if r.log.Newest() != 2 {
			t.Errorf("operation %d: newest segment %d", op, r.log.Newest())
		}
	}
}

// TestUnreadableFileIsNoDamage makes each file that Open reads unreadable: that is an error of
// the disk, and no reason to begin a new segment.
func TestUnreadableFileIsNoDamage(t *testing.T) {
	for _, name := range []string{"00000001.seal", "00000002.seg", "00000003.seg", "seals"} {
		for _, sealed := range []bool{true, false} {
			r, disk := sealedRig(t, eventlog.SchemeDigest)
			r.rotate()
			r.append(fraud, nil)
			r.rotate()
			if sealed {
				r.append(fraud, nil)
				r.seal()
			}
			r.close()
			disk.FailReads(name, syscall.EIO)
			if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s, sealed %v: %v", name, sealed, err)
			}
			disk.FailReads(name, nil)
			r.open()
			if r.rec.Damaged != nil {
				t.Errorf("%s, sealed %v: recovered %+v", name, sealed, r.rec)
			}
		}
	}
}

// TestUnreadableFileBeforeADamagedOne looks for the last sequence number.
func TestUnreadableFileBeforeADamagedOne(t *testing.T) {
	for name, harm := range map[string]func(disk *durabletest.FS) error{
		"the newest segment is edited": func(disk *durabletest.FS) error {
			edit(t, disk, "00000002.seg", func(b []byte) []byte { b[60] ^= 1; return b })
			return nil
		},
		"the newest segment is gone": func(disk *durabletest.FS) error { return disk.Remove("00000002.seg") },
	} {
		r, disk := sealedRig(t, eventlog.SchemeDigest)
		r.rotate()
		r.append(fraud, nil)
		r.seal()
		r.close()
		if err := harm(disk); err != nil {
			t.Fatal(err)
		}
		disk.FailReads("00000001.seg", syscall.EIO)
		if _, _, err := eventlog.Open(r.cfg); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		disk.FailReads("00000001.seg", nil)
		r.open()
		if d := r.rec.Damaged; d == nil || d.Segment != 2 || r.rec.LastSeq < 6 {
			t.Errorf("%s: recovered %+v", name, r.rec)
		}
	}
}

// TestUnreadableSealsStayUnkept damages a log whose seals can no longer be
// copied: Begin fails and may be called again.
func TestUnreadableSealsStayUnkept(t *testing.T) {
	r, disk := sealedRig(t, eventlog.SchemeDigest)
	r.close()
	edit(t, disk, "00000001.seg", cut(firstSealed))
	r.open()
	disk.FailReads("seals", syscall.EIO)
	if err := r.log.Begin(r.stamp(), eventlog.Counters{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("begin: %v", err)
	}
	disk.FailReads("seals", nil)
	r.begin()
	if r.log.Newest() != 2 {
		t.Errorf("newest segment %d", r.log.Newest())
	}
}
