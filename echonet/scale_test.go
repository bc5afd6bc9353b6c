package echonet_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	"github.com/meterseal/meterseal/internal/echonettest"
	"github.com/meterseal/meterseal/internal/effort"
)

// TestManyNodes has one controller discover 500 meters, or up to 10,000 with
// EFFORT, and read each of them.
func TestManyNodes(t *testing.T) {
	count := min(10_000, effort.Times(500))
	r := &rig{t: t, net: &memlink.Network{Queue: 2 * count}}
	for i := range count {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), echonet.Port)
		// Without a group: announcements of all to all are not what is tested.
		links := []echonet.Link{{PacketConn: r.listen(at.String())}}
		run(t, echonet.New(echonet.Config{Links: links, Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}}))
	}
	readAll(t, r.serve("10.0.0.1:3610", echonet.Config{}), count)
}

// readAll discovers every meter by multicast and reads two properties of each. As
// thousands answer at a time, some answers are lost: discovery goes on until all
// are found.
func readAll(t *testing.T, ctl *echonet.Node, count int) {
	t.Helper()
	found := make(chan net.Addr, count)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for addr := range found {
				if _, err := ctl.Get(context.Background(), addr, echonet.LowVoltageMeter, 0xE7, 0x88); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[echonet.Host]bool{}
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := ctl.Discover(ctx, nil, func(from net.Addr, list []echonet.EOJ) {
			if h := echonet.HostOf(from); len(list) == 1 && !seen[h] {
				seen[h] = true
				found <- from
			}
			if len(seen) == count {
				cancel()
			}
		}); err != nil {
			t.Error(err)
		}
		cancel()
		if len(seen) == count {
			break
		}
	}
	close(found)
	wg.Wait()
	if len(seen) != count {
		t.Fatalf("found %d nodes of %d", len(seen), count)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Frames of all kinds from ever new hosts leave no memory behind: 100,000, or 10
// million with EFFORT=100.
func TestMemoryStaysFlat(t *testing.T) {
	var n memlink.Network
	node := echonet.New(echonet.Config{
		Links:    []echonet.Link{{PacketConn: echonettest.Listen(t, &n, "10.0.0.1:3610")}},
		Objects:  []echonet.Object{testDevice(echonet.LowVoltageMeter), echonet.NewController(testIdentity)},
		OnNotify: func(net.Addr, echonet.Frame) {},
		Reply:    echonet.ReplySource,
	})
	run(t, node)
	datagrams := [][]byte{
		unhex(t, "1081000105ff010288016202e700ee00"), unhex(t, "1081000605ff010288016e01e5010002e500e700"),
		unhex(t, "108100000ef0010ef0017301d50401028801"), unhex(t, "1081000a0288010"+"5ff017401ea0107"),
		unhex(t, "1081000102880105ff017201e704000001f8"), unhex(t, "1081000405ff010288016e00"), unhex(t, "1082"),
	}
	alive := echonettest.Listen(t, &n, "10.0.0.2:3610")
	sent := 0
	send := func(count int) {
		for i := 0; i < count; i += len(datagrams) {
			from := listenOnce(t, &n, sent)
			for _, d := range datagrams {
				from.WriteTo(d, net.UDPAddrFromAddrPort(nodeAt))
				sent++
			}
			// The node keeps up: what follows is answered.
			alive.WriteTo(unhex(t, "1081ffff05ff010ef00162018000"), net.UDPAddrFromAddrPort(nodeAt))
			hear(t, alive)
			from.Close()
		}
	}
	total := effort.Times(100_000)
	send(total / 10)
	before := heap()
	send(total)
	after := heap()
	if after > before+1<<20 {
		t.Errorf("heap grew from %d to %d bytes over %d frames", before, after, total)
	}
	if got := node.Stats().Received; got < uint64(sent) {
		t.Errorf("the node received %d of %d", got, sent)
	}
}

// listenOnce opens a Conn at an address that was not used before.
func listenOnce(t *testing.T, n *memlink.Network, i int) *memlink.Conn {
	t.Helper()
	c, err := n.Listen(netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:%d", 2+i>>22&0x7F, i>>14&0xFF, i>>6&0xFF, 1024+i&0x3F)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
