package echonet_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	fixtures "github.com/meterseal/meterseal/fixtures/echonet"
)

// FuzzNode sends any datagram to a node. It must live; only requests may be
// answered; and an answer must obey the rules.
func FuzzNode(f *testing.F) {
	for _, s := range corpus {
		f.Add(unhex(f, s), false)
		f.Add(unhex(f, s), true)
	}
	for _, c := range append(fixtures.Meter(), fixtures.Controller()...) {
		f.Add(c.Request, false)
		f.Add(c.Answer, false)
	}
	var n memlink.Network
	listen := func(at string) *memlink.Conn {
		c, err := n.Listen(netip.MustParseAddrPort(at))
		if err != nil {
			f.Fatal(err)
		}
		return c
	}
	peer, link := listen("10.0.0.2:3610"), listen("10.0.0.1:3610")
	defer peer.Close()
	objects := []echonet.Object{
		testDevice(echonet.LowVoltageMeter), testDevice(echonet.EOJ{1, 0x30, 1}), testDevice(echonet.EOJ{1, 0x30, 2}),
		echonet.NewController(testIdentity),
	}
	node := echonet.New(echonet.Config{
		Links: []echonet.Link{{PacketConn: link}}, Objects: objects, OnNotify: func(net.Addr, echonet.Frame) {},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- node.Serve(ctx) }()
	defer func() { cancel(); <-done; link.Close() }()

	tid := uint16(0)
	f.Fuzz(func(t *testing.T, b []byte, multicast bool) {
		to := net.Addr(udp("10.0.0.1:3610"))
		if multicast {
			to = memlink.Group
		}
		peer.WriteTo(b, to)
		// Then a request that must be answered: what comes before answers b.
		tid++
		alive := echonet.Frame{TID: tid, SEOJ: echonet.EOJ{0xAB, 0xCD, 0xEF}, DEOJ: echonet.NodeProfile, ESV: echonet.Get, Properties: []echonet.Property{{EPC: 0x80}}}
		q, _ := alive.AppendBinary(nil)
		peer.WriteTo(q, udp("10.0.0.1:3610"))
		var answers [][]byte
		for {
			buf := make([]byte, 4096)
			peer.SetReadDeadline(time.Now().Add(time.Minute))
			size, from, err := peer.ReadFrom(buf)
			if err != nil {
				t.Fatalf("the node is deaf: %v", err)
			}
			if from == peer.LocalAddr() {
				continue
			}
			var a echonet.Frame
			if err := a.UnmarshalBinary(buf[:size]); err != nil {
				t.Fatalf("answer %x: %v", buf[:size], err)
			}
			if a.DEOJ == alive.SEOJ && a.TID == tid && a.ESV == echonet.GetRes {
				break
			}
			answers = append(answers, buf[:size])
		}
		checkAnswers(t, b, answers)
	})
}

// services are the requests with the services of their answers.
var services = map[echonet.ESV][2]echonet.ESV{
	echonet.SetI:   {0, echonet.SetISNA},
	echonet.SetC:   {echonet.SetRes, echonet.SetCSNA},
	echonet.Get:    {echonet.GetRes, echonet.GetSNA},
	echonet.INFREQ: {echonet.INF, echonet.INFSNA},
	echonet.SetGet: {echonet.SetGetRes, echonet.SetGetSNA},
	echonet.INFC:   {echonet.INFCRes, 0},
}

func checkAnswers(t *testing.T, b []byte, answers [][]byte) {
	t.Helper()
	var q echonet.Frame
	if err := q.UnmarshalBinary(b); err != nil || services[q.ESV] == [2]echonet.ESV{} {
		if len(answers) > 0 {
			t.Fatalf("%x is no request (%v) and is answered: %x", b, err, answers)
		}
		return
	}
	seen := map[echonet.EOJ]bool{}
	for _, raw := range answers {
		var a echonet.Frame
		if err := a.UnmarshalBinary(raw); err != nil {
			t.Fatal(err)
		}
		switch {
		case len(raw) > max(1232, len(b)):
			t.Fatalf("answer of %d bytes", len(raw))
		case a.TID != q.TID || a.DEOJ != q.SEOJ || !q.DEOJ.Matches(a.SEOJ) || a.SEOJ.Instance() == 0 || seen[a.SEOJ]:
			t.Fatalf("%x: answer from %v to %v, TID %04x", b, a.SEOJ, a.DEOJ, a.TID)
		case a.ESV == 0 || a.ESV != services[q.ESV][0] && a.ESV != services[q.ESV][1]:
			t.Fatalf("%x: answer with %v", b, a.ESV)
		}
		seen[a.SEOJ] = true
		refused := 0
		switch q.ESV {
		case echonet.SetI, echonet.SetC, echonet.SetGet:
			refused += checkSet(t, q.Properties, a.Properties)
			if q.ESV == echonet.SetGet {
				refused += checkGet(t, q.GetProperties, a.GetProperties)
			}
		case echonet.Get, echonet.INFREQ:
			refused += checkGet(t, q.Properties, a.Properties)
		case echonet.INFC:
			if refused := checkGet(t, q.Properties, a.Properties); refused != len(q.Properties) {
				t.Fatalf("%x: confirmed with data: %x", b, raw)
			}
			continue
		}
		if a.ESV.IsSNA() && refused == 0 {
			t.Fatalf("%x: refused without a refusal: %x", b, raw)
		}
	}
}

// checkSet checks a list of a Set answer: accepted without data, refused as sent.
// A refused property that came without data looks accepted, so it counts.
func checkSet(t *testing.T, asked, got []echonet.Property) (refused int) {
	t.Helper()
	if len(got) != len(asked) {
		t.Fatalf("asked %d properties, answered %d", len(asked), len(got))
	}
	for i, p := range got {
		if p.EPC != asked[i].EPC || len(p.EDT) > 0 && !bytes.Equal(p.EDT, asked[i].EDT) {
			t.Fatalf("property %d: sent %02X % X, answered %02X % X", i, asked[i].EPC, asked[i].EDT, p.EPC, p.EDT)
		}
		if len(p.EDT) > 0 || len(asked[i].EDT) == 0 {
			refused++
		}
	}
	return refused
}

// checkGet checks a list of a Get answer.
func checkGet(t *testing.T, asked, got []echonet.Property) (refused int) {
	t.Helper()
	if len(got) != len(asked) {
		t.Fatalf("asked %d properties, answered %d", len(asked), len(got))
	}
	for i, p := range got {
		if p.EPC != asked[i].EPC {
			t.Fatalf("property %d: asked %02X, answered %02X", i, asked[i].EPC, p.EPC)
		}
		if len(p.EDT) == 0 {
			refused++
		}
	}
	return refused
}
