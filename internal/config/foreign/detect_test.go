package foreign

import (
	"os"
	"path/filepath"
	"testing"

	"goaoe/internal/config"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Format
	}{
		{"empty", "", Native},
		{"comments", "# only\n\n# comments", Native},
		{"the reference file", config.Reference(), Native},
		{"minimal", "[defaults]\ninterfaces = [\"eth1\"]\n", Native},
		{"native with a mistake", "[[export]]\nsource = /dev/sda\nshelf = 1\n", Native},
		{"native, one section", "[global]\nlanes = 2\n", Native},
		{"native, the log", "[log]\nlevel = warn\n", Native},
		{"native, a list", "[access-list.x]\nmembers = x\n", Native},
		{"numbers only", "[defaults]\nqueue-length = 64\n", Native},
		{"nothing that is known", "hello world\nhow are you\n", Native},
		{"a device", "[disk]\npath = /dev/sda\nshelf = 1\nslot = 1\n", Ggaoed},
		{"a device that TOML could read", "[disk]\nshelf = 1\nslot = 1\nuuid = 1234\n", Ggaoed},
		{"ggaoed's defaults", "\xef\xbb\xbf# x\n[defaults]\r\ninterfaces = eth0, eth1\r\n", Ggaoed},
		{"an interface of ggaoed", "[defaults]\nqueue-length = 64\n[eth0]\nmtu = x\n", Ggaoed},
		{"quotation marks in ggaoed", "[defaults]\ninterfaces = eth0\n[a]\nshelf = 1\npath = \"x\"\n", Ggaoed},
		{"access lists of ggaoed", "[acls]\na = 02:00:00:00:00:01\n", Ggaoed},
		{"a misspelt shelf", "[disk]\npath = /dev/sda\nshlef = 1\n", Ggaoed},
		{"a group called log", "[log]\nshelf = 1\npath = /dev/sda\n", Native}, // the price: --format ggaoed
		{"qaoed", "device { target = /dev/sda; }", Qaoed},
		{"qaoed, a brace below", "# c\n/* [[x]] */ // y\ndevice\n{\n", Qaoed},
		{"qaoed, a statement", "log-level = info ;\n", Qaoed},
		{"qaoed, in quotes", "apisocket = \"/x y\";\n", Qaoed},
		{"an unclosed comment", "/* device {", Native},
		{"vblade", "# c\nshelf=1\nslot=2\nnetif=eth0\nfilename=/x\n", Vblade},
		{"vblade, of vblade-persist-convert", "Shelf=1\nSlot=2\n", Vblade},
	} {
		if got := Detect([]byte(c.text)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, dir := range []string{"good", "bad"} {
		files, err := filepath.Glob(filepath.Join("..", "testdata", dir, "*.toml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no native files: %v", err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if got := Detect(data); got != Native {
				t.Errorf("%s: %s", f, got)
			}
		}
	}
}

// TestForced: --format counts more than the content.
func TestForced(t *testing.T) {
	text := []byte("[log]\nshelf = 1\nslot = 1\npath = /dev/sda\n")
	cfg, ps := Parse("f", text, Ggaoed, config.Options{})
	if ps.Err() != nil || len(cfg.Exports) != 1 {
		t.Errorf("as ggaoed's: %v", ps)
	}
	if _, ps = Parse("f", text, Auto, config.Options{}); ps.Err() == nil {
		t.Error("as a native file it is right?")
	}
	for name, want := range map[string]bool{"": true, "auto": true, "qaoed": true, "native": true, "vblade": false, "QAOED": false} {
		if _, err := ParseFormat(name, Served); (err == nil) != want {
			t.Errorf("ParseFormat(%q): %v", name, err)
		}
	}
}

// TestLoad reads a foreign main file with a native drop-in and arguments.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "any.name")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "device { target = /dev/sda; interface = eth0; writecache = off; }\n")
	write(file+".d/e0.0.toml", "[[change]]\naddress = \"0.0\"\nread-only = true\n")
	cfg, f, ps := Load(file, Auto, config.Options{Args: config.Args{Interfaces: []string{"eth1"}, Exports: []string{"e5.5=mem:1M"}}})
	if len(ps) > 0 || f != Qaoed {
		t.Fatalf("%s %v", f, ps)
	}
	if len(cfg.Exports) != 2 || !cfg.Exports[0].ReadOnly || cfg.Exports[1].Addr.String() != "e5.5" {
		t.Errorf("%+v", cfg.Exports)
	}
	if cfg.Exports[0].Pos.Line != 1 || cfg.Exports[0].Pos.File != file {
		t.Errorf("its place is %s", cfg.Exports[0].Pos)
	}
	if _, _, ps := Load(filepath.Join(dir, "none"), Auto, config.Options{}); ps.Err() == nil {
		t.Error("a file that is not there")
	}
}

// TestConvertRefuses: what cannot be converted is an error that says so.
func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	native := filepath.Join(dir, "goaoe.toml")
	if err := os.WriteFile(native, []byte("[[export]]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		format Format
	}{{native, Auto}, {dir, Auto}, {dir, Qaoed}, {filepath.Join(dir, "none"), Auto}, {"/dev/null", Auto}} {
		if got, err := Convert(c.path, c.format, ""); err == nil {
			t.Errorf("%s: %+v", c.path, got)
		}
	}
}
