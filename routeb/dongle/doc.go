// Package dongle is a virtual Wi-SUN module with a meter in reach: the other side of the serial line that package routeb
// drives. Any Route-B program runs on it, on a pseudo-terminal, with no hardware.
//
// It speaks SKSTACK-IP like the modules that it can be (see Model), strict where they are strict, and takes the times
// that they take, divided by Config.Speed. Behind it are meters, each reached through a net.PacketConn: what the host
// sends over the radio goes to the meter's address, and what comes from there goes to the host. Faults can be injected
// at will, by chance or by number, always reproducibly.
//
// Bytes and times follow documented behaviour (fixtures/skstack, docs/route-b.md). Nothing here was compared with
// hardware.
package dongle
