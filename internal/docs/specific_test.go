package docs_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
)

func TestDefaultSetIsTheOneInTheDocument(t *testing.T) {
	text := section(t, read(t, "docs/wire.md"), "## Specific events")
	var set []eventlog.Event
	class := ""
	for _, cells := range rows(text) {
		if cells[0] != "" {
			class, _, _ = strings.Cut(cells[0], " ")
		}
		for c := range strings.SplitSeq(cells[1], ", ") {
			e, err := eventlog.ParseEvent(class + "/" + c)
			if err != nil {
				t.Fatal(err)
			}
			set = append(set, e)
		}
	}
	want := eventlog.DefaultPolicy()
	got := eventlog.NewPolicy(want.Version, set...)
	if got.String() != want.String() {
		t.Errorf("the document has %s, the default is %s", &got, &want)
	}
	if len(got.Specific) != len(set) {
		t.Errorf("the document names %d events, %d of them different", len(set), len(got.Specific))
	}
	for _, s := range []string{"version " + strconv.Itoa(int(want.Version)), want.Digest().String()} {
		if !strings.Contains(text, s) {
			t.Errorf("the document does not say %s", s)
		}
	}
}
