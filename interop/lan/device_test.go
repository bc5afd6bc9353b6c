//go:build linux

package lan_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
)

// plainMeter are the properties of a meter of another make, without its maps.
var plainMeter = values{
	"80": "30", "81": "00", "82": "00004601", "88": "42", "8a": "000077", "8d": "4e4f44453030303030303031",
	"97": "0c22", "98": "07ea0101", "d3": "00000001", "d7": "06", "e0": "0001e240", "e1": "01", "e5": "00",
	"e7": "000001f8", "e8": "00147ffe", "ea": "07ea01010c1e000001e240",
}

// withMaps adds the property maps to the properties of a device.
func withMaps(t *testing.T, v values, announce, set []byte) string {
	t.Helper()
	all := maps.Clone(v)
	get := []byte{echonet.EPCAnnounceMap, echonet.EPCSetMap, echonet.EPCGetMap}
	for epc := range v {
		b, err := hex.DecodeString(epc)
		if err != nil {
			t.Fatal(err)
		}
		get = append(get, b...)
	}
	for epc, codes := range map[string][]byte{"9d": announce, "9e": set, "9f": get} {
		all[epc] = hex.EncodeToString(echonet.SetOf(codes...).AppendMap(nil))
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Our controller and our tool find and read a meter made of npm echonet-lite, which answers from port 23610, knows no
// SetGet and would take any Set. They find that it keeps no evidence, and write nothing to it: neither to a plain meter,
// nor to one whose vendor properties are those of ours by number but not by content.
func TestReadEchonetLiteDevice(t *testing.T) {
	vendor := maps.Clone(plainMeter)
	for i := range 9 {
		vendor[fmt.Sprintf("f%d", i)] = strings.Repeat("00", 13)
	}
	for _, tc := range []struct {
		name   string
		values values
		set    []byte
	}{
		{"plain", plainMeter, []byte{0x81, 0xE5}},
		{"other vendor properties F0 to F8", vendor, []byte{0x81, 0xE5, 0xF2, 0xF7, 0xF8}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			deviceHost, own := n.host("device"), n.host("own")
			wire := deviceHost.tap()
			device := deviceHost.startPeer("echonet-lite-device.js", deviceHost.addr, withMaps(t, tc.values, []byte{0x80, 0x81, 0x88}, tc.set))

			if got, want := own.discover("--wait", "3s"), []string{deviceHost.addr + ":23610 0288.01"}; !slices.Equal(got, want) {
				t.Errorf("discover: got %v, want %v", got, want)
			}

			var meters []struct {
				Addr      string
				Instances []string
			}
			own.json(&meters, "controller", "discover")
			if len(meters) != 1 || meters[0].Addr != deviceHost.addr+":3610" || !slices.Equal(meters[0].Instances, []string{"0288.01"}) {
				t.Errorf("controller discover: got %v, want the device at port 3610", meters)
			}

			var reading map[string]string
			own.json(&reading, "controller", "read", "--meter", deviceHost.addr)
			if want := map[string]string{
				"manufacturer": "000077", "serial": "NODE00000001", "release": "F", "power_w": "504", "current_r_a": "2.0",
				"import_kwh": "12345.6", "half_hour": "2026-01-01 12:30:00", "half_import_kwh": "12345.6",
			}; !subset(want, reading) {
				t.Errorf("read: got %v, want %v", reading, want)
			}

			got := own.get(deviceHost.addr, "028801")
			for epc, edt := range tc.values {
				if got[epc] != edt {
					t.Errorf("get of %s: got %q, want %s", epc, got[epc], edt)
				}
			}

			before := len(wire.heard(t))
			_, errs, err := own.run("controller", "collect", "--meter", deviceHost.addr, "-o", t.TempDir()+"/none.mseal")
			if err == nil || !strings.Contains(errs, "keeps no sealed log") {
				t.Errorf("collect: got %v, %s, want that the meter keeps no sealed log", err, errs)
			}

			for _, d := range wire.heard(t)[before:] {
				var f echonet.Frame
				if own.is(d.from.Addr()) && f.UnmarshalBinary(d.payload) == nil && slices.ContainsFunc(f.Properties, isVendor) {
					t.Errorf("collect touched a vendor property other than F0: % X", d.payload)
				}
			}

			requests := device.stop()
			for _, line := range requests {
				if f := device.parse(line); !reads(f.ESV) {
					t.Errorf("the device was asked for %+v, want that nothing is written", f)
				}
			}
			if len(requests) == 0 {
				t.Error("the device was asked for nothing")
			}
			services := checkWire(t, wire.heard(t), own)
			for esv := range services {
				if esv[0] == '6' && !reads(esv) {
					t.Errorf("we sent service %s, which writes", esv)
				}
			}
			t.Logf("%d requests, all of which read", len(requests))
		})
	}
}

// isVendor knows the properties that mean something only where F0 is ours.
func isVendor(p echonet.Property) bool { return p.EPC > 0xF0 }

// reads reports whether a request writes nothing: Get or INF_REQ.
func reads(esv string) bool { return esv == "62" || esv == "63" }

// subset reports whether all of want is in got.
func subset(want, got map[string]string) bool {
	for k, v := range want {
		if got[k] != v {
			return false
		}
	}
	return true
}
