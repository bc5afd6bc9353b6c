//go:build unix

package echonet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// listenShared opens a UDP socket bound to a group or broadcast address, which
// package net does not do (it binds such a socket to every address, and then
// unicast is heard by only one of the programs). zone is the index of the
// interface of an IPv6 address.
func listenShared(ap netip.AddrPort, zone int) (*net.UDPConn, error) {
	family, sa := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: int(ap.Port())})
	if ap.Addr().Is4() {
		sa.(*syscall.SockaddrInet4).Addr = ap.Addr().As4()
	} else {
		family = syscall.AF_INET6
		sa = &syscall.SockaddrInet6{Port: int(ap.Port()), ZoneId: uint32(zone), Addr: ap.Addr().As16()}
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "echonet "+ap.String())
	defer f.Close() // FilePacketConn makes a copy of the descriptor
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, fmt.Errorf("share address: %w", err)
	}
	if err := ownGroupsOnly(fd, family); err != nil {
		return nil, fmt.Errorf("hear own groups only: %w", err)
	}
	if err := syscall.Bind(fd, sa); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("socket of type %T", c)
	}
	return u, nil
}
