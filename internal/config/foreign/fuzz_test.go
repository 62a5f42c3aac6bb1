package foreign

import (
	"os"
	"path/filepath"
	"testing"

	"goaoe/internal/config"
)

// fuzz holds a reader against anything: it does not panic, every problem has a message, and what is accepted means the same
// as the native file that is made of it.
func fuzz(f *testing.F, format Format, dir string) {
	files, _ := filepath.Glob(filepath.Join("testdata", dir, "*.conf"))
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	root := f.TempDir() // without ethers and included files
	f.Fuzz(func(t *testing.T, data []byte) {
		Detect(data)
		d := draft("f.conf", data, format, root)
		cfg, ps := d.Parse(config.Options{Sysroot: root})
		for _, p := range ps {
			if p.Message == "" || p.Severity == "" {
				t.Fatalf("a problem that says nothing: %+v", p)
			}
		}
		if ps.Err() != nil {
			return
		}
		again, ps := config.Parse("again.toml", []byte(head("f.conf", format)+d.TOML()), config.Options{Sysroot: root})
		if err := ps.Err(); err != nil {
			t.Fatalf("the native file is refused: %v\n%s", err, d.TOML())
		}
		if a, b := config.Encode(cfg), config.Encode(again); a != b {
			t.Fatalf("the native file means something else:\n%s\n%s\n%s", d.TOML(), a, b)
		}
	})
}

func FuzzGgaoed(f *testing.F) { fuzz(f, Ggaoed, "ggaoed") }
func FuzzQaoed(f *testing.F)  { fuzz(f, Qaoed, "qaoed") }
func FuzzVblade(f *testing.F) { fuzz(f, Vblade, "vblade/debian") }
