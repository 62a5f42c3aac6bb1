package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// callTool runs a program of aoetools in made-up surroundings.
func callTool(t *testing.T, root string, line string) (int, string, string) {
	t.Helper()
	words := strings.Fields(line)
	for _, p := range programs() {
		if p.name == words[0] {
			var out, errs bytes.Buffer
			env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Sysroot: root, Program: p.name}
			return p.run(env, words[1:]), out.String(), errs.String()
		}
	}
	t.Fatalf("there is no program %s", words[0])
	return 0, "", ""
}

// TestAoeStat: the disks of the kernel's driver are listed as aoe-stat of aoetools does, whose lines these are.
func TestAoeStat(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for dev, v := range map[string][5]string{ // size, netif, payload, state, dev
		"etherd!e0.3":   {"204800", "eth0", "1024", "up", "152:48"},
		"etherd!e20.0":  {"1953545216", "eth0,eth1", "8704", "down,closewait", "152:320"},
		"etherd!e0.3p1": {"2048", "eth0", "1024", "up", "152:49"},
		"sda":           {"4096", "x", "x", "up", "8:0"},
	} {
		for i, name := range []string{"size", "netif", "payload", "state", "dev"} {
			put("sys/block/"+dev+"/"+name, v[i])
		}
	}
	put("sys/block/etherd!e7.1/state", "down")
	want := "      e0.3         0.104GB       eth0 1024  up            \n" +
		"      e7.1            (NA)       (NA) down                \n" +
		"     e20.0      1000.215GB  eth0,eth1 8704  down,closewait\n"
	code, out, errs := callTool(t, root, "aoe-stat")
	if !sameSorted(out, want) || code != 0 || errs != "" {
		t.Errorf("status %d, %q\n%s\nwant\n%s", code, errs, out, want)
	}
	if code, out, _ := callTool(t, root, "aoe-stat e20"); code != 0 || !strings.Contains(out, "e20.0") || strings.Contains(out, "e0.3") {
		t.Errorf("aoe-stat e20: status %d\n%s", code, out)
	}
	if code, out, _ := callTool(t, root, "aoe-stat e99"); code != 1 || out != "" {
		t.Errorf("aoe-stat e99: status %d, %q", code, out)
	}
	if code, _, errs := callTool(t, filepath.Join(root, "none"), "aoe-stat"); code != 1 || !strings.Contains(errs, "sysfs is not mounted") {
		t.Errorf("without sysfs: status %d, %q", code, errs)
	}
}

func sameSorted(a, b string) bool {
	split := func(s string) map[string]bool {
		m := map[string]bool{}
		for l := range strings.Lines(s) {
			m[l] = true
		}
		return m
	}
	x, y := split(a), split(b)
	for l := range x {
		if !y[l] {
			return false
		}
	}
	return len(x) == len(y)
}

// TestAoeDiscover: the driver is told by its file, and nothing else is done.
func TestAoeDiscover(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dev/etherd"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "dev/etherd/discover")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := callTool(t, root, "aoe-discover"); code != 0 || out+errs != "" {
		t.Errorf("status %d, %q %q", code, out, errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "\n" {
		t.Errorf("the driver was told %q, %v", b, err)
	}
	if code, _, errs := callTool(t, root, "aoe-discover x"); code != 1 || !strings.Contains(errs, "usage: aoe-discover") {
		t.Errorf("with an argument: status %d, %q", code, errs)
	}
}

// TestToolsWrongCalls: wrong arguments end with exit status 1 and the usage, before anything is sent.
func TestToolsWrongCalls(t *testing.T) {
	for _, c := range []struct{ call, want string }{
		{"aoecfg -x", "invalid option"},
		{"aoecfg -c bogus eth0", "-c bogus"},
		{"aoecfg -t 0 eth0", "-t 0"},
		{"aoecfg a b eth0", `shelf "a"`},
		{"aoecfg 1 256 eth0", `slot "256"`},
		{"aoecfg 1 2 eth0 more", "4 arguments"},
		{"aoeping 0 1", "2 arguments"},
		{"aoeping 65535 1 eth0", "exact address"},
		{"aoeping -s x 0 1 eth0", "-s x"},
		{"aoeping -t x 0 1 eth0", "-t x"},
		{"aoeping -S bogus 0 1 eth0", "no SMART command bogus"},
		{"aoeping -S read_log:x 0 1 eth0", "read_log:x"},
		{"aoe-sancheck x", `"x"`},
		{"aoe-stat [", "missing closing"},
	} {
		code, out, errs := callTool(t, t.TempDir(), c.call)
		if code != 1 || out != "" || !strings.Contains(errs, c.want) || !strings.Contains(errs, "usage: "+strings.Fields(c.call)[0]) {
			t.Errorf("%s: status %d, %q %q; want %q and the usage", c.call, code, out, errs, c.want)
		}
	}
	if code, _, errs := callTool(t, "", "aoeping -h"); code != 0 || !strings.Contains(errs, "usage: aoeping") {
		t.Errorf("aoeping -h: status %d, %q", code, errs)
	}
	if code, _, errs := callTool(t, "", "aoecfg 0 1 nope-0"); code != 1 || !strings.Contains(errs, `interface "nope-0"`) {
		t.Errorf("no interface: status %d, %q", code, errs)
	}
}
