package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVbladeArguments(t *testing.T) {
	for _, c := range []struct{ args, want, err string }{
		{"0 1 eth0 /dev/sdb", "export -- 0 1 eth0 /dev/sdb", ""},
		{"-dsr 0 1 eth0 f", "export -d -s -r -- 0 1 eth0 f", ""},
		{"-b 16 -m 020000000001,02:00:00:00:00:02 -o8 -l 100 -r 11 1 eth0 f", "export -b 16 -r -m 020000000001,02:00:00:00:00:02 -o 8 -l 100 -- 11 1 eth0 f", ""},
		{"-- 0 1 eth0 -f", "export -- 0 1 eth0 -f", ""},
		{"0 1 -r eth0 f -b 8", "export -b 8 -r -- 0 1 eth0 f", ""}, // as the GNU C library has it
		{"0 1 eth0 -- -f", "export -- 0 1 eth0 -f", ""},
		{"-x 0 1 eth0 f", "", "invalid option -- 'x'"},
		{"-d: 0 1 eth0 f", "", "invalid option -- ':'"},
		{"0 1 eth0", "", "3 arguments where"},
		{"-b", "", "option requires an argument -- 'b'"},
		{"", "", "0 arguments where"},
	} {
		got, err := vbladeArgs(strings.Fields(c.args))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q %v, want %q", c.args, got, err, c.want)
		}
	}
}

func TestLongOptions(t *testing.T) {
	long := map[string]string{"config": "c", "debug": "d"}
	got := shortened([]string{"--config=/x", "--debug", "--config", "y", "--what", "--", "--debug"}, long)
	if d := cmp.Diff([]string{"-c", "/x", "-d", "-c", "y", "--what", "--", "--debug"}, got); d != "" {
		t.Error(d)
	}
}

// TestWrongCalls: each program says how it is called, and ends with exit status 1 as the originals do.
func TestWrongCalls(t *testing.T) {
	t.Setenv("GOAOE_SOCKET", filepath.Join(t.TempDir(), "none.sock"))
	for _, c := range []struct{ call, want string }{
		{"vblade", "usage: vblade [-b bufcnt]"},
		{"vbladed 0 1", "usage: vbladed [-b bufcnt]"},
		{"/usr/sbin/vblade -b 0 0 1 eth0 /none", "vblade: -b"},
		{"vblade 0 300 eth0 /none", `vblade: SLOT "300"`},
		{"kvadd 0 1 eth0", "usage: kvadd major minor ifname bpath"},
		{"kvdel 0 1", "usage: kvdel major minor ifname"},
		{"kvdel 0 1 eth0", "kvdel: no daemon is running"},
		{"kvstat x", "usage: kvstat"},
		{"kvstat", "kvstat: no daemon is running"},
		{"ggaoectl", "ggaoectl: no command is given"},
		{"ggaoectl eat", `ggaoectl: there is no command "eat"`},
		{"ggaoectl clear-disk x", `ggaoectl: there is no command "clear-disk"`},
		{"ggaoectl clear-config", "ggaoectl: clear-config needs the name of a device"},
		{"ggaoectl show-config", "ggaoectl: no daemon is running"},
		{"ggaoectl clear-stats", "ggaoectl: no daemon is running"},
		{"ggaoectl -c f stats", "ggaoectl: no daemon is running"},
		{"ggaoed -x", "ggaoed: invalid option -- 'x'"},
		{"ggaoed file", `ggaoed: "file": ggaoed takes no arguments`},
		{"qaoed file", `qaoed: "file": qaoed takes no arguments`},
	} {
		f := strings.Fields(c.call)
		var out, errs bytes.Buffer
		if code := MainAs(f[0], f[1:], &out, &errs); code != ExitFailure || !strings.Contains(errs.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: exit %d, out %q, errors %q, want %q", c.call, code, &out, &errs, c.want)
		}
	}
	for _, call := range []string{"ggaoed -h", "ggaoed --version", "ggaoectl --help", "qaoed -V", "qaoed -h"} {
		f := strings.Fields(call)
		var out, errs bytes.Buffer
		if code := MainAs(f[0], f[1:], &out, &errs); code != ExitOK || out.Len() == 0 || errs.Len() > 0 {
			t.Errorf("%s: exit %d, out %q, errors %q", call, code, &out, &errs)
		}
	}
}

func TestNamed(t *testing.T) {
	for _, c := range []struct {
		names      string
		candidates []string
		want       bool
	}{
		{"", []string{"a"}, true}, {"a", []string{"a", "0.1"}, true}, {"0.1", []string{"a", "0.1"}, true}, {"b", []string{"a", "0.1"}, false},
		{"v*", []string{"vd1"}, true}, {"v*", []string{"", "0.1"}, false}, {"*", []string{""}, false}, {"[", []string{"["}, true},
	} {
		if got := named(strings.Fields(c.names), c.candidates...); got != c.want {
			t.Errorf("%q among %q: %t", c.names, c.candidates, got)
		}
	}
}

func TestInstallLinks(t *testing.T) {
	dir := t.TempDir()
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := Main(append([]string{"install-links"}, args...), &out, &errs); got != code {
			t.Errorf("%q: exit %d, want %d: %s", args, got, code, &errs)
		}
		return out.String(), errs.String()
	}
	if out, _ := run(ExitOK); strings.Count(out, "\n") != len(programs()) {
		t.Errorf("the list is %q", out)
	}
	theirs := filepath.Join(dir, "vblade")
	if err := os.WriteFile(theirs, []byte("theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, errs := run(ExitPartly, dir); !strings.Contains(errs, "vblade is there already; --force") {
		t.Errorf("%q", errs)
	}
	if b, err := os.ReadFile(theirs); err != nil || string(b) != "theirs" {
		t.Errorf("the file that was there is %q %v", b, err)
	}
	self, _ := os.Executable()
	if to, err := os.Readlink(filepath.Join(dir, "kvadd")); err != nil || to != self {
		t.Errorf("kvadd leads to %q %v", to, err)
	}
	run(ExitOK, "--force", dir)
	if out, _ := run(ExitOK, dir); out != "" {
		t.Errorf("links that were right were made again: %q", out)
	}
	run(ExitOK, "--remove", "--only", "vblade", dir)
	run(ExitOK, "--remove", dir)
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	run(ExitUsage, "--only", "iscsid", dir)
	run(ExitUsage, "--remove")
	run(ExitFailure, filepath.Join(dir, "none"))
}
