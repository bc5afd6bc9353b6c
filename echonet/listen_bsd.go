//go:build unix && !linux

package echonet

// ownGroupsOnly does nothing: a socket hears the groups that it joined.
func ownGroupsOnly(int, int) error { return nil }
