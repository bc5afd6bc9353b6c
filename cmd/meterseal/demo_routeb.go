package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// radioSpeed is how many times faster than life the demo's dongle is.
const radioSpeed = 20

// routeB carries the evidence once over a virtual Wi-SUN dongle: a serial port,
// the dongle behind it, and the meter in its reach.
func (d *demo) routeB(ctx context.Context, head controller.Head) (err error) {
	d.say("\nRoute-B: the same meter in reach of a virtual Wi-SUN dongle on a serial port")
	cr, err := testCredentials()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	air, err := lc.ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("socket to the meter: %w", err)
	}
	defer air.Close()
	dg, err := dongle.New(dongle.Config{
		Meters: []*dongle.Meter{{Credentials: cr, Conn: air, Addr: d.meter.addr()}}, Speed: radioSpeed, Logger: d.log,
	})
	if err != nil {
		return err
	}
	link := filepath.Join(d.dir, "ttyMETER")
	pty, err := dongle.OpenPTY(link)
	if errors.Is(err, errors.ErrUnsupported) {
		d.line("skipped", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- dg.Serve(running, pty) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	d.line("dongle", "BP35A1 on %s, %d times faster than life", pty.Name(), radioSpeed)

	dial, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s := newSession(nil)
	conn, err := routeb.Dial(dial, routeb.Config{Port: link, Credentials: cr, OnChange: s.take, Logger: d.log})
	if err != nil {
		return err
	}
	st := conn.Status()
	d.line("joined", "%s on channel %d, PAN %04X, %s %s", st.Meter, st.Network.Channel, st.Network.PAN, st.Module.Family, st.Module.Version)
	if err := d.meter.event(ctx, eventlog.Event{Class: eventlog.ClassFraud, Code: 42}); err != nil {
		return errors.Join(err, conn.Close())
	}
	return d.relayOver(ctx, conn, s, head)
}

// relayOver collects what is beyond head over a session, and posts it.
func (d *demo) relayOver(ctx context.Context, conn *routeb.Conn, s *session, head controller.Head) (err error) {
	link, m := routebLink(conn, s)
	node := echonet.New(echonet.Config{Links: []echonet.Link{link}, Logger: d.log})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Serve(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, ignoreClosed(conn.Close()))
	}()
	start := time.Now()
	got, err := controller.NewCollector(node, m, controller.CollectConfig{Tail: true}).Collect(ctx, controller.Want{Head: head, Again: true})
	if err != nil {
		return err
	}
	d.line("collect", "%s of log in %s, %s, %.1f s of radio time", plural(int(got.Stats.Bytes), "byte"), plural(got.Stats.Windows, "window"),
		plural(got.Stats.RoundTrips, "round trip"), radioSpeed*time.Since(start).Seconds())
	a, err := d.mdms.post(ctx, got.Bundle)
	if err != nil {
		return err
	}
	d.line("verdict", "%s (%s): sequence %d", a.Verdict, a.Outcome, a.Head.LastSeq)
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}
