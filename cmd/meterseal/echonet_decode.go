package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet/explain"
)

func newEchonetDecode() *cobra.Command {
	return &cobra.Command{
		Use:     "decode HEX",
		Short:   "Explain a frame field by field",
		Example: "  meterseal echonet decode 1081000102880105ff017201e704000001f8\n  meterseal echonet decode 10 81 00 01 02 88 01 05 ff 01 72 01 e7 04 00 00 01 f8",
		Args:    wants("HEX..."),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := decodeHex(args)
			if err != nil {
				return usagef("that is not hexadecimal: %w", err)
			}
			lines, ferr := explain.Frame(b)
			if asJSON, _ := c.Flags().GetBool("json"); asJSON {
				if err := printJSON(c.OutOrStdout(), lines); err != nil {
					return err
				}
			} else {
				for _, l := range lines {
					fmt.Fprintf(c.OutOrStdout(), "%4d  %-4s  %-12s  %s\n", l.Offset, l.Field, shorten(l.Bytes, 12), l.Text)
				}
			}
			if ferr != nil {
				return fmt.Errorf("this is no valid frame: %w", ferr)
			}
			return nil
		},
	}
}

// decodeHex reads hexadecimal digits as tools print them: in pieces, with 0x in
// front of them, with spaces, colons or commas between them.
func decodeHex(args []string) ([]byte, error) {
	var digits strings.Builder
	for _, piece := range strings.FieldsFunc(strings.Join(args, " "), func(r rune) bool { return strings.ContainsRune(" \t\r\n:,", r) }) {
		digits.WriteString(strings.TrimPrefix(strings.TrimPrefix(piece, "0x"), "0X"))
	}
	return hex.DecodeString(digits.String())
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-2] + ".."
}
