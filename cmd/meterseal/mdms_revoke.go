package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newRevoke() *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke --meter ID --key PEM",
		Short:   "Revoke a key: what it sealed and is not accepted yet never will be",
		Example: "  meterseal mdms revoke --meter FFFFFF-MS0000000001 --key meter1/meter.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			path, _ := c.Flags().GetString("key")
			if path == "" {
				return usagef("--key PEM is required: the public key to revoke, as the meter was enrolled with it")
			}
			pub, err := readPublicKey(path)
			if err != nil {
				return err
			}
			key, err := eventlog.KeyIDOf(pub)
			if err != nil {
				return err
			}
			return withMDMS(c, func(s *mdms.Server) error {
				if err := s.Revoke(c.Context(), id, key); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "revoked key %s of meter %s\n", key, id)
				return nil
			})
		},
	}
	c.Flags().String("meter", "", "meter id (required)")
	c.Flags().String("key", "", "PEM file with the public key to revoke (required)")
	return c
}
