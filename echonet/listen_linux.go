package echonet

import "syscall"

// ipMulticastAll is IP_MULTICAST_ALL of linux/in.h.
const ipMulticastAll = 49

// ownGroupsOnly makes an IPv4 socket hear its group only on the interfaces where
// this socket joined it. Linux otherwise delivers what any socket joined.
func ownGroupsOnly(fd, family int) error {
	if family != syscall.AF_INET {
		return nil // bound to one interface by its zone
	}
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipMulticastAll, 0)
}
