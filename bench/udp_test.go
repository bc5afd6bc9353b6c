package bench

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/meterseal/meterseal/echonet"
)

// BenchmarkRoundTripBareUDP is the limit: a request and its answer over
// loopback, both sides plain UDP sockets.
func BenchmarkRoundTripBareUDP(b *testing.B) { bare(b, 1) }

// BenchmarkRoundTripBareUDPInFlight is the limit with 64 requests under way.
func BenchmarkRoundTripBareUDPInFlight(b *testing.B) { bare(b, 64) }

func bare(b *testing.B, inFlight int) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := server.WriteTo(buf[:n], from); err != nil {
				return
			}
		}
	}()
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	ask := func() {
		if _, err := client.WriteTo(getRes, server.LocalAddr()); err != nil {
			b.Fatal(err)
		}
	}
	for range inFlight - 1 {
		ask()
	}
	buf := make([]byte, 1500)
	for b.Loop() {
		ask()
		if n, _, err := client.ReadFrom(buf); err != nil || n != len(getRes) {
			b.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// BenchmarkRoundTrip is a Get of one property of ours, node to node.
func BenchmarkRoundTrip(b *testing.B) {
	power := echonet.NewDevice(echonet.LowVoltageMeter, echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}})
	server, addr := node(b, power)
	defer server()
	client, _, n := nodeOf(b)
	defer client()
	for b.Loop() {
		ps, err := n.Get(b.Context(), addr, echonet.LowVoltageMeter, 0xE7)
		if err != nil || len(ps) != 1 || len(ps[0].EDT) != 4 {
			b.Fatalf("%v: %v", ps, err)
		}
	}
}

// BenchmarkRoundTripInFlight is the same with 64 requests under way.
func BenchmarkRoundTripInFlight(b *testing.B) {
	power := echonet.NewDevice(echonet.LowVoltageMeter, echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}})
	server, addr := node(b, power)
	defer server()
	client, _, n := nodeOf(b)
	defer client()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if ps, err := n.Get(b.Context(), addr, echonet.LowVoltageMeter, 0xE7); err != nil || len(ps) != 1 {
				b.Errorf("%v: %v", ps, err)
				return
			}
		}
	})
}

func node(b *testing.B, objects ...echonet.Object) (stop func(), addr net.Addr) {
	stop, addr, _ = nodeOf(b, objects...)
	return stop, addr
}

func nodeOf(b *testing.B, objects ...echonet.Object) (stop func(), addr net.Addr, n *echonet.Node) {
	b.Helper()
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		b.Fatal(err)
	}
	n = echonet.New(echonet.Config{Links: links, Objects: objects, InFlight: 64})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx) }()
	return func() {
		cancel()
		<-ended
		for _, l := range links {
			l.Close()
		}
	}, links[0].LocalAddr(), n
}
