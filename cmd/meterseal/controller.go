package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/internal/durable"
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
		Example: `  meterseal controller --state hems --mdms http://127.0.0.1:8288 --meter 127.0.0.2 --collect-every 1s
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
	f.String("state", "", "state directory, for the spool and the radio channel of the meter; without one a restart loses what waits")
	f.String("mdms", "", "URL of the MDMS; without one no evidence is carried")
	f.String("mdms-ca", "", "PEM file with the certificate authority of the MDMS; default: those of the system")
	f.String("tls-cert", "", "PEM file with our certificate chain, by which the MDMS knows us")
	f.String("tls-key", "", "PEM file with the certificate's private key")
	f.Duration("poll", time.Minute, "time between two readings")
	f.Duration("collect-every", 5*time.Minute, "time between two looks for new evidence, beside those that announcements cause; on loopback none arrive")
	f.String("metrics", "", "ADDR:PORT on loopback for Prometheus metrics at /metrics; default none")
	f.String("config", "", "TOML file with flags")
	portFlags(c)
	c.AddCommand(newControllerRead(), newControllerHistory(), newControllerCollect(), newControllerDiscover(), newDoctor())
	return c
}

func runController(c *cobra.Command, _ []string) error {
	f := c.Flags()
	if err := positive(c, "poll", "collect-every", "dial-timeout"); err != nil {
		return err
	}
	cfg := controller.Config{}
	cfg.MDMS, _ = f.GetString("mdms")
	cfg.PollEvery, _ = f.GetDuration("poll")
	cfg.CollectEvery, _ = f.GetDuration("collect-every")
	var err error
	if cfg.HTTP, err = mdmsClient(c); err != nil {
		return err
	}
	if cfg.MDMS != "" { // before anything is opened that the error would leave behind
		if _, err := controller.NewClient(cfg.MDMS, cfg.HTTP); err != nil {
			return usagef("--mdms: %w", err)
		}
	}
	dir, _ := f.GetString("state")
	if dir != "" {
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
	h, err := openHEMS(c, cfg, radio{stays: true, state: dir})
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
	roles := []func(context.Context) error{h.Run}
	if addr, _ := f.GetString("metrics"); addr != "" {
		ln, err := listenMetrics(c.Context(), addr)
		if err != nil {
			closeLinks(h.links)
			return err
		}
		pairs = append(pairs, pair{"metrics", "http://" + ln.Addr().String() + "/metrics"})
		roles = append(roles, func(ctx context.Context) error { return serveMetrics(ctx, ln, h) })
	}
	ready(c.OutOrStdout(), pairs...)
	return h.once(c.Context(), func(ctx context.Context) error { return together(ctx, roles...) })
}
