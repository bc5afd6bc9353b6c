package echonet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
	fixtures "github.com/meterseal/meterseal/fixtures/echonet"
)

// Datagrams that ended, silenced or confused other implementations. The last one
// is a valid SetGet.
var corpus = []string{
	"", "00", "1081", "108100", "1082001105ff01", "1082000405ff010288016e01800131", "1081000405ff0102880162",
	"1081000405ff010288016202e700", "1081000405ff010288017201e704ff", "1081000405ff010288016e00",
	"1081000405ff010288016e01800131", "1081000405ff010288016e01800131018000",
}

// Each by unicast, then by multicast, then a Get that must be answered.
func TestCorpusLeavesTheNodeAlive(t *testing.T) {
	r := meterRig(t)
	for _, s := range corpus {
		for _, to := range []net.Addr{net.UDPAddrFromAddrPort(nodeAt), memlink.Group} {
			r.sendTo(s, to)
			r.send("1081abcd05ff010288016201e700")
			got := r.next()
			if s == corpus[len(corpus)-1] {
				if want := "1081000402880105ff015e01800131" + "01800130"; got != want {
					t.Errorf("%s: got %s, want %s", s, got, want)
				}
				got = r.next()
			}
			if want := "1081abcd02880105ff017201e704000001f8"; got != want {
				t.Errorf("after %s: got %s, want %s", s, got, want)
			}
		}
	}
}

func TestControllerGoldenFrames(t *testing.T) {
	r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(echonet.Identity{})}})
	for _, c := range fixtures.Controller() {
		r.peer.WriteTo(c.Request, net.UDPAddrFromAddrPort(nodeAt))
		if c.Answer == nil {
			continue // what the next case hears is its own answer, or the test fails
		}
		if got := unhex(t, r.next()); !bytes.Equal(got, c.Answer) {
			t.Errorf("%s:\n got %x\nwant %x", c.Name, got, c.Answer)
		}
	}
}

// Answers as broken implementations give them: the request ends in an error or in
// what could be read, and the next one works.
func TestHostileAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer string // to Get E7, E1 of 028801 by 05FF01, without the first four bytes
	}{
		{"count doubled, codes zero", "02880105ff015204e700e1000000" + "0000"},
		{"no properties", "02880105ff017200"},
		{"cut", "02880105ff017202e704000001"},
		{"trailing bytes", "02880105ff017202e704000001f8e1010000"},
		{"other properties", "02880105ff017202aa0101bb0101"},
		{"one byte", ""},
		{"service 5F", "02880105ff015f02e70101e1010100"},
		{"answer to a Set", "02880105ff017102e700e100"},
		{"instance 00", "02880005ff017202e70101e10101"},
		{"SetGet_SNA with one list", "02880105ff015e00"},
		{"arbitrary format", "ff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n memlink.Network
				ctl := controllerIn(t, &n, echonet.Config{Retries: -1})
				bad := true
				var mu sync.Mutex
				var meter *fake
				meter = newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
					mu.Lock()
					defer mu.Unlock()
					if !bad || f.ESV != echonet.Get {
						return []echonet.Frame{values(f)}
					}
					b := []byte{0x10, 0x81, byte(f.TID >> 8), byte(f.TID)}
					switch tc.answer {
					case "":
						b = b[:1]
					case "ff":
						b[1] = 0x82
					}
					meter.conn.WriteTo(append(b, unhex(t, tc.answer)...), udp("10.0.0.1:3610"))
					return nil
				})
				got, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7, 0xE1)
				if err == nil {
					t.Errorf("got %v, want an error", got)
				}
				mu.Lock()
				bad = false
				mu.Unlock()
				if got, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7, 0xE1); err != nil || len(got) != 2 {
					t.Errorf("afterwards: got %v, %v", got, err)
				}
			})
		})
	}
}

// A controller that asks its own meter while it is told something by it.
func TestRequestsFromOnNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		var ctl *echonet.Node
		ready, done := make(chan struct{}), make(chan error, 1)
		ctl = controllerIn(t, &n, echonet.Config{OnNotify: func(from net.Addr, f echonet.Frame) {
			<-ready
			_, err := ctl.Get(t.Context(), from, f.SEOJ, 0xEA)
			done <- err
		}})
		close(ready)
		meter := newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if f.ESV != echonet.Get {
				return nil
			}
			return []echonet.Frame{values(f)}
		})
		meter.send(t, udp("10.0.0.1:3610"), echonet.Frame{
			SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.NodeProfile, ESV: echonet.INF, Properties: []echonet.Property{{EPC: 0x80}},
		})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// failing is a link whose reads fail now and then, as those of a socket may.
type failing struct {
	*memlink.Conn
	mu   sync.Mutex // guards left
	left int
}

func (f *failing) ReadFrom(b []byte) (int, net.Addr, error) {
	f.mu.Lock()
	fail := f.left > 0
	if fail {
		f.left--
	}
	f.mu.Unlock()
	if fail {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return f.Conn.ReadFrom(b)
}

func TestReadErrorsAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		r.peer = r.listen(peerAt.String())
		link := &failing{Conn: r.listen(nodeAt.String()), left: 20}
		r.node = run(t, echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: link}}}))
		begin := time.Now()
		r.peer.WriteTo(unhex(t, "108100010ef0010ef00162018000"), net.UDPAddrFromAddrPort(nodeAt))
		b := make([]byte, 100)
		if _, _, err := r.peer.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if got := r.node.Stats().ReadErrors; got != 20 {
			t.Errorf("got %d read errors, want 20", got)
		}
		// It waits longer and longer, up to a second, so that a dead link costs nothing.
		if d := time.Since(begin); d < 10*time.Second || d > 20*time.Second {
			t.Errorf("20 errors took %v", d)
		}
	})
}

func TestClosedLinksEndServe(t *testing.T) {
	var n memlink.Network
	c, err := n.Listen(netip.MustParseAddrPort("10.0.0.1:3610"))
	if err != nil {
		t.Fatal(err)
	}
	node := echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: c}}})
	done := make(chan error)
	go func() { done <- node.Serve(t.Context()) }()
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	if err := node.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := node.Serve(t.Context()); err == nil {
		t.Error("a second Serve has no error")
	}
	if _, err := node.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); err == nil {
		t.Error("a request after Serve has no error")
	}
}

// The links of a node that has ended serve another one.
func TestLinksCanBeServedAgain(t *testing.T) {
	var n memlink.Network
	r := &rig{t: t, net: &n}
	r.peer = r.listen(peerAt.String())
	link := r.listen(nodeAt.String())
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: link}}}).Serve(ctx)
		}()
		if got := r.ask(aliveRequest); got != strings.ReplaceAll(aliveAnswer, " ", "") {
			t.Errorf("got %s", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRequestsEndWithServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		c, err := n.Listen(netip.MustParseAddrPort("10.0.0.1:3610"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		node := echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: c}}})
		ctx, cancel := context.WithCancel(t.Context())
		served, asked := make(chan error), make(chan error)
		go func() { served <- node.Serve(ctx) }()
		go func() {
			_, err := node.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7)
			asked <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := <-asked; !errors.Is(err, echonet.ErrStopped) {
			t.Errorf("request: got %v, want ErrStopped", err)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]echonet.Config{
		"two objects of one code": {Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter), testDevice(echonet.LowVoltageMeter)}},
		"instance 00":             {Objects: []echonet.Object{testDevice(echonet.EOJ{2, 0x88, 0})}},
		"instance 80":             {Objects: []echonet.Object{testDevice(echonet.EOJ{2, 0x88, 0x80})}},
		"a node profile":          {Objects: []echonet.Object{testDevice(echonet.NodeProfile)}},
		"a long serial number":    {Identity: echonet.Identity{Serial: "1234567890123"}},
	} {
		if err := echonet.New(c).Serve(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is dropped is told, with its reason.
func TestOnDrop(t *testing.T) {
	reasons := make(chan error, 16)
	r := newRig(t, echonet.Config{OnDrop: func(_ net.Addr, _ []byte, reason error) { reasons <- reason }})
	for _, tc := range []struct {
		hex  string
		want error
	}{
		{"00", echonet.ErrHeader},
		{"1082001105ff01", echonet.ErrFormat2},
		{"1081000105ff010288016201e700", echonet.ErrNoObject},
		{"108100010288010ef0017201e70101", echonet.ErrUnasked},
		{"1081000105ff010ef0016201e70000", echonet.ErrTrailing},
	} {
		r.send(tc.hex)
		if got := <-reasons; !errors.Is(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.hex, got, tc.want)
		}
	}
}
