// Package archtest holds the tests of the house: rules about the source itself.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "goaoe"

// layer says what a package (or a tree of packages, when the name ends in "/...") may import of this module.
// A name in may that ends in "/..." allows the tree below it.
type layer struct {
	pkg string
	may []string
	why string
}

var layers = []layer{
	{"aoe", nil, "wire format: no I/O, no clock"},
	{"ata", nil, "wire format: no I/O, no clock"},
	{"internal/stats", nil, "a leaf"},
	{"internal/sys", nil, "a leaf: raw system calls"},
	{"internal/privsep", nil, "a leaf: who opens files"},
	{"internal/opener", []string{"aoe", "internal/config", "internal/privsep"}, "it knows the configuration, and nothing of what is done with what it opens"},
	{"internal/sandbox", []string{"internal/sandbox"}, "it knows the kernel, not the daemon"},
	{"internal/target", []string{"aoe", "ata", "internal/stats"}, "semantics are pure"},
	{"internal/link", []string{"aoe", "internal/stats"}, "the interface knows no implementation"},
	{"internal/store", []string{"aoe", "internal/stats"}, "the interface knows no implementation"},
	{"internal/link/all", []string{"internal/link", "internal/link/..."}, "the registry of transports"},
	{"internal/store/all", []string{"internal/store", "internal/store/..."}, "the registry of storage kinds"},
	{"internal/link/linktest/...", []string{"aoe", "internal/link", "internal/sys", "internal/testnet"}, "a suite knows the interface only"},
	{"internal/store/storetest/...", []string{"internal/store", "internal/sys"}, "a suite knows the interface only"},
	{"internal/link/...", []string{"internal/privsep", "aoe", "internal/link", "internal/stats", "internal/sys"}, "a transport knows its interface only"},
	{"internal/store/...", []string{"internal/privsep", "internal/store", "internal/stats", "internal/sys"}, "a storage kind knows its interface only"},
	{"internal/engine", []string{"aoe", "internal/target", "internal/link", "internal/store", "internal/stats", "internal/sys"}, "the hot path knows interfaces, not implementations, configuration or logs"},
	{"internal/sim", []string{"aoe", "internal/engine", "internal/target", "internal/link", "internal/store", "internal/store/file", "internal/stats"}, "the simulator runs the real engine with a network and disks of its own"},
	{"internal/config/...", []string{"internal/privsep", "aoe", "ata", "internal/config", "internal/config/..."}, "configuration is data"},
	{"internal/logging", []string{"internal/privsep", "internal/config"}, "where lines go is configuration; what they say is the daemon's business"},
	{"internal/control/...", []string{"internal/privsep", "aoe", "internal/stats", "internal/control", "internal/control/..."}, "the API knows the daemon by the Backend interface only"},
	{"internal/httpd", nil, "a leaf: how long clients are waited for"},
	{"internal/web", []string{"aoe", "internal/control", "internal/httpd", "internal/stats"}, "the page is one more user of the API"},
	{"internal/web/webtest", []string{"aoe", "internal/control", "internal/stats"}, "a daemon that is made up knows the API, not the page"},
	{"internal/profile", []string{"internal/httpd", "internal/privsep"}, "it knows the process, not the daemon"},
	{"internal/tune", nil, "it knows the kernel, and of goaoe only what it is told"},
	{"internal/metrics", []string{"aoe", "internal/control", "internal/httpd", "internal/stats"}, "metrics are one more user of the API"},
	{"internal/daemon/...", []string{"internal/privsep", "aoe", "ata", "internal/engine", "internal/target", "internal/link", "internal/link/all", "internal/store", "internal/store/all",
		"internal/stats", "internal/sys", "internal/config", "internal/config/...", "internal/control", "internal/daemon/..."}, "the daemon does not know the command line"},
	{"initiator", []string{"aoe", "ata", "internal/link", "internal/link/...", "internal/sys"}, "the other end does not know the target"},
	{"internal/attach", []string{"aoe", "ata", "initiator", "internal/nbd", "internal/sys"}, "an initiator's disk behind the NBD server"},
	{"internal/nbd", []string{"internal/sys"}, "a protocol: what is behind it is a Backend"},
	{"internal/loadgen", []string{"aoe", "ata", "internal/link", "internal/link/...", "internal/sys"}, "the load generator does not know the target"},
	{"internal/transfer", []string{"aoe", "initiator", "internal/sys"}, "it copies, and knows neither target nor commands"},
	{"internal/measure", []string{"initiator", "internal/loadgen"}, "it measures, and knows neither target nor commands"},
	{"internal/capture", []string{"aoe", "internal/sys"}, "it listens, and knows neither target nor initiator"},
	{"internal/testnet", []string{"aoe"}, "a helper of tests"},
	{"internal/cli/...", []string{"internal/opener", "internal/privsep", "internal/sandbox", "aoe", "ata", "initiator", "internal/attach", "internal/capture", "internal/measure", "internal/transfer", "internal/config", "internal/config/...", "internal/daemon", "internal/logging", "internal/loadgen", "internal/control", "internal/control/...", "internal/web", "internal/metrics", "internal/profile", "internal/tune", "internal/cli/...", "internal/stats"}, "commands drive the daemon and the initiator, not the engine"},
	{"cmd/goaoe", []string{"internal/cli"}, "main calls cli and nothing else"},
	{"bench/...", []string{"aoe", "ata", "initiator", "internal/cli/plot", "internal/loadgen", "internal/link", "internal/link/...", "internal/sys", "bench/..."}, "benchmarks look from outside"},
	{"test/...", nil, "integration tests look from outside"},
	{"internal/archtest", nil, "reads source"},
}

// std lists standard packages that a package must not use.
var std = map[string][]string{
	"aoe":             {"net", "os", "time", "syscall", "sync"},
	"ata":             {"net", "os", "time", "syscall", "sync"},
	"internal/target": {"net", "os", "time", "syscall", "log", "log/slog"},
	"internal/engine": {"net", "os", "log", "log/slog"},
}

func match(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pattern == pkg
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// imports returns, for each package of the module, the imports of its files that are not tests.
func imports(t *testing.T) map[string]map[string]string {
	t.Helper()
	dir := root(t)
	out := map[string]map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != dir && (strings.HasPrefix(name, ".") || name == "testdata" || name == "out" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if out[pkg] == nil {
			out[pkg] = map[string]string{}
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			out[pkg][p] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rule(pkg string) *layer {
	for i := range layers {
		if match(layers[i].pkg, pkg) {
			return &layers[i]
		}
	}
	return nil
}

// check returns what breaks the rules.
func check(pkgs map[string]map[string]string) []string {
	var bad []string
	for pkg, ims := range pkgs {
		r := rule(pkg)
		if r == nil {
			bad = append(bad, pkg+": no layer is set for this package (add it to layers in internal/archtest)")
			continue
		}
		for im, file := range ims {
			own, ok := strings.CutPrefix(im, module+"/")
			if !ok {
				for _, s := range std[pkg] {
					if im == s {
						bad = append(bad, pkg+"/"+file+" imports "+im+", which this layer must not")
					}
				}
				continue
			}
			allowed := false
			for _, m := range r.may {
				allowed = allowed || match(m, own)
			}
			if !allowed {
				bad = append(bad, pkg+"/"+file+" imports "+own+": "+r.why)
			}
		}
	}
	sort.Strings(bad)
	return bad
}

// TestLayers fails when a package imports against the layers.
func TestLayers(t *testing.T) {
	for _, b := range check(imports(t)) {
		t.Error(b)
	}
}

// TestLayersAreReal fails when a rule speaks of a package that is not there any more.
func TestLayersAreReal(t *testing.T) {
	pkgs := imports(t)
	for _, l := range layers {
		found := false
		for pkg := range pkgs {
			found = found || match(l.pkg, pkg)
		}
		if !found {
			t.Errorf("layers has a rule for %s, which does not exist", l.pkg)
		}
	}
}

// TestLayersBite shows that the check finds a breach.
func TestLayersBite(t *testing.T) {
	got := check(map[string]map[string]string{
		"internal/target": {"time": "x.go", module + "/internal/link": "y.go"},
		"nowhere":         {},
	})
	if len(got) != 3 {
		t.Fatalf("three breaches were planted, found %q", got)
	}
}
