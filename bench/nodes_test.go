package bench

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
	class "github.com/meterseal/meterseal/echonet/meter"
)

// house is a source of readings that stand still.
type house struct{}

func (house) Clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func (house) Energy() class.Pair { return class.Pair{Normal: 123456, Reverse: 7} }

func (house) EnergyAt(time.Time) class.Pair            { return class.Pair{Normal: 123456, Reverse: 7} }
func (house) Power() class.Power                       { return 504 }
func (house) Currents() (class.Current, class.Current) { return 20, 31 }
func (house) Fault() uint16                            { return 0 }

// BenchmarkTenThousandMeters has one controller find 10,000 meters of class 0x0288 by multicast, and read from each what
// a HEMS reads at its start and then shows: two messages of six properties. All of them are whole nodes in one process,
// on a network in memory. Each iteration finds and reads all of them.
func BenchmarkTenThousandMeters(b *testing.B) {
	const count = 10_000
	before := memory()
	ctl := town(b, count)
	perNode := float64(memory()-before) / count

	var discover, read time.Duration
	for b.Loop() {
		start := time.Now()
		found := findAll(b, ctl, count)
		discover += time.Since(start)
		start = time.Now()
		readAll(b, ctl, found)
		read += time.Since(start)
	}
	b.ReportMetric(perNode, "B/node")
	b.ReportMetric(discover.Seconds()/float64(b.N), "discover-s/op")
	b.ReportMetric(read.Seconds()/float64(b.N), "read-s/op")
	b.ReportMetric(count*float64(b.N)/read.Seconds(), "meters/s")
}

// memory returns the bytes of live heap and of stacks.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// town runs that many meters and a controller, which it returns, until the benchmark ends.
func town(b *testing.B, count int) *echonet.Node {
	b.Helper()
	network := &memlink.Network{Queue: 4 * count}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	b.Cleanup(func() { cancel(); serving.Wait() })
	serve := func(at netip.Addr, group net.Addr, objects ...echonet.Object) *echonet.Node {
		conn, err := network.Listen(netip.AddrPortFrom(at, echonet.Port))
		if err != nil {
			b.Fatal(err)
		}
		n := echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: conn, Group: group}}, Objects: objects})
		serving.Go(func() {
			defer n.Close()
			if err := n.Serve(ctx); err != nil {
				b.Error(err)
			}
		})
		return n
	}
	for i := range count {
		m, err := class.New(class.Config{
			Source: house{}, Scale: class.Scale{Coefficient: 1, Exponent: -1}, Reverse: true,
			Identity: echonet.Identity{Serial: fmt.Sprintf("%012d", i)},
		})
		if err != nil {
			b.Fatal(err)
		}
		// Without a group: 10,000 announcements to 10,000 nodes are not what is measured.
		serve(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), nil, m)
	}
	return serve(netip.AddrFrom4([4]byte{10, 0, 0, 1}), memlink.Group, echonet.NewController(echonet.Identity{}))
}

// findAll discovers until all nodes are found. A node that asks a group keeps 1,024 answers for its caller: of thousands
// at a time some are lost, and asked for again, three times within two seconds.
func findAll(b *testing.B, ctl *echonet.Node, count int) []net.Addr {
	b.Helper()
	seen := map[echonet.Host]bool{}
	var found []net.Addr
	for range 10 {
		ctx, cancel := context.WithTimeout(b.Context(), 4*time.Second)
		err := ctl.Discover(ctx, nil, func(from net.Addr, list []echonet.EOJ) {
			if h := echonet.HostOf(from); !seen[h] && len(list) == 1 && list[0] == echonet.LowVoltageMeter {
				seen[h] = true
				found = append(found, from)
			}
			if len(found) == count {
				cancel()
			}
		})
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		if len(found) == count {
			return found
		}
	}
	b.Fatalf("found %d nodes of %d", len(found), count)
	return nil
}

// readAll reads each meter once, 64 of them at a time.
func readAll(b *testing.B, ctl *echonet.Node, meters []net.Addr) {
	b.Helper()
	queue := make(chan net.Addr)
	var readers sync.WaitGroup
	for range 64 {
		readers.Go(func() {
			for addr := range queue {
				for _, epcs := range [][]byte{{0x82, 0x9D, 0x9E, 0x9F, 0xD7, 0xE1}, {0x88, 0xE0, 0xE3, 0xE7, 0xE8, 0xEA}} {
					ps, err := ctl.Get(b.Context(), addr, echonet.LowVoltageMeter, epcs...)
					if err != nil || len(ps) != len(epcs) {
						b.Errorf("%v: %d properties, %v", addr, len(ps), err)
					}
				}
			}
		})
	}
	for _, addr := range meters {
		queue <- addr
	}
	close(queue)
	readers.Wait()
}
