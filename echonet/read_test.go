package echonet_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// socket opens a UDP socket on loopback until the test ends.
func socket(t *testing.T) echonet.Link {
	t.Helper()
	links, err := echonet.Listen(echonet.ListenConfig{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { links[0].Close() })
	return links[0]
}

// overUDP serves objects on loopback until the test ends.
func overUDP(t *testing.T, c echonet.Config) (*echonet.Node, net.Addr) {
	t.Helper()
	link := socket(t)
	c.Links = []echonet.Link{link}
	return run(t, echonet.New(c)), link.LocalAddr()
}

var power = echonet.Entry{EPC: 0xE7, Value: []byte{0, 0, 1, 0xF8}}

// lead asks until a caller has read the socket itself, so that the next request
// is likely to.
func lead(t *testing.T, n *echonet.Node, to net.Addr) {
	t.Helper()
	for before := echonet.Leads(n); echonet.Leads(n) == before; {
		if _, err := n.Get(t.Context(), to, echonet.LowVoltageMeter, 0xE7); err != nil {
			t.Fatal(err)
		}
	}
}

// keepAsking has a node ask another again and again until stop is called, or the
// test ends. Each request must be answered.
func keepAsking(t *testing.T, n *echonet.Node, at net.Addr) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := n.Get(context.WithoutCancel(ctx), at, echonet.LowVoltageMeter, 0xE7); err != nil {
				t.Errorf("%v does not answer: %v", at, err)
			}
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// watched is an object that tells when it is called from within a request.
type watched struct {
	*echonet.Device
	t *testing.T
}

func (w watched) Begin(r echonet.Request) echonet.Access {
	if stack := debug.Stack(); bytes.Contains(stack, []byte("(*Node).Request")) {
		w.t.Errorf("called from within a request:\n%s", stack)
	}
	return w.Device.Begin(r)
}

// Callers read the socket themselves, while others ask the same node.
func TestCallersReadWhileTheNodeServes(t *testing.T) {
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	n, at := overUDP(t, echonet.Config{Objects: []echonet.Object{watched{echonet.NewDevice(echonet.LowVoltageMeter, power), t}}})
	other, _ := overUDP(t, echonet.Config{})

	stop := keepAsking(t, other, at)
	for range 2000 {
		ps, err := n.Get(t.Context(), meter, echonet.LowVoltageMeter, 0xE7)
		if err != nil || len(ps) != 1 {
			t.Fatalf("%v: %v", ps, err)
		}
	}
	stop()
	if leads := echonet.Leads(n); leads < 100 {
		t.Errorf("callers have read %d times: this test shows little", leads)
	}
	if s := n.Stats(); s.Unmatched != 0 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// Many callers, who ask at once and pause at random.
func TestManyCallersRead(t *testing.T) {
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	n, _ := overUDP(t, echonet.Config{InFlight: 3, Retries: -1})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 300 {
				if _, err := n.Get(t.Context(), meter, echonet.LowVoltageMeter, 0xE7); err != nil {
					t.Error(err)
					return
				}
				if (i+k)%7 == 0 {
					time.Sleep(time.Duration(i*k%2500) * time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	if s := n.Stats(); s.Matched != 8*300 || s.Unmatched != 0 {
		t.Errorf("%+v", s)
	}
}

// A caller who reads and gets no answer gives the socket back: the node serves,
// and the caller's time and context count.
func TestCallerWhoReadsInVain(t *testing.T) {
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	silent := socket(t).LocalAddr()
	n, at := overUDP(t, echonet.Config{Retries: -1, Timeout: time.Hour, Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	other, _ := overUDP(t, echonet.Config{})

	for range 20 {
		lead(t, n, meter)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := n.Get(ctx, silent, echonet.LowVoltageMeter, 0xE7)
			failed <- err
		}()
		if _, err := other.Get(t.Context(), at, echonet.LowVoltageMeter, 0xE7); err != nil {
			t.Errorf("the node does not serve: %v", err)
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
	}
	brief, _ := overUDP(t, echonet.Config{Retries: -1, Timeout: 5 * time.Millisecond})
	lead(t, brief, meter)
	if _, err := brief.Get(t.Context(), silent, echonet.LowVoltageMeter, 0xE7); !errors.Is(err, echonet.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

// stuck is an object that answers nothing until it is let go.
type stuck struct {
	*echonet.Device
	asked, release chan struct{}
}

func (s stuck) Begin(r echonet.Request) echonet.Access {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-s.release
	return s.Device.Begin(r)
}

// A caller has his own context and time also while an object of the node keeps
// Serve busy.
func TestCallerWhileAnObjectIsSlow(t *testing.T) {
	device := echonet.NewDevice(echonet.LowVoltageMeter, power)
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{device}})
	silent := socket(t).LocalAddr()
	for range 10 {
		slow := stuck{device, make(chan struct{}, 1), make(chan struct{})}
		n, at := overUDP(t, echonet.Config{Retries: -1, Timeout: time.Hour, Objects: []echonet.Object{slow}})
		other, _ := overUDP(t, echonet.Config{Timeout: time.Minute, Retries: -1})
		lead(t, n, meter)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := n.Get(ctx, silent, echonet.LowVoltageMeter, 0xE7)
			failed <- err
		}()
		served := make(chan error, 1)
		go func() {
			_, err := other.Get(t.Context(), at, echonet.LowVoltageMeter, 0xE7)
			served <- err
		}()
		<-slow.asked
		cancel()
		select {
		case err := <-failed:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want Canceled", err)
			}
		case <-time.After(time.Minute):
			t.Error("the caller waits for the object")
		}
		close(slow.release)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// Serve ends while a caller reads; then another node serves the same link.
func TestServeEndsWhileACallerReads(t *testing.T) {
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	silent := socket(t).LocalAddr()
	link := socket(t)
	for range 50 {
		n := echonet.New(echonet.Config{Links: []echonet.Link{link}, Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- n.Serve(ctx) }()
		lead(t, n, meter)
		asking := make(chan struct{})
		failed := make(chan error, 1)
		go func() {
			close(asking)
			_, err := n.Get(t.Context(), silent, echonet.LowVoltageMeter, 0xE7)
			failed <- err
		}()
		<-asking
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-failed; !errors.Is(err, echonet.ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
		if _, err := link.WriteTo(nil, silent); err != nil {
			t.Errorf("the link after Serve: %v", err)
		}
	}
}

// What answers an INFREQ is a notification, which is Serve's to handle.
func TestNotificationAnswersWhileCallersRead(t *testing.T) {
	_, meter := overUDP(t, echonet.Config{Objects: []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}})
	_, second := overUDP(t, echonet.Config{})
	var heard atomic.Int32
	n, _ := overUDP(t, echonet.Config{OnNotify: func(net.Addr, echonet.Frame) { heard.Add(1) }})
	for range 100 {
		lead(t, n, meter)
		ps, err := n.InfReq(t.Context(), meter, echonet.NodeProfile, 0xD5)
		if err != nil || len(ps) != 1 {
			t.Fatalf("%v: %v", ps, err)
		}
	}
	stop := keepAsking(t, n, meter) // another caller, who reads for those who ask for notifications
	for range 400 {
		if _, err := n.InfReq(t.Context(), second, echonet.NodeProfile, 0xD5); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Microsecond)
	}
	stop()
	deadline := time.Now().Add(time.Minute)
	for heard.Load() < 500 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if got := heard.Load(); got != 500 {
		t.Errorf("OnNotify heard %d of 500", got)
	}
}

// The corpus, answers to nothing and answers that are wrong come while callers
// read.
func TestHostilePeersWhileCallersRead(t *testing.T) {
	objects := []echonet.Object{echonet.NewDevice(echonet.LowVoltageMeter, power)}
	_, meter := overUDP(t, echonet.Config{Objects: objects})
	n, at := overUDP(t, echonet.Config{Objects: objects})
	other, _ := overUDP(t, echonet.Config{})
	stranger := socket(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	hostile := append([]string{
		"1081ffff0288010ef0017201e704deadbeef", // answers to what was never asked
		"108100000288010ef0015201e700", "1081ffff0288010ef0017301e704deadbeef", "1081ffff0288010ef0017401e704deadbeef",
		strings.Repeat("ff", 4096), strings.Repeat("00", 5000),
	}, corpus...)
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			stranger.WriteTo(unhex(t, hostile[i%len(hostile)]), at)
			for tid := range 8 { // guesses at the next request
				f := echonet.Frame{TID: uint16(i*8 + tid), SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.Controller, ESV: echonet.GetRes, Properties: []echonet.Property{{EPC: 0xE7, EDT: []byte{9}}}}
				b, _ := f.AppendBinary(nil)
				stranger.WriteTo(b, at)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
	stop := keepAsking(t, other, at)
	for range 1000 {
		ps, err := n.Get(t.Context(), meter, echonet.LowVoltageMeter, 0xE7)
		if err != nil || len(ps) != 1 || !bytes.Equal(ps[0].EDT, power.Value) {
			t.Errorf("%v: %v", ps, err)
			break
		}
	}
	stop()
	cancel()
	wg.Wait()
	if leads := echonet.Leads(n); leads < 50 {
		t.Errorf("callers have read %d times: this test shows little", leads)
	}
}
