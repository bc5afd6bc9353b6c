package mdms_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/meterseal/meterseal/mdms"
)

// bubbled is an MDMS behind a listener in memory, which a test in a bubble can
// use.
type bubbled struct {
	*rig
	conns chan net.Conn
	ended chan struct{}
	srv   *httptest.Server
}

// inBubble serves an MDMS until the test ends. edit may change the
// configuration of the MDMS and of its HTTP server.
func inBubble(t *testing.T, limits mdms.Limits, edit func(*mdms.Config, *http.Server)) *bubbled {
	t.Helper()
	b := &bubbled{rig: newRig(t, limits), conns: make(chan net.Conn), ended: make(chan struct{})}
	b.srv = &httptest.Server{Listener: b, Config: new(http.Server)}
	if edit != nil {
		b.rig.Close()
		edit(&b.cfg, b.srv.Config)
		b.open()
	}
	b.srv.Config.Handler = b.Handler()
	b.srv.Start()
	t.Cleanup(b.srv.Close)
	return b
}

// dial connects to the MDMS from an address.
func (b *bubbled) dial(from string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case b.conns <- addressed{far, from + ":40000"}:
		return near, nil
	case <-b.ended:
		return nil, net.ErrClosed
	}
}

// client returns a client at an address.
func (b *bubbled) client(from string) *http.Client {
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b.dial(from) }}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// web is b as other tests see an MDMS.
func (b *bubbled) web() *web { return &web{b.rig, "http://127.0.0.1:8288"} }

// Accept, Close and Addr make it a net.Listener.
func (b *bubbled) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.ended:
		return nil, net.ErrClosed
	}
}

func (b *bubbled) Close() error {
	select {
	case <-b.ended:
	default:
		close(b.ended)
	}
	return nil
}

func (*bubbled) Addr() net.Addr { return pipeAddr("127.0.0.1:8288") }

// addressed is a connection that says where it comes from.
type addressed struct {
	net.Conn
	from string
}

func (a addressed) RemoteAddr() net.Addr { return pipeAddr(a.from) }

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }
