package main

import (
	"strings"
	"testing"
)

const passing = `{"Action":"attr","Package":"x/echonet","Test":"TestN1","Key":"statement","Value":"N1 A claim."}
{"Action":"output","Package":"x/echonet","Test":"TestN1","Output":"noise"}
{"Action":"pass","Package":"x/echonet","Test":"TestN1"}
{"Action":"pass","Package":"x/echonet"}
`

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := run(strings.NewReader(passing), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| N1 | A claim. | echonet.TestN1 | pass |", "| C11 | | | not in this run |", "no certification"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	if got := strings.Count(out.String(), "| not in this run |"); got != 66 {
		t.Errorf("got %d statements without a test, want 66", got)
	}
}

func TestFailures(t *testing.T) {
	for name, in := range map[string]string{
		"a statement that fails":   strings.ReplaceAll(passing, `"pass"`, `"fail"`),
		"a statement that skips":   strings.ReplaceAll(passing, `"pass"`, `"skip"`),
		"a test that did not end":  strings.Split(passing, "\n")[0],
		"another test that fails":  passing + `{"Action":"fail","Package":"x/echonet","Test":"TestOther"}`,
		"something that is no run": "ok",
	} {
		var out strings.Builder
		if err := run(strings.NewReader(in), &out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
