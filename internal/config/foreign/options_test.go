package foreign

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"goaoe/internal/config"
	"goaoe/internal/config/ggaoed"
	"goaoe/internal/config/qaoed"
	"goaoe/internal/config/vbladeconf"
)

// tables are the options of all readers.
var tables = []struct {
	program string
	format  Format
	options []config.ForeignOption
}{
	{"ggaoed", Ggaoed, ggaoed.Options},
	{"qaoed", Qaoed, qaoed.Options},
	{"vblade", Vblade, vbladeconf.Options},
}

// without is a file that lacks the option, with has it: what the option does is the difference.
type pair struct{ without, with string }

const (
	gDevice = "[d]\npath = /dev/sda\nshelf = 1\nslot = 1\n"
	qOff    = "default { writecache = off; } "
	qDevice = qOff + "device { target = /dev/sda; interface = eth0; %s }\n" + qList
	qList   = "access-list { name = a; policy = reject; %s }\n"
	vFile   = "shelf=1\nslot=2\nnetif=eth0\nfilename=/dev/sda\n"
)

// samples has a pair for every option of every reader.
var samples = func() map[string]pair {
	m := map[string]pair{}
	g := func(section, name, value string) {
		groups := map[string]string{"defaults": "[defaults]\n%s" + gDevice, "interface": gDevice + "[eth0]\n%s", "device": gDevice + "%s", "acls": gDevice + "accept = NAME, 02:00:00:00:00:01\n[acls]\n%s"}
		m["ggaoed "+section+" "+name] = pair{fmt.Sprintf(groups[section], ""), fmt.Sprintf(groups[section], name+" = "+value+"\n")}
	}
	for _, kv := range [][2]string{{"queue-length", "100"}, {"direct-io", "false"}, {"trace-io", "true"}, {"interfaces", "eth5"}, {"mtu", "4000"}, {"ring-buffer-size", "1000"},
		{"send-buffer-size", "1000"}, {"receive-buffer-size", "1000"}, {"buffers", "300"}, {"tx-ring-bug", "true"}, {"max-delay", "0.1"}, {"merge-delay", "0.1"},
		{"pid-file", "/run/x"}, {"control-socket", "/run/y"}, {"state-directory", "/srv/z"}} {
		g("defaults", kv[0], kv[1])
	}
	for _, kv := range [][2]string{{"mtu", "4000"}, {"ring-buffer-size", "1000"}, {"send-buffer-size", "1000"}, {"receive-buffer-size", "1000"}, {"buffers", "300"}, {"tx-ring-bug", "true"}} {
		g("interface", kv[0], kv[1])
	}
	for _, kv := range [][2]string{{"queue-length", "100"}, {"max-delay", "0.1"}, {"merge-delay", "0.1"}, {"direct-io", "false"}, {"trace-io", "1"}, {"read-only", "true"}, {"interfaces", "eth5"},
		{"accept", "02:00:00:00:00:01"}, {"deny", "02:00:00:00:00:01"}, {"broadcast", "true"}} {
		g("device", kv[0], kv[1])
	}
	g("acls", "NAME", "02:00:00:00:00:02")
	m["ggaoed device path"] = pair{"[d]\nshelf = 1\nslot = 1\n", gDevice}
	m["ggaoed device uuid"] = pair{"[d]\nshelf = 1\nslot = 1\n", "[d]\nshelf = 1\nslot = 1\nuuid = 1234-ABCD\n"}
	m["ggaoed device shelf"] = pair{"[d]\nslot = 1\npath = /dev/sda\n", gDevice}
	m["ggaoed device slot"] = pair{"[d]\nshelf = 1\npath = /dev/sda\n", gDevice}

	q := func(section, name, frame, statement string) {
		m["qaoed "+section+" "+name] = pair{fmt.Sprintf(frame, ""), fmt.Sprintf(frame, statement)}
	}
	dev := strings.Replace(qDevice, qList, fmt.Sprintf(qList, ""), 1)
	q("global", "log-level", "%s "+fmt.Sprintf(dev, ""), "log-level = debug;")
	q("global", "apisocket", "%s "+fmt.Sprintf(dev, ""), "apisocket = /run/q;")
	q("global", "include", "%s default { interface = eth0; writecache = off; }", "include = /etc/qaoed.d/a.conf;")
	logs := fmt.Sprintf(dev, "log = l;") + "logging { name = l; %s }"
	q("logging", "name", fmt.Sprintf(dev, "log = l;")+"logging { %s }", "name = l;")
	q("logging", "type", logs, "type = file; filename = /x;")
	q("logging", "filename", fmt.Sprintf(dev, "log = l;")+"logging { name = l; type = file; %s }", "filename = /x;")
	q("logging", "syslog-facility", logs, "syslog-facility = LOG_LOCAL1;")
	q("logging", "syslog-level", logs, "syslog-level = LOG_ERR;")
	q("interface", "interface", fmt.Sprintf(dev, "")+"interface { %s mtu = 2000; }", "interface = eth0;")
	iface := fmt.Sprintf(dev, "") + "logging { name = l; type = syslog; } interface { interface = eth0; %s }"
	q("interface", "mtu", iface, "mtu = 2000;")
	q("interface", "log", iface, "log = l;")
	q("interface", "log-level", iface, "log-level = error;")
	plain := "logging { name = l; type = syslog; } " + fmt.Sprintf(qList, "")
	for section, frame := range map[string]string{
		"default": "default { writecache = off; %s } device { target = /dev/sda; interface = eth0; } device { target = /dev/sdb; interface = eth0; } " + plain,
		"device":  "default { writecache = off; } device { target = /dev/sda; interface = eth0; %s } " + plain} {
		q(section, "shelf", frame, "shelf = 3;")
		q(section, "slot", frame, "slot = 3;")
		q(section, "broadcast", frame, "broadcast = off;")
		q(section, "writecache", frame, "writecache = on;")
		q(section, "log", frame, "log = l;")
		q(section, "log-level", frame, "log-level = debug;")
		q(section, "acl", frame, "acl { read = a; }")
	}
	q("default", "interface", "default { writecache = off; %s } device { target = /dev/sda; }", "interface = eth0;")
	q("device", "interface", "default { writecache = off; } device { target = /dev/sda; %s }", "interface = eth0;")
	q("device", "target", "default { writecache = off; } device { interface = eth0; %s }", "target = /dev/sda;")
	q("device", "persistent-cfg", dev, "persistent-cfg = on;")
	for _, hook := range []string{"cfgread", "cfgset", "discover", "read", "write"} {
		q("acl", hook, dev, "acl { "+hook+" = a; }")
	}
	list := qOff + "device { target = /dev/sda; interface = eth0; acl { read = a; } } logging { name = l; type = syslog; } access-list { %s }"
	named := strings.Replace(list, "%s", "name = a; policy = accept; reject = 02:00:00:00:00:05; %s", 1)
	q("access-list", "name", strings.Replace(list, "%s", "policy = reject; %s", 1), "name = a;")
	q("access-list", "policy", strings.Replace(list, "%s", "name = a; reject = 02:00:00:00:00:05; %s", 1), "policy = accept;")
	q("access-list", "log", named, "log = l;")
	q("access-list", "reject", named, "reject = 02:00:00:00:00:06;")
	q("access-list", "accept", strings.Replace(list, "%s", "name = a; policy = reject; %s", 1), "accept = 02:00:00:00:00:06;")
	q("access-list", "allow", strings.Replace(list, "%s", "name = a; policy = reject; %s", 1), "allow = 02:00:00:00:00:06;")

	for _, v := range []string{"shelf", "slot", "netif", "filename"} {
		var less []string
		for _, l := range strings.Split(vFile, "\n") {
			if !strings.HasPrefix(l, v+"=") {
				less = append(less, l)
			}
		}
		m["vblade variable "+v] = pair{strings.Join(less, "\n"), vFile}
	}
	m["vblade variable options"] = pair{vFile, vFile + "options=-r\n"}
	m["vblade variable ionice"] = pair{vFile, vFile + "ionice=-c3\n"}
	for flag, value := range map[string]string{"-b": " 16", "-d": "", "-r": "", "-m": " 020000000001", "-o": "8", "-l": " 8"} {
		m["vblade options "+flag] = pair{vFile, vFile + "options='" + flag + value + "'\n"}
	}
	return m
}()

// same are options that make no difference, because goaoe does always what they ask for.
var same = []string{"vblade options -s"}

// TestEveryOptionCounts: each option that a reader knows either changes what the configuration means, or is named in exactly one warning
// that says what to use instead. None is passed over.
func TestEveryOptionCounts(t *testing.T) {
	used := map[string]bool{}
	for _, table := range tables {
		for _, o := range table.options {
			key := table.program + " " + o.Section + " " + o.Name
			if o.Section == "vblade-persist" || slices.Contains(same, key) {
				continue // see TestPersist
			}
			p, ok := samples[key]
			if !ok {
				t.Errorf("%s: no sample", key)
				continue
			}
			used[key] = true
			opt := config.Options{Sysroot: sysroot}
			before, psBefore := Parse("f", []byte(p.without), table.format, opt)
			after, ps := Parse("f", []byte(p.with), table.format, opt)
			if err := ps.Err(); err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			named := 0
			for _, w := range ps {
				if o.Instead != "" && strings.Contains(w.String(), o.Instead) {
					named++
				}
			}
			changed := psBefore.Err() != nil || config.Encode(before) != config.Encode(after)
			switch {
			case o.Native == "" && (named != 1 || changed):
				t.Errorf("%s: named in %d warnings, and changed is %v: %v", key, named, changed, ps)
			case o.Native != "" && !changed:
				t.Errorf("%s has no effect\n%s", key, p.with)
			case o.Native == "" && o.Instead == "":
				t.Errorf("%s: neither an equivalent nor what to use instead", key)
			}
		}
	}
	for key := range samples {
		if !used[key] {
			t.Errorf("a sample of %s, which no reader knows", key)
		}
	}
}

// TestManuals: the options that the manuals name are those that the tables say are in the manuals. The lists in testdata were made by
// reading the manuals.
func TestManuals(t *testing.T) {
	for _, table := range tables {
		inManual := manual(t, table.program)
		for _, o := range table.options {
			key := o.Section + " " + o.Name
			if o.Manual != inManual[key] {
				t.Errorf("%s %s: the table says %v, the manual %v", table.program, key, o.Manual, inManual[key])
			}
			delete(inManual, key)
		}
		for key := range inManual {
			t.Errorf("%s: the reader does not know %s", table.program, key)
		}
	}
}

// manual reads testdata/PROGRAM.manual: "section option" per line.
func manual(t *testing.T, program string) map[string]bool {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", program+".manual"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]bool{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if l := strings.TrimSpace(sc.Text()); l != "" && l[0] != '#' {
			out[l] = true
		}
	}
	if len(out) < 10 {
		t.Fatalf("%d options in the manual of %s", len(out), program)
	}
	return out
}

// TestPersist: the files of vblade-persist all count.
func TestPersist(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"env/SHELF": "1\n", "env/SLOT": "2", "env/NETIF": "eth0\n", "env/SOURCE": "/srv/a b\nignored", "macs/02:00:00:00:00:01": ""}
	for name, text := range files {
		path := filepath.Join(dir, "e1.2", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Convert(dir, Auto, "")
	if err != nil || c.Problems.Err() != nil || c.Format != Persist {
		t.Fatal(err, c)
	}
	e := c.Config.Exports[0]
	if e.Addr.String() != "e1.2" || e.Source != "/srv/a b" || !slices.Equal(e.Interfaces, []string{"eth0"}) || len(e.Access.Rows) != 1 {
		t.Errorf("%+v", e)
	}
	if err := os.WriteFile(filepath.Join(dir, "e1.2", "down"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = Convert(dir, Auto, ""); err != nil || len(c.Config.Disabled) != 1 || len(c.Problems) == 0 {
		t.Errorf("down: %v %+v", err, c)
	}
	for name := range files {
		if strings.HasPrefix(name, "macs") {
			continue
		}
		path := filepath.Join(dir, "e1.2", name)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if c, err = Convert(dir, Auto, ""); err != nil || len(c.Config.Disabled) != 0 || !strings.Contains(fmt.Sprint(c.Problems), "missing") {
			t.Errorf("without %s: %v %+v", name, err, c.Problems)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}
