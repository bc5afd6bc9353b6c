package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

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
