//go:build linux

package lan_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// network is a LAN of its own: a bridge in one namespace, and a namespace for each host.
type network struct {
	t      *testing.T
	prefix string // of the names of its namespaces
	hosts  int
}

// host is one computer on a LAN, with the interface eth0.
type host struct {
	*network
	name        string // of its port of the bridge too
	addr, addr6 string
}

var networks atomic.Int32

// newNetwork makes a LAN that lasts as long as the test. It skips the test where that is not possible.
func newNetwork(t *testing.T) *network {
	t.Helper()
	need(t)
	n := &network{t: t, prefix: fmt.Sprintf("meterseal-%d-%d-", os.Getpid(), networks.Add(1))}
	n.namespace("bridge")
	// A bridge that snoops drops groups, since nobody asks who is in them.
	n.ip("-n", n.prefix+"bridge", "link", "add", "name", "br0", "type", "bridge", "mcast_snooping", "0")
	n.ip("-n", n.prefix+"bridge", "link", "set", "br0", "up")
	return n
}

// namespace adds a namespace and returns its name.
func (n *network) namespace(name string) string {
	n.t.Helper()
	ns := n.prefix + name
	n.ip("netns", "add", ns)
	n.t.Cleanup(func() { n.ip("netns", "delete", ns) })
	n.ip("-n", ns, "link", "set", "lo", "up")
	return ns
}

// host connects one more host: 10.36.10.1 and fe80::1 is the first.
func (n *network) host(name string) *host {
	n.t.Helper()
	n.hosts++
	h := &host{network: n, name: name, addr: fmt.Sprintf("10.36.10.%d", n.hosts), addr6: fmt.Sprintf("fe80::%d", n.hosts)}
	ns, bridge := n.namespace(name), n.prefix+"bridge"
	n.ip("-n", bridge, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", ns)
	n.ip("-n", bridge, "link", "set", name, "master", "br0", "up")
	n.ip("-n", ns, "link", "set", "eth0", "addrgenmode", "none")
	n.ip("-n", ns, "addr", "add", h.addr+"/24", "broadcast", "10.36.10.255", "dev", "eth0")
	n.ip("-n", ns, "addr", "add", h.addr6+"/64", "dev", "eth0", "nodad")
	n.ip("-n", ns, "link", "set", "eth0", "up")
	n.ip("-n", ns, "route", "add", "default", "dev", "eth0") // multicast needs a route
	eventually(n.t, "IPv6 on "+name, func() bool {
		return strings.Contains(n.ip("-n", ns, "-6", "route", "show", "table", "local", "dev", "eth0"), "multicast") &&
			strings.Contains(n.ip("-n", ns, "link", "show", "eth0"), "state UP")
	})
	return h
}

// ip runs the command of that name and returns what it says.
func (n *network) ip(args ...string) string {
	n.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// command is a program that will run on the host.
func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.prefix + h.name}, args...)...)
	cmd.Env = append(os.Environ(), modules())
	return cmd
}
