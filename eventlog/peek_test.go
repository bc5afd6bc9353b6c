package eventlog_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

func TestPeek(t *testing.T) {
	peek := func(disk *durabletest.FS) (eventlog.MeterID, bool) {
		t.Helper()
		id, sealed, err := eventlog.Peek(disk)
		if err != nil {
			t.Fatal(err)
		}
		return id, sealed
	}
	none := eventlog.MeterID{}
	if id, sealed := peek(durabletest.New()); sealed || id != none {
		t.Errorf("nothing: %v, %t", id, sealed)
	}
	first := durabletest.New()
	newRig(t, eventlog.SchemeDigest, first).close()
	if id, sealed := peek(first); sealed || id != none {
		t.Errorf("an interrupted first start: %v, %t", id, sealed)
	}
	r, disk := sealedRig(t, eventlog.SchemeCounter)
	r.close()
	if id, sealed := peek(disk); !sealed || id != meterID {
		t.Errorf("a log: %v, %t", id, sealed)
	}
	edit(t, disk, "00000001.seg", cut(64))
	if id, sealed := peek(disk); !sealed || id != none {
		t.Errorf("no header: %v, %t", id, sealed)
	}

	r, disk = sealedRig(t, eventlog.SchemeCounter)
	r.rotate()
	r.close()
	edit(t, disk, "seals", cut(0))
	edit(t, disk, "00000002.seg", cut(0))
	if id, sealed := peek(disk); !sealed || id != meterID {
		t.Errorf("a closed segment: %v, %t", id, sealed)
	}
	if err := disk.Remove("00000001.seal"); err != nil {
		t.Fatal(err)
	}
	if id, sealed := peek(disk); !sealed || id != meterID {
		t.Errorf("two segments: %v, %t", id, sealed)
	}
	for _, name := range []string{"seals", "00000002.seg"} {
		r, disk := sealedRig(t, eventlog.SchemeCounter)
		if name != "seals" {
			r.rotate()
		}
		r.close()
		disk.FailReads(name, syscall.EIO)
		if _, _, err := eventlog.Peek(disk); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s cannot be read: %v", name, err)
		}
	}
}
