package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

// labMDMS is an MDMS of the demo: the real one, over HTTP on a free port of
// loopback. Its clock can be moved on.
type labMDMS struct {
	*mdms.Server
	url    string
	client *controller.Client
	later  atomic.Int64 // what its clock is ahead, ns
	stop   context.CancelFunc
	ended  chan error
}

func newLabMDMS(ctx context.Context, dir string, log *slog.Logger) (*labMDMS, error) {
	l := &labMDMS{ended: make(chan error, 1)}
	var err error
	l.Server, err = mdms.Open(ctx, mdms.Config{
		Store: filepath.Join(dir, "mdms.db"), Logger: log,
		Now: func() time.Time { return time.Now().Add(time.Duration(l.later.Load())) },
	})
	if err != nil {
		return nil, err
	}
	ln, err := l.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.url = "http://" + ln.Addr().String()
	if l.client, err = controller.NewClient(l.url, nil); err != nil {
		return nil, errors.Join(err, ln.Close(), l.Close())
	}
	ctx, l.stop = context.WithCancel(ctx)
	go func() {
		l.ended <- together(ctx, l.Run, func(ctx context.Context) error { return l.Serve(ctx, ln) })
	}()
	return l, nil
}

func (l *labMDMS) close() error {
	l.stop()
	return errors.Join(<-l.ended, l.Close())
}

// enrol registers a meter as an administrator does.
func (l *labMDMS) enrol(ctx context.Context, id eventlog.MeterID, pub *ecdsa.PublicKey) error {
	return l.Enrol(ctx, mdms.Enrolment{Meter: id, PublicKey: pub, Scheme: eventlog.SchemeCounter, Policy: eventlog.DefaultPolicy()})
}

// post sends a bundle over HTTP.
func (l *labMDMS) post(ctx context.Context, u *eventlog.Bundle) (controller.Answer, error) {
	b, err := u.AppendBinary(nil)
	if err != nil {
		return controller.Answer{}, err
	}
	return l.client.Post(ctx, b)
}

// baseline posts honest evidence, which must be intact before any attack means
// something.
func (l *labMDMS) baseline(ctx context.Context, u *eventlog.Bundle) error {
	a, err := l.post(ctx, u)
	if err == nil && a.Verdict != "INTACT" && a.Verdict != "INTACT_WITH_TAIL" {
		err = fmt.Errorf("the untampered baseline is %s: %v", a.Verdict, a.Findings)
	}
	return err
}
