package meter_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/meter"
)

// TestMRA compares the meter with the Machine Readable Appendix: which properties
// it has, who may write them, and their sizes. METERSEAL_MRA names the folder with
// devices, superClass and definitions, which everybody gets from the ECHONET
// Consortium for themselves; without it the test reads a few properties in the
// same form.
func TestMRA(t *testing.T) {
	folder := os.Getenv("METERSEAL_MRA")
	if folder == "" {
		folder = filepath.Join("testdata", "mra")
	}
	var defs struct{ Definitions map[string]mraData }
	readJSON(t, filepath.Join(folder, "definitions", "definitions.json"), &defs)
	r := newRig(t, full('R'))
	maps := map[byte]echonet.PropertySet{}
	for _, epc := range []byte{echonet.EPCAnnounceMap, echonet.EPCSetMap, echonet.EPCGetMap} {
		set, err := echonet.ParsePropertyMap(r.get(epc))
		if err != nil {
			t.Fatal(err)
		}
		maps[epc] = set
	}
	known := echonet.PropertySet{}
	for _, name := range []string{"superClass/0x0000.json", "devices/0x0288.json"} {
		var class struct{ ElProperties []mraProperty }
		readJSON(t, filepath.Join(folder, name), &class)
		for _, p := range class.ElProperties {
			if p.ValidRelease.To != "latest" && p.ValidRelease.To < "R" {
				continue
			}
			n, err := strconv.ParseUint(p.EPC, 0, 8)
			if err != nil {
				t.Fatal(err)
			}
			epc := byte(n)
			known.Add(epc)
			access(t, epc, "Get", p.AccessRule.Get, maps[echonet.EPCGetMap])
			access(t, epc, "Set", p.AccessRule.Set, maps[echonet.EPCSetMap])
			access(t, epc, "announcement", p.AccessRule.Inf, maps[echonet.EPCAnnounceMap])
			least, most, ok := p.Data.size(defs.Definitions)
			if got := len(r.get(epc)); ok && maps[echonet.EPCGetMap].Has(epc) && (got < least || got > most) {
				t.Errorf("%02X: got %d bytes, want %d to %d", epc, got, least, most)
			}
		}
	}
	if os.Getenv("METERSEAL_MRA") == "" {
		return
	}
	for _, epc := range maps[echonet.EPCGetMap].EPCs() {
		if epc < meter.EPCEvidence && !known.Has(epc) {
			t.Errorf("%02X is in no class", epc)
		}
	}
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// access compares an access rule with a property map.
func access(t *testing.T, epc byte, what, rule string, set echonet.PropertySet) {
	t.Helper()
	switch {
	case strings.HasPrefix(rule, "required") && !set.Has(epc): // a full meter meets every condition
		t.Errorf("%02X: %s is %s, and not in the map", epc, what, rule)
	case rule == "notApplicable" && set.Has(epc):
		t.Errorf("%02X: %s is not applicable, and in the map", epc, what)
	}
}

type mraProperty struct {
	EPC          string
	ValidRelease struct{ From, To string }
	AccessRule   struct{ Get, Set, Inf string }
	Data         mraData
}

// mraData is the description of a value.
type mraData struct {
	Ref              string `json:"$ref"`
	Type, Format     string
	Size             int
	MinSize, MaxSize int
	ItemSize         int
	MinItems         int
	MaxItems         int
	OneOf            []mraData
	Properties       []struct{ Element mraData }
}

// size returns the smallest and the largest size of a value in bytes; ok is false
// if it is described in a way that this test does not know.
func (d mraData) size(defs map[string]mraData) (least, most int, ok bool) {
	if d.Ref != "" {
		def, ok := defs[strings.TrimPrefix(d.Ref, "#/definitions/")]
		if !ok {
			return 0, 0, false
		}
		return def.size(defs)
	}
	for i, one := range d.OneOf {
		l, m, ok := one.size(defs)
		if !ok {
			return 0, 0, false
		}
		if i == 0 {
			least = l
		}
		least, most = min(least, l), max(most, m)
	}
	if len(d.OneOf) > 0 {
		return least, most, true
	}
	fixed := map[string]int{"date-time": 7, "date": 4, "time": 3}
	switch d.Type {
	case "number", "level":
		bits, err := strconv.Atoi(strings.TrimLeft(d.Format, "uint"))
		return bits / 8, bits / 8, err == nil
	case "raw":
		return d.MinSize, d.MaxSize, true
	case "array":
		return d.ItemSize * d.MinItems, d.ItemSize * d.MaxItems, true
	case "object":
		for _, p := range d.Properties {
			l, m, ok := p.Element.size(defs)
			if !ok {
				return 0, 0, false
			}
			least, most = least+l, most+m
		}
		return least, most, true
	}
	n := d.Size
	if n == 0 {
		n = fixed[d.Type]
	}
	return n, n, n > 0
}
