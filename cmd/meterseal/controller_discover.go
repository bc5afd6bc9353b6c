package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
)

func newControllerDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:     "discover",
		Short:   "Find the meters of the local network",
		Example: "  meterseal controller discover --listen 192.168.1.10",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := openHEMS(c, controller.Config{}, radio{})
			if err != nil {
				return err
			}
			groups := h.groups()
			if len(groups) == 0 {
				closeLinks(h.links)
				return errors.New("no interface here has multicast: give the meter's address with --meter")
			}
			return h.once(c.Context(), func(ctx context.Context) error {
				found, err := h.Discover(ctx, groups...)
				if err != nil {
					return err
				}
				if asJSON, _ := c.Flags().GetBool("json"); asJSON {
					list := []map[string]any{}
					for _, m := range found {
						instances := []string{}
						for _, i := range m.Instances {
							instances = append(instances, i.String())
						}
						list = append(list, map[string]any{"addr": m.Addr.String(), "instances": instances})
					}
					return printJSON(c.OutOrStdout(), list)
				}
				for _, m := range found {
					fmt.Fprintf(c.OutOrStdout(), "%s %v\n", m.Addr, m.Instances)
				}
				if len(found) == 0 {
					return errors.New("no meter answered: is it on this network, does the firewall pass UDP port 3610 and multicast 224.0.23.0?")
				}
				return nil
			})
		},
	}
	c.Flags().Bool("json", false, "print JSON")
	return c
}
