// Package routeb carries datagrams to and from a smart meter over Wi-SUN Route-B, through a radio module (dongle) on a
// serial port.
//
// Dial opens the port, finds out what module hangs on it, scans for the meter that knows the Route-B id, joins its
// network and returns a net.PacketConn. Open returns one at once, which joins when dongle and meter are there. From then on
// the session looks after itself: it sends again what the radio lost, renews, rejoins, rescans, resets the module, and
// opens the port anew when the dongle was unplugged. A reader never notices more than a silence.
//
// Modules with the text protocol SKSTACK-IP are told apart by what they answer: BP35A1 and WSR35A1-00, BP35C0, BP35C2 and
// RS-WSUHA-P, RL7023 Stick-D/IPS and /DSS, MB-RL7023-11. Nothing is ever written to a module's flash memory.
//
// The package knows nothing of what the datagrams say. Package dongle is the other side of the serial line.
package routeb
