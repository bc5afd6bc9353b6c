package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
)

func newEchonetSet() *cobra.Command {
	c := &cobra.Command{
		Use:     "set HOST[:PORT] OBJECT EPC=HEX...",
		Short:   "Write properties (SetC) and wait for the answer",
		Example: "  meterseal echonet set 127.0.0.2 028801 E5=01",
		Args:    wants("HOST[:PORT]", "OBJECT", "EPC=HEX..."),
		RunE: func(c *cobra.Command, args []string) error {
			peer, eoj, err := objectArgs(args)
			if err != nil {
				return err
			}
			var ps []echonet.Property
			for _, a := range args[2:] {
				code, data, ok := strings.Cut(a, "=")
				if !ok {
					return usagef("%q: want EPC=HEX, as in E5=01", a)
				}
				epc, err := parseEPC(code)
				if err != nil {
					return err
				}
				edt, err := hex.DecodeString(data)
				if err != nil || len(edt) == 0 || len(edt) > 255 {
					return usagef("%q: want 1 to 255 bytes of hexadecimal data", a)
				}
				ps = append(ps, echonet.Property{EPC: epc, EDT: edt})
			}
			cfg, err := toolTimeouts(c)
			if err != nil {
				return err
			}
			return withNode(c, peer, cfg, func(ctx context.Context, n *echonet.Node) error {
				answered := waiting(c, peer, 1)
				err := n.SetC(ctx, peer, eoj, ps...)
				answered()
				var sna *echonet.SNAError
				if errors.As(err, &sna) {
					return fmt.Errorf("the object refused: % X; what is not listed was written", sna.Refused)
				}
				if err != nil {
					return explainNoAnswer(err)
				}
				var epcs []byte
				for _, p := range ps {
					epcs = append(epcs, p.EPC)
				}
				fmt.Fprintf(c.OutOrStdout(), "written: % X\n", epcs)
				return nil
			})
		},
	}
	timeoutFlag(c)
	return c
}
