package echonet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/memlink"
)

// fake is a node that answers as a test says.
type fake struct {
	conn  *memlink.Conn
	mu    sync.Mutex // guards asked
	asked []echonet.Frame
}

// newFake answers each request with what handle returns, from the fake's address.
func newFake(t *testing.T, n *memlink.Network, at string, handle func(f echonet.Frame) []echonet.Frame) *fake {
	t.Helper()
	c, err := n.Listen(netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	p := &fake{conn: c}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var f echonet.Frame
			if f.UnmarshalBinary(b[:size]) != nil || !f.ESV.IsRequest() {
				continue
			}
			f = f.Clone()
			p.mu.Lock()
			p.asked = append(p.asked, f)
			p.mu.Unlock()
			for _, a := range handle(f) {
				p.send(t, from, a)
			}
		}
	}()
	return p
}

func (p *fake) send(t *testing.T, to net.Addr, f echonet.Frame) {
	b, err := f.AppendBinary(nil)
	if err != nil {
		t.Error(err)
		return
	}
	p.conn.WriteTo(b, to)
}

// requests returns what the fake was asked so far.
func (p *fake) requests() []echonet.Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// answer is the regular answer to a request with those properties.
func answer(f echonet.Frame, esv echonet.ESV, ps ...echonet.Property) echonet.Frame {
	return echonet.Frame{TID: f.TID, SEOJ: f.DEOJ, DEOJ: f.SEOJ, ESV: esv, Properties: ps}
}

// values answers a Get with one byte per property, the code itself, except that
// those in refused are.
func values(f echonet.Frame, refused ...byte) echonet.Frame {
	a := answer(f, echonet.GetRes)
	for _, p := range f.Properties {
		if slices.Contains(refused, p.EPC) {
			a.ESV = echonet.GetSNA
			a.Properties = append(a.Properties, echonet.Property{EPC: p.EPC})
			continue
		}
		a.Properties = append(a.Properties, echonet.Property{EPC: p.EPC, EDT: []byte{p.EPC}})
	}
	return a
}

// controllerIn serves a controller in a synctest bubble.
func controllerIn(t *testing.T, n *memlink.Network, c echonet.Config) *echonet.Node {
	t.Helper()
	r := &rig{t: t, net: n}
	c.Objects = []echonet.Object{echonet.NewController(testIdentity)}
	return r.serve("10.0.0.1:3610", c)
}

var meterAddr = udp("10.0.0.9:3610")

func TestS14(t *testing.T) {
	statement(t, "S14", "Only an answer with the host, TID, objects and service of a waiting request counts, from any port; others are ignored.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{})
		stranger := newFake(t, &n, "10.0.0.8:3610", func(echonet.Frame) []echonet.Frame { return nil })
		other := newFake(t, &n, "10.0.0.9:23610", func(echonet.Frame) []echonet.Frame { return nil })
		newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if f.ESV != echonet.Get {
				return nil
			}
			wrong := values(f)
			wrong.Properties[0].EDT = []byte{0xBA, 0xD0}
			stranger.send(t, udp("10.0.0.1:3610"), wrong)
			tid, seoj, deoj, esv := wrong, wrong, wrong, wrong
			tid.TID++
			seoj.SEOJ = echonet.Controller
			deoj.DEOJ = echonet.NodeProfile
			esv.ESV = echonet.SetRes
			for _, w := range []echonet.Frame{tid, seoj, deoj, esv} {
				other.send(t, udp("10.0.0.1:3610"), w)
			}
			other.send(t, udp("10.0.0.1:3610"), values(f)) // the right one, from another port
			other.send(t, udp("10.0.0.1:3610"), values(f)) // and once more
			return nil
		})
		got, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]echonet.Property{{EPC: 0xE7, EDT: []byte{0xE7}}}, got); d != "" {
			t.Error(d)
		}
		synctest.Wait()
		if s := ctl.Stats(); s.Matched != 1 || s.Unmatched != 6 {
			t.Errorf("got %d matched and %d not, want 1 and 6", s.Matched, s.Unmatched)
		}
	})
}

func TestLateAnswerIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{Retries: -1})
		meter := newFake(t, &n, "10.0.0.9:3610", func(echonet.Frame) []echonet.Frame { return nil })
		_, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7)
		if !errors.Is(err, echonet.ErrTimeout) {
			t.Fatalf("got %v, want ErrTimeout", err)
		}
		meter.send(t, udp("10.0.0.1:3610"), values(meter.requests()[0]))
		synctest.Wait()
		if s := ctl.Stats(); s.Matched != 0 || s.Unmatched != 1 {
			t.Errorf("got %d matched and %d not, want 0 and 1", s.Matched, s.Unmatched)
		}
	})
}

func TestC1(t *testing.T) {
	statement(t, "C1", "05FF01 answers Get on its mandatory properties, two and more in a message.")
	r := newRig(t, echonet.Config{Objects: []echonet.Object{echonet.NewController(testIdentity)}})
	r.want("108100010ef00105ff01620280009f00", "1081000105ff010ef0017202 800130 9f0c 0b80818283888a8c8d9d9e9f")
	r.want("108100010ef00105ff016205 80008100820088008a00", "1081000105ff010ef0017205 800130 810100 820400005201 880142 8a03000077")
}

func TestC3(t *testing.T) {
	statement(t, "C3", "One request per meter is under way; the timers are 20 s and 60 s; TIDs of waiting requests differ.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{Retries: -1})
		var mu sync.Mutex
		underWay, most := 0, 0
		tids := map[uint16]bool{}
		var answers, wg sync.WaitGroup
		var meter *fake
		meter = newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if f.ESV != echonet.Get {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			underWay++
			most = max(most, underWay)
			tids[f.TID] = true
			answers.Go(func() {
				time.Sleep(time.Second)
				mu.Lock()
				underWay--
				mu.Unlock()
				meter.send(t, udp("10.0.0.1:3610"), values(f))
			})
			return nil
		})
		for range 20 {
			wg.Go(func() {
				if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		answers.Wait()
		if most != 1 || len(tids) != 20 {
			t.Errorf("got %d under way and %d TIDs, want 1 and 20", most, len(tids))
		}

		silent := udp("10.0.0.10:3610")
		quiet := newFake(t, &n, silent.String(), func(echonet.Frame) []echonet.Frame { return nil })
		for _, tc := range []struct {
			epcs []byte
			want time.Duration
		}{{[]byte{0xE7}, 20 * time.Second}, {[]byte{0xE7, 0xE8}, (60 + 20) * time.Second}} {
			// Two properties time out, then one of them alone, which tells that the
			// peer is gone.
			begin := time.Now()
			_, err := ctl.Get(t.Context(), silent, echonet.LowVoltageMeter, tc.epcs...)
			if got := time.Since(begin); !errors.Is(err, echonet.ErrTimeout) || got != tc.want {
				t.Errorf("% X: got %v after %v, want ErrTimeout after %v", tc.epcs, err, got, tc.want)
			}
		}
		before := len(quiet.requests())
		for range 3 {
			wg.Go(func() {
				ctl.SetC(t.Context(), silent, echonet.LowVoltageMeter, echonet.Property{EPC: 0xE5, EDT: []byte{1}})
			})
		}
		time.Sleep(30 * time.Second)
		if got := len(quiet.requests()) - before; got != 2 {
			t.Errorf("after 30 s: got %d requests, want 2: one timed out, one under way", got)
		}
		wg.Wait()
	})
}

func TestInFlightCanBeRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{InFlight: 4, Retries: -1})
		quiet := newFake(t, &n, "10.0.0.9:3610", func(echonet.Frame) []echonet.Frame { return nil })
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7) })
		}
		synctest.Wait()
		if got := len(quiet.requests()); got != 4 {
			t.Errorf("got %d under way, want 4", got)
		}
		wg.Wait()
	})
}

func TestC4(t *testing.T) {
	statement(t, "C4", "The values of a partial Get_SNA are used.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{})
		newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame { return []echonet.Frame{values(f, 0xE1)} })
		got, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE0, 0xE1, 0xE3)
		var sna *echonet.SNAError
		if !errors.As(err, &sna) || !slices.Equal(sna.Refused, []byte{0xE1}) || sna.ESV != echonet.GetSNA {
			t.Fatalf("got %v, want an SNAError for E1", err)
		}
		want := []echonet.Property{{EPC: 0xE0, EDT: []byte{0xE0}}, {EPC: 0xE3, EDT: []byte{0xE3}}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestC6(t *testing.T) {
	statement(t, "C6", "INFC is confirmed, also while a request waits; one that cannot be delivered is not.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		block := make(chan struct{})
		var got []echonet.Frame
		ctl := controllerIn(t, &n, echonet.Config{Retries: -1, OnNotify: func(_ net.Addr, f echonet.Frame) {
			if f.ESV == echonet.INFC {
				got = append(got, f)
				<-block
			}
		}})
		confirmed := 0
		conn, _ := n.Listen(netip.MustParseAddrPort("10.0.0.9:3610"))
		var wg sync.WaitGroup
		wg.Go(func() {
			b := make([]byte, 100)
			for {
				size, _, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				var f echonet.Frame
				if f.UnmarshalBinary(b[:size]) == nil && f.ESV == echonet.INFCRes {
					confirmed++
				}
			}
		})
		wg.Go(func() { ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7) })
		infc := echonet.Frame{SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.Controller, ESV: echonet.INFC, Properties: []echonet.Property{{EPC: 0xEA, EDT: []byte{1}}}}
		for range 300 {
			infc.TID++
			b, _ := infc.AppendBinary(nil)
			conn.WriteTo(b, udp("10.0.0.1:3610"))
			synctest.Wait()
		}
		if s := ctl.Stats(); confirmed != 257 || s.NotifyLost != 43 {
			t.Errorf("got %d confirmed, %d lost, want 257 and 43: one in hand and 256 waiting", confirmed, s.NotifyLost)
		}
		close(block)
		synctest.Wait()
		for i, f := range got {
			if f.TID != uint16(i+1) {
				t.Fatalf("notification %d has TID %d: out of order", i, f.TID)
			}
		}
		conn.Close()
		wg.Wait()
	})
}

func TestC7(t *testing.T) {
	statement(t, "C7", "Unknown properties, longer data and empty data are accepted.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		var heard []echonet.Frame
		ctl := controllerIn(t, &n, echonet.Config{OnNotify: func(_ net.Addr, f echonet.Frame) { heard = append(heard, f) }})
		long := make([]byte, 255)
		meter := newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if f.ESV != echonet.Get {
				return nil
			}
			return []echonet.Frame{answer(f, echonet.GetRes, echonet.Property{EPC: 0x82, EDT: long}, echonet.Property{EPC: 0xF1})}
		})
		got, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0x82, 0xF1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]echonet.Property{{EPC: 0x82, EDT: long}, {EPC: 0xF1, EDT: []byte{}}}, got); d != "" {
			t.Error(d)
		}
		inf := echonet.Frame{
			SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.NodeProfile, ESV: echonet.INF,
			Properties: []echonet.Property{{EPC: 0xFF, EDT: []byte{1}}, {EPC: 0x01, EDT: []byte{}}},
		}
		meter.send(t, udp("10.0.0.1:3610"), inf)
		synctest.Wait()
		if d := cmp.Diff([]echonet.Frame{inf}, heard); d != "" {
			t.Error(d)
		}
	})
}

func TestC11(t *testing.T) {
	statement(t, "C11", "A Get is sent again with its TID; a Set is not.")
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{Retries: 2})
		gets := 0
		meter := newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if f.ESV != echonet.Get {
				return nil
			}
			if gets++; gets < 3 {
				return nil
			}
			return []echonet.Frame{values(f)}
		})
		if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); err != nil {
			t.Fatal(err)
		}
		asked := meter.requests()
		if len(asked) != 3 || asked[0].TID != asked[2].TID {
			t.Errorf("got %d requests, want 3 with one TID", len(asked))
		}
		set := echonet.Property{EPC: 0xE5, EDT: []byte{1}}
		if err := ctl.SetC(t.Context(), meterAddr, echonet.LowVoltageMeter, set); !errors.Is(err, echonet.ErrTimeout) {
			t.Errorf("SetC: got %v, want ErrTimeout", err)
		}
		_, _, err := ctl.SetGet(t.Context(), meterAddr, echonet.LowVoltageMeter, []echonet.Property{set}, []byte{0xE5})
		if !errors.Is(err, echonet.ErrTimeout) {
			t.Errorf("SetGet: got %v, want ErrTimeout", err)
		}
		if got := len(meter.requests()); got != 5 {
			t.Errorf("got %d requests, want 5", got)
		}
	})
}

// What peers do when asked for too many properties at a time, and what it costs
// to find that out.
func TestOPCLimitIsLearned(t *testing.T) {
	for _, tc := range []struct {
		name   string
		handle func(f echonet.Frame) []echonet.Frame
		limit  int // learned after the second Get of six
		want   []byte
	}{
		{"a peer without a limit", func(f echonet.Frame) []echonet.Frame {
			return []echonet.Frame{values(f)}
		}, 6, []byte{1, 2, 3, 4, 5, 6}},
		{"refuses those beyond the second", func(f echonet.Frame) []echonet.Frame {
			var beyond []byte
			for i, p := range f.Properties {
				if i >= 2 {
					beyond = append(beyond, p.EPC)
				}
			}
			return []echonet.Frame{values(f, beyond...)}
		}, 2, []byte{1, 2, 3, 4, 5, 6}},
		{"leaves out those beyond the third", func(f echonet.Frame) []echonet.Frame {
			a := values(f)
			a.Properties = a.Properties[:min(3, len(a.Properties))]
			return []echonet.Frame{a}
		}, 3, []byte{1, 2, 3, 4, 5, 6}},
		{"refuses all if more than two", func(f echonet.Frame) []echonet.Frame {
			if len(f.Properties) > 2 {
				return []echonet.Frame{values(f, 1, 2, 3, 4, 5, 6)}
			}
			return []echonet.Frame{values(f)}
		}, 2, []byte{1, 2, 3, 4, 5, 6}},
		{"is silent if more than two", func(f echonet.Frame) []echonet.Frame {
			if len(f.Properties) > 2 {
				return nil
			}
			return []echonet.Frame{values(f)}
		}, 2, []byte{1, 2, 3, 4, 5, 6}},
		{"does not have two of them", func(f echonet.Frame) []echonet.Frame {
			return []echonet.Frame{values(f, 2, 5)}
		}, 6, []byte{1, 3, 4, 6}},
		{"has none of them", func(f echonet.Frame) []echonet.Frame {
			return []echonet.Frame{values(f, 1, 2, 3, 4, 5, 6)}
		}, 6, nil},
		{"doubles the count and zeroes the codes", func(f echonet.Frame) []echonet.Frame {
			return []echonet.Frame{answer(f, echonet.GetSNA, make([]echonet.Property, 2*len(f.Properties))...)}
		}, 6, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n memlink.Network
				ctl := controllerIn(t, &n, echonet.Config{})
				peer := newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
					if f.ESV != echonet.Get {
						return nil
					}
					return tc.handle(f)
				})
				get := func() {
					t.Helper()
					ps, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 1, 2, 3, 4, 5, 6)
					var sna *echonet.SNAError
					if errors.As(err, &sna) != (len(tc.want) < 6) || err != nil && sna == nil {
						t.Fatal(err)
					}
					var got []byte
					for _, p := range ps {
						got = append(got, p.EPC)
					}
					if !slices.Equal(got, tc.want) {
						t.Fatalf("got % X, want % X", got, tc.want)
					}
				}
				for range 4 {
					get()
				}
				if got := ctl.OPCLimit(meterAddr); got != tc.limit {
					t.Errorf("got limit %d, want %d", got, tc.limit)
				}
				before := len(peer.requests())
				get()
				if got, most := len(peer.requests())-before, (6+tc.limit-1)/tc.limit; got > most {
					t.Errorf("got %d requests once learned, want %d", got, most)
				}
			})
		})
	}
}

// A peer that has answered six properties once is not asked for fewer because a
// datagram was lost.
func TestLossDoesNotLowerTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{Retries: -1})
		var lose atomic.Bool
		newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			if lose.Load() || f.ESV != echonet.Get {
				return nil
			}
			return []echonet.Frame{values(f)}
		})
		six := []byte{1, 2, 3, 4, 5, 6}
		if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, six...); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			lose.Store(true)
			if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, six...); !errors.Is(err, echonet.ErrTimeout) {
				t.Fatalf("got %v, want ErrTimeout", err)
			}
			lose.Store(false)
			if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, six...); err != nil {
				t.Fatal(err)
			}
		}
		if got := ctl.OPCLimit(meterAddr); got != 6 {
			t.Errorf("got limit %d, want 6", got)
		}
	})
}

func TestSetReportsRefusals(t *testing.T) {
	r := meterRig(t)
	ctl := r.serve("10.0.0.5:3610", echonet.Config{})
	addr := net.UDPAddrFromAddrPort(nodeAt)
	day := func(d byte) echonet.Property { return echonet.Property{EPC: 0xE5, EDT: []byte{d}} }
	ctx := t.Context()
	if err := ctl.SetC(ctx, addr, echonet.LowVoltageMeter, day(3)); err != nil {
		t.Fatal(err)
	}
	var sna *echonet.SNAError
	err := ctl.SetC(ctx, addr, echonet.LowVoltageMeter, day(4), echonet.Property{EPC: 0xE7, EDT: []byte{1}})
	if !errors.As(err, &sna) || !slices.Equal(sna.Refused, []byte{0xE7}) {
		t.Errorf("SetC: got %v, want E7 refused", err)
	}
	if err := ctl.SetI(ctx, addr, echonet.LowVoltageMeter, day(5)); err != nil {
		t.Fatal(err)
	}
	setRes, getRes, err := ctl.SetGet(ctx, addr, echonet.LowVoltageMeter, []echonet.Property{day(6)}, []byte{0xE5})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]echonet.Property{{{EPC: 0xE5, EDT: []byte{}}}, {day(6)}}, [][]echonet.Property{setRes, getRes}); d != "" {
		t.Error(d)
	}
	_, getRes, err = ctl.SetGet(ctx, addr, echonet.LowVoltageMeter, []echonet.Property{day(100)}, []byte{0xEE, 0xE5})
	if !errors.As(err, &sna) || !slices.Equal(sna.Refused, []byte{0xE5, 0xEE}) {
		t.Errorf("SetGet: got %v, want E5 and EE refused", err)
	}
	if d := cmp.Diff([]echonet.Property{day(6)}, getRes); d != "" {
		t.Error(d)
	}
	got, err := ctl.InfReq(ctx, addr, echonet.NodeProfile, 0xD5)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]echonet.Property{{EPC: 0xD5, EDT: []byte{1, 2, 0x88, 1}}}, got); d != "" {
		t.Error(d)
	}
	if _, err = ctl.InfReq(ctx, addr, echonet.LowVoltageMeter, 0xEE); !errors.As(err, &sna) || sna.ESV != echonet.INFSNA {
		t.Errorf("InfReq: got %v, want INF_SNA", err)
	}
	if err := r.node.NotifyConfirmed(ctx, udp("10.0.0.5:3610"), echonet.LowVoltageMeter, echonet.NodeProfile, day(1)); err != nil {
		t.Errorf("NotifyConfirmed: %v", err)
	}
}

func TestDiscover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		asked := 0
		n.Carry = func(from, to netip.AddrPort, b []byte) [][]byte {
			if to.Addr() == netip.MustParseAddr("10.0.0.22") && len(b) == 14 {
				if asked++; asked < 3 {
					return nil // this node hears only the third request
				}
			}
			return [][]byte{b, b} // and all hear everything twice
		}
		r := &rig{t: t, net: &n}
		for _, at := range []string{"10.0.0.21:3610", "10.0.0.22:3610"} {
			r.serve(at, echonet.Config{Objects: []echonet.Object{testDevice(echonet.LowVoltageMeter)}})
		}
		ctl := controllerIn(t, &n, echonet.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var got []string
		if err := ctl.Discover(ctx, nil, func(from net.Addr, list []echonet.EOJ) {
			got = append(got, fmt.Sprintf("%v%v", from, list))
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"10.0.0.21:3610[0288.01]", "10.0.0.22:3610[0288.01]"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		got = nil
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ctl.Discover(ctx, []net.Addr{&net.UDPAddr{IP: net.IPv4(10, 0, 0, 21)}}, func(from net.Addr, list []echonet.EOJ) {
			got = append(got, fmt.Sprintf("%v%v", from, list))
		}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[:1], got); d != "" {
			t.Error(d)
		}
	})
}

func TestRequestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		ctl := controllerIn(t, &n, echonet.Config{})
		get := echonet.Frame{DEOJ: echonet.LowVoltageMeter, ESV: echonet.Get, Properties: []echonet.Property{{EPC: 0xE7}}}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ctl.Request(ctx, meterAddr, get); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("context: got %v", err)
		}
		notAsked := get
		notAsked.ESV = echonet.GetRes
		if _, err := ctl.Request(t.Context(), meterAddr, notAsked); !errors.Is(err, echonet.ErrService) {
			t.Errorf("an answer as a request: got %v", err)
		}
		empty := get
		empty.Properties = nil
		if _, err := ctl.Request(t.Context(), meterAddr, empty); !errors.Is(err, echonet.ErrOPC) {
			t.Errorf("no properties: got %v", err)
		}
		large := get
		large.ESV = echonet.SetC
		large.Properties = slices.Repeat([]echonet.Property{{EPC: 0x80, EDT: make([]byte, 255)}}, 5)
		if _, err := ctl.Request(t.Context(), meterAddr, large); !errors.Is(err, echonet.ErrOversize) {
			t.Errorf("too large: got %v", err)
		}
		if _, err := ctl.Request(t.Context(), nil, get); !errors.Is(err, echonet.ErrNoLink) {
			t.Errorf("nobody: got %v", err)
		}
		if _, err := ctl.Request(t.Context(), udp("[fd00::1]:3610"), get); !errors.Is(err, echonet.ErrNoLink) {
			t.Errorf("no link of that family: got %v", err)
		}
	})
}

// A link whose write fails or blocks, as that of a radio does.
type badLink struct {
	*memlink.Conn
	write func() error
}

func (l *badLink) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := l.write(); err != nil {
		return 0, err
	}
	return l.Conn.WriteTo(b, to)
}

func TestWriteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame { return []echonet.Frame{values(f)} })
		r := &rig{t: t, net: &n}
		var mu sync.Mutex
		fail := error(nil)
		link := &badLink{r.listen("10.0.0.1:3610"), func() error {
			mu.Lock()
			defer mu.Unlock()
			return fail
		}}
		set := func(err error) { mu.Lock(); fail = err; mu.Unlock() }
		ctl := run(t, echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: link}}, Retries: -1}))

		set(errors.New("radio off"))
		begin := time.Now()
		_, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7)
		if err == nil || errors.Is(err, echonet.ErrTimeout) || time.Since(begin) != 0 {
			t.Errorf("not sent: got %v after %v, want the error at once", err, time.Since(begin))
		}
		set(os.ErrDeadlineExceeded) // may have been sent
		if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); !errors.Is(err, echonet.ErrTimeout) {
			t.Errorf("perhaps sent: got %v, want ErrTimeout after the wait for an answer", err)
		}
		set(nil)
		if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); err != nil {
			t.Errorf("sent: %v", err)
		}
	})
}

// A request that could not leave for the whole time is taken back: it was not
// sent, and will not be.
func TestStuckLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		meter := newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame { return []echonet.Frame{values(f)} })
		stuck := make(chan struct{})
		var writes atomic.Int32
		link := &badLink{r.listen("10.0.0.1:3610"), func() error {
			if writes.Add(1) == 1 {
				<-stuck
			}
			return nil
		}}
		ctl := run(t, echonet.New(echonet.Config{Links: []echonet.Link{{PacketConn: link}}, Retries: -1, InFlight: 3}))
		var wg sync.WaitGroup
		wg.Go(func() { ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE0) }) // is being written
		synctest.Wait()
		wg.Go(func() {
			err := ctl.SetC(t.Context(), meterAddr, echonet.LowVoltageMeter, echonet.Property{EPC: 0xE5, EDT: []byte{1}})
			if !errors.Is(err, echonet.ErrLinkBusy) {
				t.Errorf("got %v, want ErrLinkBusy", err)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := ctl.Get(ctx, meterAddr, echonet.LowVoltageMeter, 0xE7); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the end of the context", err)
			}
		})
		wg.Wait()
		close(stuck)
		if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE8); err != nil {
			t.Error(err)
		}
		var got []byte
		for _, f := range meter.requests() {
			got = append(got, f.Properties[0].EPC)
		}
		if !slices.Equal(got, []byte{0xE0, 0xE8}) {
			t.Errorf("the meter was asked % X, want E0 and E8", got)
		}
	})
}

// While a write blocks, the node reads on, and the wait for the answer has not
// begun.
func TestSlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n memlink.Network
		r := &rig{t: t, net: &n}
		newFake(t, &n, "10.0.0.9:3610", func(f echonet.Frame) []echonet.Frame {
			time.Sleep(10 * time.Second)
			return []echonet.Frame{values(f)}
		})
		slow := &badLink{r.listen("10.0.0.1:3610"), func() error { time.Sleep(15 * time.Second); return nil }}
		heard := 0
		ctl := run(t, echonet.New(echonet.Config{
			Links:    []echonet.Link{{PacketConn: slow}},
			Objects:  []echonet.Object{echonet.NewController(testIdentity)},
			OnNotify: func(net.Addr, echonet.Frame) { heard++ },
		}))
		peer := r.listen("10.0.0.2:3610")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := ctl.Get(t.Context(), meterAddr, echonet.LowVoltageMeter, 0xE7); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the request is being written
		// 100 confirmed notifications: their confirmations queue for the radio, 64 at
		// most, and all notifications are heard at once.
		for i := range 100 {
			f := echonet.Frame{TID: uint16(i), SEOJ: echonet.LowVoltageMeter, DEOJ: echonet.Controller, ESV: echonet.INFC, Properties: []echonet.Property{{EPC: 0xEA}}}
			b, _ := f.AppendBinary(nil)
			peer.WriteTo(b, udp("10.0.0.1:3610"))
		}
		synctest.Wait()
		if heard != 100 {
			t.Errorf("heard %d notifications, want 100", heard)
		}
		if s := ctl.Stats(); s.WriteErrors == 0 || s.WriteErrors > 40 {
			t.Errorf("got %d confirmations that found the queue full", s.WriteErrors)
		}
		wg.Wait()
	})
}
