package foreign

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"goaoe/internal/config"
)

var update = flag.Bool("update", false, "write the golden files")

// sysroot holds the /etc/ethers and the included files of the tests.
var sysroot, _ = filepath.Abs("testdata/sysroot")

// sources lists the foreign files and directories of testdata with their formats.
func sources(t testing.TB) map[string]Format {
	t.Helper()
	out := map[string]Format{"testdata/vblade/debian": Vblade, "testdata/vblade/wrong": Vblade, "testdata/vblade/one.conf": Vblade,
		"testdata/persist/vblades": Persist}
	for dir, f := range map[string]Format{"ggaoed": Ggaoed, "qaoed": Qaoed} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.conf"))
		if err != nil || len(files) < 3 {
			t.Fatalf("%s: %v, %v", dir, files, err)
		}
		for _, file := range files {
			out[file] = f
		}
	}
	return out
}

// TestGolden converts every file of testdata: what is said about it is in NAME.want, the native file in NAME.toml. A file with an
// error has none.
func TestGolden(t *testing.T) {
	for path, format := range sources(t) {
		t.Run(path, func(t *testing.T) {
			c, err := Convert(path, Auto, sysroot)
			if err != nil {
				t.Fatal(err)
			}
			if c.Format != format {
				t.Errorf("taken for %s", c.Format)
			}
			var said strings.Builder
			for _, p := range c.Problems {
				said.WriteString(p.String() + "\n")
				if p.Line == 0 && p.Severity == config.Error {
					t.Errorf("an error without a line: %s", p)
				}
			}
			base := strings.TrimSuffix(path, ".conf")
			golden(t, base+".want", said.String())
			golden(t, base+".toml", c.TOML)
			if (c.TOML == "") != (c.Problems.Err() != nil) {
				t.Errorf("%d errors and %d bytes of TOML", c.Problems.Errors(), len(c.TOML))
			}
			if c.TOML != "" {
				sameMeaning(t, c)
			}
		})
	}
}

// sameMeaning parses the native file of a conversion: it must be right, and mean what the foreign file means.
func sameMeaning(t testing.TB, c *Conversion) {
	t.Helper()
	if f := Detect([]byte(c.TOML)); f != Native {
		t.Errorf("the native file is taken for %s", f)
	}
	again, ps := config.Parse("again.toml", []byte(c.TOML), config.Options{Sysroot: sysroot})
	if err := ps.Err(); err != nil {
		t.Fatalf("the native file is refused: %v\n%s", err, c.TOML)
	}
	if plan := config.Diff(c.Config, again); !plan.Empty() {
		t.Errorf("the native file means something else: %+v\n%s", plan, c.TOML)
	}
	if diff := cmp.Diff(config.Encode(c.Config), config.Encode(again)); diff != "" { // the disabled exports, too
		t.Errorf("the native file means something else:\n%s", diff)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if got == "" {
			_ = os.Remove(file)
			return
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && (got != "" || !os.IsNotExist(err)) {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}
