package verify_test

import (
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/eventlogtest"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func TestAnHonestMeterIsIntactThroughItsLife(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme.String(), func(t *testing.T) {
			m := eventlogtest.New("honest", scheme)
			w := newWorld(t, m)
			for range 3 {
				w.intact(m.BundleFrom(m.Open().Number, len(w.bytes[m.Open().Number])))
				m.Fill(25)
				w.intact(m.BundleFrom(m.Open().Number, len(w.bytes[m.Open().Number])))
				m.Reboot()
				w.intact(m.BundleFrom(m.Open().Number, len(w.bytes[m.Open().Number])))
				from, at := m.Open().Number, len(m.Open().Log)
				m.Rotate()
				m.Fill(3)
				m.Rotate()
				w.intact(m.BundleFrom(from, at))
			}
			whole := newWorld(t, m)
			whole.intact(m.Bundle())
			for n, h := range whole.heads {
				if h.Digest != w.heads[n].Digest || h.Closed != (n < m.Open().Number) {
					t.Errorf("segment %d: the pieces gave %+v, the whole %+v", n, w.heads[n], h)
				}
			}
			if w.bytesCalls+whole.bytesCalls > 0 {
				t.Error("stored bytes were read although midstates do")
			}
		})
	}
}

func TestUnsignedRecordsAreATail(t *testing.T) {
	m := eventlogtest.New("tail", eventlog.SchemeDigest)
	m.Fill(12)
	for range 3 {
		m.Event(eventlogtest.Ordinary)
	}
	w := newWorld(t, m)
	r := w.accept(m.Bundle(), verify.IntactWithTail)
	wantReport(t, r, verify.IntactWithTail)
	if r.Tail != 3 || r.LastSeq != 13 || !r.Proven || r.Charge != "" {
		t.Errorf("got %+v", r)
	}
}
