package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/routeb"
)

// hems is a controller with its node and sockets.
type hems struct {
	*controller.Controller
	node   *echonet.Node
	links  []echonet.Link
	meters []controller.Meter
	port   string       // of the dongle, if there is one
	conn   *routeb.Conn // its session
}

// openHEMS listens, or opens a session with the meter behind a dongle, and makes
// node and controller of the flags.
func openHEMS(c *cobra.Command, cfg controller.Config, r radio) (*hems, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, err
	}
	h := &hems{}
	if h.port, _ = c.Flags().GetString("port"); h.port != "" {
		err = h.join(c, r)
	} else {
		err = h.listen(c)
	}
	if err != nil {
		return nil, err
	}
	id := echonet.Identity{Product: "METERSEAL", Serial: "HEMS"}
	each := patience(c) / 4 // so that a datagram that is lost can be sent again
	h.node = echonet.New(echonet.Config{
		Timeout: each, TimeoutMany: each,
		Links: h.links, Objects: []echonet.Object{echonet.NewController(id)}, Identity: id, Logger: log,
		OnNotify: func(from net.Addr, f echonet.Frame) { h.Notify(from, f) },
	})
	cfg.Node, cfg.Meters, cfg.Logger, cfg.Groups = h.node, h.meters, log, h.groups()
	h.Controller = controller.New(cfg)
	return h, nil
}

// join reaches the one meter behind a dongle.
func (h *hems) join(c *cobra.Command, r radio) error {
	if c.Flags().Changed("meter") {
		return usagef("--port and --meter exclude each other: a dongle has its own meter")
	}
	conn, s, err := dialRouteB(c, r)
	if err != nil {
		return err
	}
	link, m := routebLink(conn, s)
	h.conn = conn
	h.links, h.meters = []echonet.Link{link}, []controller.Meter{m}
	return nil
}

// listen opens sockets, and reads the addresses of the meters.
func (h *hems) listen(c *cobra.Command) (err error) {
	hosts, _ := c.Flags().GetStringSlice("meter")
	loopback := len(hosts) > 0
	for _, host := range hosts {
		addr, err := meterAddr(host)
		if err != nil {
			return err
		}
		loopback = loopback && addr.IP.IsLoopback()
		h.meters = append(h.meters, controller.Meter{Addr: addr})
	}
	addrs, _ := c.Flags().GetStringSlice("listen")
	if len(addrs) == 0 && loopback {
		addrs = []string{"127.0.0.1:0"}
	}
	h.links, err = echonet.Listen(echonet.ListenConfig{Addrs: addrs})
	return err
}

// groups are where meters are looked for.
func (h *hems) groups() []net.Addr {
	var groups []net.Addr
	for _, l := range h.links {
		if l.Group != nil {
			groups = append(groups, l.Group)
		}
	}
	return groups
}

// meterAddr reads the address of --meter.
func meterAddr(host string) (*net.UDPAddr, error) {
	addr, err := peerAddr(host)
	if err != nil {
		return nil, usagef("--meter %w", err)
	}
	return addr, nil
}

// peerAddr reads HOST[:PORT]; the default port is 3610.
func peerAddr(host string) (*net.UDPAddr, error) {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, strconv.Itoa(echonet.Port))
	}
	addr, err := net.ResolveUDPAddr("udp", host)
	if err != nil {
		return nil, usagef("%s: %w", host, err)
	}
	return addr, nil
}

// once runs f beside the node's goroutines, and ends those with it.
func (h *hems) once(ctx context.Context, f func(context.Context) error) error {
	defer closeLinks(h.links)
	return together(ctx, h.node.Serve, f)
}

// patienceFlag is the flag of commands that ask one meter and end.
func patienceFlag(c *cobra.Command) {
	c.Flags().Duration("timeout", 10*time.Second, "give a meter up that has answered nothing for so long; with --port the longer times of AIF 1.01, 2.4.2 hold")
}

// patience returns how long a meter of the network may answer nothing: 0 behind a
// dongle, and in a daemon, where the times of the meter-HEMS interface hold.
func patience(c *cobra.Command) time.Duration {
	if port, _ := c.Flags().GetString("port"); port != "" || c.Flags().Lookup("timeout") == nil {
		return 0
	}
	d, _ := c.Flags().GetDuration("timeout")
	return d
}

// whileItAnswers runs f, and ends it when the node has had no answer for the time
// that patience allows.
func (h *hems) whileItAnswers(ctx context.Context, c *cobra.Command, m controller.Meter, f func(context.Context) error) error {
	limit := patience(c)
	if limit == 0 {
		return f(ctx)
	}
	if asJSON, _ := c.Flags().GetBool("json"); !asJSON {
		fmt.Fprintf(c.ErrOrStderr(), "asking the meter at %s; up to %v for an answer\n", m.Addr, limit)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		tick := time.NewTicker(max(limit/50, time.Millisecond))
		defer tick.Stop()
		answered, since := uint64(0), time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if n := h.node.Stats().Matched; n != answered {
					answered, since = n, now
				} else if now.Sub(since) >= limit {
					cancel(echonet.ErrTimeout)
				}
			}
		}
	}()
	err := f(ctx)
	if err != nil && (errors.Is(err, echonet.ErrTimeout) || errors.Is(context.Cause(ctx), echonet.ErrTimeout)) {
		return fmt.Errorf("the meter at %s does not answer: is it up, is the address right, "+
			"and does it answer to port 3610 while we listen on another? (%w)", m.Addr, echonet.ErrTimeout)
	}
	return err
}

// withMeter runs f with the one meter that the flags name, for a command that
// does something once. steps may be nil.
func withMeter(c *cobra.Command, cfg controller.Config, steps *stepPrinter,
	f func(context.Context, *hems, controller.Meter) error,
) error {
	if err := positive(c, "timeout", "dial-timeout"); err != nil {
		return err
	}
	if c.Flags().Changed("port") && c.Flags().Changed("timeout") {
		return usagef("--timeout is for a meter of the network: with --port the times of AIF 1.01, 2.4.2 hold")
	}
	h, err := openHEMS(c, cfg, radio{steps: steps})
	if err != nil {
		return err
	}
	if len(h.meters) != 1 {
		closeLinks(h.links)
		return usagef("--meter HOST[:PORT] is required, once, or --port TTY; \"meterseal controller discover\" finds meters")
	}
	return h.once(c.Context(), func(ctx context.Context) error {
		m := h.meters[0]
		return h.whileItAnswers(ctx, c, m, func(ctx context.Context) error { return f(ctx, h, m) })
	})
}

// mdmsClient makes the HTTP client that speaks to the MDMS.
func mdmsClient(c *cobra.Command) (*http.Client, error) {
	f := c.Flags()
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if path, _ := f.GetString("mdms-ca"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificate authority: %s has no PEM block CERTIFICATE", path)
		}
	}
	cert, _ := f.GetString("tls-cert")
	key, _ := f.GetString("tls-key")
	switch {
	case (cert == "") != (key == ""):
		return nil, usagef("--tls-cert and --tls-key go together")
	case cert != "":
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = cfg
	return &http.Client{Transport: t}, nil
}
