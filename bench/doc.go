// Package bench measures meterseal beside its peers, in one run on one
// machine. It is a module of its own, so that the peers stay out of ours.
//
// Run it with scripts/bench.
package bench
