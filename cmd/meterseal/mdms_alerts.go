package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newAlerts() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts",
		Short: "List alerts that are not closed; acknowledge or close one",
		Example: `  meterseal mdms alerts --json
  meterseal mdms alerts --close FFFFFF-MS0000000001/a1b2c3`,
		Args: cobra.NoArgs,
		RunE: runAlerts,
	}
	c.Flags().Bool("all", false, "list closed ones too")
	c.Flags().String("ack", "", "METER/ALERT to mark as acknowledged")
	c.Flags().String("close", "", "METER/ALERT to close: a person has looked into it")
	c.Flags().String("reopen", "", "METER/ALERT to open again")
	c.Flags().Bool("json", false, "print JSON")
	return c
}

func runAlerts(c *cobra.Command, _ []string) error {
	var moves []alertMove
	for _, to := range []struct{ flag, state string }{{"ack", "acknowledged"}, {"close", "closed"}, {"reopen", "open"}} {
		which, _ := c.Flags().GetString(to.flag)
		if which == "" {
			continue
		}
		m, err := parseAlert(which, to.state)
		if err != nil {
			return err
		}
		moves = append(moves, m)
	}
	return withMDMS(c, func(s *mdms.Server) error {
		for _, m := range moves {
			if err := s.SetAlert(c.Context(), m.meter, m.alert, m.state); err != nil {
				return err
			}
		}
		all, _ := c.Flags().GetBool("all")
		alerts, err := allAlerts(c.Context(), s, all)
		if err != nil {
			return err
		}
		if asJSON, _ := c.Flags().GetBool("json"); asJSON {
			return printJSON(c.OutOrStdout(), alerts)
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ALERT\tSTATUS\tKIND\tTIMES\tSINCE\tDETAIL")
		for _, a := range alerts {
			fmt.Fprintf(w, "%s/%s\t%s\t%s\t%d\t%s\t%s\n", a.Meter, a.ID, a.Status, a.Kind, a.Count, stamp(a.OpenedAt), a.Detail)
		}
		return w.Flush()
	})
}

// alertMove is an alert and the state that it is put into.
type alertMove struct {
	meter        eventlog.MeterID
	alert, state string
}

func parseAlert(which, state string) (alertMove, error) {
	i := strings.LastIndexByte(which, '/') // a serial number may hold a slash, an alert id does not
	if i < 0 {
		return alertMove{}, usagef("alert %q: want METER/ALERT, as \"meterseal mdms alerts\" lists it", which)
	}
	id, err := eventlog.ParseMeterID(which[:i])
	if err != nil {
		return alertMove{}, usagef("alert %q: %w", which, err)
	}
	return alertMove{id, which[i+1:], state}, nil
}

// allAlerts reads the pages of the list to the end.
func allAlerts(ctx context.Context, s *mdms.Server, closed bool) ([]mdms.Alert, error) {
	all := []mdms.Alert{}
	for after := ""; ; {
		page, err := s.Alerts(ctx, after, closed, 500)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		last := page[len(page)-1]
		after = last.Meter.String() + "/" + last.ID
	}
}
