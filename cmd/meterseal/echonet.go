package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
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

func newEchonetDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:   "discover",
		Short: "Find nodes and their objects",
		Long: `Find nodes and their objects: by multicast on the chosen interfaces, and at the
addresses given. A target may be an address, a broadcast address, or a subnet
of at most 4096 addresses.`,
		Example: `  meterseal echonet discover
  meterseal echonet discover --target 192.168.1.255 --target 10.0.0.0/24 --interface eth0`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			texts, _ := c.Flags().GetStringSlice("target")
			targets, err := discoverTargets(texts)
			if err != nil {
				return err
			}
			wait, _ := c.Flags().GetDuration("wait")
			return withNode(c, firstUDP(targets), echonet.Config{}, func(ctx context.Context, n *echonet.Node) error {
				return discover(ctx, c, n, targets, wait)
			})
		},
	}
	c.Flags().StringSlice("target", nil, "ask this address, broadcast address or subnet instead of the multicast group")
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
			addr, err := meterAddr(text)
			if err != nil {
				return nil, usagef("--target %q: want an address, HOST:PORT, or a subnet like 10.0.0.0/24", text)
			}
			targets = append(targets, addr)
			continue
		}
		if prefix.Addr().BitLen()-prefix.Bits() > 12 {
			return nil, usagef("--target %s: a subnet of more than %d addresses", text, maxSubnet)
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
		return errors.New("no node answered: is it on this network, do multicast 224.0.23.0 and UDP port 3610 pass the firewall? --target asks an address itself")
	}
	return nil
}

// objectArgs reads HOST[:PORT] and an object.
func objectArgs(args []string) (*net.UDPAddr, echonet.EOJ, error) {
	peer, err := meterAddr(args[0])
	if err != nil {
		return nil, echonet.EOJ{}, usagef("%s: %w", args[0], errors.Unwrap(err))
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

func newEchonetGet() *cobra.Command {
	c := &cobra.Command{
		Use:   "get HOST[:PORT] OBJECT [EPC...]",
		Short: "Read properties, by default all that the object says it has",
		Example: `  meterseal echonet get 127.0.0.2 028801 E7 E0
  meterseal echonet get 192.168.1.20 0ef001 --json`,
		Args: cobra.MinimumNArgs(2),
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
			return withNode(c, peer, toolTimeouts(c), func(ctx context.Context, n *echonet.Node) error {
				return get(ctx, c, n, peer, eoj, epcs)
			})
		},
	}
	timeoutFlag(c)
	return c
}

func timeoutFlag(c *cobra.Command) {
	c.Flags().Duration("timeout", 20*time.Second, "wait for one answer; three times as long for one of several properties")
}

func toolTimeouts(c *cobra.Command) echonet.Config {
	t, _ := c.Flags().GetDuration("timeout")
	return echonet.Config{Timeout: t, TimeoutMany: 3 * t}
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

func get(ctx context.Context, c *cobra.Command, n *echonet.Node, peer net.Addr, eoj echonet.EOJ, epcs []byte) error {
	if len(epcs) == 0 {
		ps, err := n.Get(ctx, peer, eoj, echonet.EPCGetMap)
		if err != nil {
			return explainNoAnswer(err)
		}
		set, err := echonet.ParsePropertyMap(ps[0].EDT)
		if err != nil {
			return err
		}
		epcs = set.EPCs()
	}
	ps, err := n.Get(ctx, peer, eoj, epcs...)
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

func newEchonetSet() *cobra.Command {
	c := &cobra.Command{
		Use:     "set HOST[:PORT] OBJECT EPC=HEX...",
		Short:   "Write properties (SetC) and wait for the answer",
		Example: "  meterseal echonet set 127.0.0.2 028801 E5=01",
		Args:    cobra.MinimumNArgs(3),
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
			return withNode(c, peer, toolTimeouts(c), func(ctx context.Context, n *echonet.Node) error {
				err := n.SetC(ctx, peer, eoj, ps...)
				var sna *echonet.SNAError
				if errors.As(err, &sna) {
					return fmt.Errorf("the object refused: % X; what is not listed was written", sna.Refused)
				}
				if err != nil {
					return explainNoAnswer(err)
				}
				fmt.Fprintf(c.OutOrStdout(), "written: %d properties\n", len(ps))
				return nil
			})
		},
	}
	timeoutFlag(c)
	return c
}

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

func newEchonetDecode() *cobra.Command {
	return &cobra.Command{
		Use:     "decode HEX",
		Short:   "Explain a frame field by field",
		Example: "  meterseal echonet decode 1081000102880105ff017201e704000001f8\n  meterseal echonet decode 10 81 00 01 02 88 01 05 ff 01 72 01 e7 04 00 00 01 f8",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "\n", "").Replace(strings.Join(args, "")))
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

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-2] + ".."
}
