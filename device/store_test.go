package device_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// block makes a file that the meter wants to write impossible to write, until
// unblock.
func block(t *testing.T, path string) (unblock func()) {
	t.Helper()
	dir := path + ".tmp" // what is written first
	if err := os.MkdirAll(filepath.Join(dir, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoreRefusesTheNextSegment: what a seal has closed stays closed. Events
// fail, readings go on, and when the store works again so does the log.
func TestStoreRefusesTheNextSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, small).start()
		unblock := block(t, filepath.Join(r.cfg.Dir, "log", "00000002.seg"))
		for r.Status().Length < 4<<10 {
			r.record(powerUp)
		}
		synctest.Wait()
		closed := r.Status()
		if closed.SignedLength != closed.Length || closed.Segment != 1 {
			t.Fatalf("the segment was not closed: %+v", closed)
		}
		for range 3 {
			if rec, err := r.Record(t.Context(), coverOpened, nil); err == nil {
				t.Errorf("recorded after the end: %+v", rec)
			}
			synctest.Wait()
		}
		if now := r.Status(); now != closed {
			t.Errorf("after the end: %+v", now)
		}
		if v := r.get(meter.EPCFaultCode); string(v) != "\x00\x5b" || len(r.get(meter.EPCNormal)) != 4 {
			t.Errorf("fault % X", v)
		}
		if err := r.ChangePolicy(t.Context(), eventlog.Policy{}); err == nil {
			t.Error("another end was begun")
		}
		synctest.Wait()
		unblock()
		if _, err := r.Record(t.Context(), coverOpened, nil); err == nil {
			t.Error("recorded before the next segment was there")
		}
		synctest.Wait() // that failure made the meter try again
		if rec := r.record(coverOpened); rec.Segment != 2 || !rec.Sealed {
			t.Errorf("got %+v", rec)
		}
		if v := r.get(meter.EPCFault); v[0] != 0x42 {
			t.Errorf("fault status %X when all is well", v)
		}
		r.close()
		audit(t, r.cfg.Dir, r.module.PublicKey())
	})
}

func TestChangeThatCannotBeRememberedIsNotBegun(t *testing.T) {
	r := newRig(t).start()
	unblock := block(t, filepath.Join(r.cfg.Dir, "meter.json"))
	if err := r.ChangePolicy(t.Context(), eventlog.Policy{}); err == nil {
		t.Fatal("changed")
	}
	if s := r.Status(); s.Segment != 1 || s.LastSeq != 2 {
		t.Errorf("the log says of it: %+v", s)
	}
	unblock()
	if err := r.ChangePolicy(t.Context(), eventlog.Policy{}); err != nil {
		t.Fatal(err)
	}
	if rec := r.record(powerUp); !rec.Sealed || rec.Segment != 2 {
		t.Errorf("got %+v", rec)
	}
}

func TestClosedMeterRecordsNothing(t *testing.T) {
	r := newRig(t).open()
	r.close()
	if _, err := r.Record(t.Context(), coverOpened, nil); err == nil {
		t.Error("recorded")
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestFirstStartCutOffBeforeItsStateWasWritten(t *testing.T) {
	r := newRig(t).open()
	r.close()
	if err := os.Remove(filepath.Join(r.cfg.Dir, "meter.json")); err != nil {
		t.Fatal(err)
	}
	r.start()
	if rec := r.record(coverOpened); rec.Segment != 1 || !rec.Sealed {
		t.Errorf("got %+v", rec)
	}
	r.close()
	list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
	if len(list) != 4 || list[2].Event() != (eventlog.Event{Class: eventlog.ClassSystem, Code: eventlog.CodeBoot}) || list[2].Boot != 2 {
		t.Errorf("recorded: %v, boot %d", events(list), list[2].Boot)
	}
}
