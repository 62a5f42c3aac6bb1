package conformance_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"goaoe/test/conformance"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

var item = regexp.MustCompile(`^C([1-9][0-9]{0,2})$`)

// covering returns the tests that name each item: string literals such as "C57" in test files of packages that use this one.
func covering(t *testing.T, root string) map[int][]string {
	t.Helper()
	out := map[int][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "conformance" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			name := filepath.ToSlash(rel) + " " + fn.Name.Name
			ast.Inspect(fn, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					return true
				}
				if m := item.FindStringSubmatch(s); m != nil {
					n, _ := strconv.Atoi(m[1])
					if !slices.Contains(out[n], name) {
						out[n] = append(out[n], name)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEveryItemHasATest fails when a number of the list is named by no test, or a test names a number that is not in it.
func TestEveryItemHasATest(t *testing.T) {
	got := covering(t, "../..")
	for n := 1; n < len(conformance.Items); n++ {
		if len(got[n]) == 0 {
			t.Errorf("C%d (%s) has no test", n, conformance.Items[n])
		}
	}
	for n, tests := range got {
		if n >= len(conformance.Items) {
			t.Errorf("%v name C%d, which is not in the list", tests, n)
		}
	}
}

// TestTableIsTrue holds docs/conformance.md against the tests.
func TestTableIsTrue(t *testing.T) {
	got := covering(t, "../..")
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Conformance\n\nWhat a target has to get right, item by item, and the tests that show it. Made by")
	fmt.Fprintln(&b, "`go test ./test/conformance -update`; a test fails when this table is out of date or an item has no test.")
	fmt.Fprint(&b, "\n| item | promise | tests |\n| --- | --- | --- |\n")
	for n := 1; n < len(conformance.Items); n++ {
		tests := slices.Clone(got[n])
		slices.Sort(tests)
		fmt.Fprintf(&b, "| C%d | %s | %s |\n", n, conformance.Items[n], strings.Join(tests, ", "))
	}
	const file = "../../docs/conformance.md"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Fatal("docs/conformance.md is out of date: run go test ./test/conformance -update")
	}
}
