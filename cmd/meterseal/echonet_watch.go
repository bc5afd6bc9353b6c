package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
)

func newEchonetWatch() *cobra.Command {
	c := &cobra.Command{
		Use:     "watch",
		Short:   "Show notifications as they come, until interrupted",
		Example: "  meterseal echonet watch --interface eth0",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, _ := c.Flags().GetBool("json")
			var mu sync.Mutex // one notification at a time
			cfg := echonet.Config{OnNotify: func(from net.Addr, f echonet.Frame) {
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
