package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"goaoe/aoe"
)

const layersMain = `[defaults]
interfaces = ["eth1"]
queue-length = 32
shelf = 2
[[export]]
address = "1.0"
source = "/dev/a"
accept = ["02:00:00:00:00:01"]
[[export]]
source = "/dev/b"
[[export]]
source = "/dev/c"
`

// layersDir writes a main file and drop-ins and returns the main file's path.
func layersDir(t *testing.T, name string, dropIns map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(layersMain), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, text := range dropIns {
		dir := DropInDir(file)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func byAddr(t *testing.T, list []Export, a aoe.Addr) Export {
	t.Helper()
	for _, e := range list {
		if e.Addr == a {
			return e
		}
	}
	t.Fatalf("no export %v in %v", a, list)
	return Export{}
}

// TestDropIns: drop-ins add exports and change those of the main file, also those that were numbered automatically, in
// the order of their names; the last one counts.
func TestDropIns(t *testing.T) {
	for _, name := range []string{"goaoe.toml", "lab.toml"} {
		file := layersDir(t, name, map[string]string{
			"e3.0.toml":    "[[export]]\naddress = \"3.0\"\nsource = \"/dev/d\"\n",
			"e2.1.toml":    "[[change]]\naddress = \"2.1\"\nqueue-length = 8\nread-only = true\n",
			"e2.1b.toml":   "[[change]]\naddress = \"e2.1\"\nqueue-length = 9\n",
			"off.toml":     "[[change]]\naddress = \"1.0\"\ndisabled = true\n",
			".hidden.toml": "rubbish",
			"README":       "rubbish",
		})
		cfg, ps := Load(file, Options{Sysroot: t.TempDir(), DropIns: []File{{RunTime, []byte("[[change]]\naddress = \"3.0\"\nwrite-cache = true\n")}}})
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		if len(cfg.Exports) != 3 || len(cfg.Disabled) != 1 || cfg.Disabled[0].Addr != (aoe.Addr{Major: 1}) {
			t.Fatalf("exports %v, disabled %v", cfg.Exports, cfg.Disabled)
		}
		e := byAddr(t, cfg.Exports, aoe.Addr{Major: 2, Minor: 1})
		if e.Source != "/dev/c" || e.QueueLength != 9 || !e.ReadOnly {
			t.Errorf("the changes did not arrive: %+v", e)
		}
		if at := e.At("queue-length"); !strings.HasSuffix(at.File, "e2.1b.toml") || at.Line != 3 {
			t.Errorf("the place of the change is %v", at)
		}
		if e := byAddr(t, cfg.Exports, aoe.Addr{Major: 3}); !e.WriteCache || e.QueueLength != 32 {
			t.Errorf("an added export does not have the defaults, or not the change: %+v", e)
		}
		again, ps := Parse("again.toml", []byte(Encode(cfg)), Options{Sysroot: t.TempDir()})
		if ps.Err() != nil || !Diff(cfg, again).Empty() || len(again.Disabled) != 1 {
			t.Errorf("what Encode writes is another configuration: %v %+v", ps, Diff(cfg, again))
		}
	}
}

// TestDropInMistakes: each mistake names the drop-in and its line; one that only misses its export is a warning.
func TestDropInMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[global]\nlanes = 2\n", "x.toml:1:2: error: global: this section belongs into the main file"},
		{"[[export]]\naddress = \"1.0\"\nsource = \"/dev/z\"\n", "x.toml:2:1: error: export.address: e1.0 is the address of another export already"},
		{"[[change]]\naddress = \"1.0\"\nqueue-length = 1\n", "x.toml:3:1: error: change.queue-length: "},
		{"[[change]]\nread-only = true\n", "x.toml:1:3: error: change.address: is missing"},
		{"[[change]]\naddress = \"9.9\"\nread-only = true\n", "x.toml:2:1: warning: change.address: there is no export e9.9"},
		{"[[change]]\naddress = 1.0\n", "x.toml:2:1: error: change.address"},
		{"[[export]\n", "x.toml:1:"},
		{"[[chnge]]\n", "did you mean [[change]]?"},
	} {
		file := layersDir(t, "goaoe.toml", map[string]string{"x.toml": c.text})
		_, ps := Load(file, Options{Sysroot: t.TempDir()})
		var got strings.Builder
		for _, p := range ps {
			got.WriteString(p.String() + "\n")
		}
		if !strings.Contains(got.String(), c.want) {
			t.Errorf("%q: want %q in\n%s", c.text, c.want, &got)
		}
	}
}

// TestServices: the settings of the listeners are checked.
func TestServices(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[control]\nsocket = \"run/x\"", "is not an absolute path"},
		{"[control]\nsocket = \"/" + strings.Repeat("x", 107) + "\"", "has 108 characters"},
		{"[control]\nmode = \"rw\"", "are no permissions"},
		{"[control]\nmode = \"7777\"", "are no permissions"},
		{"[web]\nlisten = \"8480\"", "is not HOST:PORT"},
		{"[web]\nlisten = \":http\"", "is not HOST:PORT"},
		{"[metrics]\nlisten = \":0\"", "is not HOST:PORT"},
		{"[web]\ntoken-file = \"/x\"", "has no effect"},
		{"[pprof]\nlisten = \":6060\"", "other machines can reach :6060"},
		{"[pprof]\nlisten = \"10.0.0.1:6060\"", "remote = true if others are to see profiles"},
		{"[pprof]\nlisten = \"127.0.0.1:0\"", "is not a port"},
		{"[pprof]\nlisten = \"pprof.sock\"", "is neither HOST:PORT nor the absolute path of a socket"},
		{"[pprof]\nlisten = \"/" + strings.Repeat("x", 107) + "\"", "has 108 characters"},
		{"[pprof]\nremote = true", "has no effect"},
		{"[metrics]\nlisten = \"127.0.0.1:1\"\n[pprof]\nlisten = \"127.0.0.1:1\"", "is the address of another listener already"},
		{"[pprof]\nlisten = \"/run/goaoe/control.sock\"", "is the control socket"},
		{"[web]\nlisten = \":1\"\n[metrics]\nlisten = \":1\"", "is the address of the web page already"},
	} {
		_, ps := Parse("x.toml", []byte(layersMain+c.text), Options{Sysroot: t.TempDir()})
		if len(ps) != 1 || !strings.Contains(ps[0].String(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, ps, c.want)
		}
	}
	cfg, ps := Parse("x.toml", []byte(layersMain+"[control]\nsocket = \"off\"\n[web]\nlisten = \"[::1]:8480\""), Options{Sysroot: t.TempDir()})
	if ps.Err() != nil || cfg.Control.Socket != Off || cfg.Web.Listen != "[::1]:8480" || cfg.Metrics.Listen != Off {
		t.Errorf("%+v %v", cfg, ps)
	}
}

// TestNames: a name is unique and cannot be taken for something else.
func TestNames(t *testing.T) {
	for _, c := range []struct{ one, two, want string }{
		{"a", "b", ""}, {"a", "a", "e2.0 has the name already"}, {"1.0", "b", "would be taken for an address"}, {"v*", "b", "would be taken for an address, a pattern"},
		{"e1.0", "b", "would be taken"}, {"a b", "b", "several names"},
	} {
		text := "[defaults]\ninterfaces=[\"eth1\"]\n[[export]]\naddress=\"2.0\"\nsource=\"/a\"\nname=\"" + c.one + "\"\n[[export]]\naddress=\"2.1\"\nsource=\"/b\"\nname=\"" + c.two + "\"\n"
		_, ps := Parse("x.toml", []byte(text), Options{Sysroot: t.TempDir()})
		if (c.want == "") != (len(ps) == 0) || c.want != "" && !strings.Contains(ps.Err().Error(), c.want) {
			t.Errorf("%q, %q: %v", c.one, c.two, ps)
		}
	}
}
