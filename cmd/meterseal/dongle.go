package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

func newDongle() *cobra.Command {
	models := make([]string, 0, 8)
	for _, m := range dongle.Models() {
		models = append(models, string(m))
	}
	c := &cobra.Command{
		Use:   "dongle --link PATH",
		Short: "Run a virtual Wi-SUN dongle on a pseudo-terminal, with a meter in reach",
		Long: `Run a virtual Wi-SUN dongle on a pseudo-terminal: any Route-B program can use it
as its serial port, with no hardware. Behind it is a virtual meter of its own, or
one that answers over UDP; or several, each with its own --meter:

  --meter ADDR[,credentials=FILE][,channel=59][,pan=8888][,lqi=225][,lifetime=24h]

ADDR is "virtual" for a meter of its own. A link quality (lqi, 1 to 255) of 70 or
less is a weak signal. Without credentials=FILE the first meter has those of
--credentials, the others have test ones, written to LINK-2.toml and so on.

Faults are injected with --fault: a comma-separated list of names, each alone
(always), with a chance (drop=0.01) or with occasions (no-beacon=@1), and
seed=N. The names: ` + faultNames() + `.

It behaves as documented; it was not compared with hardware.`,
		Example: `  meterseal dongle --link /tmp/ttyMETER
  meterseal dongle --link /tmp/ttyMETER --model rl7023-ips --speed 10 --fault seed=7,drop=0.05
  meterseal dongle --link /tmp/ttyMETER --meter 127.0.0.2:3610 --credentials routeb.toml
  meterseal dongle --link /tmp/ttyMETER --meter virtual,channel=39,lqi=60 --meter virtual,lifetime=10m
  meterseal controller doctor --port /tmp/ttyMETER --credentials /tmp/ttyMETER.toml`,
		Args:        cobra.NoArgs,
		RunE:        runDongle,
		Annotations: daemon,
	}
	f := c.Flags()
	f.String("link", "", "name of the serial port: a symbolic link to the pseudo-terminal (required)")
	f.String("model", string(dongle.BP35A1), "what it is: "+strings.Join(models, ", "))
	f.String("credentials", "", "file with the Route-B id and password that let a program in; default: test ones, written to LINK.toml")
	f.StringArray("meter", nil, "ADDR:PORT of a meter over UDP or \"virtual\", and what is said of it; repeatable; default: a virtual meter of its own")
	f.String("local", "", "ADDR:PORT that speaks to the meter; default: port 3610, the only one that a meter answers to, or a free port of loopback for a meter there")
	f.String("state", "", "state directory of its own virtual meter, with -2 and so on at the end of the name for others; default: temporary ones")
	f.Float64("speed", 1, "divides every time that a dongle takes")
	f.String("echo", "on", "echo of commands at the start: on or off")
	f.String("wopt", "", "how received data is written: 0 binary, 1 hexadecimal; default: as the model comes from the factory")
	f.String("fault", "", "faults to inject")
	f.String("config", "", "TOML file with flags")
	return c
}

// livePort returns the terminal that a link leads to, "" if there is none: that of
// a dongle goes with it.
func livePort(link string) string {
	tty, err := os.Readlink(link)
	if err != nil || !fileExists(link) {
		return ""
	}
	return tty
}

func faultNames() string {
	names := make([]string, 0, 40)
	for _, f := range dongle.AllFaults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

func runDongle(c *cobra.Command, _ []string) error {
	f := c.Flags()
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	link, _ := f.GetString("link")
	if link == "" {
		return usagef("--link PATH is required: the name that programs use as their serial port")
	}
	cfg := dongle.Config{Logger: log}
	if err := dongleConfig(c, &cfg); err != nil {
		return err
	}
	if tty := livePort(link); tty != "" {
		return fmt.Errorf("--link %s leads to %s, which is in use: end the dongle that made it, or remove the link if none did", link, tty)
	}
	reach, err := openReach(c, link)
	if err != nil {
		return err
	}
	defer reach.Close()
	cfg.Meters = reach.meters
	d, err := dongle.New(cfg)
	if err != nil {
		return err
	}
	pty, err := dongle.OpenPTY(link)
	if err != nil {
		return err
	}
	ready(c.OutOrStdout(), pair{"pty", pty.Name()}, pair{"link", link}, pair{"model", string(cfg.Model)},
		pair{"meter", reach.addrs()}, pair{"credentials", strings.Join(reach.files, ",")})
	first := pty
	return d.Run(c.Context(), func() (io.ReadWriteCloser, error) {
		if p := first; p != nil {
			first = nil
			return p, nil
		}
		return dongle.OpenPTY(link)
	})
}

// dongleConfig reads the flags that say what the dongle is.
func dongleConfig(c *cobra.Command, cfg *dongle.Config) error {
	f := c.Flags()
	model, _ := f.GetString("model")
	var err error
	if cfg.Model, err = dongle.ParseModel(model); err != nil {
		return usagef("--model: %w", err)
	}
	spec, _ := f.GetString("fault")
	if cfg.Faults, err = dongle.ParseFaults(spec); err != nil {
		return usagef("--fault: %w", err)
	}
	if cfg.Speed, _ = f.GetFloat64("speed"); cfg.Speed <= 0 {
		return usagef("--speed %v: want a number above 0", cfg.Speed)
	}
	echo, _ := f.GetString("echo")
	if echo != "on" && echo != "off" {
		return usagef("--echo %q: want on or off", echo)
	}
	cfg.EchoOff = echo == "off"
	wopt, _ := f.GetString("wopt")
	switch wopt {
	case "":
	case "0":
		cfg.Data = "binary"
	case "1":
		cfg.Data = "hex"
	default:
		return usagef("--wopt %q: want 0 or 1", wopt)
	}
	return nil
}

// dongleCredentials reads the credentials that let a program in from a file or,
// if none is named, from one beside the link, where it makes test ones.
func dongleCredentials(path, beside string) (routeb.Credentials, string, error) {
	if path != "" {
		cr, err := routeb.ReadCredentials(path)
		return cr, path, err
	}
	path = beside
	if fileExists(path) {
		cr, err := routeb.ReadCredentials(path)
		return cr, path, err
	}
	cr, err := testCredentials()
	if err != nil {
		return cr, "", err
	}
	text := fmt.Sprintf("# Test credentials of a virtual meter.\nid = %q\npassword = %q\n", cr.ID, cr.Password)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return cr, "", fmt.Errorf("credentials: %w", err)
	}
	return cr, path, nil
}

// testCredentials makes random ones for a virtual meter.
func testCredentials() (routeb.Credentials, error) {
	var b [44]byte
	if _, err := rand.Read(b[:]); err != nil {
		return routeb.Credentials{}, err
	}
	const digits = "0123456789ABCDEF"
	for i := range b {
		b[i] = digits[b[i]%16]
	}
	return routeb.Credentials{ID: string(b[:32]), Password: string(b[32:])}, nil
}

// behind is a meter behind a dongle.
type behind struct {
	addr net.Addr
	own  *labMeter // nil if the meter is somebody else's
	temp string    // its state, if temporary
}

// openBehind opens the n-th meter, from 1.
func openBehind(c *cobra.Command, target string, n int) (*behind, error) {
	b := &behind{}
	if target == virtual {
		if err := b.start(c, n); err != nil {
			b.Close()
			return nil, err
		}
		return b, nil
	}
	addr, err := meterAddr(target)
	if err != nil {
		return nil, err
	}
	b.addr = addr
	return b, nil
}

// openSocket opens a socket that leads to meters.
func openSocket(c *cobra.Command, local string) (net.PacketConn, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(c.Context(), "udp", local)
	if err != nil {
		return nil, fmt.Errorf("socket to the meter: %w; a meter beyond loopback answers to port 3610 only, so end the program that has it, or choose another address of this machine with --local ADDR:3610", err)
	}
	return conn, nil
}

// localFor is where a dongle speaks to a meter from.
func localFor(meter net.IP) string {
	switch {
	case !meter.IsLoopback():
		return fmt.Sprintf(":%d", echonet.Port)
	case meter.To4() == nil:
		return "[::1]:0"
	}
	return "127.0.0.1:0"
}

// start makes and starts a virtual meter of the dongle's own, the n-th.
func (b *behind) start(c *cobra.Command, n int) (err error) {
	dir, _ := c.Flags().GetString("state")
	if dir != "" && n > 1 {
		dir = fmt.Sprintf("%s-%d", dir, n)
	}
	if dir == "" {
		if b.temp, err = os.MkdirTemp("", "meterseal-dongle-"); err != nil {
			return fmt.Errorf("state directory: %w", err)
		}
		dir = filepath.Join(b.temp, "meter")
	}
	log, err := newLogger(c)
	if err != nil {
		return err
	}
	if b.own, err = newLabMeter(dir, fmt.Sprintf("FFFFFF-MS%010d", n), log); err != nil {
		return err
	}
	if err := b.own.on(context.WithoutCancel(c.Context())); err != nil {
		return err
	}
	b.addr = b.own.addr()
	return nil
}

// Close stops what was started.
func (b *behind) Close() error {
	var err error
	if b.own != nil {
		err = b.own.close()
	}
	if b.own != nil && b.addr != nil { // it was there, and is there no more
		_ = os.Remove(lockOf(b.addr))
	}
	if b.temp != "" {
		os.RemoveAll(b.temp)
	}
	return err
}
