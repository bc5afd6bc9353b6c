package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
	"github.com/meterseal/meterseal/secureelement/soft"
)

func newKeyShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show --state DIR",
		Short: "Show public key, scheme, counter and how the module is shielded",
		Long: `Show public key, scheme, counter and how the module is shielded. While a meter
runs, its module is asked by nobody else: what the meter has written down is
shown then, without counter and shielding.`,
		Example: "  meterseal key show --state meter1\n  meterseal key show --state meter1 --pem > meter1.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := moduleConfig(c, nil, false)
			if err != nil {
				return err
			}
			err = showKey(c, cfg)
			if errors.Is(err, secureelement.ErrBusy) {
				return showKeyInUse(c, err)
			}
			return err
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

// keyInUse is what key show prints of a module that a meter uses.
type keyInUse struct {
	Meter     eventlog.MeterID `json:"meter"`
	Scheme    eventlog.Scheme  `json:"scheme"`
	Key       eventlog.KeyID   `json:"key"`
	PublicKey string           `json:"public_key"` // PEM
	InUse     bool             `json:"in_use"`     // true
}

// showKeyInUse shows what a meter has written down of the key of the module that
// it uses. busy is the module's error, which names the process.
func showKeyInUse(c *cobra.Command, busy error) error {
	state, err := stateDir(c)
	if err != nil {
		return err
	}
	pub, scheme, ok, err := device.StoredKey(state)
	if err != nil || !ok {
		return fmt.Errorf("%w: a meter starts there, or another command uses it: try again", busy)
	}
	r := keyInUse{Scheme: scheme, InUse: true}
	if r.Meter, _, err = device.StoredMeter(state); err != nil {
		return err
	}
	if r.Key, err = eventlog.KeyIDOf(pub); err != nil {
		return err
	}
	text, err := publicPEM(pub)
	if err != nil {
		return err
	}
	r.PublicKey = string(text)
	out := c.OutOrStdout()
	if only, _ := c.Flags().GetBool("pem"); only {
		_, err := out.Write(text)
		return err
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(out, r)
	}
	fmt.Fprintf(c.ErrOrStderr(), "the meter runs and has the module to itself (%v); stop it to see counter and shielding\n", busy)
	fmt.Fprintf(out, "meter      %s\nscheme     %s\nkey        %s\n%s", r.Meter, r.Scheme, r.Key, text)
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
