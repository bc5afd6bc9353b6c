package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newMDMS() *cobra.Command {
	c := &cobra.Command{
		Use:   "mdms",
		Short: "Run the MDMS: verify the evidence of every meter, keep it, raise alerts",
		Long: `Run the MDMS: it takes bundles over HTTP, verifies each with the keys that are
enrolled for its meter, keeps what verified, and answers with receipts and
challenges.

Without a TLS certificate it listens on loopback only. With one, couriers must
show a certificate of their own. The signing key for
receipts and challenges is made beside the store at the first start; meters are
given its public half with "meterseal mdms key".

Only this command and "mdms enrol" make a store. The others want one that is
there.`,
		Example: `  meterseal mdms --store mdms.db
  meterseal mdms --store mdms.db --listen 0.0.0.0:8288 --tls-cert cert.pem --tls-key key.pem --tls-client-ca couriers.pem
  meterseal mdms enrol --store mdms.db --meter FFFFFF-MS0000000001 --key meter1/meter.pem --scheme counter
  meterseal mdms meters --store mdms.db`,
		Args:        cobra.NoArgs,
		RunE:        runMDMS,
		Annotations: daemon,
	}
	p := c.PersistentFlags()
	p.String("store", "mdms.db", "the SQLite file; made by mdms and mdms enrol if missing")
	p.String("signing-key", "", "file with the MDMS's signing key; default STORE.key, made with the store")
	f := c.Flags()
	f.String("listen", "127.0.0.1:8288", "ADDR:PORT for HTTP; port 0 takes a free one")
	f.String("tls-cert", "", "PEM file with the server's certificate chain; needed beyond loopback")
	f.String("tls-key", "", "PEM file with the certificate's private key")
	f.String("tls-client-ca", "", "PEM file with the authorities that couriers' certificates come from; needed with --tls-cert")
	f.Duration("stale-after", 26*time.Hour, "time without a new seal after which a meter is STALE")
	f.Duration("challenge-life", 2*time.Hour, "time that a meter has to answer a challenge")
	f.String("config", "", "TOML file with flags")
	c.AddCommand(newEnrol(), newMeters(), newAlerts(), newExport(), newChallenge(), newRevoke(), newMDMSKey())
	return c
}

// openMDMS opens the store that the flags name.
func openMDMS(c *cobra.Command, change func(*mdms.Config)) (*mdms.Server, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, err
	}
	path, _ := c.Flags().GetString("store")
	if scheme, _, ok := strings.Cut(path, "://"); ok { // what follows may hold a password
		return nil, usagef("--store %s://...: want the path of an SQLite file; other databases are not supported", scheme)
	}
	cfg := mdms.Config{Store: path, Logger: log}
	cfg.Key, _ = c.Flags().GetString("signing-key")
	change(&cfg)
	s, err := mdms.Open(c.Context(), cfg)
	switch {
	case errors.Is(err, mdms.ErrNoStore):
		return nil, fmt.Errorf("%w: give the right one with --store; \"meterseal mdms --store %s\" makes a new one", err, path)
	case errors.Is(err, mdms.ErrNoKey) && cfg.Existing:
		return nil, fmt.Errorf("%w: name it with --signing-key if it lies elsewhere", err)
	}
	return s, err
}

func runMDMS(c *cobra.Command, _ []string) error {
	f := c.Flags()
	if err := positive(c, "stale-after", "challenge-life"); err != nil {
		return err
	}
	s, err := openMDMS(c, func(cfg *mdms.Config) {
		cfg.TLS.CertFile, _ = f.GetString("tls-cert")
		cfg.TLS.KeyFile, _ = f.GetString("tls-key")
		cfg.TLS.ClientCAFile, _ = f.GetString("tls-client-ca")
		cfg.Limits.StaleAfter, _ = f.GetDuration("stale-after")
		cfg.Limits.ChallengeLife, _ = f.GetDuration("challenge-life")
	})
	if err != nil {
		return err
	}
	defer s.Close()
	addr, _ := f.GetString("listen")
	ln, err := s.Listen(c.Context(), addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w by another program, perhaps another MDMS: stop that, or give another --listen", err)
	}
	if err != nil {
		return err
	}
	scheme := "http"
	if cert, _ := f.GetString("tls-cert"); cert != "" {
		scheme = "https"
	}
	store, _ := f.GetString("store")
	ready(c.OutOrStdout(), pair{"http", scheme + "://" + ln.Addr().String()}, pair{"store", store})
	return together(c.Context(), s.Run, func(ctx context.Context) error { return s.Serve(ctx, ln) })
}

// withMDMS runs do on the store that is there already, for a command that ends.
func withMDMS(c *cobra.Command, do func(*mdms.Server) error) error {
	return onStore(c, func(cfg *mdms.Config) { cfg.Existing = true }, do)
}

func onStore(c *cobra.Command, change func(*mdms.Config), do func(*mdms.Server) error) error {
	s, err := openMDMS(c, change)
	if err != nil {
		return err
	}
	err = do(s)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}

func meterFlag(c *cobra.Command) (eventlog.MeterID, error) {
	text, _ := c.Flags().GetString("meter")
	if text == "" {
		return eventlog.MeterID{}, usagef("--meter ID is required; \"meterseal mdms meters\" lists them")
	}
	id, err := eventlog.ParseMeterID(text)
	if err != nil {
		return id, usagef("--meter: %w", err)
	}
	return id, nil
}
