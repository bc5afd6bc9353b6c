package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
)

func newDoctor() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor (--port TTY --credentials FILE | --meter HOST[:PORT])",
		Short: "Try everything once, step by step, and say what to do about what fails",
		Long: `Try everything once, step by step: open the port, identify the dongle, scan, join,
read the meter, and look whether it offers evidence. Each failure is explained
with what to do about it.`,
		Example: "  meterseal controller doctor --port /dev/serial/by-id/usb-ROHM_BP35A1 --credentials routeb.toml",
		Args:    cobra.NoArgs,
		RunE:    runDoctor,
	}
	patienceFlag(c)
	return c
}

func runDoctor(c *cobra.Command, _ []string) error {
	out := c.OutOrStdout()
	return withMeter(c, controller.Config{}, newStepPrinter(out, false), func(ctx context.Context, h *hems, m controller.Meter) error {
		start := time.Now()
		r, err := h.Read(ctx, m)
		switch {
		case errors.Is(err, echonet.ErrTimeout):
			return fmt.Errorf("the meter does not answer: %w. If a controller was here before, wait some minutes: a meter lets in one at a time", err)
		case err != nil:
			return fmt.Errorf("read the meter: %w", err)
		}
		fmt.Fprintf(out, "read     in %.1f s\n", time.Since(start).Seconds())
		for _, v := range readingValues(r) {
			fmt.Fprintf(out, "  %-16s %s\n", v.key, v.text())
		}
		err = controller.NewCollector(h.node, m, controller.CollectConfig{}).Probe(ctx)
		switch {
		case errors.Is(err, controller.ErrUnsupported):
			fmt.Fprintln(out, "evidence none: this meter keeps no sealed log. Everything else works.")
		case err != nil:
			return fmt.Errorf("evidence: %w", err)
		default:
			fmt.Fprintln(out, "evidence this meter keeps a sealed log")
		}
		fmt.Fprintln(out, "all well")
		return nil
	})
}
