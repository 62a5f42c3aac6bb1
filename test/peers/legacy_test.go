package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"goaoe/test/need"
)

// TestToolsOfOthers: called by the names of aoetools, goaoe prints what Debian's programs print, against the same targets.
func TestToolsOfOthers(t *testing.T) {
	t.Parallel()
	need.Programs(t, "vblade", "/sbin/aoeping", "/sbin/aoecfg", "/sbin/aoe-sancheck", "/sbin/aoe-stat", "/sbin/aoe-discover")
	dir := t.TempDir()
	config := filepath.Join(dir, "goaoe.toml")
	write(t, config, fmt.Sprintf("[global]\nstate-directory = %q\n[defaults]\ninterfaces = [\"t0\", \"t1\"]\n[[export]]\naddress = \"0.1\"\nsmart = true\nsource = %q\n[[export]]\naddress = \"7.3\"\nsource = %q\n",
		dir+"/state", image(t, "a", 1<<20), image(t, "b", 1<<20)))
	r := newRig(t, 9000, 2, "serve", "-c", config)
	links := filepath.Join(dir, "bin")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(r.bin, "install-links", "--only", "aoe-discover,aoe-stat,aoeping,aoecfg,aoe-sancheck", links).CombinedOutput(); err != nil {
		t.Fatalf("install-links: %v\n%s", err, out)
	}
	// theirs runs Debian's program, ours goaoe under its name; what they print to standard output is compared.
	run := func(in, program string, args []string) (int, string) {
		return r.do(in, append([]string{"sh", "-c", `exec "$@" 2>/dev/null`, "sh", program}, args...)...)
	}
	sector := strings.Repeat("x", 512)
	for _, c := range []struct {
		call string
		code int // of ours; theirs is 0 in more cases than it should be
		in   string
	}{
		{"aoeping 0 1 h0", 0, ""},
		{"aoeping -v 0 1 h0", 0, ""},
		{"aoeping -i 0 1 h1", 0, ""},
		{"aoeping -I 7 3 h0", 0, ""},
		{"aoeping -v -I -i 0 1 h0", 0, ""},
		{"aoeping -t 305419896 -v 0 1 h0", 0, ""},
		{"aoeping -vs 5 0 1 h0", 0, ""},
		{"aoeping -S return_status 0 1 h0", 0, ""},
		{"aoeping -v -S read_data 0 1 h0", 0, ""},
		{"aoeping -S read_log 0 1 h0", 0, ""},
		{"aoeping -S read_log:0 0 1 h0", 0, ""},
		{"aoeping -S read_log:1 0 1 h0", 1, ""},
		{"aoeping -S write_log:1 0 1 h0", 1, sector},
		{"aoeping -S offline_immediate:1 0 1 h0", 0, ""},
		{"aoeping -S disable 0 1 h0", 0, ""},
		{"aoeping -S enable 0 1 h0", 0, ""},
		{"aoeping -S return_status 7 3 h0", 1, ""},
		{"aoeping -s 1 5 5 h0", 1, ""},
		{"aoeping 0 1 nope", 1, ""},
		{"aoeping 0 1", 1, ""},
		{"aoeping -h", 0, ""},
		{"aoecfg -t 1 h0", 0, ""},
		{"aoecfg -t 1 0 1 h0", 0, ""},
		{"aoecfg -t 1 -c set -s hello 0 1 h0", 0, ""},
		{"aoecfg -t 1 -c set -s other 0 1 h0", 1, ""},
		{"aoecfg -t 1 -c test -s hello h0", 0, ""},
		{"aoecfg -t 1 -c prefix -s he 0 1 h0", 0, ""},
		{"aoecfg -t 1 -c test -s he 0 1 h0", 0, ""},
		{"aoecfg -t 1 -c set -s all h0", 1, ""},
		{"aoecfg -t 1 -c fset -s new 0 255 h0", 0, ""},
		{"aoecfg -t 1 65535 3 h0", 0, ""},
		{"aoecfg -t 1 -c fset 0 1 h0", 0, ""},
		{"aoecfg -t 1 -c fset 7 3 h0", 0, ""},
		{"aoecfg -t 1 9 9 h0", 1, ""},
		{"aoecfg -c bogus h0", 1, ""},
		{"aoecfg -t 1 0 1 nope", 1, ""},
		{"aoe-sancheck", 0, ""},
	} {
		words := strings.Fields(c.call)
		_, theirs := run(c.in, "/sbin/"+words[0], words[1:])
		if words[0] == "aoecfg" && strings.Contains(c.call, "set -s") { // it has changed the string: back, so that ours finds the same
			r.do("", "/sbin/aoecfg", "-t", "1", "-c", "fset", "-s", map[bool]string{true: "hello", false: ""}[strings.Contains(c.call, "other") || strings.Contains(c.call, "all")], "0", "1", "h0")
			r.do("", "/sbin/aoecfg", "-t", "1", "-c", "fset", "7", "3", "h0")
		}
		if strings.Contains(c.call, "disable") {
			r.do("", "/sbin/aoeping", "-S", "enable", "0", "1", "h0")
		}
		code, ours := run(c.in, filepath.Join(links, words[0]), words[1:])
		if !sameText(words[0], c.call, theirs, ours) || code != c.code {
			t.Errorf("%s: exit status %d, want %d\n%s\ntheirs:\n%s", c.call, code, c.code, ours, theirs)
		}
	}
	// targets whose answers are too short for the originals on a virtual link, which wait for them for ever
	r.vblade("5", "6", "t0", image(t, "c", 1<<20))
	for call, want := range map[string]string{
		"aoeping -I 5 6 h0":         "Coraid EtherDrive vblade",
		"aoeping -v 5 6 h0":         "found e5.6 with mac",
		"aoecfg -c set -s x 5 6 h0": "x\n",
		"aoecfg -t 1 h0":            "5.6\t",
		"aoe-sancheck -v":           "e5.6",
	} {
		words := strings.Fields(call)
		if code, out := run("", filepath.Join(links, words[0]), words[1:]); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit status %d, no %q in\n%s", call, code, want, out)
		}
	}
	// no driver here: it is said, what is found without it is shown, and the status is not 0
	for _, p := range []string{"aoe-stat", "aoe-discover"} {
		code, out := r.do("", filepath.Join(links, p))
		if code != 1 || !strings.Contains(out, "the aoe driver is not loaded") || !strings.Contains(out, "e0.1") || !strings.Contains(out, "0.001GB") {
			t.Errorf("%s: exit status %d\n%s", p, code, out)
		}
	}
}

// TestAoeStatOfOthers: over the same sysfs, with what the kernel's driver has there, both print the same.
func TestAoeStatOfOthers(t *testing.T) {
	t.Parallel()
	need.Programs(t, "/sbin/aoe-stat", "bash", "awk")
	r := emptyRig(t)
	links := filepath.Join(t.TempDir(), "bin")
	sysfs, err := os.MkdirTemp("/dev/shm", "s-") // the original leaves out every disk with a "p" anywhere in its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sysfs) })
	if err := os.MkdirAll(links, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(r.bin, "install-links", "--only", "aoe-stat", links).CombinedOutput(); err != nil {
		t.Fatalf("install-links: %v\n%s", err, out)
	}
	disk := func(name string, files ...string) {
		for i := 0; i < len(files); i += 2 {
			path := filepath.Join(sysfs, "block", name, files[i])
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, path, files[i+1]+"\n")
		}
	}
	compare := func(want int, args ...string) {
		t.Helper()
		call := func(program string) (int, string) {
			return r.do("", append([]string{"env", "sysfs_dir=" + sysfs, program}, args...)...)
		}
		_, theirs := call("/sbin/aoe-stat")
		code, ours := call(filepath.Join(links, "aoe-stat"))
		if code != want || ours != theirs {
			t.Errorf("aoe-stat %q: exit status %d, want %d\n%s\ntheirs:\n%s", args, code, want, ours, theirs)
		}
	}
	disk("etherd!e0.3", "size", "204800", "netif", "eth0", "state", "up", "dev", "152:48")
	disk("etherd!e20.0", "size", "1953545216", "netif", "eth0,eth1", "state", "down,closewait", "dev", "152:320")
	disk("sda", "size", "4096", "dev", "8:0")
	compare(okay) // an old driver, without payload
	disk("etherd!e0.3", "payload", "1024")
	disk("etherd!e20.0", "payload", "8704")
	disk("etherd!e7.1", "state", "down")
	disk("etherd!e1.5", "size", "1", "netif", "eth0", "state", "up", "payload", "8704", "dev", "152:21")
	compare(okay)
	compare(okay, "e20")
	compare(okay, "down")
	compare(failed, "e99")
}

// sameText compares what the two printed. The order of answers to everybody is that of the wire.
func sameText(program, call, theirs, ours string) bool {
	if program != "aoecfg" || strings.Contains(call, " 0 1 ") {
		return theirs == ours
	}
	a, b := strings.Split(theirs, "\n"), strings.Split(ours, "\n")
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestSancheckOfOthers: what aoe-sancheck's users look for is said in the same cases.
func TestSancheckOfOthers(t *testing.T) {
	t.Parallel()
	r := joined(t, 9000, "bridge", 1500)
	r.start(r.bin, []string{"export", "--state-dir", t.TempDir(), "0", "1", "t0", image(t, "a", 1<<20)})
	links := t.TempDir()
	if out, err := exec.Command(r.bin, "install-links", "--only", "aoe-sancheck", links).CombinedOutput(); err != nil {
		t.Fatalf("install-links: %v\n%s", err, out)
	}
	for _, program := range []string{"/sbin/aoe-sancheck", filepath.Join(links, "aoe-sancheck")} {
		if _, out := r.do("", program); !strings.Contains(out, "only capable of 1024 byte payloads") || !strings.Contains(out, "e0.1\t   1\t8704\th0") {
			t.Errorf("%s: %s", program, out)
		}
	}
	command(t, "ip", "-n", r.host, "link", "set", "h0", "mtu", "1500")
	for _, program := range []string{"/sbin/aoe-sancheck", filepath.Join(links, "aoe-sancheck")} {
		if _, out := r.do("", program); !strings.Contains(out, "h0: MTU (1500) not set optimally") || strings.Contains(out, "only capable") {
			t.Errorf("%s: %s", program, out)
		}
	}
}
