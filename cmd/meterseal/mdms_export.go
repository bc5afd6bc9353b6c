package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newExport() *cobra.Command {
	c := &cobra.Command{
		Use:     "export --meter ID [-o FILE.mseal]",
		Short:   "Export a meter's verified log as a bundle for the offline verifier",
		Example: "  meterseal mdms export --meter FFFFFF-MS0000000001 -o evidence.mseal\n  meterseal verify evidence.mseal --key meter1/meter.pem",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			return withMDMS(c, func(s *mdms.Server) error { return export(c, s, id) })
		},
	}
	c.Flags().String("meter", "", "meter id (required)")
	c.Flags().StringP("output", "o", "", "file to write, - for standard output; default ID.mseal")
	c.Flags().String("seal", "", "file to write the newest seal to, for verify --head")
	return c
}

func export(c *cobra.Command, s *mdms.Server, id eventlog.MeterID) error {
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
		fmt.Fprintf(c.OutOrStdout(), "wrote %s: %s, %s\n", path, plural(len(u.Parts), "segment"), plural(len(b), "byte"))
	}
	return nil
}
