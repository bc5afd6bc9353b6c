// Package dongletest runs virtual dongles for as long as a test.
package dongletest

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/meterseal/meterseal/routeb/dongle"
)

// Run runs a dongle until the test ends or stop is called.
func Run(t testing.TB, d *dongle.Dongle, plug func() (io.ReadWriteCloser, error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, plug) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("dongle: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// OnPTY runs a dongle on a pseudo-terminal until the test ends, and returns the
// link to its port. The meter is on UDP, where answer is what it does; its Conn
// and Addr are filled in.
func OnPTY(t testing.TB, cfg dongle.Config, m *dongle.Meter, answer func(net.PacketConn)) (d *dongle.Dongle, port string) {
	t.Helper()
	listen := func() net.PacketConn {
		c, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	near, far := listen(), listen()
	go answer(far)
	m.Conn, m.Addr = near, far.LocalAddr()
	cfg.Meters = []*dongle.Meter{m}
	d, err := dongle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	port = filepath.Join(t.TempDir(), "dongle")
	ready := make(chan struct{})
	plugged := sync.OnceFunc(func() { close(ready) })
	Run(t, d, func() (io.ReadWriteCloser, error) {
		defer plugged()
		return dongle.OpenPTY(port)
	})
	<-ready
	return d, port
}
