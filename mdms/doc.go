// Package mdms is the verifier service: it takes evidence from couriers that
// it does not believe, verifies it with the key registered for the meter, and
// keeps what verified.
//
// [Server.Ingest] is the step from a bundle to a verdict. Verification runs
// outside the transaction; the result is applied by compare-and-swap on the
// meter's head, so the same bundle may come twice, from two couriers, or at
// the same moment, and counts once. What is acknowledged is on disk. What once
// verified is never overwritten: a second history of a meter is kept beside
// the first.
//
// What no valid signature stands behind is held against the courier that
// brought it, never against the meter.
package mdms
