package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
)

func newKey() *cobra.Command {
	key := &cobra.Command{
		Use:   "key",
		Short: "Provision a secure element: make a key, show it, ask for its certificate",
		Args:  cobra.ArbitraryArgs,
	}
	key.AddCommand(newKeyNew(), newKeyShow(), newKeyCSR())
	return key
}

func schemeFlag(c *cobra.Command) (eventlog.Scheme, error) {
	s, _ := c.Flags().GetString("scheme")
	scheme, err := eventlog.ParseScheme(s)
	if err != nil {
		return 0, usagef("--scheme: %w", err)
	}
	return scheme, nil
}

// writeFile writes what a command makes to the file that -o names, or to
// stdout.
func writeFile(c *cobra.Command, path string, b []byte) error {
	if path == "" || path == "-" {
		_, err := c.OutOrStdout().Write(b)
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
