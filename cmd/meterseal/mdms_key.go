package main

import (
	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/mdms"
)

func newMDMSKey() *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the MDMS's public key, which meters are given with --mdms-key",
		Example: "  meterseal mdms key > mdms.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMDMS(c, func(s *mdms.Server) error {
				text, err := s.PublicKeyPEM()
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(text)
				return err
			})
		},
	}
}
