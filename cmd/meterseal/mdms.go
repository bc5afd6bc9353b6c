package main

import (
	"context"
	"log/slog"
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
given its public half with "meterseal mdms key".`,
		Example: `  meterseal mdms --store mdms.db
  meterseal mdms --store mdms.db --listen 0.0.0.0:8288 --tls-cert cert.pem --tls-key key.pem --tls-client-ca couriers.pem
  meterseal mdms enrol --store mdms.db --meter FFFFFF-MS0000000001 --key meter1/meter.pem --scheme counter
  meterseal mdms meters --store mdms.db`,
		Args:        cobra.NoArgs,
		RunE:        runMDMS,
		Annotations: daemon,
	}
	p := c.PersistentFlags()
	p.String("store", "mdms.db", "the SQLite file; made if missing")
	p.String("signing-key", "", "file with the MDMS's signing key; default STORE.key, made if missing")
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
func openMDMS(c *cobra.Command, change func(*mdms.Config)) (*mdms.Server, *slog.Logger, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, nil, err
	}
	store, _ := c.Flags().GetString("store")
	key, _ := c.Flags().GetString("signing-key")
	cfg := mdms.Config{Store: store, Key: key, Logger: log}
	if change != nil {
		change(&cfg)
	}
	s, err := mdms.Open(c.Context(), cfg)
	return s, log, err
}

func runMDMS(c *cobra.Command, _ []string) error {
	f := c.Flags()
	s, _, err := openMDMS(c, func(cfg *mdms.Config) {
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

// withMDMS makes the body of a command that works on the store and ends.
func withMDMS(do func(c *cobra.Command, s *mdms.Server, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s, _, err := openMDMS(c, nil)
		if err != nil {
			return err
		}
		err = do(c, s, args)
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		return err
	}
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
