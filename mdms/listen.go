package mdms

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// TLS names files in PEM. The zero value is plain HTTP, which is for loopback
// only; otherwise all three are required.
type TLS struct {
	CertFile string // the server's certificate, leaf first
	KeyFile  string // its private key
	// ClientCAFile holds the authorities that couriers' certificates are from.
	// A courier without one is not heard, and is named by the first URI, or the
	// subject, of its own.
	ClientCAFile string
}

// config returns what the files say.
func (t TLS) config() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("mdms: certificate: %w", err)
	}
	if t.ClientCAFile == "" {
		return nil, errors.New("mdms: with a certificate a file with the client authorities is required: couriers are known by their certificates")
	}
	text, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("mdms: client authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("mdms: client authorities: no certificate in %s", t.ClientCAFile)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
	}, nil
}

// Timeouts of a connection. A body of eventlog.MaxBundle bytes has a minute; a
// long poll is bounded by maxWait, so answers have more.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 60 * time.Second
	writeTimeout  = maxWait + 60*time.Second
	idleTimeout   = 120 * time.Second
	shutdownGrace = 5 * time.Second
	maxHeader     = 16 << 10 // bytes
)

// Listen opens addr, HOST:PORT. Without a certificate every address but a
// loopback one is an error: evidence proves itself, but what else is read and
// set here would be open to all. With one, couriers need certificates too.
func (s *Server) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config *tls.Config
	if s.cfg.TLS != (TLS{}) {
		var err error
		if config, err = s.cfg.TLS.config(); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the address, which stands before it
		}
		return nil, fmt.Errorf("mdms: listen on %s: %w", addr, err)
	}
	if config != nil {
		return tls.NewListener(ln, config), nil
	}
	if ip, ok := ln.Addr().(*net.TCPAddr); !ok || !ip.IP.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("mdms: %s is no loopback address: without a TLS certificate the MDMS listens on loopback only", addr)
	}
	return ln, nil
}

// Serve answers HTTP on ln, which it closes, until ctx ends. Requests in
// progress get a few seconds to finish; long polls end at once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	// Requests outlive ctx by the time that Shutdown gives them.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("mdms: serve: %w", err)
	case <-ctx.Done():
	}
	s.endPolls()
	grace, cancelGrace := context.WithTimeout(base, shutdownGrace)
	defer cancelGrace()
	if err := h.Shutdown(grace); err != nil {
		h.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("mdms: serve: %w", err)
	}
	return nil
}
