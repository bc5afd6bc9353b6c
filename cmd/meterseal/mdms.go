package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
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

func newEnrol() *cobra.Command {
	c := &cobra.Command{
		Use:   "enrol --meter ID --key PEM --scheme SCHEME",
		Short: "Register a meter with its public key, or a further key of it",
		Long: `Register a meter with its public key. Only an administrator does this: a key is
never taken from a controller. Enrolling the same meter with the same key again
changes the policy that is expected of it. --add registers a further key, so
that the meter's own KEY_CHANGE to it is accepted.`,
		Example: `  meterseal mdms enrol --meter FFFFFF-MS0000000001 --key meter1/meter.pem --scheme counter`,
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			f := c.Flags()
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			keyFile, _ := f.GetString("key")
			if keyFile == "" {
				return usagef("--key PEM is required: the meter's public key, which its first start writes to STATE/%s", keyName)
			}
			pub, err := readPublicKey(keyFile)
			if err != nil {
				return err
			}
			scheme, err := schemeFlag(c)
			if err != nil {
				return err
			}
			text, _ := f.GetString("policy")
			policy, err := eventlog.ParsePolicy(1, text)
			if err != nil {
				return usagef("--policy: %w", err)
			}
			counter, _ := f.GetUint64("counter")
			if add, _ := f.GetBool("add"); add {
				from, _ := f.GetUint32("from-seq")
				err = s.AddKey(c.Context(), mdms.NewKey{Meter: id, PublicKey: pub, Scheme: scheme, Counter: counter, FirstSeq: from})
			} else {
				err = s.Enrol(c.Context(), mdms.Enrolment{Meter: id, PublicKey: pub, Scheme: scheme, Counter: counter, Policy: policy})
			}
			if err != nil {
				return err
			}
			key, err := eventlog.KeyIDOf(pub)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "enrolled meter %s with key %s, scheme %s\n", id, key, scheme)
			return nil
		}),
	}
	f := c.Flags()
	f.String("meter", "", "meter id (required)")
	f.String("key", "", "PEM file with the meter's public key (required)")
	f.String("scheme", "counter", "scheme of the key: counter or digest")
	f.Uint64("counter", 0, "counter of the secure element at enrolment")
	f.String("policy", "default", "specific events that the meter has to seal: a list, default, or all")
	f.Bool("add", false, "register a further key of an enrolled meter")
	f.Uint32("from-seq", 0, "with --add: first sequence number that the key may seal")
	return c
}

func newMeters() *cobra.Command {
	c := &cobra.Command{
		Use:     "meters [--meter ID]",
		Short:   "List meters with their verdicts, or show one",
		Example: "  meterseal mdms meters\n  meterseal mdms meters --meter FFFFFF-MS0000000001 --json",
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			asJSON, _ := c.Flags().GetBool("json")
			if text, _ := c.Flags().GetString("meter"); text != "" {
				id, err := meterFlag(c)
				if err != nil {
					return err
				}
				st, err := s.Meter(c.Context(), id)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), st)
				}
				return printMeter(c, st)
			}
			all, err := allMeters(c.Context(), s)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "METER\tVERDICT\tSEGMENT\tSIGNED\tSEQUENCE\tACCEPTED")
			for _, m := range all {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", m.Meter, orNone(m.Verdict), m.Head.Segment, m.Head.Length, m.Head.LastSeq, stamp(m.AcceptedAt))
			}
			return w.Flush()
		}),
	}
	c.Flags().String("meter", "", "show this meter only")
	c.Flags().Bool("json", false, "print JSON")
	return c
}

// allMeters reads the pages of the list to the end.
func allMeters(ctx context.Context, s *mdms.Server) ([]mdms.Status, error) {
	all := []mdms.Status{}
	for after := ""; ; {
		page, err := s.Meters(ctx, after, 500)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].Meter.String()
	}
}

func printMeter(c *cobra.Command, m *mdms.Status) error {
	w := c.OutOrStdout()
	charge := ""
	if m.Charge != "" {
		charge = ", laid on the " + string(m.Charge)
	}
	fmt.Fprintf(w, "meter    %s\nverdict  %s%s\nsigned   segment %d, %d bytes, sequence %d\naccepted %s\ntail     %d unsigned records\n",
		m.Meter, orNone(m.Verdict), charge, m.Head.Segment, m.Head.Length, m.Head.LastSeq, stamp(m.AcceptedAt), m.Tail)
	for _, k := range m.Keys {
		state := "valid"
		if !k.RevokedAt.IsZero() {
			state = "revoked " + stamp(k.RevokedAt)
		}
		fmt.Fprintf(w, "key      %s, scheme %s, %s\n", k.ID, k.Scheme, state)
	}
	for _, g := range m.Missing {
		fmt.Fprintf(w, "missing  %s\n", missing(g))
	}
	for _, f := range m.Findings {
		fmt.Fprintf(w, "finding  %s segment %d offset %d: %s\n", f.Code, f.Segment, f.Offset, f.Detail)
	}
	for _, a := range m.Alerts {
		fmt.Fprintf(w, "alert    %s %s, %d times since %s: %s\n", a.Status, a.Kind, a.Count, stamp(a.OpenedAt), a.Detail)
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func newAlerts() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts",
		Short: "List alerts that are not closed; acknowledge or close one",
		Example: `  meterseal mdms alerts --json
  meterseal mdms alerts --close FFFFFF-MS0000000001/a1b2c3`,
		Args: cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			for flag, state := range map[string]string{"ack": "acknowledged", "close": "closed", "reopen": "open"} {
				which, _ := c.Flags().GetString(flag)
				if which == "" {
					continue
				}
				if err := setAlert(c.Context(), s, which, state); err != nil {
					return err
				}
			}
			all, _ := c.Flags().GetBool("all")
			alerts, err := allAlerts(c.Context(), s, all)
			if err != nil {
				return err
			}
			if asJSON, _ := c.Flags().GetBool("json"); asJSON {
				return printJSON(c.OutOrStdout(), alerts)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ALERT\tSTATUS\tKIND\tTIMES\tSINCE\tDETAIL")
			for _, a := range alerts {
				fmt.Fprintf(w, "%s/%s\t%s\t%s\t%d\t%s\t%s\n", a.Meter, a.ID, a.Status, a.Kind, a.Count, stamp(a.OpenedAt), a.Detail)
			}
			return w.Flush()
		}),
	}
	c.Flags().Bool("all", false, "list closed ones too")
	c.Flags().String("ack", "", "METER/ALERT to mark as acknowledged")
	c.Flags().String("close", "", "METER/ALERT to close: a person has looked into it")
	c.Flags().String("reopen", "", "METER/ALERT to open again")
	c.Flags().Bool("json", false, "print JSON")
	return c
}

func setAlert(ctx context.Context, s *mdms.Server, which, state string) error {
	i := strings.LastIndexByte(which, '/') // a serial number may hold a slash, an alert id does not
	if i < 0 {
		return usagef("alert %q: want METER/ALERT, as \"meterseal mdms alerts\" lists it", which)
	}
	id, err := eventlog.ParseMeterID(which[:i])
	if err != nil {
		return usagef("alert %q: %w", which, err)
	}
	return s.SetAlert(ctx, id, which[i+1:], state)
}

// allAlerts reads the pages of the list to the end.
func allAlerts(ctx context.Context, s *mdms.Server, closed bool) ([]mdms.Alert, error) {
	all := []mdms.Alert{}
	for after := ""; ; {
		page, err := s.Alerts(ctx, after, closed, 500)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		last := page[len(page)-1]
		after = last.Meter.String() + "/" + last.ID
	}
}

func newExport() *cobra.Command {
	c := &cobra.Command{
		Use:     "export --meter ID [-o FILE.mseal]",
		Short:   "Export a meter's verified log as a bundle for the offline verifier",
		Example: "  meterseal mdms export --meter FFFFFF-MS0000000001 -o evidence.mseal\n  meterseal verify evidence.mseal --key meter1/meter.pem",
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			b, err := s.Export(c.Context(), id)
			if err != nil {
				return err
			}
			path, _ := c.Flags().GetString("output")
			if path == "" {
				path = id.String() + eventlog.BundleExt
			}
			if err := writeFile(c, path, b); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			var u eventlog.Bundle
			if err := u.UnmarshalBinary(b); err != nil {
				return err
			}
			if sealPath, _ := c.Flags().GetString("seal"); sealPath != "" {
				if err := os.WriteFile(sealPath, u.Parts[len(u.Parts)-1].Seal, 0o644); err != nil {
					return fmt.Errorf("export: %w", err)
				}
			}
			if path != "-" {
				fmt.Fprintf(c.OutOrStdout(), "wrote %s: %d segments, %d bytes\n", path, len(u.Parts), len(b))
			}
			return nil
		}),
	}
	c.Flags().String("meter", "", "meter id (required)")
	c.Flags().StringP("output", "o", "", "file to write, - for standard output; default ID.mseal")
	c.Flags().String("seal", "", "file to write the newest seal to, for verify --head")
	return c
}

func newChallenge() *cobra.Command {
	c := &cobra.Command{
		Use:     "challenge --meter ID",
		Short:   "Ask a meter for a fresh seal; a controller carries it",
		Example: "  meterseal mdms challenge --meter FFFFFF-MS0000000001",
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			w, err := s.Challenge(c.Context(), id, "asked by an operator")
			if err != nil {
				return err
			}
			var ch eventlog.Challenge
			if err := ch.UnmarshalBinary(w.Message); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "challenge for meter %s, nonce %x\n", id, ch.Nonce)
			return nil
		}),
	}
	c.Flags().String("meter", "", "meter id (required)")
	return c
}

func newRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke --meter ID --key PEM",
		Short:   "Revoke a key: what it sealed and is not accepted yet never will be",
		Example: "  meterseal mdms revoke --meter FFFFFF-MS0000000001 --key meter1/meter.pem",
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			path, _ := c.Flags().GetString("key")
			pub, err := readPublicKey(path)
			if err != nil {
				return err
			}
			key, err := eventlog.KeyIDOf(pub)
			if err != nil {
				return err
			}
			if err := s.Revoke(c.Context(), id, key); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "revoked key %s of meter %s\n", key, id)
			return nil
		}),
	}
	c.Flags().String("meter", "", "meter id (required)")
	c.Flags().String("key", "", "PEM file with the public key to revoke (required)")
	return c
}

func newMDMSKey() *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the MDMS's public key, which meters are given with --mdms-key",
		Example: "  meterseal mdms key > mdms.pem",
		Args:    cobra.NoArgs,
		RunE: withMDMS(func(c *cobra.Command, s *mdms.Server, _ []string) error {
			text, err := s.PublicKeyPEM()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		}),
	}
}
