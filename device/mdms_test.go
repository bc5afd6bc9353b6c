package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
)

// authority is an MDMS that signs what it is told to.
type authority struct{ *ecdsa.PrivateKey }

func newAuthority() authority {
	return authority{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func (a authority) challenge(id eventlog.MeterID, nonce byte, issued int64) []byte {
	c := eventlog.Challenge{Meter: id, Nonce: [32]byte{nonce, 1, 2, 3}, Issued: issued}
	if err := c.Sign(a.PrivateKey); err != nil {
		panic(err)
	}
	return must(c.AppendBinary(nil))
}

func (a authority) receipt(id eventlog.MeterID, segment uint32, length uint64, digest eventlog.Digest) []byte {
	r := eventlog.Receipt{Meter: id, Segment: segment, Length: length, Digest: digest, Millis: 1}
	if err := r.Sign(a.PrivateKey); err != nil {
		panic(err)
	}
	return must(r.AppendBinary(nil))
}

// set writes a property of the meter as a controller would.
func (r *rig) set(epc byte, edt []byte) bool {
	return r.Object().Begin(echonet.Request{ESV: echonet.SetC, SEOJ: echonet.Controller}).Set(epc, edt)
}

// get reads a property of the meter as a controller would.
func (r *rig) get(epc byte) []byte {
	r.t.Helper()
	b, ok := r.Object().Begin(echonet.Request{ESV: echonet.Get, SEOJ: echonet.Controller}).Get(epc)
	if !ok {
		r.t.Fatalf("property %02X cannot be read", epc)
	}
	return append([]byte(nil), b...)
}

func TestChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		r := newRig(t, func(c *device.Config) { c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey} }).start()
		if got := r.get(meter.EPCChallenge); string(got) != string(make([]byte, 12)) {
			t.Errorf("F7 before the first challenge: % X", got)
		}
		c := a.challenge(meterID, 7, 1000)
		for i := range 5 { // a Set is repeated when its answer was lost
			if !r.set(meter.EPCChallenge, c) {
				t.Fatalf("challenge refused at the %dth time", i+1)
			}
			synctest.Wait()
		}
		s := r.Status()
		if s.SignedLength != s.Length || s.LastSeq != 3 {
			t.Errorf("after a challenge: %+v", s)
		}
		if got := r.get(meter.EPCChallenge); string(got[:8]) != string(c[32:40]) || binary.BigEndian.Uint32(got[8:]) != 3 {
			t.Errorf("F7 says % X", got)
		}
		r.close()
		r.start() // the log is the memory
		if !r.set(meter.EPCChallenge, c) {
			t.Error("a known challenge was refused after a restart")
		}
		synctest.Wait()
		if got := r.get(meter.EPCChallenge); binary.BigEndian.Uint32(got[8:]) != 3 {
			t.Errorf("F7 says % X after a restart", got)
		}
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
		p := find[*eventlog.ChallengeAccepted](t, list)
		if n := count(list, eventlog.CodeChallenge); n != 1 || p.Nonce != [32]byte{7, 1, 2, 3} || p.Issued != 1000 || p.MDMS != must(eventlog.KeyIDOf(&a.PublicKey)) {
			t.Errorf("%d CHALLENGE, %+v", n, p)
		}
	})
}

func TestChallengeRefused(t *testing.T) {
	a, stranger := newAuthority(), newAuthority()
	other := must(eventlog.ParseMeterID("FFFFFF-MS0000000002"))
	r := newRig(t, func(c *device.Config) { c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey} }).start()
	good := a.challenge(meterID, 1, 1)
	cases := map[string][]byte{
		"empty":             {},
		"cut":               good[:len(good)-1],
		"longer":            append(append([]byte(nil), good...), 0),
		"of a stranger":     stranger.challenge(meterID, 1, 1),
		"for another meter": a.challenge(other, 1, 1),
		"a receipt":         a.receipt(meterID, 1, 256, eventlog.Digest{}),
		"of random bytes":   make([]byte, eventlog.ChallengeSize),
		"of another's key id": func() []byte {
			b := stranger.challenge(meterID, 1, 1)
			id := must(eventlog.KeyIDOf(&a.PublicKey))
			copy(b[72:104], id[:])
			return b
		}(),
	}
	for i := range good {
		b := append([]byte(nil), good...)
		b[i] ^= 1 << (i % 8)
		cases["flipped at "+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))] = b
	}
	for name, b := range cases {
		if r.set(meter.EPCChallenge, b) {
			t.Errorf("%s: accepted", name)
		}
	}
	if !r.set(meter.EPCChallenge, good) {
		t.Error("the good one: refused")
	}
	r.close()
	if list, _ := audit(t, r.cfg.Dir, r.module.PublicKey()); count(list, eventlog.CodeChallenge) > 1 {
		t.Errorf("recorded: %v", events(list))
	}
}

func TestChallengesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		r := newRig(t, func(c *device.Config) {
			c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey}
			c.ChallengeInterval, c.ChallengeDaily = time.Minute, 10
		}).start()
		n, nonce := 0, byte(0)
		try := func(times int) (accepted int) {
			for range times {
				nonce++
				if r.set(meter.EPCChallenge, a.challenge(meterID, nonce, int64(nonce))) {
					accepted++
				}
				synctest.Wait()
			}
			n += accepted
			return accepted
		}
		if got := try(20); got != 4 {
			t.Errorf("%d challenges accepted at once", got)
		}
		time.Sleep(time.Minute)
		if got := try(3); got != 1 {
			t.Errorf("%d challenges accepted after a minute", got)
		}
		time.Sleep(10 * time.Minute)
		if got := try(10); got != 4 {
			t.Errorf("%d challenges accepted after ten more", got)
		}
		time.Sleep(10 * time.Minute)
		if got := try(10); got != 1 {
			t.Errorf("%d challenges accepted when ten a day are the limit", got)
		}
		r.close()
		if list, _ := audit(t, r.cfg.Dir, r.module.PublicKey()); count(list, eventlog.CodeChallenge) != n {
			t.Errorf("%d CHALLENGE records, %d were accepted", count(list, eventlog.CodeChallenge), n)
		}
	})
}

// TestReplayedChallengeIsOldOnceForgotten: a courier that keeps all challenges
// cannot make an old one count as new.
func TestReplayedChallengeIsOldOnceForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority()
		r := newRig(t, func(c *device.Config) {
			c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey}
			c.ChallengeDaily = 10_000
		}).start()
		first := a.challenge(meterID, 0, 1)
		for i := range 70 {
			if !r.set(meter.EPCChallenge, a.challenge(meterID, byte(i), int64(i+1))) {
				t.Fatalf("challenge %d refused", i)
			}
			time.Sleep(15 * time.Second)
		}
		if r.set(meter.EPCChallenge, first) {
			t.Error("a challenge that was forgotten is accepted again")
		}
		if !r.set(meter.EPCChallenge, a.challenge(meterID, 200, 1000)) {
			t.Error("a new challenge is refused")
		}
		r.close()
	})
}

func TestWithoutMDMSKeyMessagesAreRefused(t *testing.T) {
	a := newAuthority()
	r := newRig(t, small).start()
	for range 100 {
		r.record(coverOpened)
	}
	segments := readSegments(t, r.cfg.Dir)
	if r.set(meter.EPCChallenge, a.challenge(meterID, 1, 1)) {
		t.Error("challenge accepted")
	}
	if r.set(meter.EPCReceipt, a.receipt(meterID, 1, segments[1].header.PrevLength, segments[1].header.PrevDigest)) {
		t.Error("receipt accepted")
	}
}

// TestQueueOfMessagesIsBounded: a Set never waits; when nobody records, it is
// refused.
func TestQueueOfMessagesIsBounded(t *testing.T) {
	a := newAuthority()
	r := newRig(t, func(c *device.Config) {
		c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey}
		c.ChallengeInterval, c.ChallengeDaily = 1, 1_000_000
	}).open() // nothing runs
	accepted := 0
	for i := range 100 {
		if r.set(meter.EPCChallenge, a.challenge(meterID, byte(i), int64(i))) {
			accepted++
		}
	}
	if accepted == 0 || accepted > 8 {
		t.Errorf("%d messages wait", accepted)
	}
}

func TestReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, stranger := newAuthority(), newAuthority()
		r := newRig(t, small, func(c *device.Config) { c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey} }).start()
		for r.Status().Segment < 5 {
			r.record(coverOpened)
		}
		segments := readSegments(t, r.cfg.Dir)
		final := func(n uint32) (uint64, eventlog.Digest) {
			h := segments[n].header // of the segment after n
			return h.PrevLength, h.PrevDigest
		}
		l1, d1 := final(1)
		l3, d3 := final(3)
		other := must(eventlog.ParseMeterID("FFFFFF-MS0000000002"))
		for name, b := range map[string][]byte{
			"of a stranger":        stranger.receipt(meterID, 1, l1, d1),
			"for another meter":    a.receipt(other, 1, l1, d1),
			"of another length":    a.receipt(meterID, 1, l1-64, d1),
			"of another digest":    a.receipt(meterID, 1, l1, d3),
			"of another segment":   a.receipt(meterID, 2, l1, d1),
			"of the open segment":  a.receipt(meterID, 5, r.Status().Length, d1),
			"of a segment to come": a.receipt(meterID, 9, l1, d1),
			"of segment 0":         a.receipt(meterID, 0, l1, d1),
			"a challenge":          a.challenge(meterID, 1, 1),
			"empty":                {},
		} {
			if r.set(meter.EPCReceipt, b) {
				t.Errorf("%s: accepted", name)
			}
		}
		if got := r.get(meter.EPCReceipt); string(got) != string(make([]byte, 12)) {
			t.Errorf("F8 before the first receipt: % X", got)
		}
		// Segments 3 and 4 are the two newest closed ones; 2 goes only after 1.
		l2, d2 := final(2)
		for _, b := range [][]byte{a.receipt(meterID, 3, l3, d3), a.receipt(meterID, 2, l2, d2)} {
			if !r.set(meter.EPCReceipt, b) {
				t.Error("receipt refused")
			}
		}
		synctest.Wait()
		if s := r.Status(); s.Oldest != 1 {
			t.Errorf("segment 1 has no receipt, the oldest is %d", s.Oldest)
		}
		for range 3 {
			if !r.set(meter.EPCReceipt, a.receipt(meterID, 1, l1, d1)) {
				t.Error("receipt refused")
			}
			if !r.set(meter.EPCReceipt, a.receipt(meterID, 3, l3, d3)) {
				t.Error("repeated receipt refused")
			}
		}
		synctest.Wait()
		if s := r.Status(); s.Oldest != 3 {
			t.Errorf("after receipts for 1 to 3 the oldest is %d", s.Oldest)
		}
		if !r.set(meter.EPCReceipt, a.receipt(meterID, 1, l1, d1)) || r.set(meter.EPCReceipt, stranger.receipt(meterID, 1, l1, d1)) {
			t.Error("receipts for a segment that is gone: that of the MDMS is accepted, others are not")
		}
		if got := r.get(meter.EPCReceipt); binary.BigEndian.Uint32(got) != 1 || binary.BigEndian.Uint64(got[4:]) != l1 {
			t.Errorf("F8 says % X", got)
		}
		r.close()
		r.start()
		if !r.set(meter.EPCReceipt, a.receipt(meterID, 3, l3, d3)) {
			t.Error("a known receipt was refused after a restart")
		}
		for r.Status().Segment < 6 {
			r.record(coverOpened)
		}
		synctest.Wait()
		if s := r.Status(); s.Oldest != 4 {
			t.Errorf("a segment with a receipt outlives its place: the oldest is %d", s.Oldest)
		}
		r.close()
		list, _ := audit(t, r.cfg.Dir, r.module.PublicKey())
		receipts, drops := 0, []uint32{}
		for _, e := range list {
			switch p := e.payload.(type) {
			case *eventlog.ReceiptAccepted:
				receipts++
			case *eventlog.SegmentDropped:
				drops = append(drops, p.Segment)
				if p.Reason != eventlog.DropReceipt {
					t.Errorf("segment %d dropped for reason %d", p.Segment, p.Reason)
				}
			}
		}
		if receipts != 3 || len(drops) != 3 || drops[0] != 1 || drops[1] != 2 || drops[2] != 3 {
			t.Errorf("%d RECEIPT, segments dropped: %v", receipts, drops)
		}
	})
}

// TestReceiptNeverDropsADamagedSegment: the MDMS confirms what it could verify,
// which is not all there is.
func TestReceiptNeverDropsADamagedSegment(t *testing.T) {
	a := newAuthority()
	r := newRig(t, small, func(c *device.Config) { c.MDMSKeys = []*ecdsa.PublicKey{&a.PublicKey} }).start()
	r.record(coverOpened)
	r.record(powerUp)
	r.close()
	path := r.cfg.Dir + "/log/00000001.seg"
	b := must(os.ReadFile(path))
	b[len(b)-60] ^= 1 // in the tail; then more than a torn write can leave
	if err := os.WriteFile(path, append(b, make([]byte, 1024)...), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	segments := readSegments(t, r.cfg.Dir)
	h := segments[1].header
	if h.PrevLength == 0 || h.PrevLength == uint64(len(segments[0].bytes)) {
		t.Fatalf("the header links to %d bytes of %d", h.PrevLength, len(segments[0].bytes))
	}
	if r.set(meter.EPCReceipt, a.receipt(meterID, 1, h.PrevLength, h.PrevDigest)) {
		t.Error("accepted")
	}
}
