package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
)

func newControllerRead() *cobra.Command {
	c := &cobra.Command{
		Use:     "read --meter HOST[:PORT]",
		Short:   "Read a meter once: identity, power, currents, registers",
		Example: "  meterseal controller read --meter 127.0.0.2 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMeter(c, controller.Config{}, nil, func(ctx context.Context, h *hems, m controller.Meter) error {
				r, err := h.Read(ctx, m)
				if err != nil {
					return err
				}
				values := readingValues(r)
				if asJSON, _ := c.Flags().GetBool("json"); asJSON {
					doc := map[string]string{}
					for _, v := range values {
						doc[v.key] = v.value
					}
					return printJSON(c.OutOrStdout(), doc)
				}
				for _, v := range values {
					fmt.Fprintf(c.OutOrStdout(), "%-14s %s\n", v.key, v.text())
				}
				return nil
			})
		},
	}
	c.Flags().Bool("json", false, "print JSON")
	patienceFlag(c)
	return c
}

// text is the value as people read it. ECHONET Lite times name no zone: they are
// those of the meter's own clock.
func (p pair) text() string {
	if p.key == halfHourKey {
		return p.value + " by the meter's clock"
	}
	return p.value
}

const halfHourKey = "half_hour"

// readingValues are the values that the meter gave, with their units in the
// names.
func readingValues(r controller.Readings) []pair {
	out := []pair{{"manufacturer", fmt.Sprintf("%X", r.Manufacturer)}, {"serial", r.Serial}}
	if r.Release != 0 {
		out = append(out, pair{"release", string(rune(r.Release))})
	}
	if r.Power.OK() {
		out = append(out, pair{"power_w", strconv.Itoa(int(r.Power.V))})
	}
	if r.CurrentR.OK() {
		out = append(out, pair{"current_r_a", r.CurrentR.V.String()})
	}
	if r.CurrentT.OK() {
		out = append(out, pair{"current_t_a", r.CurrentT.V.String()})
	}
	if r.Import.OK() {
		out = append(out, pair{"import_kwh", r.Import.V.String()})
	}
	if r.Export.OK() {
		out = append(out, pair{"export_kwh", r.Export.V.String()})
	}
	if r.HalfImport.OK() {
		out = append(out, pair{halfHourKey, r.HalfImport.V.Time.String()}, pair{"half_import_kwh", r.HalfImport.V.Energy.String()})
	}
	return out
}
