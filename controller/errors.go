package controller

import "errors"

// Errors that a caller decides on.
var (
	// ErrUnsupported: the meter offers no evidence. A normal state: everything
	// else of such a meter works, and nothing was written to it.
	ErrUnsupported = errors.New("controller: the meter offers no evidence")
	// ErrNotSealed: the log has no seal yet.
	ErrNotSealed = errors.New("controller: the meter's log is not sealed yet")
	// ErrRefused: the meter refused a cursor, a challenge or a receipt.
	ErrRefused = errors.New("controller: refused by the meter")
	// ErrTooLarge: what is to be collected does not fit a bundle.
	ErrTooLarge = errors.New("controller: the evidence does not fit a bundle")
	// ErrNoAddress: the meter's address is not known at present.
	ErrNoAddress = errors.New("controller: the meter has no address at present")
	// ErrLinkLost: the link to the meter was lost before there was an answer, or is
	// away. What was written may have been done.
	ErrLinkLost = errors.New("controller: the link to the meter is lost")
	// ErrSpoolFull: the spool has reached its limit. Nothing is fetched until
	// the MDMS has taken some of it; the meter still has its log.
	ErrSpoolFull = errors.New("controller: spool full")
	// ErrUnknownMeter: the MDMS does not know the meter.
	ErrUnknownMeter = errors.New("controller: the MDMS does not know the meter")
)
