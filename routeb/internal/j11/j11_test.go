package j11_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/routeb/internal/j11"
)

func decode(unique uint32, chunks ...[]byte) (frames []j11.Frame, faults []j11.Fault) {
	d := j11.Decoder{Unique: unique}
	for _, c := range chunks {
		d.Feed(c)
		for f, fault, ok := d.Next(); ok; f, fault, ok = d.Next() {
			if fault != 0 {
				faults = append(faults, fault)
			} else {
				frames = append(frames, f)
			}
		}
	}
	return frames, faults
}

func unique(s fixtures.Step) uint32 {
	if s.Host {
		return j11.FromHost
	}
	return j11.FromModule
}

// Every frame of the sample session decodes, and encodes to its own bytes.
func TestSampleSession(t *testing.T) {
	session, _, err := fixtures.Session("j11")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range session {
		frames, faults := decode(unique(s), s.Data)
		if len(frames) != 1 || len(faults) > 0 {
			t.Fatalf("line %d: %d frames, %v", s.Line, len(frames), faults)
		}
		got, err := frames[0].Append(nil, unique(s))
		if err != nil || !bytes.Equal(got, s.Data) {
			t.Errorf("line %d: % X, %v; want % X", s.Line, got, err, s.Data)
		}
	}
}

func TestDecoderResynchronises(t *testing.T) {
	want := []j11.Frame{{Code: 0x2058, Data: []byte{1}}}
	good, err := want[0].Append(nil, j11.FromModule)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(good)
	broken[len(broken)-1]++
	for name, in := range map[string][]byte{
		"garbage":                  append([]byte{0, 0xFF}, good...),
		"half a unique code":       append([]byte{0xD0, 0xF9}, good...),
		"a frame with a wrong sum": append(broken, good...),
		"a frame that is cut":      append(bytes.Clone(good[:10]), good...),
	} {
		frames, _ := decode(j11.FromModule, in)
		if d := cmp.Diff(want, frames); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestSplitsDoNotMatter(t *testing.T) {
	session, extras, err := fixtures.Session("j11")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, s := range append(session, extras...) {
		if !s.Host {
			all = append(all, s.Data...)
		}
	}
	want, _ := decode(j11.FromModule, all)
	rapid.Check(t, func(t *rapid.T) {
		var chunks [][]byte
		for rest := all; len(rest) > 0; {
			n := min(rapid.IntRange(1, 64).Draw(t, "n"), len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		got, _ := decode(j11.FromModule, chunks...)
		if !reflect.DeepEqual(want, got) {
			t.Errorf("(-whole +split):\n%s", cmp.Diff(want, got))
		}
	})
}

func FuzzDecoder(f *testing.F) {
	session, _, err := fixtures.Session("j11")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range session {
		f.Add(s.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, u := range []uint32{j11.FromHost, j11.FromModule} {
			frames, _ := decode(u, b)
			for _, fr := range frames {
				again, err := fr.Append(nil, u)
				if err != nil {
					t.Fatal(err)
				}
				back, faults := decode(u, again)
				if len(back) != 1 || len(faults) > 0 || cmp.Diff(fr, back[0]) != "" {
					t.Errorf("%+v became %+v, %v", fr, back, faults)
				}
			}
		}
	})
}
