package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/eventlog"
)

func newControllerCollect() *cobra.Command {
	c := &cobra.Command{
		Use:   "collect --meter HOST[:PORT] [-o FILE.mseal]",
		Short: "Collect a meter's evidence once, into a bundle file",
		Example: `  meterseal controller collect --meter 127.0.0.2 -o evidence.mseal
  meterseal verify evidence.mseal --key meter1/meter.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := controller.Config{}
			cfg.Collect.Tail, _ = c.Flags().GetBool("tail")
			cfg.Collect.Chain = true
			bar := progress(c.ErrOrStderr(), "log bytes")
			cfg.Collect.Progress = func(p controller.Progress) { bar(int64(p.Done), int64(p.Total)) }
			return withMeter(c, cfg, nil, func(ctx context.Context, h *hems, m controller.Meter) error {
				got, err := h.Collect(ctx, m, controller.Want{})
				if errors.Is(err, controller.ErrUnsupported) {
					return fmt.Errorf("%w: it works as a meter, but keeps no sealed log", err)
				}
				if err != nil {
					return err
				}
				return saveCollected(c, got)
			})
		},
	}
	c.Flags().StringP("output", "o", "", "file to write, - for standard output; default ID.mseal")
	c.Flags().Bool("tail", false, "include the unsigned records after the newest seal")
	patienceFlag(c)
	return c
}

func saveCollected(c *cobra.Command, got controller.Collected) error {
	if got.Bundle == nil {
		return errors.New("the meter has sealed nothing yet")
	}
	b, err := got.Bundle.AppendBinary(nil)
	if err != nil {
		return err
	}
	path, _ := c.Flags().GetString("output")
	if path == "" {
		path = got.Bundle.Meter.String() + eventlog.BundleExt
	}
	if err := writeFile(c, path, b); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if path != "-" {
		fmt.Fprintf(c.OutOrStdout(), "wrote %s: meter %s, %s, %d log bytes in %s\n",
			path, got.Bundle.Meter, plural(len(got.Bundle.Parts), "segment"), got.Stats.Bytes, plural(got.Stats.RoundTrips, "round trip"))
	}
	return nil
}
