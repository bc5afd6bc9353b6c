package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

// demoMeter is the id of the demo's meter.
const demoMeter = "FFFFFF-MS0000000001"

func newDemo() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Everything on loopback: an event becomes a verdict; then the attacks",
		Long: `Start a virtual meter with its secure module, a controller and an MDMS on
loopback, make events happen, and show each step of the path. Then attack the
meter and the relay, one attack after the other, and show what the MDMS says.
Each attack begins with evidence that is intact and has an MDMS of its own.

With --once it ends by itself: exit status 0 if every attack took effect and
got the verdict and the findings that it must get. Without, the parts stay up
until you interrupt it.`,
		Example: "  meterseal demo\n  meterseal demo --once --json",
		Args:    cobra.NoArgs,
		RunE:    runDemo,
	}
	c.Flags().Bool("once", false, "end after the attacks")
	c.Flags().String("state", "", "keep all state in this directory, which must be new or empty; default: a temporary one")
	c.Flags().Bool("json", false, "print one JSON object per attack; the path goes to stderr")
	return c
}

// demo is a running demonstration.
type demo struct {
	dir  string
	out  io.Writer // for people
	json io.Writer // for machines, nil if not asked for
	log  *slog.Logger

	mdms    *labMDMS
	meter   *labMeter
	courier *courier
	start   time.Time
	hushed  atomic.Bool // the steps of the path are not shown
}

func runDemo(c *cobra.Command, _ []string) (err error) {
	d := &demo{out: c.OutOrStdout(), start: time.Now()}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		d.out, d.json = c.ErrOrStderr(), c.OutOrStdout()
	}
	level, _ := c.Flags().GetString("log-level")
	if !c.Flags().Changed("log-level") {
		level = "error" // attacks make the parts warn, and the demo shows what they say
	}
	format, _ := c.Flags().GetString("log-format")
	if d.log, err = loggerTo(c.ErrOrStderr(), level, format); err != nil {
		return err
	}
	if d.dir, err = demoDir(c); err != nil {
		return err
	}
	kept, _ := c.Flags().GetString("state")
	if kept == "" {
		defer os.RemoveAll(d.dir)
	}
	ctx, release := untilClosed(c.Context(), &d.out, &d.json)
	defer release()
	defer func() {
		err = errors.Join(err, d.close())
		if errors.Is(context.Cause(ctx), errNoReader) {
			err = errNoReader
		}
	}()
	if err := d.path(ctx); err != nil {
		return err
	}
	once, _ := c.Flags().GetBool("once")
	if kept != "" || !once { // somebody can look at it
		if err := d.export(ctx); err != nil {
			return err
		}
	}
	failed, err := d.attacks(ctx)
	if err != nil {
		return err
	}
	if !once {
		if err := d.stay(ctx); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d attacks did not get the answer that they must get", failed)
	}
	return nil
}

// demoDir returns the directory of --state, new or empty, or a temporary one.
func demoDir(c *cobra.Command) (string, error) {
	dir, _ := c.Flags().GetString("state")
	if dir == "" {
		return os.MkdirTemp("", "meterseal-demo-")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	if len(entries) > 0 {
		return "", usagef("--state %s: the directory is not empty; the demo wants a new one", dir)
	}
	return dir, nil
}

func (d *demo) close() error {
	var errs []error
	if d.courier != nil {
		errs = append(errs, d.courier.close())
	}
	if d.meter != nil {
		errs = append(errs, d.meter.close())
	}
	if d.mdms != nil {
		errs = append(errs, d.mdms.close())
	}
	return errors.Join(errs...)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// line prints one step of the path: what it is, and its values.
func (d *demo) line(name, format string, args ...any) {
	fmt.Fprintf(d.out, "  %-10s "+format+"\n", append([]any{name}, args...)...)
}

// path starts the parts and shows how events become verdicts.
func (d *demo) path(ctx context.Context) (err error) {
	d.say("The path from an event to a verdict\n\nfirst start of the meter: a log is born")
	if d.mdms, err = newLabMDMS(ctx, d.dir, d.log); err != nil {
		return err
	}
	if d.meter, err = newLabMeter(filepath.Join(d.dir, "meter"), demoMeter, d.log); err != nil {
		return err
	}
	d.meter.cfg.MDMSKeys = append(d.meter.cfg.MDMSKeys, d.mdms.PublicKey())
	d.meter.cfg.Trace = func(s device.Step) {
		if !d.hushed.Load() {
			d.trace(s)
		}
	}
	if err := d.meter.on(ctx); err != nil {
		return err
	}
	info, err := d.meter.module.Info(ctx)
	if err != nil {
		return err
	}
	if d.courier, err = newCourier(ctx, d.log); err != nil {
		return err
	}
	if err := d.mdms.enrol(ctx, d.meter.id, d.meter.key()); err != nil {
		return err
	}
	d.say("")
	d.line("meter", "%s, class 0x0288 on udp %s", d.meter.id, d.meter.addr())
	d.line("module", "%s, process %d holds the key, scheme %s", info.Backend, info.PID, info.Scheme)
	d.line("controller", "on udp %s", d.courier.links[0].LocalAddr())
	d.line("mdms", "%s, knows the meter by key %s...", d.mdms.url, info.Key.String()[:16])

	head := controller.Head{}
	for _, e := range []struct {
		event eventlog.Event
		text  string
	}{
		{eventlog.Event{Class: eventlog.ClassFraud, Code: 40}, "terminal cover removed"},
		{eventlog.Event{Class: eventlog.ClassPowerQuality, Code: 77}, "undervoltage, not a specific event: it waits unsigned"},
		{eventlog.Event{Class: eventlog.ClassStandard, Code: 47}, "a parameter changed: its seal covers the one before too"},
	} {
		d.say("\nevent %s: %s", e.event, e.text)
		if err := d.meter.event(ctx, e.event); err != nil {
			return err
		}
		if head, err = d.relay(ctx, head); err != nil {
			return err
		}
	}
	if head, err = d.askForSeal(ctx, head); err != nil {
		return err
	}
	return d.routeB(ctx, head)
}

// trace shows what the meter does.
func (d *demo) trace(s device.Step) {
	switch s := s.(type) {
	case *device.Appended:
		d.line("record", "sequence %d, %s, %d bytes, durable; segment %d has %d bytes",
			s.Record.Seq, s.Record.Event(), s.Record.Size(), s.Segment, s.Length)
	case *device.Digested:
		d.line("digest", "sha256 of the first %d bytes: %s", s.Length, s.Digest)
	case *device.Sealed:
		d.line("seal", "counter %d, signature %x...", s.Seal.Counter, s.Seal.Signature[:12])
	}
}

// relay carries what is beyond head to the MDMS and returns the new head.
func (d *demo) relay(ctx context.Context, head controller.Head) (controller.Head, error) {
	before := d.courier.node.Stats()
	got, err := d.courier.collect(ctx, d.meter, head)
	if err != nil {
		return head, err
	}
	after := d.courier.node.Stats()
	frames := int(after.Sent - before.Sent + after.Received - before.Received)
	d.line("collect", "%s of log in %s, %s, %d frames; %d more asked what the meter offers", plural(int(got.Stats.Bytes), "byte"),
		plural(got.Stats.Windows, "window"), plural(got.Stats.RoundTrips, "round trip"), 2*got.Stats.RoundTrips, frames-2*got.Stats.RoundTrips)
	b, err := got.Bundle.AppendBinary(nil)
	if err != nil {
		return head, err
	}
	p := got.Bundle.Parts[len(got.Bundle.Parts)-1]
	d.line("bundle", "segment %d from byte %d on, %d bytes in all", p.Segment, p.Offset, len(b))
	a, err := d.mdms.client.Post(ctx, b)
	if err != nil {
		return head, err
	}
	d.line("verdict", "%s (%s): segment %d is verified up to byte %d, sequence %d", a.Verdict, a.Outcome, a.Head.Segment, a.Head.Length, a.Head.LastSeq)
	return controller.Head{Segment: a.Head.Segment, Length: a.Head.Length, Digest: a.Head.Digest}, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// askForSeal has the MDMS challenge the meter, and the courier carry both ways.
func (d *demo) askForSeal(ctx context.Context, head controller.Head) (controller.Head, error) {
	d.say("\nchallenge: the MDMS wants to know that the meter is alive now")
	w, err := d.mdms.Challenge(ctx, d.meter.id, "the demo")
	if err != nil {
		return head, err
	}
	seq := d.meter.meter.Status().LastSeq
	col := controller.NewCollector(d.courier.node, controller.Meter{Addr: d.meter.addr()}, controller.CollectConfig{})
	if err := col.Challenge(ctx, w.Message); err != nil {
		return head, err
	}
	if err := until(ctx, func() bool { s := d.meter.meter.Status(); return s.LastSeq > seq && s.SignedLength == s.Length }); err != nil {
		return head, fmt.Errorf("the challenge was not answered: %w", err)
	}
	return d.relay(ctx, head)
}

// until waits for a condition, at most ten seconds.
func until(ctx context.Context, cond func() bool) error { return untilOr(ctx, 10*time.Second, cond) }

// untilOr waits for a condition, at most for the limit.
func untilOr(ctx context.Context, limit time.Duration, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// stay runs the controller as a daemon and says where the parts are.
func (d *demo) stay(ctx context.Context) error {
	hems := &hems{links: d.courier.links, node: d.courier.node}
	hems.Controller = controller.New(controller.Config{
		Node: d.courier.node, Meters: []controller.Meter{{Addr: d.meter.addr()}}, MDMS: d.mdms.url,
		CollectEvery: 3 * time.Second, Logger: d.log,
		Spool: controller.SpoolConfig{Dir: filepath.Join(d.dir, "spool")},
	})
	d.say("\nThe parts stay up. Make an event happen, and look what becomes of it:\n")
	self, err := os.Executable()
	if err != nil {
		self = "meterseal"
	}
	d.say("  %s meter event --state %s fraud/44", self, d.meter.dir)
	d.say("  %s mdms meters --store %s", self, filepath.Join(d.dir, "mdms.db"))
	d.say("  %s controller read --meter %s", self, d.meter.addr())
	d.say("  the page of the MDMS: %s/\n\nInterrupt (Ctrl-C) ends all.\n", d.mdms.url)
	ready(d.out, pair{"udp", d.meter.addr().String()}, pair{"http", d.mdms.url}, pair{"meter", d.meter.id.String()}, pair{"state", d.dir})
	return hems.Run(ctx)
}

// attackResult is what is printed for each attack.
type attackResult struct {
	Attack   string   `json:"attack"`
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
	OK       bool     `json:"ok"`
	Lacks    []string `json:"lacks,omitempty"` // what the answer should have and has not
}

// attacks plays all attacks and returns how many failed.
func (d *demo) attacks(ctx context.Context) (failed int, err error) {
	d.say("\nThe attacks, each on evidence that was intact, each with an MDMS of its own\n")
	r := &proving{demo: d}
	if err := r.prepare(ctx); err != nil {
		return 0, err
	}
	for i, a := range attackList {
		got, err := r.play(ctx, i, a)
		if err != nil {
			return failed, fmt.Errorf("attack %s: %w", a.name, err)
		}
		lacks := a.judge(got)
		res := attackResult{a.name, a.want, got.Verdict, len(lacks) == 0, lacks}
		if err := d.print(res, a.text, reason(got)); err != nil {
			return failed, err
		}
		if !res.OK {
			failed++
		}
	}
	if d.json == nil {
		d.say("\n%d attacks, %d with the answer that they must get, in %.1f s", len(attackList), len(attackList)-failed, time.Since(d.start).Seconds())
	}
	return failed, nil
}

func (d *demo) print(r attackResult, text, why string) error {
	if d.json != nil {
		return json.NewEncoder(d.json).Encode(r)
	}
	state := "ok"
	if !r.OK {
		state = "FAILED"
	}
	d.say("# %s", text)
	d.say("attack=%s expected=%s got=%s %s", r.Attack, r.Expected, r.Got, state)
	if len(r.Lacks) > 0 {
		d.say("  lacks: %s", strings.Join(r.Lacks, ", "))
	}
	if why != "" {
		d.say("  %s", strings.ReplaceAll(why, "\n", " "))
	}
	return nil
}
