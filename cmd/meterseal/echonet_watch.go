package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
)

func newEchonetWatch() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch [HOST...]",
		Short: "Show notifications as they come, until interrupted",
		Long: `Show notifications as they come, until interrupted: of all nodes, or only of the
hosts given.`,
		Example: `  meterseal echonet watch --interface eth0
  meterseal echonet watch 192.168.1.20`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, _ := c.Flags().GetBool("json")
			hosts, err := watchHosts(args)
			if err != nil {
				return err
			}
			var mu sync.Mutex // one notification at a time
			cfg := echonet.Config{OnNotify: func(from net.Addr, f echonet.Frame) {
				if len(hosts) > 0 && !slices.Contains(hosts, echonet.HostOf(from)) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				printNotification(c.OutOrStdout(), asJSON, time.Now(), from, &f)
			}}
			return withNode(c, nil, cfg, func(ctx context.Context, _ *echonet.Node) error {
				fmt.Fprintln(c.ErrOrStderr(), "waiting for notifications; Ctrl-C ends")
				<-ctx.Done()
				return nil
			})
		},
	}
	return c
}

// watchHosts reads hosts, whose ports mean nothing: a node sends from any.
func watchHosts(args []string) ([]echonet.Host, error) {
	hosts := make([]echonet.Host, 0, len(args))
	for _, a := range args {
		addr, err := peerAddr(a)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, echonet.HostOf(addr))
	}
	return hosts, nil
}

func printNotification(w io.Writer, asJSON bool, at time.Time, from net.Addr, f *echonet.Frame) {
	ps := make([]propertyJSON, len(f.Properties))
	for i, p := range f.Properties {
		ps[i] = propertyOf(f.SEOJ, p)
	}
	if asJSON {
		// What is written is our own: it always encodes.
		b, _ := json.Marshal(map[string]any{
			"time": at.UTC().Format(time.RFC3339Nano), "from": from.String(), "object": f.SEOJ.String(), "service": f.ESV.String(), "properties": ps,
		})
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	fmt.Fprintf(w, "%s %s %s %s\n", at.Format("15:04:05.000"), from, f.SEOJ, f.ESV)
	for _, p := range ps {
		fmt.Fprint(w, "  ")
		printProperty(w, p)
	}
}
