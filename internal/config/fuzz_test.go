package config

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse: no file makes the parser panic, every problem has a message, and an accepted configuration written out and
// read again is the same.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.toml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(accessFile))
	f.Add([]byte("access-list = []\nexport = [1, {}]\nhosts = {a.b = 1}\n[log.x]\n[[global]]\n"))
	f.Add([]byte("export.a.b = 1\n[[export]]\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, ps := Parse("f.toml", data, Options{Sysroot: dir})
		for _, p := range ps {
			if p.Message == "" || p.Severity == "" || p.String() == "" {
				t.Fatalf("a problem that says nothing: %+v", p)
			}
		}
		if ps.Err() != nil {
			return
		}
		again, ps := Parse("again.toml", []byte(Encode(cfg)), Options{Sysroot: dir})
		if ps.Err() != nil {
			t.Fatalf("what was accepted is refused when written out: %v\n%s", ps.Err(), Encode(cfg))
		}
		if plan := Diff(cfg, again); !plan.Empty() {
			t.Fatalf("written out and read again it differs: %+v\n%s", plan, Encode(cfg))
		}
	})
}

// FuzzEthers: no file makes the parser panic.
func FuzzEthers(f *testing.F) {
	f.Add([]byte("02:00:00:00:00:01 a b\n#\nx"))
	f.Fuzz(func(_ *testing.T, data []byte) { ParseEthers("e", data) })
}
