package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// pair is one key=value of a line for people and scripts.
type pair struct{ key, value string }

// ready prints the one line that says a command serves from now on:
// "ready udp=127.0.0.1:3610 meter=FFFFFF-MS0000000001".
func ready(w io.Writer, pairs ...pair) { fmt.Fprintln(w, "ready"+joinPairs(pairs)) }

// joinPairs writes " key=value" for each pair; a value with spaces is quoted.
func joinPairs(pairs []pair) string {
	var sb strings.Builder
	for _, p := range pairs {
		if strings.ContainsAny(p.value, " \"\n") {
			fmt.Fprintf(&sb, " %s=%q", p.key, p.value)
		} else {
			fmt.Fprintf(&sb, " %s=%s", p.key, p.value)
		}
	}
	return sb.String()
}

// printJSON prints v as one indented document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
