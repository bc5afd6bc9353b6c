package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft"
)

// labMeter is a meter of the demo: the real one, on a free port of loopback,
// with its soft module in a process of its own. It can be switched off and on.
type labMeter struct {
	dir string
	id  eventlog.MeterID
	cfg device.Config // further settings; Dir, Module and so on are filled in
	log *slog.Logger

	away   <-chan struct{} // the module's process does not start before it is closed; nil = at once
	module *soft.Module
	meter  *device.Meter
	links  []echonet.Link
	stop   context.CancelFunc
	ended  chan error
}

// newLabMeter makes a meter of the given id with its state below dir. It is
// off.
func newLabMeter(dir, id string, log *slog.Logger) (*labMeter, error) {
	meter, err := eventlog.ParseMeterID(id)
	return &labMeter{dir: dir, id: meter, log: log}, err
}

// on starts the meter and waits until it answers and has sealed that it began.
func (l *labMeter) on(ctx context.Context) (err error) {
	if l.module == nil {
		if l.module, err = l.openModule(ctx); err != nil {
			return err
		}
	}
	if l.links, err = echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}}); err != nil {
		return err
	}
	cfg := l.cfg
	cfg.Dir, cfg.Module, cfg.Meter, cfg.Policy, cfg.Profile, cfg.Logger = l.dir, l.module, l.id, eventlog.DefaultPolicy(), eventlog.ProfileIDIS, l.log
	if l.meter, err = device.Open(ctx, cfg); err != nil {
		closeLinks(l.links)
		return err
	}
	running, stop := context.WithCancel(ctx)
	l.stop, l.ended = stop, make(chan error, 1)
	up := make(chan struct{})
	go func() { l.ended <- serveMeter(running, l.meter, l.links, func() { close(up) }) }()
	select {
	case <-up:
		sealed := func() bool { st := l.meter.Status(); return st.SignedLength == st.Length }
		return until(ctx, sealed)
	case err := <-l.ended:
		stop()
		l.stop = nil // there is no end to wait for any more
		closeLinks(l.links)
		return errors.Join(err, l.meter.Close())
	}
}

// openModule opens the meter's module; at the first start it makes its key.
// The passphrase is a test one: the key guards nothing.
func (l *labMeter) openModule(ctx context.Context) (*soft.Module, error) {
	cfg := soft.Config{
		Dir: filepath.Join(l.dir, moduleDir),
		Passphrase: func() (soft.Secret, error) {
			if l.away != nil {
				<-l.away
			}
			return soft.Secret("demo test passphrase"), nil
		},
		Cost:    soft.Cost{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1},
		Timeout: time.Second,
		Logger:  l.log,
	}
	return openModule(ctx, cfg, eventlog.SchemeCounter)
}

// off stops the meter; its module stays.
func (l *labMeter) off() error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	err := <-l.ended
	l.stop = nil
	closeLinks(l.links)
	return errors.Join(err, l.meter.Close())
}

// close stops the meter and its module.
func (l *labMeter) close() error {
	err := l.off()
	if l.module != nil {
		err = errors.Join(err, l.module.Close())
		l.module = nil
	}
	return err
}

// addr is where the meter answers.
func (l *labMeter) addr() net.Addr { return l.links[0].LocalAddr() }

func (l *labMeter) key() *ecdsa.PublicKey { return l.module.PublicKey() }

// event records an event, and fails if it is not sealed although it should be.
func (l *labMeter) event(ctx context.Context, e eventlog.Event, payload ...byte) error {
	rec, err := l.meter.Record(ctx, e, payload)
	if err == nil && rec.Specific && !rec.Sealed {
		err = fmt.Errorf("event %s was not sealed in time", e)
	}
	return err
}

// segmentFile is the path of a segment of the meter's log.
func (l *labMeter) segmentFile(segment uint32) string {
	return filepath.Join(l.dir, "log", fmt.Sprintf("%08d.seg", segment))
}

// copyState replaces in to the log and the state file of a meter, as somebody
// does who dumps and writes its flash while it is off. The module is left out.
func copyState(from, to string) error {
	log := filepath.Join(to, "log")
	if err := errors.Join(os.RemoveAll(log), os.MkdirAll(to, 0o700)); err != nil {
		return err
	}
	if err := os.CopyFS(log, os.DirFS(filepath.Join(from, "log"))); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(from, "meter.json"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, "meter.json"), b, 0o600)
}

// copyPrivate copies a directory whose files only their owner may read.
func copyPrivate(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}

// courier is an honest controller's node that collects from lab meters.
type courier struct {
	node  *echonet.Node
	links []echonet.Link
	stop  context.CancelFunc
	ended chan error
}

func newCourier(ctx context.Context, log *slog.Logger) (*courier, error) {
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	id := echonet.Identity{Product: "METERSEAL", Serial: "DEMO"}
	c := &courier{links: links, ended: make(chan error, 1)}
	c.node = echonet.New(echonet.Config{
		Links: links, Objects: []echonet.Object{echonet.NewController(id)}, Identity: id, Logger: log,
		Timeout: 2 * time.Second, TimeoutMany: 2 * time.Second,
	})
	ctx, c.stop = context.WithCancel(ctx)
	go func() { c.ended <- c.node.Serve(ctx) }()
	return c, nil
}

func (c *courier) close() error {
	c.stop()
	err := <-c.ended
	closeLinks(c.links)
	return err
}

// collect reads what the meter has beyond a head, tail included.
func (c *courier) collect(ctx context.Context, l *labMeter, head controller.Head) (controller.Collected, error) {
	col := controller.NewCollector(c.node, controller.Meter{Addr: l.addr()}, controller.CollectConfig{Tail: true})
	got, err := col.Collect(ctx, controller.Want{Head: head, Again: true})
	if err == nil && got.Bundle == nil {
		err = errors.New("the meter has nothing to collect")
	}
	return got, err
}
