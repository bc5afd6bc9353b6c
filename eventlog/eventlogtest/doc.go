// Package eventlogtest makes genuine evidence in memory: a meter with a test
// key that appends, seals, rotates and is wronged on demand, and the small
// edits that an attacker makes to bytes. Everything is deterministic: the same
// calls give the same bytes, signatures included.
//
// It is for tests, fixtures and benchmarks. Misuse of the package panics, and
// its keys are derived from their names, so anyone can make them.
package eventlogtest
