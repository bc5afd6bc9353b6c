// Package layers_test holds the packages to the direction of their imports.
package layers_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meterseal/meterseal/"

// allowed names, for each package, which of our packages it may import. A
// package that is not listed fails the test: its place has to be decided.
// cmd/meterseal joins everything and is not listed.
var allowed = map[string][]string{
	"internal/durable": {},

	"eventlog":        {"internal/durable"},
	"eventlog/verify": {"eventlog"},

	"secureelement":      {"eventlog"},
	"secureelement/soft": {"eventlog", "secureelement", "internal/durable"},

	"echonet":         {},
	"echonet/meter":   {"echonet"},
	"echonet/memlink": {},
	"echonet/explain": {"echonet", "echonet/meter"},

	"routeb":        {},
	"routeb/dongle": {"routeb", "routeb/internal/skstack", "routeb/internal/j11"},

	"device":     {"echonet", "echonet/meter", "eventlog", "secureelement", "internal/durable"},
	"controller": {"echonet", "echonet/meter", "eventlog", "eventlog/verify", "internal/durable"},
	"mdms":       {"eventlog", "eventlog/verify", "internal/durable"},
}

// outside names, for each package that is allowed, the modules outside the
// standard library that it may import.
var outside = map[string][]string{
	"internal/durable": {},

	"eventlog":        {},
	"eventlog/verify": {},

	"secureelement":      {},
	"secureelement/soft": {"golang.org/x/crypto", "golang.org/x/sys", "golang.org/x/time"},

	"echonet":         {"golang.org/x/net"},
	"echonet/meter":   {},
	"echonet/memlink": {},
	"echonet/explain": {},

	"routeb":        {"github.com/goburrow/serial", "golang.org/x/sys"},
	"routeb/dongle": {"github.com/creack/pty", "golang.org/x/sys", "golang.org/x/term"},

	"device":     {},
	"controller": {},
	"mdms":       {"modernc.org/sqlite"},
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// list runs go list; the packages of tests' helpers are left out, since only
// tests import them.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	look(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Standard,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	return pkgs
}

// look reads the directories of the module, in which go list looks: only what
// a test itself opens makes the go command run it again.
func look(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// free are trees without a place in the order: nothing of ours but tests and
// cmd imports them.
func free(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return top == "cmd" || top == "fixtures" || name == "internal/layers" || strings.HasSuffix(path.Base(name), "test") ||
		strings.HasPrefix(name, "internal/") && path.Base(name) != "durable" && path.Base(name) != "cred"
}

// home is the package to which an internal one belongs, or the package itself.
func home(name string) string {
	if strings.HasPrefix(name, "internal/") {
		return name
	}
	owner, _, _ := strings.Cut(name, "/internal/")
	return owner
}

func TestImportsPointOneWay(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 8 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for name, p := range pkgs {
		if free(name) {
			continue
		}
		may, ok := allowed[home(name)]
		if !ok {
			t.Errorf("%s has no place in the order of imports: decide it here", name)
			continue
		}
		for _, imp := range p.Imports {
			ours, isOurs := strings.CutPrefix(imp, module)
			switch {
			case isOurs && ours != home(name) && home(ours) == home(name): // an internal package of its own
			case isOurs && !slices.Contains(may, ours):
				t.Errorf("%s imports %s, which it may not", name, ours)
			case !isOurs && strings.Contains(imp, "."):
				if !slices.ContainsFunc(outside[home(name)], func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }) {
					t.Errorf("%s imports %s, which it may not", name, imp)
				}
			}
		}
	}
}

// What the lists name is there, and both name the same packages.
func TestListsNameWhatIsThere(t *testing.T) {
	pkgs := list(t)
	for name, may := range allowed {
		if _, ok := outside[name]; !ok {
			t.Errorf("%s may import packages of ours, and nothing is said of those outside", name)
		}
		for _, n := range append([]string{name}, may...) {
			if _, ok := pkgs[n]; !ok {
				t.Errorf("the entry of %s names %s, which does not exist", name, n)
			}
		}
	}
	for name := range outside {
		if _, ok := allowed[name]; !ok {
			t.Errorf("%s may import modules outside, and is not in the order of imports", name)
		}
	}
}

// TestMDMSKnowsNoLink says what the order above implies, in the words of the
// architecture: what verifies never touches what transports.
func TestMDMSKnowsNoLink(t *testing.T) {
	pkgs := list(t)
	for name := range pkgs {
		if name != "mdms" && !strings.HasPrefix(name, "mdms/") && !strings.HasPrefix(name, "eventlog") {
			continue
		}
		if free(name) {
			continue
		}
		seen := map[string]bool{}
		var visit func(string)
		visit = func(n string) {
			if seen[n] {
				return
			}
			seen[n] = true
			for _, imp := range pkgs[n].Imports {
				if strings.Contains(imp, "goburrow/serial") {
					t.Errorf("%s reaches %s", name, imp)
				}
				if ours, ok := strings.CutPrefix(imp, module); ok {
					if strings.HasPrefix(ours, "echonet") || strings.HasPrefix(ours, "routeb") || strings.HasPrefix(ours, "device") {
						t.Errorf("%s reaches %s", name, ours)
					}
					visit(ours)
				}
			}
		}
		visit(name)
	}
}
