// Package skstack is the SKSTACK-IP text protocol as a host sees it: the lines, events, datagrams and scan results that
// a Wi-SUN module writes on its serial line, and the textual forms that it accepts.
//
// Everything but the data of ERXUDP is text in lines. A line ends at CR or LF (product commands answer with a lone CR);
// empty lines mean nothing. Events and datagrams may stand between any two lines.
//
//	EVENT  nn ip [side] [param]
//	ERXUDP src dst rport lport mac [lqi] sec [side] len data CR LF
//
// Single-stack modules (BP35A1) write neither lqi nor side, dual-stack modules (BP35C2) write side, and lqi where
// register SA2 is 1. The optional fields are told by their widths: lqi has two digits, sec and side one, len four. The
// data is len raw bytes or 2*len hex digits, as register WOPT says; the byte after the first len bytes tells which, for
// it is CR in the one case and a digit in the other. So the parser needs to know neither the module nor its settings.
package skstack
