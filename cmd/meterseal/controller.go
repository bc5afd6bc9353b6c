package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/routeb"
)

func newController() *cobra.Command {
	c := &cobra.Command{
		Use:   "controller",
		Short: "Run a controller (HEMS): read meters, carry their evidence to the MDMS",
		Long: `Run a controller (HEMS): it reads meters and carries their evidence to the MDMS,
which alone decides what it proves. Evidence waits in a spool in the state
directory until the MDMS has taken it.

Without --meter it finds the meters of the local network. It listens on port
3610 of all addresses, as meters expect; for a meter on loopback a free port of
loopback does.`,
		Example: `  meterseal controller --state hems --mdms http://127.0.0.1:8288 --meter 127.0.0.2
  meterseal controller read --meter 192.168.1.20
  meterseal controller collect --meter 192.168.1.20 -o evidence.mseal
  meterseal controller --port /dev/serial/by-id/usb-ROHM_BP35A1 --credentials routeb.toml --mdms https://mdms.example
  meterseal controller discover`,
		Args:        cobra.NoArgs,
		RunE:        runController,
		Annotations: daemon,
	}
	p := c.PersistentFlags()
	p.StringSlice("meter", nil, "HOST[:PORT] of a meter; default: those that are found")
	p.StringSlice("listen", nil, "ADDR[:PORT] of our own; default all addresses, port 3610, or a free port of loopback")
	f := c.Flags()
	f.String("state", "", "state directory, for the spool; without one a restart loses what waits")
	f.String("mdms", "", "URL of the MDMS; without one no evidence is carried")
	f.String("mdms-ca", "", "PEM file with the certificate authority of the MDMS; default: those of the system")
	f.String("tls-cert", "", "PEM file with our certificate chain, by which the MDMS knows us")
	f.String("tls-key", "", "PEM file with the certificate's private key")
	f.Duration("poll", time.Minute, "time between two readings")
	f.Duration("collect-every", 5*time.Minute, "time between two looks for new evidence, beside those that announcements cause")
	f.String("config", "", "TOML file with flags")
	portFlags(c)
	c.AddCommand(newControllerRead(), newControllerHistory(), newControllerCollect(), newControllerDiscover(), newDoctor())
	return c
}

// hems is a controller with its node and sockets.
type hems struct {
	*controller.Controller
	node   *echonet.Node
	links  []echonet.Link
	meters []controller.Meter
	port   string // of the dongle, if there is one
}

// openHEMS listens, or joins the meter behind a dongle, and makes node and
// controller of the flags. steps, if not nil, is told of each step of a join.
func openHEMS(c *cobra.Command, cfg controller.Config, steps func(routeb.Status)) (*hems, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, err
	}
	h := &hems{}
	if h.port, _ = c.Flags().GetString("port"); h.port != "" {
		err = h.join(c, steps)
	} else {
		err = h.listen(c)
	}
	if err != nil {
		return nil, err
	}
	id := echonet.Identity{Product: "METERSEAL", Serial: "HEMS"}
	h.node = echonet.New(echonet.Config{
		Links: h.links, Objects: []echonet.Object{echonet.NewController(id)}, Identity: id, Logger: log,
		OnNotify: func(from net.Addr, f echonet.Frame) { h.Notify(from, f) },
	})
	cfg.Node, cfg.Meters, cfg.Logger, cfg.Groups = h.node, h.meters, log, h.groups()
	h.Controller = controller.New(cfg)
	return h, nil
}

// join reaches the one meter behind a dongle.
func (h *hems) join(c *cobra.Command, steps func(routeb.Status)) error {
	if c.Flags().Changed("meter") {
		return usagef("--port and --meter exclude each other: a dongle has its own meter")
	}
	conn, s, err := dialRouteB(c, steps)
	if err != nil {
		return err
	}
	link, m := routebLink(conn, s)
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

// meterAddr reads HOST[:PORT]; the default port is 3610.
func meterAddr(host string) (*net.UDPAddr, error) {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, strconv.Itoa(echonet.Port))
	}
	addr, err := net.ResolveUDPAddr("udp", host)
	if err != nil {
		return nil, usagef("--meter %s: %w", host, err)
	}
	return addr, nil
}

// once runs f beside the node's goroutines, and ends those with it.
func (h *hems) once(ctx context.Context, f func(context.Context) error) error {
	defer closeLinks(h.links)
	return together(ctx, h.node.Serve, f)
}

// one is the meter of a one-shot command.
func (h *hems) one() (controller.Meter, error) {
	if len(h.meters) != 1 {
		return controller.Meter{}, usagef("--meter HOST[:PORT] is required, once, or --port TTY; \"meterseal controller discover\" finds meters")
	}
	return h.meters[0], nil
}

func runController(c *cobra.Command, _ []string) error {
	f := c.Flags()
	cfg := controller.Config{}
	cfg.MDMS, _ = f.GetString("mdms")
	cfg.PollEvery, _ = f.GetDuration("poll")
	cfg.CollectEvery, _ = f.GetDuration("collect-every")
	var err error
	if cfg.HTTP, err = mdmsClient(c); err != nil {
		return err
	}
	if dir, _ := f.GetString("state"); dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
		lock, err := durable.Lock(dir)
		if err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
		defer lock.Close()
		cfg.Spool.Dir = filepath.Join(dir, "spool")
	}
	h, err := openHEMS(c, cfg, nil)
	if err != nil {
		return err
	}
	pairs := linkPairs(h.links)
	for _, m := range h.meters {
		if m.Addr != nil {
			pairs = append(pairs, pair{"meter", m.Addr.String()})
		}
	}
	if h.port != "" {
		pairs = append(pairs, pair{"port", h.port})
	}
	if cfg.MDMS != "" {
		pairs = append(pairs, pair{"mdms", cfg.MDMS})
	}
	ready(c.OutOrStdout(), pairs...)
	return h.once(c.Context(), h.Run)
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

func newControllerRead() *cobra.Command {
	c := &cobra.Command{
		Use:     "read --meter HOST[:PORT]",
		Short:   "Read a meter once: identity, power, currents, registers",
		Example: "  meterseal controller read --meter 127.0.0.2 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := openHEMS(c, controller.Config{}, nil)
			if err != nil {
				return err
			}
			return h.once(c.Context(), func(ctx context.Context) error {
				m, err := h.one()
				if err != nil {
					return err
				}
				r, err := h.Read(ctx, m)
				if err != nil {
					return err
				}
				values := readingValues(r)
				if asJSON, _ := c.Flags().GetBool("json"); asJSON {
					doc := map[string]string{}
					for _, v := range values {
						doc[v.key] = v.value
					}
					return printJSON(c.OutOrStdout(), doc)
				}
				for _, v := range values {
					fmt.Fprintf(c.OutOrStdout(), "%-14s %s\n", v.key, v.value)
				}
				return nil
			})
		},
	}
	c.Flags().Bool("json", false, "print JSON")
	return c
}

// readingValues are the values that the meter gave, with their units in the
// names.
func readingValues(r controller.Readings) []pair {
	out := []pair{{"manufacturer", fmt.Sprintf("%X", r.Manufacturer)}, {"serial", r.Serial}}
	if r.Release != 0 {
		out = append(out, pair{"release", string(rune(r.Release))})
	}
	if r.Power.OK() {
		out = append(out, pair{"power_w", strconv.Itoa(int(r.Power.V))})
	}
	if r.CurrentR.OK() {
		out = append(out, pair{"current_r_a", r.CurrentR.V.String()})
	}
	if r.CurrentT.OK() {
		out = append(out, pair{"current_t_a", r.CurrentT.V.String()})
	}
	if r.Import.OK() {
		out = append(out, pair{"import_kwh", r.Import.V.String()})
	}
	if r.Export.OK() {
		out = append(out, pair{"export_kwh", r.Export.V.String()})
	}
	if r.HalfImport.OK() {
		out = append(out, pair{"half_hour", r.HalfImport.V.Time.String()}, pair{"half_import_kwh", r.HalfImport.V.Energy.String()})
	}
	return out
}

func newControllerHistory() *cobra.Command {
	c := &cobra.Command{
		Use:     "history --meter HOST[:PORT]",
		Short:   "Read one day of a meter's half-hourly registers",
		Example: "  meterseal controller history --meter 127.0.0.2 --day 1 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := openHEMS(c, controller.Config{}, nil)
			if err != nil {
				return err
			}
			return h.once(c.Context(), func(ctx context.Context) error {
				m, err := h.one()
				if err != nil {
					return err
				}
				ago, _ := c.Flags().GetInt("day")
				if ago < 0 || ago > 99 {
					return usagef("--day %d: want 0 (today) to 99", ago)
				}
				d, err := h.History(ctx, m, ago)
				if err != nil {
					return err
				}
				return printDay(c, d)
			})
		},
	}
	c.Flags().Int("day", 0, "days before the meter's today, 0 to 99")
	c.Flags().Bool("json", false, "print JSON")
	return c
}

// slotJSON is one half-hour of a day of history.
type slotJSON struct {
	Time   string `json:"time"` // by the meter's clock
	Import string `json:"import_kwh,omitempty"`
	Export string `json:"export_kwh,omitempty"`
}

func printDay(c *cobra.Command, d controller.Day) error {
	date := fmt.Sprintf("%d days ago", d.Ago)
	if d.Year != 0 {
		date = fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Date)
	}
	slots := []slotJSON{}
	for i := range d.Import {
		s := slotJSON{Time: fmt.Sprintf("%s %02d:%02d", date, i/2, i%2*30)}
		if d.Import[i].OK {
			s.Import = d.Import[i].Energy.String()
		}
		if d.Export[i].OK {
			s.Export = d.Export[i].Energy.String()
		}
		if s.Import != "" || s.Export != "" {
			slots = append(slots, s)
		}
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), slots)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tIMPORT kWh\tEXPORT kWh")
	for _, s := range slots {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Time, orNone(s.Import), orNone(s.Export))
	}
	return w.Flush()
}

func newControllerCollect() *cobra.Command {
	c := &cobra.Command{
		Use:   "collect --meter HOST[:PORT] [-o FILE.mseal]",
		Short: "Collect a meter's evidence once, into a bundle file",
		Example: `  meterseal controller collect --meter 127.0.0.2 -o evidence.mseal
  meterseal verify evidence.mseal --key meter1/meter.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := controller.Config{}
			cfg.Collect.Tail, _ = c.Flags().GetBool("tail")
			cfg.Collect.Chain = true
			bar := progress(c.ErrOrStderr(), "log bytes")
			cfg.Collect.Progress = func(p controller.Progress) { bar(int64(p.Done), int64(p.Total)) }
			h, err := openHEMS(c, cfg, nil)
			if err != nil {
				return err
			}
			return h.once(c.Context(), func(ctx context.Context) error {
				m, err := h.one()
				if err != nil {
					return err
				}
				got, err := h.Collect(ctx, m, controller.Want{})
				if errors.Is(err, controller.ErrUnsupported) {
					return fmt.Errorf("%w: it works as a meter, but keeps no sealed log", err)
				}
				if err != nil {
					return err
				}
				return saveCollected(c, got)
			})
		},
	}
	c.Flags().StringP("output", "o", "", "file to write, - for standard output; default ID.mseal")
	c.Flags().Bool("tail", false, "include the unsigned records after the newest seal")
	return c
}

func saveCollected(c *cobra.Command, got controller.Collected) error {
	if got.Bundle == nil {
		return errors.New("the meter has sealed nothing yet")
	}
	b, err := got.Bundle.AppendBinary(nil)
	if err != nil {
		return err
	}
	path, _ := c.Flags().GetString("output")
	if path == "" {
		path = got.Bundle.Meter.String() + eventlog.BundleExt
	}
	if err := writeFile(c, path, b); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if path != "-" {
		fmt.Fprintf(c.OutOrStdout(), "wrote %s: meter %s, %d segments, %d log bytes in %d round trips\n",
			path, got.Bundle.Meter, len(got.Bundle.Parts), got.Stats.Bytes, got.Stats.RoundTrips)
	}
	return nil
}

func newControllerDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:     "discover",
		Short:   "Find the meters of the local network",
		Example: "  meterseal controller discover --listen 192.168.1.10",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := openHEMS(c, controller.Config{}, nil)
			if err != nil {
				return err
			}
			groups := h.groups()
			if len(groups) == 0 {
				closeLinks(h.links)
				return errors.New("no interface here has multicast: give the meter's address with --meter")
			}
			return h.once(c.Context(), func(ctx context.Context) error {
				found, err := h.Discover(ctx, groups...)
				if err != nil {
					return err
				}
				if asJSON, _ := c.Flags().GetBool("json"); asJSON {
					list := []map[string]any{}
					for _, m := range found {
						instances := []string{}
						for _, i := range m.Instances {
							instances = append(instances, i.String())
						}
						list = append(list, map[string]any{"addr": m.Addr.String(), "instances": instances})
					}
					return printJSON(c.OutOrStdout(), list)
				}
				for _, m := range found {
					fmt.Fprintf(c.OutOrStdout(), "%s %v\n", m.Addr, m.Instances)
				}
				if len(found) == 0 {
					return errors.New("no meter answered: is it on this network, does the firewall pass UDP port 3610 and multicast 224.0.23.0?")
				}
				return nil
			})
		},
	}
	c.Flags().Bool("json", false, "print JSON")
	return c
}

// progress returns a function that shows how far something is, on a terminal
// only; it begins to draw after a second.
func progress(w io.Writer, what string) func(done, total int64) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(int64, int64) {}
	}
	var bar *progressbar.ProgressBar
	start := time.Now()
	return func(done, total int64) {
		if bar == nil && time.Since(start) < time.Second {
			return
		}
		if bar == nil || bar.GetMax64() != total {
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
				progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(done) // a bar that cannot be drawn disturbs nothing
	}
}
