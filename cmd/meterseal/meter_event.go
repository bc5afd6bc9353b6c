package main

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

func newMeterEvent() *cobra.Command {
	c := &cobra.Command{
		Use:   "event --state DIR [CLASS/]CODE",
		Short: "Make an event happen on a running meter",
		Long: `Make an event happen on the meter that runs on the state directory. CLASS is the
number or name of the log (standard, fraud, disconnector, m-bus, power-quality,
communication, security); it defaults to standard. 0xF0/6 asks for a seal now.`,
		Example: "  meterseal meter event --state meter1 fraud/40\n  meterseal meter event --state meter1 4/77 --payload 00e6",
		Args:    wants("[CLASS/]CODE"),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := stateDir(c)
			if err != nil {
				return err
			}
			e, err := eventlog.ParseEvent(args[0])
			if err != nil {
				return usageError{err}
			}
			text, _ := c.Flags().GetString("payload")
			payload, err := hex.DecodeString(text)
			if err != nil {
				return usagef("--payload: %w", err)
			}
			rec, err := device.SendEvent(c.Context(), dir, e, payload)
			if errors.Is(err, device.ErrNotRunning) {
				return fmt.Errorf("%w; start it with \"meterseal meter --state %s\"", err, dir)
			}
			if err != nil {
				return err
			}
			if asJSON, _ := c.Flags().GetBool("json"); asJSON {
				return printJSON(c.OutOrStdout(), rec)
			}
			state := "unsigned until the next seal"
			switch {
			case rec.Sealed:
				state = "sealed"
			case rec.Specific:
				state = "specific, its seal comes later"
			}
			fmt.Fprintf(c.OutOrStdout(), "recorded %s as sequence %d: segment %d has %d bytes, %s\n", e, rec.Seq, rec.Segment, rec.Length, state)
			return nil
		},
	}
	c.Flags().String("state", "", "state directory of the running meter (required)")
	c.Flags().String("payload", "", "payload of the record, hexadecimal")
	c.Flags().Bool("json", false, "print JSON")
	return c
}
