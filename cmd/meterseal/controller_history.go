package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
)

func newControllerHistory() *cobra.Command {
	c := &cobra.Command{
		Use:   "history --meter HOST[:PORT]",
		Short: "Read one day of a meter's half-hourly registers",
		Long: `Read one day of a meter's half-hourly registers. Days and times are those of the
meter's own clock, which names no zone: Japanese meters have JST, UTC+09:00.`,
		Example: "  meterseal controller history --meter 127.0.0.2 --day 1 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withMeter(c, controller.Config{}, nil, func(ctx context.Context, h *hems, m controller.Meter) error {
				ago, _ := c.Flags().GetInt("day")
				if ago < 0 || ago > 99 {
					return usagef("--day %d: want 0 (today) to 99", ago)
				}
				d, err := h.History(ctx, m, ago)
				if err != nil {
					return err
				}
				return printDay(c, d)
			})
		},
	}
	c.Flags().Int("day", 0, "days before the meter's today, 0 to 99")
	c.Flags().Bool("json", false, "print JSON")
	patienceFlag(c)
	return c
}

// slotJSON is one half-hour of a day of history.
type slotJSON struct {
	Time   string `json:"time"` // by the meter's clock
	Import string `json:"import_kwh,omitempty"`
	Export string `json:"export_kwh,omitempty"`
}

func printDay(c *cobra.Command, d controller.Day) error {
	date := fmt.Sprintf("%d days ago", d.Ago)
	if d.Year != 0 {
		date = fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Date)
	}
	slots := []slotJSON{}
	for i := range d.Import {
		s := slotJSON{Time: fmt.Sprintf("%s %02d:%02d", date, i/2, i%2*30)}
		if d.Import[i].OK {
			s.Import = d.Import[i].Energy.String()
		}
		if d.Export[i].OK {
			s.Export = d.Export[i].Energy.String()
		}
		if s.Import != "" || s.Export != "" {
			slots = append(slots, s)
		}
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), slots)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "METER'S CLOCK\tIMPORT kWh\tEXPORT kWh")
	for _, s := range slots {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Time, orNone(s.Import), orNone(s.Export))
	}
	return w.Flush()
}
