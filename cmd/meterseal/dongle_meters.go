package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/routeb/dongle"
)

// virtual is what --meter says in place of an address for a meter of the
// dongle's own.
const virtual = "virtual"

// reach is what is in reach of a dongle.
type reach struct {
	meters []*dongle.Meter
	files  []string // the credentials of each
	behind []*behind
	conns  map[string]net.PacketConn // by where they speak from; meters may share one
}

// openReach opens the meters that --meter names.
func openReach(c *cobra.Command, link string) (*reach, error) {
	specs, _ := c.Flags().GetStringArray("meter")
	if len(specs) == 0 {
		specs = []string{virtual}
	}
	r := &reach{conns: make(map[string]net.PacketConn)}
	for i, spec := range specs {
		if err := r.open(c, link, spec, i+1); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// open opens the n-th meter, from 1.
func (r *reach) open(c *cobra.Command, link, spec string, n int) error {
	m := &dongle.Meter{}
	addr, file, err := parseMeter(spec, m)
	if err != nil {
		return usagef("--meter %s: %w", spec, err)
	}
	beside := link + ".toml"
	if n > 1 {
		beside = fmt.Sprintf("%s-%d.toml", link, n)
	} else if file == "" {
		file, _ = c.Flags().GetString("credentials")
	}
	if m.Credentials, file, err = dongleCredentials(file, beside); err != nil {
		return err
	}
	b, err := openBehind(c, addr, n)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(r.behind, func(other *behind) bool { return other.addr.String() == b.addr.String() }) {
		return errors.Join(usagef("--meter %s: this meter was named before", spec), b.Close())
	}
	r.meters, r.behind, r.files = append(r.meters, m), append(r.behind, b), append(r.files, file)
	m.Addr, m.Lock = b.addr, lockOf(b.addr)
	m.Conn, err = r.conn(c, b.addr)
	return err
}

// conn returns the socket that leads to a meter.
func (r *reach) conn(c *cobra.Command, meter net.Addr) (net.PacketConn, error) {
	local, _ := c.Flags().GetString("local")
	if local == "" {
		local = localFor(meter.(*net.UDPAddr).IP)
	}
	if conn := r.conns[local]; conn != nil {
		return conn, nil
	}
	conn, err := openSocket(c, local)
	if err == nil {
		r.conns[local] = conn
	}
	return conn, err
}

// lockOf returns the file that dongles of this system lock while they have a
// session with the meter of that address.
func lockOf(addr net.Addr) string {
	return filepath.Join(os.TempDir(), "meterseal-"+strings.NewReplacer(":", "-", "%", "-").Replace(addr.String())+".lock")
}

// parseMeter reads "ADDR[,key=value]..." into m, and returns the address and the
// file with the credentials.
func parseMeter(spec string, m *dongle.Meter) (addr, file string, err error) {
	addr, rest, _ := strings.Cut(spec, ",")
	addr = cmp.Or(addr, virtual)
	for item := range strings.SplitSeq(rest, ",") {
		if rest == "" {
			break
		}
		key, value, _ := strings.Cut(item, "=")
		number := func(base, from, to int) int {
			n, perr := strconv.ParseInt(value, base, 32)
			if perr != nil || int(n) < from || int(n) > to {
				err = fmt.Errorf("%s=%s: want %s to %s", key, value, strconv.FormatInt(int64(from), base), strconv.FormatInt(int64(to), base))
			}
			return int(n)
		}
		switch key {
		case "credentials":
			file = value
		case "channel":
			m.Channel = byte(number(10, 33, 60))
		case "pan":
			m.PAN = uint16(number(16, 1, 0xFFFE))
		case "lqi":
			m.LQI = byte(number(10, 1, 255))
		case "lifetime":
			if m.Lifetime, err = time.ParseDuration(value); err == nil && m.Lifetime < time.Minute {
				err = fmt.Errorf("%s=%s: want a minute or more", key, value)
			}
		default:
			err = fmt.Errorf("no key %q: want credentials, channel, pan, lqi or lifetime", key)
		}
		if err != nil {
			return "", "", err
		}
	}
	return addr, file, nil
}

// addrs returns the addresses of the meters.
func (r *reach) addrs() string {
	all := make([]string, len(r.behind))
	for i, b := range r.behind {
		all[i] = b.addr.String()
	}
	return strings.Join(all, ",")
}

// Close stops what was opened.
func (r *reach) Close() error {
	var errs []error
	for _, conn := range r.conns {
		errs = append(errs, conn.Close())
	}
	for _, b := range r.behind {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}
