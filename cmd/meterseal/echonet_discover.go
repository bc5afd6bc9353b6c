package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/explain"
)

func newEchonetDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:   "discover [TARGET...]",
		Short: "Find nodes and their objects",
		Long: `Find nodes and their objects: by multicast on the chosen interfaces, or at the
targets given. A target is an address, HOST:PORT, a broadcast address, or a
subnet of at most 4096 addresses.`,
		Example: `  meterseal echonet discover
  meterseal echonet discover 127.0.0.2
  meterseal echonet discover 192.168.1.255 10.0.0.0/24 --interface eth0`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			texts, _ := c.Flags().GetStringSlice("target")
			targets, err := discoverTargets(append(args, texts...))
			if err != nil {
				return err
			}
			wait, _ := c.Flags().GetDuration("wait")
			return withNode(c, firstUDP(targets), echonet.Config{}, func(ctx context.Context, n *echonet.Node) error {
				return discover(ctx, c, n, targets, wait)
			})
		},
	}
	c.Flags().StringSlice("target", nil, "a target, as an argument is")
	c.Flags().Duration("wait", 4*time.Second, "how long to wait for answers")
	return c
}

// maxSubnet bounds how many addresses are asked one by one.
const maxSubnet = 4096

// discoverTargets reads addresses and subnets.
func discoverTargets(texts []string) ([]net.Addr, error) {
	var targets []net.Addr
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := peerAddr(text)
			if err != nil {
				return nil, usagef("target %q: want an address, HOST:PORT, or a subnet like 10.0.0.0/24", text)
			}
			targets = append(targets, addr)
			continue
		}
		if prefix.Addr().BitLen()-prefix.Bits() > 12 {
			return nil, usagef("target %s: a subnet of more than %d addresses", text, maxSubnet)
		}
		for a := prefix.Masked().Addr(); prefix.Contains(a); a = a.Next() {
			targets = append(targets, &net.UDPAddr{IP: a.AsSlice(), Port: echonet.Port})
		}
	}
	return targets, nil
}

func firstUDP(targets []net.Addr) *net.UDPAddr {
	if len(targets) == 0 {
		return nil
	}
	u, _ := targets[0].(*net.UDPAddr)
	return u
}

func discover(ctx context.Context, c *cobra.Command, n *echonet.Node, targets []net.Addr, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	type object struct {
		EOJ  string `json:"eoj"`
		Name string `json:"name"`
	}
	type found struct {
		Addr    string   `json:"addr"`
		Objects []object `json:"objects"`
	}
	all := []found{}
	asJSON, _ := c.Flags().GetBool("json")
	err := n.Discover(ctx, targets, func(from net.Addr, instances []echonet.EOJ) {
		f := found{Addr: from.String(), Objects: []object{}}
		for _, o := range instances {
			f.Objects = append(f.Objects, object{o.String(), explain.Object(o)})
		}
		all = append(all, f)
		if !asJSON {
			fmt.Fprintln(c.OutOrStdout(), f.Addr)
			for _, o := range f.Objects {
				fmt.Fprintf(c.OutOrStdout(), "  %s  %s\n", o.EOJ, o.Name)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case asJSON:
		return printJSON(c.OutOrStdout(), all)
	case len(all) == 0:
		return errors.New("no node answered: is it on this network, do multicast 224.0.23.0 and UDP port 3610 pass the firewall? A target (see --help) is asked by its address")
	}
	return nil
}
