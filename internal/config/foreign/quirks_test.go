package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goaoe/internal/config"
)

// effective reads a file and returns its effective configuration as text, and the problems.
func effective(t *testing.T, format Format, text string) (string, config.Problems) {
	t.Helper()
	cfg, ps := Parse("f", []byte(text), format, config.Options{Sysroot: sysroot})
	if ps.Err() != nil {
		return "", ps
	}
	return config.Encode(cfg), ps
}

// TestQuirks holds the readers against the habits of the programs. In want, what begins with ! must not be there, and what begins with
// ? stands in a problem.
func TestQuirks(t *testing.T) {
	dev := func(s string) string { return "[d]\npath = /dev/sda\nshelf = 1\nslot = 1\n" + s }
	q := func(s string) string { return "default { writecache = off; interface = eth0; } " + s }
	for _, c := range []struct {
		name   string
		format Format
		text   string
		want   []string
	}{
		// ggaoed: which group is what
		{"a group with shelf is a device, whatever its name", Ggaoed, "[eth0]\npath = /dev/sda\nshelf = 1\nslot = 2\n", []string{`address = "1.2"`, "![[interface]]"}},
		{"a group without shelf is an interface", Ggaoed, dev("[d2]\nmtu = 2000\n"), []string{`name = "d2"`, "mtu = 2000"}},
		{"a group with path but no shelf is nothing, and said", Ggaoed, dev("[d2]\npath = /dev/sdb\nslot = 1\n"), []string{"?[d2]: has no shelf", "!d2"}},
		{"[defaults] with shelf stays defaults", Ggaoed, dev("[defaults]\nshelf = 3\n"), []string{"?[defaults] shelf: there is no such option", `address = "1.1"`}},
		{"groups of one name are one group", Ggaoed, "[d]\npath = /dev/sda\nshelf = 1\n[e]\nmtu = 2000\n[d]\nslot = 7\n", []string{`address = "1.7"`}},
		{"groups are found in any order", Ggaoed, dev("accept = l\n[acls]\nl = node1\n"), []string{"accept 02:00:00:00:01:01"}},
		{"names are case sensitive", Ggaoed, dev("Read-Only = true\n"), []string{"?[d] Read-Only: there is no such option", "?did you mean read-only?", "read-only = false"}},
		{"the serial number is the name", Ggaoed, dev(""), []string{`serial = "d"`, `name = "d"`}},
		{"a name that is too long for a serial number is cut", Ggaoed, strings.Replace(dev(""), "[d]", "[abcdefghijklmnopqrstuvwxyz]", 1), []string{`serial = "abcdefghijklmnopqrst"`, `name = "abcdefghijklmnopqrstuvwxyz"`}},
		{"a name that looks like an address is no name", Ggaoed, strings.Replace(dev(""), "[d]", "[e7.7]", 1), []string{"!name =", `serial = "e7.7"`}},
		// ggaoed: key files of GLib
		{"blanks do not matter", Ggaoed, "  [d]  \n path=/dev/sda\nshelf   =  1\n\tslot=\t2  \r\n", []string{`address = "1.2"`}},
		{"true, false, 1, 0", Ggaoed, dev("read-only = 1\ntrace-io = 0\ndirect-io = false\nbroadcast = true\n"), []string{"read-only = true", "trace = false", "direct-io = false", "broadcast = true"}},
		{"yes is none of them", Ggaoed, dev("read-only = yes\n"), []string{`?f:5:1: error: [d] read-only: "yes" is neither true nor false`}},
		{"no comment behind a value", Ggaoed, dev("queue-length = 64 # many\n"), []string{`?f:5:1: error: [d] queue-length: "64 # many" is not a number`}},
		{"no hexadecimal", Ggaoed, dev("queue-length = 0x40\n"), []string{"?is not a number"}},
		{"decimal with zeros in front", Ggaoed, dev("queue-length = 064\n"), []string{"queue-length = 64"}},
		{"escapes", Ggaoed, "[d]\npath = /srv/\\sx\\\\y\nshelf = 1\nslot = 1\n", []string{`source = "/srv/ x\\y"`}},
		{"a comma at the end of a list", Ggaoed, dev("interfaces = eth0, eth1,\n"), []string{`interfaces = ["eth0", "eth1"]`}},
		{"semicolons separate nothing", Ggaoed, dev("interfaces = eth0;eth1\n"), []string{`?"eth0;eth1" is one name`, `interfaces = ["eth0;eth1"]`}},
		{"the last of two values counts", Ggaoed, dev("slot = 9\n"), []string{`address = "1.9"`, "?is set at f:4:1 already"}},
		// ggaoed: interfaces
		{"all interfaces by default", Ggaoed, dev(""), []string{`interfaces = ["*"]`, "direct-io = true", "queue-length = 64", "buffer-count = 64"}},
		{"an empty list is all, too", Ggaoed, dev("[defaults]\ninterfaces =\n"), []string{`interfaces = ["*"]`}},
		{"a device is served where the daemon listens, too", Ggaoed, dev("interfaces = eth1, wlan0\n[defaults]\ninterfaces = eth*\n"), []string{`interfaces = ["eth1"]`}},
		{"a wider pattern of the device is cut", Ggaoed, dev("interfaces = *\n[defaults]\ninterfaces = eth0, vlan*\n"), []string{`interfaces = ["eth0", "vlan*"]`}},
		{"nothing in common is nowhere", Ggaoed, dev("interfaces = eth1\n[defaults]\ninterfaces = eth0\n"), []string{"disabled = true", "?served nowhere"}},
		{"brackets are letters in patterns", Ggaoed, dev("[defaults]\ninterfaces = a[0]*\n"), []string{`interfaces = ["a\\[0]*"]`}},
		{"settings of one interface go before those of all", Ggaoed, dev("[defaults]\nmtu = 4000\n[eth0]\nmtu = 2000\n"), []string{"name = \"eth0\"\nmtu = 2000", "name = \"*\"\nmtu = 4000"}},
		{"what one interface does not say comes from [defaults]", Ggaoed, dev("[defaults]\nmtu = 4000\n[eth0]\nring-buffer-size = 4000\n"), []string{"name = \"eth0\"\nmtu = 4000\nring-frames = 1024"}},
		{"mtu = 0 is as the interface has it", Ggaoed, dev("[defaults]\nmtu = 4000\n[eth0]\nmtu = 0\n"), []string{"name = \"eth0\"\n\n"}},
		// ggaoed: access lists
		{"lists in lists, hosts of ethers", Ggaoed, dev("accept = c\n[acls]\na = 02:00:00:00:00:01\nb = node1, a\nc = b, 02:00:00:00:00:02\n"),
			[]string{`["accept 02:00:00:00:00:01", "accept 02:00:00:00:00:02", "accept 02:00:00:00:01:01"]`}},
		{"a list knows only those above it", Ggaoed, dev("accept = a\n[acls]\na = b\nb = 02:00:00:00:00:01\n"), []string{`?f:7:1: error: [acls] a: the list "b" is defined further down`}},
		{"below, a host of ethers of the same name counts", Ggaoed, dev("accept = a\n[acls]\na = node1\nnode1 = 02:00:00:00:00:01\n"), []string{"accept 02:00:00:00:01:01", "!00:00:01\"]"}},
		{"a list with the name of its host", Ggaoed, dev("accept = node1\n[acls]\nnode1 = node1\n"), []string{"accept 02:00:00:00:01:01"}},
		{"deny counts after accept", Ggaoed, dev("accept = 02:00:00:00:00:01, node1\ndeny = node1\n"), []string{`rules = ["accept 02:00:00:00:00:01"]`}},
		{"an accept list of nobody is none", Ggaoed, dev("accept = a\n[acls]\na =\n"), []string{"?everybody is served", "!access-list"}},
		{"a host that nobody knows is an error with its place", Ggaoed, dev("accept = node1, nodeX\n"), []string{`?f:5:17: error: [d] accept: "nodeX" is no Ethernet address`}},
		{"in a device, any list may be named", Ggaoed, dev("accept = z\n[acls]\nz = 2:0:0:0:0:1\n"), []string{"accept 02:00:00:00:00:01"}},

		// qaoed: syntax
		{"all comments", Qaoed, q("/* a { */ # b {\n// c {\ndevice /* d */ { target = /dev/sda; # e }\n }"), []string{`source = "/dev/sda"`}},
		{"a comment over lines keeps lines", Qaoed, "/*\n*\n*/ device {\n targt = /x; }", []string{"?f:4:2: error: device targt: there is no such keyword here; did you mean target?"}},
		{"a slash and a star inside of a word", Qaoed, q("device { target = /srv/*/x; }"), []string{`source = "/srv/*/x"`}},
		{"a value that begins with //", Qaoed, q("device { target = //srv/x; }"), []string{`source = "//srv/x"`}},
		{"a # ends a word", Qaoed, q("device { target = /srv/x#y\n; }"), []string{`source = "/srv/x"`}},
		{"quotation marks keep everything", Qaoed, q(`device { target = "/srv/a b;{}=#//"; }`), []string{`source = "/srv/a b;{}=#//"`}},
		{"no blanks needed", Qaoed, `default{writecache=off;interface=eth0;}device{target=/dev/sda;}`, []string{`source = "/dev/sda"`}},
		{"semicolons too many", Qaoed, q("device { target = /dev/sda;; };;"), []string{`source = "/dev/sda"`}},
		{"a semicolon too few", Qaoed, q("device { target = /dev/sda }"), []string{`?"}" where the ; behind target = /dev/sda should be`}},
		{"sections in any order", Qaoed, "access-list { name = a; policy = reject; accept = 02:00:00:00:00:01; } device { target = /dev/sda; acl { read = a; } } default { writecache = off; interface = eth0; }", []string{"accept 02:00:00:00:00:01"}},
		// qaoed: addresses
		{"shelf 0 and slot 0 without a default", Qaoed, "device { target = /dev/sda; interface = eth0; writecache = off; } device { target = /dev/sdb; interface = eth0; writecache = off; }", []string{`address = "0.0"`, `address = "0.1"`}},
		{"numbers go on over shelves", Qaoed, q("device { shelf = 1; target = /dev/sda; } device { shelf = 2; target = /dev/sdb; }"), []string{`address = "1.0"`, `address = "2.1"`}},
		{"a number that is taken", Qaoed, q("device { target = /dev/sda; slot = 1; } device { target = /dev/sdb; } device { target = /dev/sdc; }"), []string{"?e0.1 is the address of the device at line 1 already"}},
		{"two paths, one of them by default", Qaoed, q("device { target = /dev/sda; slot = 1; } device { target = /dev/sda; slot = 1; interface = eth1; }"), []string{`interfaces = ["eth0", "eth1"]`}},
		{"three paths", Qaoed, q("device { target = /a; slot = 1; } device { target = /a; slot = 1; interface = b; } device { target = /a; slot = 1; interface = c; }"), []string{`interfaces = ["eth0", "b", "c"]`}},
		{"two paths of two disks", Qaoed, q("device { target = /dev/sda; slot = 1; } device { target = /dev/sdb; slot = 1; interface = eth1; }"), []string{"?is the address of the device"}},
		{"one path twice", Qaoed, q("device { target = /dev/sda; slot = 1; } device { target = /dev/sda; slot = 1; }"), []string{"?is the address of the device"}},
		// qaoed: defaults
		{"writecache is on by default, and that is said", Qaoed, "device { target = /dev/sda; interface = eth0; }", []string{"write-cache = true", "?before they are durable"}},
		{"writecache as it is written", Qaoed, q("device { target = /dev/sda; writecache = on; }"), []string{"write-cache = true"}},
		{"broadcast is on by default", Qaoed, q("device { target = /dev/sda; }"), []string{"announce = true"}},
		{"broadcast off", Qaoed, q("device { target = /dev/sda; broadcast = off; }"), []string{"announce = false"}},
		{"the lists of default, and one of the device's own", Qaoed, "default { writecache = off; interface = eth0; acl { read = a; write = a; } } device { target = /dev/sda; acl { write = b; } } " +
			"access-list { name = a; policy = reject; } access-list { name = b; policy = accept; reject = 02:00:00:00:00:01; }",
			[]string{"read = [\"list1\"]\nwrite = [\"list2\"]", "[access-list.list1]\npolicy = \"reject\"", "[access-list.list2]\npolicy = \"accept\"\nlog = false\nrules = [\"reject 02:00:00:00:00:01\"]"}},
		{"the first row counts", Qaoed, q("device { target = /dev/sda; acl { read = a; } } access-list { name = a; policy = reject; accept = 02:00:00:00:00:01; reject = 02:00:00:00:00:01; }"),
			[]string{`rules = ["accept 02:00:00:00:00:01"]`}},
		{"an unknown list lets nobody in by mistake", Qaoed, q("device { target = /dev/sda; acl { read = aa; } } access-list { name = aaa; policy = reject; }"), []string{`?there is no access-list called "aa"; did you mean "aaa"?`}},
		// qaoed: logging
		{"the section called default is [log]", Qaoed, q("device { target = /dev/sda; log = default; } logging { name = default; type = syslog; syslog-facility = log_local7; }"), []string{"target = \"syslog\"\nfacility = \"local7\""}},
		{"log default without such a section", Qaoed, q("device { target = /dev/sda; log = default; }"), []string{`target = "stderr"`}},
		{"log of an access list", Qaoed, q("device { target = /dev/sda; acl { read = a; } } logging { name = l; type = file; filename = /l; } access-list { name = a; policy = reject; log = l; }"), []string{"log = true\nlog-target = \"l\"", "[log-target.l]\ntype = \"file\""}},
		{"debug, which the manual does not name", Qaoed, q("log-level = debug; device { target = /dev/sda; }"), []string{`level = "debug"`}},
		{"auto is the interface's own MTU", Qaoed, q("device { target = /dev/sda; } interface { interface = eth0; mtu = auto; }"), []string{"[[interface]]\nname = \"eth0\"\n\n"}},

		// vblade
		{"options in all spellings", Vblade, "shelf=1 slot=2 netif=eth0\nfilename=/x options=\"-rd -o8 -l 9 -b 4 -m02:00:00:00:00:01,020000000002\"\n",
			[]string{"read-only = true", "direct-io = true", "offset = 4096", "length = 4608", "queue-length = 4", "buffer-count = 4", "accept 02:00:00:00:00:02"}},
		{"numbers are decimal", Vblade, "shelf=010\nslot='08'\nnetif=eth0\nfilename=\"/x\"\n", []string{`address = "10.8"`}},
		{"quotes of all kinds, a line that goes on", Vblade, "shelf=1;slot=2\nnetif=eth0\nfilename='/a'\" \\\"b\"\\ c\\\nd\n", []string{`source = "/a \"b cd"`}},
		{"what needs a shell", Vblade, "shelf=$((1+1))\n", []string{"?f:1:7: error: shelf: $ needs a shell"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ps := effective(t, c.format, c.text)
			said := ""
			for _, p := range ps {
				said += p.String() + "\n"
			}
			for _, w := range c.want {
				switch {
				case w[0] == '?':
					if !strings.Contains(said, w[1:]) {
						t.Errorf("nothing like %q in:\n%s", w[1:], said)
					}
				case w[0] == '!':
					if strings.Contains(got, w[1:]) {
						t.Errorf("%q in:\n%s", w[1:], got)
					}
				case !strings.Contains(got, w):
					t.Errorf("no %q in:\n%s%s", w, got, said)
				}
			}
		})
	}
}

// TestIncludes: files inside files, also in a circle.
func TestIncludes(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/q/1.conf", "device { target = /dev/sdb; interface = eth0; }\ninclude = /etc/r.conf;")
	write("etc/q/2.conf", "device { target = /dev/sdc; interface = eth0; }")
	write("etc/r.conf", "device { target = /dev/sdd; interface = eth0; }")
	write("etc/loop.conf", "include = /etc/loop.conf;")
	write("etc/bad.conf", "\n  device { taget = x; }")
	read := func(text string) (*config.Config, config.Problems) {
		return Parse("f", []byte("default { writecache = off; }\n"+text), Qaoed, config.Options{Sysroot: root})
	}
	cfg, ps := read("include = /etc/q/*.conf; device { target = /dev/sda; interface = eth0; }")
	if ps.Err() != nil || len(cfg.Exports) != 4 {
		t.Fatalf("%v %+v", ps, cfg.Exports)
	}
	for i, want := range []string{"/dev/sda", "/dev/sdb", "/dev/sdd", "/dev/sdc"} { // the included ones come behind, in their order
		if e := cfg.Exports[i]; e.Source != want || int(e.Addr.Minor) != i {
			t.Errorf("%v is %s, want %s", e.Addr, e.Source, want)
		}
	}
	for text, want := range map[string]string{
		"include = /etc/loop.conf;": "too deep",
		"include = /etc/none.conf;": "f:2:11: error: include: no such file",
		"include = /etc/q;":         "is no configuration file",
		"include = /etc/bad.conf;":  "bad.conf:2:12: error: device taget",
	} {
		if _, ps := read(text); !strings.Contains(fmt.Sprint(ps), want) {
			t.Errorf("%s: nothing like %q in %v", text, want, ps)
		}
	}
}

// TestBig: the time for a big file grows with its size only.
func TestBig(t *testing.T) {
	var g, q strings.Builder
	q.WriteString("default { writecache = off; interface = eth0; }\n")
	for i := range 4000 {
		fmt.Fprintf(&g, "[disk%d]\npath = /dev/d%d\nshelf = %d\nslot = %d\n", i, i, i/200, i%200)
		fmt.Fprintf(&q, "device { target = /dev/d%d; shelf = %d; slot = %d; }\n", i, i/200, i%200)
	}
	for format, text := range map[Format]string{Ggaoed: g.String(), Qaoed: q.String(), Vblade: strings.Repeat("shelf=1 ", 50000)} {
		start := time.Now()
		cfg, ps := Parse("f", []byte(text), format, config.Options{})
		if format != Vblade && (ps.Err() != nil || len(cfg.Exports) != 4000) {
			t.Errorf("%s: %v", format, ps.Err())
		}
		t.Logf("%s: %v", format, time.Since(start))
	}
}
