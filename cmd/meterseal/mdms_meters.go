package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms"
)

func newMeters() *cobra.Command {
	c := &cobra.Command{
		Use:     "meters [--meter ID]",
		Short:   "List meters with their verdicts, or show one",
		Example: "  meterseal mdms meters\n  meterseal mdms meters --meter FFFFFF-MS0000000001 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if text, _ := c.Flags().GetString("meter"); text == "" {
				return withMDMS(c, func(s *mdms.Server) error { return listMeters(c, s) })
			}
			id, err := meterFlag(c)
			if err != nil {
				return err
			}
			return withMDMS(c, func(s *mdms.Server) error { return showMeter(c, s, id) })
		},
	}
	c.Flags().String("meter", "", "show this meter only")
	c.Flags().Bool("json", false, "print JSON")
	return c
}

func showMeter(c *cobra.Command, s *mdms.Server, id eventlog.MeterID) error {
	st, err := s.Meter(c.Context(), id)
	if err != nil {
		return err
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), st)
	}
	return printMeter(c, st)
}

func listMeters(c *cobra.Command, s *mdms.Server) error {
	all, err := allMeters(c.Context(), s)
	if err != nil {
		return err
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), all)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "METER\tVERDICT\tSEGMENT\tSIGNED\tSEQUENCE\tACCEPTED")
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", m.Meter, orNone(m.Verdict), m.Head.Segment, m.Head.Length, m.Head.LastSeq, stamp(m.AcceptedAt))
	}
	return w.Flush()
}

// allMeters reads the pages of the list to the end.
func allMeters(ctx context.Context, s *mdms.Server) ([]mdms.Status, error) {
	all := []mdms.Status{}
	for after := ""; ; {
		page, err := s.Meters(ctx, after, 500)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].Meter.String()
	}
}

func printMeter(c *cobra.Command, m *mdms.Status) error {
	w := c.OutOrStdout()
	charge := ""
	if m.Charge != "" {
		charge = ", laid on the " + string(m.Charge)
	}
	fmt.Fprintf(w, "meter    %s\nverdict  %s%s\nsigned   segment %d, %d bytes, sequence %d\naccepted %s\ntail     %s\n",
		m.Meter, orNone(m.Verdict), charge, m.Head.Segment, m.Head.Length, m.Head.LastSeq, stamp(m.AcceptedAt), plural(m.Tail, "unsigned record"))
	for _, k := range m.Keys {
		state := "valid"
		if !k.RevokedAt.IsZero() {
			state = "revoked " + stamp(k.RevokedAt)
		}
		fmt.Fprintf(w, "key      %s, scheme %s, %s\n", k.ID, k.Scheme, state)
	}
	for _, g := range m.Missing {
		fmt.Fprintf(w, "missing  %s\n", missing(g))
	}
	for _, f := range m.Findings {
		fmt.Fprintf(w, "finding  %s segment %d offset %d: %s\n", f.Code, f.Segment, f.Offset, f.Detail)
	}
	for _, a := range m.Alerts {
		fmt.Fprintf(w, "alert    %s %s, %s since %s: %s\n", a.Status, a.Kind, plural(int(a.Count), "time"), stamp(a.OpenedAt), a.Detail)
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
