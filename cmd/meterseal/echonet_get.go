package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
)

func newEchonetGet() *cobra.Command {
	c := &cobra.Command{
		Use:   "get HOST[:PORT] OBJECT [EPC...]",
		Short: "Read properties, by default all that the object says it has",
		Example: `  meterseal echonet get 127.0.0.2 028801 E7 E0
  meterseal echonet get 192.168.1.20 0ef001 --json`,
		Args: wants("HOST[:PORT]", "OBJECT", "[EPC...]"),
		RunE: func(c *cobra.Command, args []string) error {
			peer, eoj, err := objectArgs(args)
			if err != nil {
				return err
			}
			var epcs []byte
			for _, a := range args[2:] {
				epc, err := parseEPC(a)
				if err != nil {
					return err
				}
				epcs = append(epcs, epc)
			}
			cfg, err := toolTimeouts(c)
			if err != nil {
				return err
			}
			return withNode(c, peer, cfg, func(ctx context.Context, n *echonet.Node) error {
				return get(ctx, c, n, peer, eoj, epcs)
			})
		},
	}
	timeoutFlag(c)
	return c
}

func get(ctx context.Context, c *cobra.Command, n *echonet.Node, peer net.Addr, eoj echonet.EOJ, epcs []byte) error {
	if len(epcs) == 0 {
		answered := waiting(c, peer, 1+toolRetries)
		ps, err := n.Get(ctx, peer, eoj, echonet.EPCGetMap)
		answered()
		if err != nil {
			return explainNoAnswer(err)
		}
		set, err := echonet.ParsePropertyMap(ps[0].EDT)
		if err != nil {
			return err
		}
		epcs = set.EPCs()
	}
	times := 1 + toolRetries
	if len(epcs) > 1 {
		times *= 2 // a peer that does not answer several properties is asked for one
	}
	answered := waiting(c, peer, times)
	ps, err := n.Get(ctx, peer, eoj, epcs...)
	answered()
	var sna *echonet.SNAError
	if err != nil && !errors.As(err, &sna) {
		return explainNoAnswer(err)
	}
	out := make([]propertyJSON, 0, len(ps))
	for _, p := range ps {
		if sna == nil || !slices.Contains(sna.Refused, p.EPC) {
			out = append(out, propertyOf(eoj, p))
		}
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		if err := printJSON(c.OutOrStdout(), out); err != nil {
			return err
		}
	} else {
		for _, p := range out {
			printProperty(c.OutOrStdout(), p)
		}
	}
	if sna != nil {
		return fmt.Errorf("the object does not have, or does not give now: % X", sna.Refused)
	}
	return nil
}

// explainNoAnswer adds what to do about a peer that keeps silent.
func explainNoAnswer(err error) error {
	if errors.Is(err, echonet.ErrTimeout) {
		return fmt.Errorf("%w: is the node up, is the object right (\"meterseal echonet discover\"), and does it answer to port 3610 while we listen on another?", err)
	}
	return err
}
