package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// keyName is the file below the state directory with the meter's public key.
const keyName = "meter.pem"

func newMeter() *cobra.Command {
	c := &cobra.Command{
		Use:   "meter --state DIR",
		Short: "Run a meter: class 0x0288 with a sealed event log",
		Long: `Run a meter: an ECHONET Lite low-voltage smart electric energy meter (class
0x0288) whose event log is sealed by a secure element, with a household behind
it.

The first start makes key, identity and log in the state directory and prints
the command that enrols the meter at an MDMS. A state directory that is copied
or restored from a backup is a rollback or a fork, and is meant to look like
one.`,
		Example: `  meterseal meter --state meter1 --listen 127.0.0.2
  meterseal meter --state meter1 --specific all --mdms-key mdms.pem
  meterseal meter event --state meter1 fraud/40`,
		Args:        cobra.NoArgs,
		RunE:        runMeter,
		Annotations: daemon,
	}
	moduleFlags(c)
	f := c.Flags()
	f.StringSlice("listen", nil, "ADDR[:PORT] to answer on; default all addresses, port 3610; port 0 takes a free one")
	f.String("id", "", "meter id of a first start, FFFFFF-MS0000000001; default: a random serial number of the experimental maker FFFFFF")
	f.String("release", "R", "release of the ECHONET Lite appendix: F (the installed fleet) or R")
	f.String("scheme", "counter", "what a new key signs, for life: counter or digest")
	f.String("specific", "default", "specific events: a list like 0/4,fraud/40, default, or all")
	f.String("profile", "IDIS", "event-code profile of a first start")
	f.StringSlice("mdms-key", nil, "PEM file with a public key of the MDMS; without one, challenges and receipts are refused")
	f.String("reply", "auto", "port that answers go to: auto, 3610, or source")
	f.StringSlice("announce", nil, "ADDR:PORT that gets notifications too")
	f.Int("solar", 4000, "peak power of the panels on the roof in W, 0 for none")
	f.Int64("segment-size", 1<<20, fmt.Sprintf("size of a log segment in bytes, %d to %d", device.MinSegmentSize, device.MaxSegmentSize))
	f.Int64("store-size", 64<<20, "size of the log in bytes, all segments; room for four of them and an eighth of reserve at least")
	f.String("config", "", "TOML file with flags")
	c.AddCommand(newMeterEvent())
	return c
}

func runMeter(c *cobra.Command, _ []string) error {
	cfg, listen, err := meterConfig(c)
	if err != nil {
		return err
	}
	scheme, err := schemeFlag(c)
	if err != nil {
		return err
	}
	first, err := chooseMeter(&cfg)
	if err != nil {
		return err
	}
	if !first {
		scheme = 0 // the log has its key
	}
	soft, err := moduleConfig(c, cfg.Logger, first)
	if err != nil {
		return err
	}
	// The node listens before the meter starts, so that a port in use costs no record.
	links, err := echonet.Listen(listen)
	if err != nil {
		return err
	}
	defer closeLinks(links)
	module, err := openModule(c.Context(), soft, scheme)
	if errors.Is(err, secureelement.ErrBusy) {
		return fmt.Errorf("%w: a meter runs on %s already, or another command", err, cfg.Dir)
	}
	if err != nil {
		return err
	}
	defer module.Close()
	cfg.Module = module
	m, err := device.Open(c.Context(), cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	text, err := publicPEM(module.PublicKey())
	if err != nil {
		return err
	}
	keyFile := filepath.Join(cfg.Dir, keyName)
	if err := os.WriteFile(keyFile, text, 0o644); err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	out := c.OutOrStdout()
	if first {
		info, err := module.Info(c.Context())
		if err != nil {
			return err
		}
		counter := "" // one first start, one seal; interrupted ones may have used more
		if info.Counter > 1 {
			counter = fmt.Sprintf(" --counter %d", info.Counter-1)
		}
		fmt.Fprintf(out, "enrol with: meterseal mdms enrol --meter %s --key %s --scheme %s%s --policy %s\n",
			cfg.Meter, keyFile, info.Scheme, counter, cfg.Policy.String())
	}
	return serveMeter(c.Context(), m, links, func() {
		ready(out, append(linkPairs(links), pair{"meter", cfg.Meter.String()}, pair{"state", cfg.Dir})...)
	})
}

// serveMeter runs the meter and its node until ctx ends or one of them fails.
func serveMeter(ctx context.Context, m *device.Meter, links []echonet.Link, up func()) error {
	return together(ctx,
		m.Run,
		func(ctx context.Context) error { return m.Serve(ctx, links) },
		func(ctx context.Context) error {
			select {
			case <-m.Ready():
				up()
			case <-ctx.Done():
			}
			<-ctx.Done()
			return nil
		})
}

// meterConfig reads the flags of the meter, module and identity aside.
func meterConfig(c *cobra.Command) (device.Config, echonet.ListenConfig, error) {
	none := echonet.ListenConfig{}
	f := c.Flags()
	log, err := newLogger(c)
	if err != nil {
		return device.Config{}, none, err
	}
	cfg := device.Config{Logger: log}
	if cfg.Dir, err = stateDir(c); err != nil {
		return cfg, none, err
	}
	if id, _ := f.GetString("id"); id != "" {
		if cfg.Meter, err = eventlog.ParseMeterID(id); err != nil {
			return cfg, none, usagef("--id: %w", err)
		}
	}
	specific, _ := f.GetString("specific")
	if cfg.Policy, err = eventlog.ParsePolicy(1, specific); err != nil {
		return cfg, none, usagef("--specific: %w", err)
	}
	profile, _ := f.GetString("profile")
	if cfg.Profile, err = parseProfile(profile); err != nil {
		return cfg, none, err
	}
	release, _ := f.GetString("release")
	if release != "F" && release != "R" {
		return cfg, none, usagef("--release %q: want F or R", release)
	}
	cfg.Release = release[0]
	reply, _ := f.GetString("reply")
	if cfg.Reply, err = echonet.ParseReplyPolicy(reply); err != nil {
		return cfg, none, usagef("--reply: %w", err)
	}
	keys, _ := f.GetStringSlice("mdms-key")
	for _, path := range keys {
		var pub *ecdsa.PublicKey
		if pub, err = readPublicKey(path); err != nil {
			return cfg, none, err
		}
		cfg.MDMSKeys = append(cfg.MDMSKeys, pub)
	}
	targets, _ := f.GetStringSlice("announce")
	for _, target := range targets {
		addr, err := net.ResolveUDPAddr("udp", target)
		if err != nil {
			return cfg, none, usagef("--announce: %w", err)
		}
		cfg.Announce = append(cfg.Announce, addr)
	}
	if err := meterSizes(c, &cfg); err != nil {
		return cfg, none, err
	}
	addrs, _ := f.GetStringSlice("listen")
	return cfg, echonet.ListenConfig{Addrs: addrs}, nil
}

// meterSizes reads the flags that are numbers.
func meterSizes(c *cobra.Command, cfg *device.Config) error {
	f := c.Flags()
	watts, _ := f.GetInt("solar")
	switch {
	case watts < 0:
		return usagef("--solar %d: want 0 for none, or the peak power in W", watts)
	case watts == 0:
		watts = -1
	}
	cfg.Household.SolarWatts = watts
	cfg.SegmentSize, _ = f.GetInt64("segment-size")
	if cfg.SegmentSize < device.MinSegmentSize || cfg.SegmentSize > device.MaxSegmentSize {
		return usagef("--segment-size %d: want %d to %d bytes", cfg.SegmentSize, device.MinSegmentSize, device.MaxSegmentSize)
	}
	cfg.StoreSize, _ = f.GetInt64("store-size")
	if least := device.MinStoreSize(cfg.SegmentSize); cfg.StoreSize < least {
		return usagef("--store-size %d: want at least %d bytes for segments of %d", cfg.StoreSize, least, cfg.SegmentSize)
	}
	return nil
}

// chooseMeter settles the meter id: that of the state directory, else --id,
// else a random one. first says that no meter was started there before. Where
// only the state file is gone, --id has to name the meter of the log: it goes on
// without what the file remembered, which is not done unasked.
func chooseMeter(cfg *device.Config) (first bool, err error) {
	stored, ok, err := device.StoredMeter(cfg.Dir)
	switch {
	case err != nil:
		return false, err
	case ok && cfg.Meter != (eventlog.MeterID{}) && cfg.Meter != stored:
		return false, usagef("--id %s: the state directory %s is that of meter %s", cfg.Meter, cfg.Dir, stored)
	case ok:
		cfg.Meter = stored
		return false, nil
	}
	logged, sealed, err := device.LoggedMeter(cfg.Dir)
	switch {
	case err != nil:
		return false, err
	case sealed && cfg.Meter == (eventlog.MeterID{}):
		id := "ID, that of its enrolment"
		if logged != (eventlog.MeterID{}) {
			id = logged.String()
		}
		return false, fmt.Errorf("the state file of %s is missing, and there is a sealed log: put meter.json back. Or start once with --id %s, and with "+
			"--specific and --profile as before: the log goes on, but the household's registers begin at zero", cfg.Dir, id)
	case sealed && logged != (eventlog.MeterID{}) && cfg.Meter != logged:
		return false, usagef("--id %s: the log in %s is that of meter %s", cfg.Meter, cfg.Dir, logged)
	case cfg.Meter == (eventlog.MeterID{}):
		cfg.Meter, err = randomMeter()
	}
	return !sealed, err
}

// randomMeter makes a meter id of the experimental manufacturer code FFFFFF.
func randomMeter() (eventlog.MeterID, error) {
	var b [10]byte
	if _, err := rand.Read(b[:]); err != nil {
		return eventlog.MeterID{}, err
	}
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	return eventlog.ParseMeterID("FFFFFF-MS" + string(b[:]))
}

func parseProfile(s string) (eventlog.Profile, error) {
	names := make([]string, 0, 8)
	for p := eventlog.ProfileNone; p <= eventlog.ProfileAM130; p++ {
		if strings.EqualFold(p.String(), s) {
			return p, nil
		}
		names = append(names, p.String())
	}
	return 0, usagef("--profile %q: want one of %s", s, strings.Join(names, ", "))
}

// linkPairs names the unicast addresses of links, for the ready line.
func linkPairs(links []echonet.Link) []pair {
	var pairs []pair
	for _, l := range links {
		if a, ok := l.LocalAddr().(*net.UDPAddr); ok && !a.IP.IsMulticast() && !a.IP.IsUnspecified() && !a.IP.Equal(net.IPv4bcast) {
			pairs = append(pairs, pair{"udp", a.String()})
		}
	}
	return pairs
}

func closeLinks(links []echonet.Link) {
	for _, l := range links {
		l.Close()
	}
}
