package main

import (
	"bytes"
	"slices"

	"github.com/meterseal/meterseal/eventlog"
)

// What an attacker does to evidence. Checksums are always made right again:
// they are no security, and only a careless attacker would leave them.

// cloneBundle returns a copy that can be changed freely.
func cloneBundle(u *eventlog.Bundle) *eventlog.Bundle {
	c := *u
	c.Parts = slices.Clone(u.Parts)
	for i := range c.Parts {
		c.Parts[i].Log, c.Parts[i].Seal = bytes.Clone(c.Parts[i].Log), bytes.Clone(c.Parts[i].Seal)
	}
	return &c
}

// records splits a log into the bytes of its records.
func records(log []byte) [][]byte {
	var out [][]byte
	for len(log) > 0 {
		var r eventlog.Record
		n, err := r.Next(log)
		if err != nil {
			break
		}
		out = append(out, log[:n])
		log = log[n:]
	}
	return out
}

// rewrite returns the bytes of a record after f has changed it.
func rewrite(record []byte, f func(*eventlog.Record)) ([]byte, error) {
	var r eventlog.Record
	if err := r.UnmarshalBinary(bytes.Clone(record)); err != nil {
		return nil, err
	}
	f(&r)
	return r.AppendBinary(nil)
}

// relabel returns a seal's bytes after f has changed what it says of itself.
func relabel(seal []byte, f func(*eventlog.Seal)) ([]byte, error) {
	var s eventlog.Seal
	if err := s.UnmarshalBinary(seal); err != nil {
		return nil, err
	}
	f(&s)
	return s.AppendBinary(nil)
}
