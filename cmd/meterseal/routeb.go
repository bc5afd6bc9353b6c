package main

import (
	"context"
	"fmt"
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
	f.Duration("dial-timeout", 5*time.Minute, "how long a command that does something once tries to join; the controller itself never gives up")
}

// radio says how a command uses a dongle.
type radio struct {
	steps *stepPrinter // shows what happens; nil = only what fails, on stderr
	stays bool         // serves whether or not dongle and meter are there, and never gives up
	state string       // directory that remembers where the meter was found, if it stays; "" = none
}

// dialAttempts is how often a command that does something once tries to join. A
// join may fail by chance, or for want of a fresh scan.
const dialAttempts = 2

// dialRouteB opens a session with the meter behind the dongle that the flags
// name. Unless the command stays it has joined when it returns.
func dialRouteB(c *cobra.Command, r radio) (*routeb.Conn, *session, error) {
	log, err := newLogger(c)
	if err != nil {
		return nil, nil, err
	}
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer()) // the serial library prints there
	cr, err := credentials(c)
	if err != nil {
		return nil, nil, err
	}
	cfg := routeb.Config{Credentials: cr, DialAttempts: dialAttempts, Logger: log}
	cfg.Port, _ = c.Flags().GetString("port")
	cfg.Baud, _ = c.Flags().GetInt("baud")
	if r.stays {
		advise, remember := adviser(log), func(routeb.Status) {}
		if r.state != "" {
			k, err := openNetwork(r.state, log)
			if err != nil {
				return nil, nil, fmt.Errorf("state directory: %w", err)
			}
			cfg.Network, remember = k.network(), k.take
		}
		s := newSession(func(st routeb.Status) {
			advise(st)
			remember(st)
		})
		cfg.OnChange = s.take
		conn, err := routeb.Open(cfg)
		return conn, s, err
	}
	if !c.Flags().Changed("log-level") {
		cfg.Logger = nil // the steps say it
	}
	steps := r.steps
	if steps == nil {
		steps = newStepPrinter(c.ErrOrStderr(), true)
	}
	s := newSession(steps.take)
	cfg.OnChange = s.take
	wait, _ := c.Flags().GetDuration("dial-timeout")
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	conn, err := routeb.Dial(ctx, cfg)
	if err != nil {
		return nil, nil, steps.explain(err)
	}
	return conn, s, nil
}

// adviser logs what can be done about what fails, once for each kind of failure.
func adviser(log *slog.Logger) func(routeb.Status) {
	said := map[string]bool{}
	return func(st routeb.Status) {
		if advice := routeb.Advice(st.Err); advice != "" && !said[advice] {
			said[advice] = true
			log.Warn("routeb: advice", "err", st.Err, "advice", advice)
		}
	}
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
