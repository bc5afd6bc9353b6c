package main

import (
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func newKey() *cobra.Command {
	key := &cobra.Command{
		Use:   "key",
		Short: "Provision a secure element: make a key, show it, ask for its certificate",
		Args:  cobra.ArbitraryArgs,
	}
	key.AddCommand(newKeyNew(), newKeyShow(), newKeyCSR())
	return key
}

func newKeyNew() *cobra.Command {
	c := &cobra.Command{
		Use:   "new --state DIR",
		Short: "Make a key; never overwrites one",
		Example: `  meterseal key new --state meter1
  meterseal key new --state meter1 --scheme digest --passphrase-file /run/secrets/meter1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			scheme, err := schemeFlag(c)
			if err != nil {
				return err
			}
			cfg, err := moduleSetup(c)
			if err != nil {
				return err
			}
			if err := soft.Create(c.Context(), cfg, scheme); err != nil {
				if errors.Is(err, soft.ErrKeyExists) {
					return fmt.Errorf("%w; \"meterseal key show\" shows it", err)
				}
				return err
			}
			return showKey(c, cfg)
		},
	}
	moduleFlags(c)
	c.Flags().String("scheme", "counter", "what the key signs, for life: counter or digest")
	c.Flags().Bool("json", false, "print JSON")
	c.Flags().Bool("pem", false, "print the public key in PEM and nothing else")
	return c
}

func newKeyShow() *cobra.Command {
	c := &cobra.Command{
		Use:     "show --state DIR",
		Short:   "Show public key, scheme, counter and how the module is shielded",
		Example: "  meterseal key show --state meter1\n  meterseal key show --state meter1 --pem > meter1.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := moduleSetup(c)
			if err != nil {
				return err
			}
			return showKey(c, cfg)
		},
	}
	moduleFlags(c)
	c.Flags().Bool("json", false, "print JSON")
	c.Flags().Bool("pem", false, "print the public key in PEM and nothing else")
	return c
}

func newKeyCSR() *cobra.Command {
	c := &cobra.Command{
		Use:     "csr --state DIR",
		Short:   "Print a certificate request that the module signs",
		Example: "  meterseal key csr --state meter1 --meter FFFFFF-MS0000000001 > meter1.csr",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			id, _ := c.Flags().GetString("meter")
			meter, err := eventlog.ParseMeterID(id)
			if err != nil {
				return usagef("--meter: %w", err)
			}
			cfg, err := moduleSetup(c)
			if err != nil {
				return err
			}
			m, err := soft.Open(c.Context(), cfg)
			if err != nil {
				return err
			}
			defer m.Close()
			return writeCSR(c, m, meter)
		},
	}
	moduleFlags(c)
	c.Flags().String("meter", "", "meter id, becomes the subject's serial number (required)")
	return c
}

func schemeFlag(c *cobra.Command) (eventlog.Scheme, error) {
	s, _ := c.Flags().GetString("scheme")
	scheme, err := eventlog.ParseScheme(s)
	if err != nil {
		return 0, usagef("--scheme: %w", err)
	}
	return scheme, nil
}

// moduleSetup is the module of a command that ends at once: it logs nothing.
func moduleSetup(c *cobra.Command) (soft.Config, error) { return moduleConfig(c, nil, c.ErrOrStderr()) }

// keyReport is what key show prints.
type keyReport struct {
	secureelement.Info
	PublicKey string `json:"public_key"` // PEM
}

func showKey(c *cobra.Command, cfg soft.Config) error {
	m, err := soft.Open(c.Context(), cfg)
	if errors.Is(err, soft.ErrNoKey) {
		return fmt.Errorf("%w; \"meterseal key new --state DIR\" makes one", err)
	}
	if err != nil {
		return err
	}
	defer m.Close()
	info, err := m.Info(c.Context())
	if err != nil {
		return err
	}
	text, err := publicPEM(m.PublicKey())
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if only, _ := c.Flags().GetBool("pem"); only {
		_, err := out.Write(text)
		return err
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(out, keyReport{info, string(text)})
	}
	fmt.Fprintf(out, "backend    %s\nscheme     %s\nkey        %s\ncounter    %d\nhardware   %s\nexportable %s\n",
		info.Backend, info.Scheme, info.Key, info.Counter, yesNo(info.Hardware), yesNo(info.Exportable))
	for _, m := range info.Hardening {
		state := "applied"
		if !m.Applied {
			state = "NOT APPLIED"
		}
		fmt.Fprintf(out, "hardening  %-16s %-11s %s\n", m.Name, state, m.Detail)
	}
	_, err = out.Write(text)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// writeFile writes what a command makes to the file that -o names, or to
// stdout.
func writeFile(c *cobra.Command, path string, b []byte) error {
	if path == "" || path == "-" {
		_, err := c.OutOrStdout().Write(b)
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

func writeCSR(c *cobra.Command, m *soft.Module, meter eventlog.MeterID) error {
	der, err := m.CertificateRequest(c.Context(), pkix.Name{CommonName: "meter " + meter.String(), SerialNumber: meter.String()})
	if err != nil {
		return err
	}
	return pem.Encode(c.OutOrStdout(), &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
