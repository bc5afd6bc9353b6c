package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newChallenge() *cobra.Command {
	c := &cobra.Command{
		Use:     "challenge --meter ID",
		Short:   "Ask a meter for a fresh seal; a controller carries it",
		Example: "  meterseal mdms challenge --meter FFFFFF-MS0000000001",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			return withMDMS(c, func(s *mdms.Server) error {
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
			})
		},
	}
	c.Flags().String("meter", "", "meter id (required)")
	return c
}
