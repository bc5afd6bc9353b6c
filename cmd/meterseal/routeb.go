package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/routeb"
)

// routebCredential is the name of the systemd credential that holds a
// credentials file.
const routebCredential = "meterseal-routeb"

// credentials reads the Route-B id and password: from --credentials, the systemd
// credential, or the environment. They never come from the command line.
func credentials(c *cobra.Command) (routeb.Credentials, error) {
	if path, _ := c.Flags().GetString("credentials"); path != "" {
		return routeb.ReadCredentials(path)
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		if path := filepath.Join(dir, routebCredential); fileExists(path) {
			return routeb.ReadCredentials(path)
		}
	}
	cr := routeb.Credentials{ID: os.Getenv(envPrefix + "ROUTEB_ID"), Password: os.Getenv(envPrefix + "ROUTEB_PASSWORD")}
	if cr == (routeb.Credentials{}) {
		return cr, usagef("--credentials FILE is required: the Route-B id and password that the utility issued, as id = \"...\" and password = \"...\", mode 0600; "+
			"or the systemd credential %s, or %sROUTEB_ID and %sROUTEB_PASSWORD", routebCredential, envPrefix, envPrefix)
	}
	return cr, cr.Check()
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// session watches a Route-B session for those who want to know of changes: it
// is a controller.Link.
type session struct {
	mu      sync.Mutex // guards what follows
	status  routeb.Status
	changed chan struct{}
	show    func(routeb.Status) // may be nil
}

var _ controller.Link = (*session)(nil)

func newSession(show func(routeb.Status)) *session {
	return &session{changed: make(chan struct{}), show: show}
}

// take is routeb.Config.OnChange.
func (s *session) take(st routeb.Status) {
	s.mu.Lock()
	s.status = st
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.show != nil {
		s.show(st)
	}
}

// State implements controller.Link.
func (s *session) State() controller.LinkState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return controller.LinkState{
		Name: s.status.State.String(), Joined: s.status.State == routeb.Joined, Since: s.status.Since, RSSI: int(s.status.Power),
	}
}

// Changed implements controller.Link.
func (s *session) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// portFlags are the flags of commands that use a Wi-SUN dongle.
func portFlags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.String("port", "", "serial port of a Wi-SUN dongle, such as /dev/serial/by-id/usb-...; instead of --meter")
	f.String("credentials", "", "file with the Route-B id and password, mode 0600")
	f.Int("baud", 0, "rate of the serial port in bit/s; default 115200, else whichever answers")
	f.Duration("dial-timeout", 5*time.Minute, "how long the first join may take")
}

// dialRouteB joins the meter behind the dongle that the flags name. show, if not
// nil, is told of each step.
func dialRouteB(c *cobra.Command, show func(routeb.Status)) (*routeb.Conn, *session, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, nil, err
	}
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer()) // the serial library prints there
	cr, err := credentials(c)
	if err != nil {
		return nil, nil, err
	}
	port, _ := c.Flags().GetString("port")
	baud, _ := c.Flags().GetInt("baud")
	wait, _ := c.Flags().GetDuration("dial-timeout")
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	s := newSession(show)
	conn, err := routeb.Dial(ctx, routeb.Config{Port: port, Credentials: cr, Baud: baud, OnChange: s.take, Logger: log})
	if err != nil {
		return nil, nil, withAdvice(err)
	}
	return conn, s, nil
}

// withAdvice adds to an error of package routeb what a person can do about it.
func withAdvice(err error) error {
	if advice := routeb.Advice(err); advice != "" {
		return fmt.Errorf("%w. %s", err, advice)
	}
	return err
}

// routebLink makes of a session what a node and a controller need.
func routebLink(conn *routeb.Conn, s *session) (echonet.Link, controller.Meter) {
	return echonet.Link{PacketConn: conn}, controller.Meter{Link: s, Locate: func() net.Addr {
		if a := conn.Meter(); a != nil {
			return a
		}
		return nil
	}}
}

// stepPrinter prints the steps of a session as they come, with a bar for those
// that take long if w is a terminal.
type stepPrinter struct {
	w    io.Writer
	last routeb.State
	stop func()
}

func (p *stepPrinter) take(st routeb.Status) {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	if st.State == p.last && st.Err == nil {
		return
	}
	p.last = st.State
	switch st.State {
	case routeb.Scanning:
		fmt.Fprintf(p.w, "module   %s, %s%s, at %d bit/s\n", st.Module.Family, st.Module.Version, suffix(st.Module.Firmware), st.Module.Baud)
		fmt.Fprintf(p.w, "scan     for the meter, up to %s\n", st.Expected.Round(time.Second))
	case routeb.Joining:
		fmt.Fprintf(p.w, "found    channel %d, PAN %04X, link quality %d\n", st.Network.Channel, st.Network.PAN, st.Network.LQI)
		if st.Weak() {
			fmt.Fprintf(p.w, "signal   weak: put the dongle nearer to the meter, away from metal and USB 3 ports\n")
		}
		fmt.Fprintf(p.w, "join     authenticates\n")
	case routeb.Joined:
		fmt.Fprintf(p.w, "joined   %s\n", st.Meter)
	case routeb.Probing:
		fmt.Fprintf(p.w, "port     is open; asks what module it is\n")
	case routeb.NoPort, routeb.Lost:
		if st.Err != nil {
			fmt.Fprintf(p.w, "%-8s %v\n", st.State, st.Err)
		}
	case routeb.Closed:
	}
	if st.Expected > 0 {
		p.stop = countdown(p.w, st.State.String(), st.Expected)
	}
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// countdown draws a bar that fills within d, on a terminal. The function that
// it returns ends it.
func countdown(w io.Writer, what string, d time.Duration) (stop func()) {
	draw := progress(w, what)
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for done := time.Duration(0); done < d; done += 200 * time.Millisecond {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				draw(int64(done/time.Millisecond), int64(d/time.Millisecond))
			}
		}
	})
	return func() {
		cancel()
		ended.Wait()
	}
}
