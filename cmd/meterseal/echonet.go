package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/echonet/explain"
)

func newEchonet() *cobra.Command {
	c := &cobra.Command{
		Use:   "echonet",
		Short: "ECHONET Lite tool for any node: discover, get, set, watch, decode",
		Args:  cobra.ArbitraryArgs,
	}
	p := c.PersistentFlags()
	p.StringSlice("listen", nil, "ADDR[:PORT] of our own; default all addresses, port 3610, or a free port of loopback")
	p.StringSlice("interface", nil, "use these network interfaces only")
	p.Bool("json", false, "print JSON")
	c.AddCommand(newEchonetDiscover(), newEchonetGet(), newEchonetSet(), newEchonetWatch(), newEchonetDecode())
	return c
}

// withNode runs f with a node that listens as the flags say. With a peer on
// loopback a free port of loopback does.
func withNode(c *cobra.Command, peer *net.UDPAddr, cfg echonet.Config, f func(context.Context, *echonet.Node) error) error {
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	listen := echonet.ListenConfig{}
	listen.Addrs, _ = c.Flags().GetStringSlice("listen")
	listen.Interfaces, _ = c.Flags().GetStringSlice("interface")
	if len(listen.Addrs) == 0 && peer != nil && peer.IP.IsLoopback() {
		listen.Addrs = []string{"127.0.0.1:0"}
		if peer.IP.To4() == nil {
			listen.Addrs = []string{"[::1]:0"}
		}
	}
	links, err := echonet.Listen(listen)
	if err != nil {
		return err
	}
	defer closeLinks(links)
	id := echonet.Identity{Product: "METERSEAL", Serial: "TOOL"}
	cfg.Links, cfg.Objects, cfg.Identity, cfg.Logger = links, []echonet.Object{echonet.NewController(id)}, id, log
	node := echonet.New(cfg)
	return together(c.Context(), node.Serve, func(ctx context.Context) error { return f(ctx, node) })
}

// objectArgs reads HOST[:PORT] and an object.
func objectArgs(args []string) (*net.UDPAddr, echonet.EOJ, error) {
	peer, err := peerAddr(args[0])
	if err != nil {
		return nil, echonet.EOJ{}, err
	}
	eoj, err := echonet.ParseEOJ(args[1])
	if err != nil {
		return nil, eoj, usagef("object %q: want six hexadecimal digits like 028801: %w", args[1], err)
	}
	return peer, eoj, nil
}

func parseEPC(s string) (byte, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 8)
	if err != nil || n < 0x80 {
		return 0, usagef("property %q: want a code from 80 to FF", s)
	}
	return byte(n), nil
}

// timeoutFlag is for commands that a person waits for. On the local network a
// node answers soon; the 20 and 60 s of the meter-HEMS interface are for radio.
func timeoutFlag(c *cobra.Command) {
	c.Flags().Duration("timeout", 5*time.Second, "wait for an answer; what only reads is sent twice, several properties then once more one by one")
}

func toolTimeouts(c *cobra.Command) (echonet.Config, error) {
	t, _ := c.Flags().GetDuration("timeout")
	return echonet.Config{Timeout: t, TimeoutMany: t, Retries: toolRetries}, positive(c, "timeout")
}

// toolRetries is how often a request that only reads is sent again.
const toolRetries = 1

// tellAfter is how long a peer takes to answer before a person is told.
const tellAfter = time.Second

// waiting tells on stderr of a peer that keeps silent, and how long it will be
// waited for. The function that it returns ends that.
func waiting(c *cobra.Command, peer net.Addr, times int) (answered func()) {
	t, _ := c.Flags().GetDuration("timeout")
	note := time.AfterFunc(tellAfter, func() {
		fmt.Fprintf(c.ErrOrStderr(), "no answer from %v yet; waits up to %v (--timeout)\n", peer, time.Duration(times)*t)
	})
	return func() { note.Stop() }
}

// propertyJSON is one property in the output of get and watch.
type propertyJSON struct {
	EPC   string `json:"epc"`
	Name  string `json:"name"`
	EDT   string `json:"edt"`
	Value string `json:"value,omitempty"`
	Unit  string `json:"unit,omitempty"`
}

func propertyOf(o echonet.EOJ, p echonet.Property) propertyJSON {
	v := explain.Describe(o, p.EPC, p.EDT)
	return propertyJSON{fmt.Sprintf("%02X", p.EPC), explain.Name(o, p.EPC), hex.EncodeToString(p.EDT), v.Text, v.Unit}
}

func printProperty(w io.Writer, p propertyJSON) {
	fmt.Fprintf(w, "%s  %-36s %s\n", p.EPC, p.Name, strings.TrimSpace(p.Value+" "+p.Unit))
}
