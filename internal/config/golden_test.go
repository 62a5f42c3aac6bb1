package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden holds the problems of every file in testdata/bad, and the effective configuration of every file in testdata/good,
// against the golden file beside it.
func TestGolden(t *testing.T) {
	for _, dir := range []string{"bad", "good"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.toml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in testdata/%s: %v", dir, err)
		}
		for _, file := range files {
			t.Run(dir+"/"+filepath.Base(file), func(t *testing.T) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				cfg, ps := Parse(filepath.Base(file), data, Options{Sysroot: t.TempDir()})
				var got strings.Builder
				for _, p := range ps {
					got.WriteString(p.String() + "\n")
				}
				if dir == "good" {
					if ps.Err() != nil {
						t.Errorf("refused: %v", ps.Err())
					}
					got.WriteString(Encode(cfg))
				} else if len(ps) == 0 {
					t.Error("no problem was found")
				}
				golden(t, strings.TrimSuffix(file, ".toml")+".want", got.String())
			})
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}
