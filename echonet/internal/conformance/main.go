// Conformance writes the table of conformance statements from a test run:
//
//	go test -count=1 -json ./echonet/... ./controller | go run ./echonet/internal/conformance > docs/conformance.md
//
// A test says which statement it shows with T.Attr("statement", "N1 text"). The
// program fails if a test did, or if one that shows a statement was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// groups are the kinds of statements and how many there are of each.
var groups = []struct {
	letter byte
	name   string
	count  int
}{
	{'N', "Parsing and answering", 13},
	{'S', "Services", 14},
	{'P', "Node profile", 8},
	{'D', "Devices", 7},
	{'M', "Low-voltage smart electric energy meter", 14},
	{'C', "Controller", 11},
}

// event is one line of go test -json.
type event struct {
	Action, Package, Test, Key, Value string
}

// row is a statement and the test that shows it.
type row struct {
	text, pkg, test, result string
}

func run(in io.Reader, out io.Writer) error {
	rows, failed, err := read(in)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	fmt.Fprint(w, `# Conformance

Written by `+"`go run ./echonet/internal/conformance`"+` from a run of the tests; not to be edited. This is the project's own list of
statements, tested by the project's own tests. It is no certification by the ECHONET Consortium, and claims none.
`)
	for _, g := range groups {
		fmt.Fprintf(w, "\n## %s\n\n| | statement | test | result |\n|---|---|---|---|\n", g.name)
		for i := 1; i <= g.count; i++ {
			id := string(g.letter) + strconv.Itoa(i)
			r, ok := rows[id]
			if !ok {
				fmt.Fprintf(w, "| %s | | | not in this run |\n", id)
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s.%s | %s |\n", id, strings.ReplaceAll(r.text, "|", "\\|"), path.Base(r.pkg), r.test, r.result)
			if r.result != "pass" {
				failed = append(failed, id+": "+r.result)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(failed) > 0 {
		sort.Strings(failed)
		return fmt.Errorf("%s", strings.Join(failed, "; "))
	}
	return nil
}

// read returns the statements by number, and what failed.
func read(in io.Reader) (rows map[string]row, failed []string, err error) {
	rows = map[string]row{}
	statements := map[string]string{} // by package and test
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, nil, fmt.Errorf("input is no output of go test -json: %w", err)
		}
		at := e.Package + " " + e.Test
		switch e.Action {
		case "attr":
			if e.Key == "statement" {
				id, text, _ := strings.Cut(e.Value, " ")
				rows[id] = row{text: text, pkg: e.Package, test: e.Test, result: "did not end"}
				statements[at] = id
			}
		case "pass", "fail", "skip":
			if id, ok := statements[at]; ok {
				r := rows[id]
				r.result = e.Action
				rows[id] = r
			} else if e.Action == "fail" {
				failed = append(failed, strings.TrimSpace(at)+": fail")
			}
		}
	}
	return rows, failed, lines.Err()
}
