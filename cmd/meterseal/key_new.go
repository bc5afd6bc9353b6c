package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/secureelement/soft"
)

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
			cfg, err := moduleConfig(c, nil, true)
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
