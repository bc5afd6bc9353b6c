package echonet_test

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/internal/echonettest"
)

// The 30-byte answer with three properties that the goals are about.
const getRes30 = "1081123402880105ff017203e704000001f8e8040014ffffe00400012345"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range frames(b) {
		b.Run(c.name, func(b *testing.B) {
			var f echonet.Frame
			b.ReportAllocs()
			b.SetBytes(int64(len(c.bytes)))
			for b.Loop() {
				if err := f.UnmarshalBinary(c.bytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range frames(b) {
		b.Run(c.name, func(b *testing.B) {
			var f echonet.Frame
			if err := f.UnmarshalBinary(c.bytes); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 0, 512)
			b.ReportAllocs()
			b.SetBytes(int64(len(c.bytes)))
			for b.Loop() {
				if _, err := f.AppendBinary(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type benchFrame struct {
	name  string
	bytes []byte
}

func frames(t testing.TB) []benchFrame {
	return []benchFrame{
		{"Get18", unhex(t, "1081123405ff010288016203e700e800e000")},
		{"GetRes30", unhex(t, getRes30)},
		{"History208", append(unhex(t, "1081123402880105ff017201e2c2"), make([]byte, 194)...)},
	}
}

// BenchmarkRoundTrip asks a node over loopback UDP, beside a bare echo of the
// same sizes.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("BareEcho", benchEcho)
	for _, inFlight := range []int{1, 64} {
		b.Run(map[int]string{1: "Node1", 64: "Node64InFlight"}[inFlight], func(b *testing.B) {
			benchNode(b, inFlight)
		})
	}
}

func benchEcho(b *testing.B) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	answer := unhex(b, "1081123402880105ff017201e704000001f8")
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			_, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(answer, from)
		}
	})
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	request := unhex(b, "1081123405ff010288016201e700")
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.WriteTo(request, server.LocalAddr()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := client.ReadFrom(buf); err != nil {
			b.Fatal(err)
		}
	}
	client.Close()
	server.Close()
	wg.Wait()
}

func benchNode(b *testing.B, inFlight int) {
	_, addr := echonettest.Loopback(b, echonet.Config{Objects: []echonet.Object{
		echonet.NewDevice(echonet.LowVoltageMeter, echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}}),
	}})
	ctl, _ := echonettest.Loopback(b, echonet.Config{InFlight: inFlight})
	f := echonet.Frame{DEOJ: echonet.LowVoltageMeter, ESV: echonet.Get, Properties: []echonet.Property{{EPC: 0xE7}}}
	ctx := context.Background()
	b.ReportAllocs()
	if inFlight == 1 {
		for b.Loop() {
			if _, err := ctl.Request(ctx, addr, f); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(inFlight)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := ctl.Request(ctx, addr, f); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
