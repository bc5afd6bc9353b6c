// Package verify judges the evidence of a meter: it takes a bundle and what is
// known of the meter, and gives a verdict with its reasons.
//
// [Verify] is a pure function. It reads no clock and keeps nothing; whatever
// it must remember from one bundle to the next it hands back in
// [Report.Advance], and the caller stores it. The MDMS, a controller's local
// check and the offline verifier call the same function.
//
// The courier of a bundle is not trusted: what a bundle says beside log bytes
// and signature is a hint, used to refuse and never to accept. Nothing that
// the log says counts before the signature over it holds. The order in which
// the verdicts are tried is normative in docs/verdicts.md; the first match
// decides.
//
// A verdict is not an error. An error means that no verdict could be reached,
// because stored state could not be read.
package verify
