// Package controller is a HEMS: it reads low-voltage smart electric energy
// meters, collects the evidence of their event logs, and relays it to the MDMS.
//
// For the evidence it is an untrusted courier. It checks nothing that it
// carries and is believed in nothing that it says; what a [Collector] reads, a
// [Spool] keeps and a [Relay] posts are the bytes of the meter. The three are
// apart, so that each can be run, and stood between, alone; a [Controller]
// joins them and adds the reading.
package controller
