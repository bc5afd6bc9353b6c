package main

import (
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

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
			cfg, err := moduleConfig(c, nil, false)
			if err != nil {
				return err
			}
			m, err := soft.Open(c.Context(), cfg)
			if errors.Is(err, secureelement.ErrBusy) {
				return fmt.Errorf("%w: a meter runs there, and alone may use the module: stop it first", err)
			}
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

func writeCSR(c *cobra.Command, m *soft.Module, meter eventlog.MeterID) error {
	der, err := m.CertificateRequest(c.Context(), pkix.Name{CommonName: "meter " + meter.String(), SerialNumber: meter.String()})
	if err != nil {
		return err
	}
	return pem.Encode(c.OutOrStdout(), &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
