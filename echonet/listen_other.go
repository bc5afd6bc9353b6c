//go:build !unix

package echonet

import (
	"errors"
	"net"
	"net/netip"
)

// listenShared is not done here: the node hears unicast only.
func listenShared(netip.AddrPort, int) (*net.UDPConn, error) { return nil, errors.ErrUnsupported }
