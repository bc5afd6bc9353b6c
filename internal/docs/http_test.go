package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meterseal/meterseal/eventlog/verify"
	"github.com/meterseal/meterseal/mdms"
)

// routes are the patterns that the MDMS gives its mux.
func routes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "mdms", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || f.Sel.Name != "HandleFunc" && f.Sel.Name != "Handle" {
				return true
			}
			pattern, ok := call.Args[0].(*ast.BasicLit)
			if !ok || pattern.Kind != token.STRING {
				t.Errorf("%s: a route that is no literal cannot be compared", name)
				return true
			}
			route, err := strconv.Unquote(pattern.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.TrimSuffix(route, "{$}"))
			return true
		})
	}
	slices.Sort(all)
	return all
}

func TestEveryRouteIsDocumented(t *testing.T) {
	text := section(t, read(t, "docs/wire.md"), "## HTTP")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^### `(.*)`$").FindAllStringSubmatch(text, -1) {
		documented = append(documented, m[1])
		if !regexp.MustCompile(`\nBy (a courier|the operator)\b`).MatchString(section(t, text, m[0])) {
			t.Errorf("%s: who may call it is not said", m[1])
		}
	}
	slices.Sort(documented)
	served := routes(t)
	if len(served) < 5 {
		t.Fatalf("only %d routes were found", len(served))
	}
	if !slices.Equal(served, documented) {
		t.Errorf("the MDMS serves\n%q, documented are\n%q", served, documented)
	}
}

// TestEveryFieldIsDocumented compares the fields of the objects, and which of
// them may be left out, with what is sent.
func TestEveryFieldIsDocumented(t *testing.T) {
	text := section(t, section(t, read(t, "docs/wire.md"), "## HTTP"), "### Objects")
	for name, object := range map[string]any{
		"Result": mdms.Result{}, "Status": mdms.Status{}, "Key": mdms.KeyStatus{}, "Alert": mdms.Alert{}, "Work": mdms.Work{}, "Head": mdms.Head{},
		"Position": verify.Position{}, "Finding": verify.Finding{}, "Missing": verify.Missing{},
	} {
		var sent, documented []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(object)) {
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if options != "" {
				field += " optional"
			}
			sent = append(sent, field)
		}
		for _, cells := range rows(section(t, text, "#### "+name)) {
			for field := range strings.SplitSeq(cells[0], ", ") {
				field = strings.Trim(field, "`")
				if strings.HasSuffix(cells[1], ", optional") {
					field += " optional"
				}
				documented = append(documented, field)
			}
		}
		slices.Sort(sent)
		slices.Sort(documented)
		if !slices.Equal(sent, documented) {
			t.Errorf("%s has the fields\n%q, documented are\n%q", name, sent, documented)
		}
	}
}
