package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/effort"
)

// Removing any single check of the package must make one of its tests fail.
//
// A copy of the package is built in which each check has a number: the
// condition of each if and case, or the operands of its && and ||, and each
// step of the order in part.judge. The environment variable MUTANT switches one of
// them off: a condition and an operand of || are never true, an operand of &&
// always is, a step never matches. The package's own tests (with -short) must
// pass with none switched off, and fail with each of them.
//
// It takes minutes: MUTATE=1 go test -run TestMutation -v ./eventlog/verify
func TestMutation(t *testing.T) {
	if os.Getenv("MUTATE") == "" && effort.Times(1) < 2 || os.Getenv("MUTANT") != "" {
		t.Skip("runs the package's tests once per check; set MUTATE=1")
	}
	dir := t.TempDir()
	overlay, checks := mutate(t, dir)
	if len(checks) < 150 {
		t.Fatalf("only %d checks were found", len(checks))
	}
	bin := filepath.Join(dir, "mutants.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	began := time.Now()
	if out, err := runMutant(t.Context(), bin, "none", 2*time.Minute); err != nil {
		t.Fatalf("with nothing switched off: %v\n%s", err, out)
	}
	limit := max(20*time.Since(began), 10*time.Second)
	todo, survivors := make(chan int), make([]string, len(checks))
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for i := range todo {
				if _, err := runMutant(t.Context(), bin, strconv.Itoa(i), limit); err == nil {
					survivors[i] = checks[i]
				}
			}
		})
	}
	for i := range checks {
		todo <- i
	}
	close(todo)
	wg.Wait()
	survivors = slices.DeleteFunc(survivors, func(s string) bool { return s == "" })
	for _, s := range survivors {
		t.Errorf("no test needs %s", s)
	}
	t.Logf("%d checks, %d survivors", len(checks), len(survivors))
}

// runMutant runs the tests. Without some of the checks a loop has no end, so they
// fail by their time too.
func runMutant(ctx context.Context, bin, mutant string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.short", "-test.failfast", "-rapid.nofailfile", "-rapid.checks=15")
	cmd.Env = append(os.Environ(), "MUTANT="+mutant, "GOMAXPROCS=1") // one runs on each processor
	return cmd.CombinedOutput()
}

// switchboard is the file that is added to the mutated package.
const switchboard = `package verify

import (
	"os"
	"strconv"
)

var active = func() int {
	n, err := strconv.Atoi(os.Getenv("MUTANT"))
	if err != nil {
		return -1
	}
	return n
}()

func never(n int, c bool) bool  { return c && n != active }
func always(n int, c bool) bool { return c || n == active }
func skip(n int, f func() (step, error)) func() (step, error) {
	if n == active {
		return func() (step, error) { return 0, nil }
	}
	return f
}
`

// mutate writes the mutated package and returns the overlay file and what each
// number switches off.
func mutate(t *testing.T, dir string) (overlay string, checks []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	write := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(wd, name)] = path
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(name, number(t, name, text, &checks))
	}
	write("switchboard.go", []byte(switchboard))
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay, checks
}

// joins reports whether e is a && or || with that operator.
func joins(e ast.Expr, op token.Token) bool {
	b, ok := e.(*ast.BinaryExpr)
	return ok && b.Op == op
}

// number wraps each check of a file in a call that can switch it off.
func number(t *testing.T, name string, text []byte, checks *[]string) []byte {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	type insertion struct {
		at   int
		text string
	}
	var insertions []insertion
	wrap := func(f string, e ast.Expr) {
		from, to := fset.Position(e.Pos()), fset.Position(e.End())
		insertions = append(insertions,
			insertion{from.Offset, fmt.Sprintf("%s(%d, ", f, len(*checks))}, insertion{to.Offset, ")"})
		*checks = append(*checks, fmt.Sprintf("%s:%d: %s(%s)", name, from.Line, f, text[from.Offset:to.Offset]))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			if !joins(n.Cond, token.LOR) { // else each operand is switched off
				wrap("never", n.Cond)
			}
		case *ast.SwitchStmt:
			if n.Tag != nil {
				break
			}
			for _, c := range n.Body.List {
				for _, e := range c.(*ast.CaseClause).List {
					wrap("never", e)
				}
			}
		case *ast.BinaryExpr:
			for _, e := range []ast.Expr{n.X, n.Y} {
				switch {
				case joins(e, n.Op): // its own operands are switched off
				case n.Op == token.LOR:
					wrap("never", e)
				case n.Op == token.LAND:
					wrap("always", e)
				}
			}
		case *ast.CompositeLit:
			if a, ok := n.Type.(*ast.ArrayType); ok {
				if _, ok := a.Elt.(*ast.FuncType); ok {
					for _, e := range n.Elts {
						wrap("skip", e)
					}
				}
			}
		}
		return true
	})
	// Inner wraps come later in the walk: at one offset, an opening one goes
	// behind, a closing one before those of the outer expressions.
	slices.SortStableFunc(insertions, func(a, b insertion) int { return a.at - b.at })
	var out []byte
	last := 0
	for _, in := range insertions {
		out = append(append(out, text[last:in.at]...), in.text...)
		last = in.at
	}
	return append(out, text[last:]...)
}
