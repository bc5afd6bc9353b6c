package eventlog_test

import (
	"bytes"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/internal/durable/durabletest"
)

// fuzzCodec says that decoding never panics and that what decodes encodes to
// the same bytes.
func fuzzCodec(f *testing.F, names []string, into func() codec) {
	for _, name := range names {
		b := encode(f, sampleOf(f, name))
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		v := into()
		if v.UnmarshalBinary(b) != nil {
			return
		}
		again, err := v.AppendBinary(nil)
		if err != nil || !bytes.Equal(again, before) {
			t.Fatalf("%x decodes and encodes to %x, %v", before, again, err)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("decoding changed its input")
		}
	})
}

func FuzzRecord(f *testing.F) {
	fuzzCodec(f, []string{"record", "record of four slots"}, func() codec { return new(eventlog.Record) })
}

func FuzzHeader(f *testing.F) {
	fuzzCodec(f, []string{"header"}, func() codec { return new(eventlog.Header) })
}

func FuzzSeal(f *testing.F) {
	fuzzCodec(f, []string{"seal"}, func() codec { return new(eventlog.Seal) })
}

func FuzzBundle(f *testing.F) {
	fuzzCodec(f, []string{"bundle"}, func() codec { return new(eventlog.Bundle) })
}

func FuzzReceipt(f *testing.F) {
	fuzzCodec(f, []string{"receipt"}, func() codec { return new(eventlog.Receipt) })
}

func FuzzChallenge(f *testing.F) {
	fuzzCodec(f, []string{"challenge"}, func() codec { return new(eventlog.Challenge) })
}

func FuzzStatus(f *testing.F) {
	fuzzCodec(f, []string{"status"}, func() codec { return new(eventlog.Status) })
}

func FuzzPayload(f *testing.F) {
	for code, name := range payloads {
		f.Add(code, encode(f, sampleOf(f, name)))
	}
	f.Add(eventlog.CodePeriodicSeal, []byte{})
	f.Fuzz(func(t *testing.T, code uint16, b []byte) {
		p, err := eventlog.DecodePayload(&eventlog.Record{Class: eventlog.ClassSystem, Code: code, Payload: b})
		if err != nil || p == nil {
			return
		}
		if again, err := p.AppendBinary(nil); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("code %d: %x decodes and encodes to %x, %v", code, b, again, err)
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"", "all", "default", "1/40", "fraud/40, 0x2/0x3C,5", "1/40,,", "240/1", "0b1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := eventlog.ParsePolicy(1, s)
		if err != nil {
			return
		}
		again, err := eventlog.ParsePolicy(1, p.String())
		if err != nil || again.Digest() != p.Digest() || again.String() != p.String() {
			t.Fatalf("%q parses to %q and then to %q, %v", s, p.String(), again.String(), err)
		}
		for _, e := range p.Specific {
			if !p.IsSpecific(e) {
				t.Fatalf("%q: %v is not specific", s, e)
			}
		}
	})
}

func FuzzSignatureFromDER(f *testing.F) {
	f.Add((&eventlog.Signature{31: 1, 63: 1}).AppendDER(nil))
	sig := sigA
	f.Add(sig.AppendDER(nil))
	f.Add([]byte{0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		sig, err := eventlog.SignatureFromDER(der)
		if err == nil && !bytes.Equal(sig.AppendDER(nil), der) {
			t.Fatalf("%x is taken as %x", der, sig)
		}
	})
}

// FuzzOpen puts any bytes where a sealed log was. Opening never panics, never
// takes a log for sound whose signed bytes are not those that were signed, and
// goes on with it.
func FuzzOpen(f *testing.F) {
	r, disk := sealedRig(f, eventlog.SchemeDigest)
	r.close()
	seg, seals := diskBytes(f, disk, "00000001.seg"), diskBytes(f, disk, "seals")
	f.Add(seg, seals)
	f.Add(seg[:secondSealed], seals)
	f.Add(append(bytes.Clone(seg), 1, 2, 3), seals)
	f.Add(seg, swapSlots(bytes.Clone(seals)))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, segment, slots []byte) {
		after := durabletest.New()
		for name, b := range map[string][]byte{"00000001.seg": segment, "seals": slots} {
			if err := durable.WriteFile(after, name, b); err != nil {
				t.Fatal(err)
			}
		}
		v := *r
		v.t, v.cfg.FS = t, after
		v.open()
		if v.rec.Damaged == nil && (!v.rec.Sealed || !bytes.Equal(v.bytes(1)[:v.rec.Seal.SignedLength], seg[:v.rec.Seal.SignedLength])) {
			t.Fatalf("sound: %+v", v.rec)
		}
		found := diskBytes(t, after, "00000001.seg")
		v.begin()
		v.system(eventlog.CodeBoot, &eventlog.Boot{})
		v.seal()
		if !bytes.HasPrefix(diskBytes(t, after, "00000001.seg"), found) {
			t.Fatal("found bytes changed")
		}
		v.reopen()
		if v.rec.Damaged != nil {
			t.Fatalf("opened again: %+v", v.rec)
		}
	})
}
