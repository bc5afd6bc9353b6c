package echonet_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
)

func TestN1(t *testing.T) {
	statement(t, "N1", "A first byte other than 10 is dropped.")
	r := meterRig(t)
	r.silentBoth("1181000105ff010288016201e700")
	r.silentBoth("00")
}

func TestN2(t *testing.T) {
	statement(t, "N2", "The arbitrary format is dropped, and the node profile says that it is not taken.")
	r := meterRig(t)
	r.silentBoth("1082001105ff01")
	r.silentBoth("1082000405ff010288016e01800131")
	r.want("1081000105ff010ef0016201 8200", "108100010ef00105ff017201 8204 010e0100")
}

func TestN3(t *testing.T) {
	statement(t, "N3", "Short, overlong, inconsistent and empty messages are dropped without an answer.")
	r := meterRig(t)
	for _, s := range []string{
		"10", "1081", "108100", "1081000405ff0102880162", "1081000405ff010288016202e700",
		"1081000405ff010288016201e704ff", "1081000405ff010288016e00", "1081000405ff010288016e01800131",
		"1081000405ff010288016200", "1081000405ff010288016201e70000",
		"1081000405ff010288016e0180013100", "1081000405ff010288016e0180013101800000",
	} {
		r.silentBoth(s)
	}
	r.silentBoth("1081000405ff0102880162ff" + strings.Repeat("e700", 254))
	r.silent("1081000405ff010288016102e500"+strings.Repeat("00", 5000), net.UDPAddrFromAddrPort(nodeAt))
	if got := r.node.Stats(); got.Dropped < 25 {
		t.Errorf("got %d dropped", got.Dropped)
	}
}

func TestN4(t *testing.T) {
	statement(t, "N4", "An answer keeps TID, OPC and order, and swaps the objects, refusals too.")
	r := meterRig(t)
	r.want("1081abcd0ef001028801 62 03 e700 aa00 e700",
		"1081abcd0288010ef001 52 03 e704000001f8 aa00 e704000001f8")
}

func TestN5(t *testing.T) {
	statement(t, "N5", "An answer goes to the sender's address at port 3610, or to the source port where so configured.")
	for _, tc := range []struct {
		name     string
		reply    echonet.ReplyPolicy
		from, to string
	}{
		{"auto", echonet.ReplyAuto, "10.0.0.9:23610", "10.0.0.9:3610"},
		{"auto on loopback", echonet.ReplyAuto, "127.0.0.9:40000", "127.0.0.9:40000"},
		{"auto on loopback at 3610", echonet.ReplyAuto, "127.0.0.9:3610", "127.0.0.9:3610"},
		{"3610", echonet.Reply3610, "127.0.0.9:40000", "127.0.0.9:3610"},
		{"source", echonet.ReplySource, "10.0.0.9:40000", "10.0.0.9:40000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, echonet.Config{Reply: tc.reply})
			from := r.listen(tc.from)
			to := from
			if tc.to != tc.from {
				to = r.listen(tc.to)
			}
			from.WriteTo(unhex(t, "1081000105ff010ef00162018000"), net.UDPAddrFromAddrPort(nodeAt))
			if got := hear(t, to); got != "108100010ef00105ff0172018001"+"30" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestN6(t *testing.T) {
	statement(t, "N6", "Unicast and multicast are received; the node's own multicast is not.")
	heard := make(chan net.Addr, 16)
	r := newRig(t, echonet.Config{OnNotify: func(from net.Addr, _ echonet.Frame) { heard <- from }})
	r.want("1081000105ff010ef0016201 8000", "108100010ef00105ff017201 800130")
	r.sendTo("1081000205ff010ef0016201 8000", memlink.Group)
	if got := r.next(); got != "108100020ef00105ff01720180"+"0130" {
		t.Errorf("multicast: got %s", got)
	}
	if err := r.node.InstancesChanged(); err != nil {
		t.Fatal(err)
	}
	r.sendTo("108100030ef0010ef0017301d50100", memlink.Group)
	if from := <-heard; from.String() != peerAt.String() {
		t.Errorf("heard a notification of %v, want only the peer's", from)
	}
}

func TestN7(t *testing.T) {
	statement(t, "N7", "Reserved services and answers that nobody waits for are dropped.")
	r := meterRig(t)
	for e := range 256 {
		switch echonet.ESV(e) {
		case echonet.SetI, echonet.SetC, echonet.Get, echonet.INFREQ, echonet.SetGet, echonet.INFC:
			continue
		}
		r.silentBoth(fmt.Sprintf("1081000105ff01028801%02x01e700", e))
		r.silentBoth(fmt.Sprintf("1081000105ff01028801%02x01e70001e700", e))
	}
}

func TestN8(t *testing.T) {
	statement(t, "N8", "A message to an object that the node does not have is dropped, not refused.")
	r := meterRig(t)
	for _, eoj := range []string{"028802", "028701", "013001", "05ff01", "0ef002", "000000"} {
		for _, esv := range []string{"60", "61", "62", "63", "74"} {
			r.silentBoth("1081000105ff01" + eoj + esv + "018000")
		}
		r.silentBoth("1081000105ff01" + eoj + "6e018001300180" + "00")
	}
}

func TestN9(t *testing.T) {
	statement(t, "N9", "Instance 00 is answered once per instance, by the instance; a class without any is silent.")
	r := newRig(t, echonet.Config{Objects: []echonet.Object{
		testDevice(echonet.EOJ{0x01, 0x30, 1}), testDevice(echonet.EOJ{0x01, 0x30, 3}), testDevice(echonet.LowVoltageMeter),
	}})
	r.send("1081000705ff010130006201 8000")
	for _, want := range []string{"1081000701300105ff0172018001" + "30", "1081000701300305ff0172018001" + "30"} {
		if got := r.next(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	r.silentBoth("1081000705ff0101310062018000")
}

func TestN10(t *testing.T) {
	statement(t, "N10", "A multicast request for an object that is absent is silent.")
	r := meterRig(t)
	for _, s := range []string{"1081000105ff0101300162018000", "1081000105ff0101300062018000"} {
		r.silent(s, memlink.Group)
	}
}

func TestN11(t *testing.T) {
	statement(t, "N11", "The same request twice has the same effect and the same answer.")
	r := meterRig(t)
	const request, answer = "1081000305ff010288016101e50107", "1081000302880105ff017101e500"
	r.want(request, answer)
	r.want(request, answer)
	r.want("1081000405ff010288016201e500", "1081000402880105ff017201e50107")
}

func TestN12(t *testing.T) {
	statement(t, "N12", "Any sending object may ask.")
	r := meterRig(t)
	for _, seoj := range []string{"0ef001", "05ff01", "05ff02", "013001", "ffffff", "000000"} {
		r.want("10810001"+seoj+"0288016201e700", "10810001028801"+seoj+"7201e704000001f8")
	}
}

func TestN13(t *testing.T) {
	statement(t, "N13", "As many properties are answered as are asked; those that exceed the payload limit are refused in their place.")
	var entries []echonet.Entry
	for epc := 0xA0; epc < 0xC0; epc++ {
		entries = append(entries, echonet.Entry{EPC: byte(epc), Value: []byte(strings.Repeat("x", 200))})
	}
	entries = append(entries, echonet.Entry{EPC: 0xE7, Value: []byte{1}})
	r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, entries...)}})
	request := "1081000105ff010288016209"
	for epc := 0xA0; epc < 0xA8; epc++ {
		request += fmt.Sprintf("%02x00", epc)
	}
	got := r.ask(request + "e700")
	var f echonet.Frame
	if err := f.UnmarshalBinary(unhex(t, got)); err != nil {
		t.Fatal(err)
	}
	if f.ESV != echonet.GetSNA || len(got)/2 > 1232 || len(f.Properties) != 9 {
		t.Fatalf("got %v, %d bytes, %d properties", f.ESV, len(got)/2, len(f.Properties))
	}
	var sizes []int
	for _, p := range f.Properties {
		sizes = append(sizes, len(p.EDT))
	}
	if want := []int{200, 200, 200, 200, 200, 200, 0, 0, 1}; !slices.Equal(sizes, want) {
		t.Errorf("got sizes %v, want %v", sizes, want)
	}
	// 27 and more properties in one message are no reason to refuse any.
	request = "1081000205ff01028801621e"
	answer := "1081000202880105ff01721e"
	request += strings.Repeat("e700", 30)
	answer += strings.Repeat("e70101", 30)
	r.want(request, answer)
}

func TestS1(t *testing.T) {
	statement(t, "S1", "SetI that is accepted has no answer.")
	r := meterRig(t)
	r.silent("1081000505ff010288016001e50105", net.UDPAddrFromAddrPort(nodeAt))
	r.want("1081000605ff010288016201e500", "1081000602880105ff017201e50105")
}

func TestS2(t *testing.T) {
	statement(t, "S2", "SetI with a refusal: 50, accepted properties without data, refused ones as sent.")
	meterRig(t).want("1081000505ff010288016002e50105e50164", "1081000502880105ff015002e500e50164")
}

func TestS3(t *testing.T) {
	statement(t, "S3", "SetC that is accepted: 71 without data.")
	meterRig(t).want("1081000505ff010288016102e50105e5010a", "1081000502880105ff017102e500e500")
}

func TestS4(t *testing.T) {
	statement(t, "S4", "SetC with a refusal: 51 as for SetI; what was accepted has been done.")
	r := meterRig(t)
	r.want("1081000405ff010288016102e50101e701 05", "1081000402880105ff015102e500e70105")
	r.want("1081000505ff010288016201e500", "1081000502880105ff017201e50101")
}

func TestS5(t *testing.T) {
	statement(t, "S5", "Get of readable properties: 72 with their values.")
	meterRig(t).want("1081000105ff010288016202e7008000", "1081000102880105ff017202e704000001f8800130")
}

func TestS6(t *testing.T) {
	statement(t, "S6", "Get with unreadable properties: 52, the readable ones with their values.")
	meterRig(t).want("1081000105ff010288016203ee00e7007f00", "1081000102880105ff015203ee00e704000001f87f00")
}

func TestS7(t *testing.T) {
	statement(t, "S7", "INF_REQ: 73 with values; 53 if a property cannot be notified.")
	r := meterRig(t)
	r.want("1081000805ff010ef0016301d500", "108100080ef00105ff017301d50401028801")
	r.want("1081000805ff010288016301e700", "1081000802880105ff017301e704000001f8")
	r.want("1081000905ff010288016302ee008000", "1081000902880105ff015302ee00800130")
}

func TestS8(t *testing.T) {
	statement(t, "S8", "SetGet writes, then reads; 7E and 5E carry both lists.")
	r := meterRig(t)
	r.want("1081000605ff010288016e01e5010002e500e700", "1081000602880105ff017e01e50002e50100e704000001f8")
	r.want("1081000705ff010288016e01e5016401e700", "1081000702880105ff015e01e5016401e704000001f8")
	r.want("1081000805ff010288016e01e5010101ee00", "1081000802880105ff015e01e50001ee00")
	r.want("1081000905ff010288016201e500", "1081000902880105ff017201e50101")
}

func TestS9(t *testing.T) {
	statement(t, "S9", "INFC is confirmed to its sender with every property without data; to a missing object it is dropped.")
	r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(testIdentity)}})
	r.want("1081000a02880105ff017402ea0107eb0108", "1081000a05ff010288017a02ea00eb00")
	r.silentBoth("1081000a02880101300174" + "01ea0107")
}

func TestS10(t *testing.T) {
	statement(t, "S10", "A Set of the wrong size or out of range is refused.")
	r := meterRig(t)
	r.want("1081000505ff010288016101e5020001", "1081000502880105ff015101e5020001")
	r.want("1081000505ff010288016101e50164", "1081000502880105ff015101e50164")
	r.want("1081000505ff0102880161018102"+"0000", "1081000502880105ff0151018102"+"0000")
}

func TestS11(t *testing.T) {
	statement(t, "S11", "A Set of a read-only property and a Get of a write-only one are refused.")
	r := meterRig(t)
	r.want("1081000505ff010288016101e70100", "1081000502880105ff015101e70100")
	r.want("1081000505ff010288016201e600", "1081000502880105ff015201e600")
	r.want("1081000505ff010288016101e60100", "1081000502880105ff017101e600")
}

func TestS12(t *testing.T) {
	statement(t, "S12", "A Set without data is refused; data in a Get is ignored.")
	r := meterRig(t)
	r.want("1081000505ff010288016101e500", "1081000502880105ff015101e500")
	r.want("1081000505ff010288016201e702aabb", "1081000502880105ff017201e704000001f8")
}

func TestS13(t *testing.T) {
	statement(t, "S13", "A refusal goes to the asker alone and is never answered.")
	r := meterRig(t)
	other := r.listen("10.0.0.3:3610")
	r.sendTo("1081000105ff010288016201ee00", memlink.Group)
	if got := r.next(); got != "1081000102880105ff015201ee00" {
		t.Errorf("got %s, want the refusal", got)
	}
	for _, esv := range []string{"50", "51", "52", "53"} {
		r.silentBoth("1081000105ff01028801" + esv + "01ee00")
	}
	// The other node has heard what the peer and the node sent to all, no more.
	r.sendTo("1081000205ff010288016201e700", memlink.Group)
	for {
		got := hear(t, other)
		if got == "1081000205ff010288016201e700" {
			break
		}
		if strings.HasPrefix(got[8:], "028801") {
			t.Errorf("another node heard the answer %s", got)
		}
	}
}

func TestP1(t *testing.T) {
	statement(t, "P1", "At start the instance list is announced by multicast, from and to 0EF001.")
	r := &rig{t: t, net: &memlink.Network{}}
	r.peer = r.listen(peerAt.String())
	r.serve(nodeAt.String(), echonet.Config{Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}})
	if got := r.next(); got[:4] != "1081" || got[8:] != "0ef0010ef0017301d50401028801" {
		t.Errorf("got %s", got)
	}
}

func TestP2(t *testing.T) {
	statement(t, "P2", "The instance list is announced again when it changes.")
	r := meterRig(t)
	if err := r.node.SetObjects(testDevice(echonet.LowVoltageMeter), testDevice(echonet.EOJ{1, 0x30, 1})); err != nil {
		t.Fatal(err)
	}
	if got := r.next(); got[8:] != "0ef0010ef0017301d50702028801013001" {
		t.Errorf("got %s", got)
	}
	r.want("1081000105ff0101300162018000", "1081000101300105ff01720180"+"0130")
}

func TestP3(t *testing.T) {
	statement(t, "P3", "The operating status is 30.")
	meterRig(t).want("1081000105ff010ef00162018000", "108100010ef00105ff017201800130")
}

func TestP4(t *testing.T) {
	statement(t, "P4", "D3, D6 and D7 leave the node profile out, D4 counts it; more than 84 instances take several D5.")
	meterRig(t).want("1081000105ff010ef0016204d300d400d600d700",
		"108100010ef00105ff017204d303000001d4020002d60401028801d703010288")

	var many []echonet.Object
	for class := byte(0); class < 10; class++ {
		for i := byte(1); i <= 20; i++ {
			many = append(many, testDevice(echonet.EOJ{1, 0x30 + class, i}))
		}
	}
	r := &rig{t: t, net: &memlink.Network{}}
	r.peer = r.listen(peerAt.String())
	r.serve(nodeAt.String(), echonet.Config{Objects: many})
	var all []echonet.EOJ
	for _, want := range []int{84, 84, 32} {
		var f echonet.Frame
		if err := f.UnmarshalBinary(unhex(t, r.next())); err != nil {
			t.Fatal(err)
		}
		edt, _ := f.Find(0xD5)
		list, err := echonet.ParseInstanceList(edt)
		if err != nil || len(list) != want {
			t.Fatalf("got %d instances, %v, want %d", len(list), err, want)
		}
		all = append(all, list...)
	}
	for i, o := range many {
		if all[i] != o.EOJ() {
			t.Fatalf("instance %d: got %v, want %v", i, all[i], o.EOJ())
		}
	}
	r.want("1081000105ff010ef0016203d300d400d700",
		"108100010ef00105ff017203d3030000c8d402000bd71108"+"01300131013201330134013501360137")
}

func TestP5(t *testing.T) {
	statement(t, "P5", "82 of the node profile says truthfully that only the specified format is taken.")
	meterRig(t).want("1081000105ff010ef00162018200", "108100010ef00105ff0172018204010e0100")
}

func TestP6(t *testing.T) {
	statement(t, "P6", "83 begins FE and holds the manufacturer code of 8A; it is the same after a restart.")
	var first string
	for range 2 {
		got := meterRig(t).ask("1081000105ff010ef001620283008a00")
		if want := "108100010ef00105ff0172028311fe000077" + hex.EncodeToString([]byte("MS0000000001")) + "00" + "8a03000077"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if first != "" && got != first {
			t.Errorf("got %s after a restart, before %s", got, first)
		}
		first = got
	}
}

func TestP7(t *testing.T) {
	statement(t, "P7", "9D of the node profile holds 80 and D5; 9F is complete: each of its properties is answered, no other.")
	r := meterRig(t)
	r.want("1081000105ff010ef00162029d009e00", "108100010ef00105ff0172029d030280d59e0201bf")
	answersExactlyItsMaps(t, r, echonet.NodeProfile)
}

func TestP8(t *testing.T) {
	statement(t, "P8", "A request to 0EF000 is answered as 0EF001.")
	meterRig(t).want("1081000b05ff010ef0006201d600", "1081000b0ef00105ff017201d60401028801")
}

// answersExactlyItsMaps asks for every code and compares with the maps.
func answersExactlyItsMaps(t *testing.T, r *rig, eoj echonet.EOJ) {
	t.Helper()
	maps := map[byte]echonet.PropertySet{}
	for _, epc := range []byte{0x9D, 0x9E, 0x9F} {
		edt, ok := r.get(eoj, epc)
		if !ok {
			t.Fatalf("%02X is not readable", epc)
		}
		var err error
		if maps[epc], err = echonet.ParsePropertyMap(edt); err != nil {
			t.Fatalf("%02X: %v", epc, err)
		}
	}
	for epc := 0; epc < 256; epc++ {
		_, ok := r.get(eoj, byte(epc))
		if want := maps[0x9F].Has(byte(epc)); ok != want {
			t.Errorf("Get of %02X: answered %v, in the map %v", epc, ok, want)
		}
		if maps[0x9E].Has(byte(epc)) {
			continue
		}
		got := r.ask(fmt.Sprintf("1081000305ff01%x6101%02x0100", eoj[:], epc))
		if got[20:22] != "51" {
			t.Errorf("Set of %02X is accepted: %s", epc, got)
		}
	}
}

// get asks for one property.
func (r *rig) get(eoj echonet.EOJ, epc byte) (edt []byte, ok bool) {
	r.t.Helper()
	var f echonet.Frame
	if err := f.UnmarshalBinary(unhex(r.t, r.ask(fmt.Sprintf("1081000205ff01%x6201%02x00", eoj[:], epc)))); err != nil {
		r.t.Fatal(err)
	}
	return f.Properties[0].EDT, f.ESV == echonet.GetRes
}

func TestD1(t *testing.T) {
	statement(t, "D1", "The mandatory properties of the super class are readable and in 9F.")
	r := meterRig(t)
	edt, _ := r.get(echonet.LowVoltageMeter, 0x9F)
	set, err := echonet.ParsePropertyMap(edt)
	if err != nil {
		t.Fatal(err)
	}
	for epc, size := range map[byte]int{0x80: 1, 0x81: 1, 0x82: 4, 0x88: 1, 0x8A: 3, 0x9D: 4, 0x9E: 4, 0x9F: len(edt)} {
		if got, ok := r.get(echonet.LowVoltageMeter, epc); !ok || len(got) != size || !set.Has(epc) {
			t.Errorf("%02X: got % X, %v, in the map %v", epc, got, ok, set.Has(epc))
		}
	}
}

func TestD2(t *testing.T) {
	statement(t, "D2", "What is in 9F answers Get, what is in 9E accepts Set, and nothing else does.")
	r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(testIdentity)}})
	answersExactlyItsMaps(t, r, echonet.Controller)
	r.want("1081000105ff0105ff0161018101"+"08", "1081000105ff0105ff0171018100")
}

func TestD3(t *testing.T) {
	statement(t, "D3", "80, 81 and 88 are in 9D; a change of one is notified from the object to 0EF001.")
	r := meterRig(t)
	r.want("1081000105ff0102880162019d00", "1081000102880105ff0172019d0403808188")
	r.want("1081000105ff0102880161018101"+"08", "1081000102880105ff0171018100")
	if got := r.next(); got[8:] != "0288010ef001730181"+"0108" {
		t.Errorf("got %s", got)
	}
	// The same value again is no change.
	r.want("1081000105ff0102880161018101"+"08", "1081000102880105ff0171018100")
	r.want("1081000105ff0102880162018100", "1081000102880105ff01720181"+"0108")
	if err := r.node.Notify(echonet.LowVoltageMeter, 0x88, 0x80, 0x81); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0288010ef0017302880142800130", "0288010ef001730181" + "0108"} {
		if got := r.next(); got[8:] != want {
			t.Errorf("got %s, want %s", got[8:], want)
		}
	}
}

func TestD7(t *testing.T) {
	statement(t, "D7", "A map has its bitmap form from 16 properties on.")
	for _, n := range []int{4, 15, 16, 17, 40} {
		var entries []echonet.Entry
		for i := range n - 3 {
			entries = append(entries, echonet.Entry{EPC: byte(0xA0 + i), Value: []byte{1}})
		}
		r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, entries...)}})
		edt, _ := r.get(echonet.LowVoltageMeter, 0x9F)
		size := n + 1
		if n >= 16 {
			size = 17
		}
		if len(edt) != size || int(edt[0]) != n {
			t.Errorf("%d properties: got % X", n, edt)
		}
	}
}
