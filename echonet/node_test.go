package echonet_test

import (
	"context"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meterseal/meterseal/echonet"
)

// start serves a node with the objects on a free loopback port until the test
// ends.
func start(t testing.TB, c echonet.Config) (*echonet.Node, net.Addr) {
	t.Helper()
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Links = links
	n := echonet.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.Close()
	})
	return n, links[0].LocalAddr()
}

func TestGetOverLoopback(t *testing.T) {
	id := echonet.Identity{Serial: "MS0000000001"}
	_, addr := start(t, echonet.Config{Identity: id, Objects: []echonet.Object{
		echonet.NewDevice(echonet.LowVoltageMeter, echonet.SuperClass(id, echonet.Version('R', 1))...),
	}})
	ctl, _ := start(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(id)}})
	got, err := ctl.Get(t.Context(), addr, echonet.LowVoltageMeter, 0x80, 0x8A)
	if err != nil {
		t.Fatal(err)
	}
	want := []echonet.Property{{EPC: 0x80, EDT: []byte{0x30}}, {EPC: 0x8A, EDT: []byte{0xFF, 0xFF, 0xFF}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
