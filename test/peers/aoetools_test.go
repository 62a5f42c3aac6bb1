package peers

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"goaoe/test/conformance"
)

// TestAoeping: config query and IDENTIFY in all of aoeping's forms.
func TestAoeping(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprintf("mtu %d", mtu), func(t *testing.T) {
			conformance.Covers(t, "C29", "C45", "C48", "C123")
			r := newRig(t, mtu, 1, "export", "--state-dir", t.TempDir(), "--serial", "S3RIAL-0042", "--model", "A model of the test", "0", "1", "t0", image(t, "disk", 1<<20))
			r.ok(nil, "aoeping", "0", "1", "h0")
			r.ok([]string{"config query response:", "found e0.1 with mac"}, "aoeping", "-v", "-s", "10", "0", "1", "h0")
			r.ok([]string{"S3RIAL-0042", "A model of the test"}, "aoeping", "-I", "-s", "10", "0", "1", "h0")
			ident := dump(t, r.ok(nil, "aoeping", "-i", "-s", "10", "0", "1", "h0"))
			if len(ident) < 512 {
				t.Fatalf("aoeping -i printed %d bytes", len(ident))
			}
			ident = ident[len(ident)-512:]
			var sum byte
			for _, x := range ident {
				sum += x
			}
			if sum != 0 || ident[510] != 0xa5 {
				t.Errorf("IDENTIFY adds up to %#x, byte 510 is %#x; want 0 and 0xa5", sum, ident[510])
			}
			if got := ident[200:208]; !bytes.Equal(got, []byte{0, 8, 0, 0, 0, 0, 0, 0}) {
				t.Errorf("words 100 to 103 are % x, want 2048 sectors", got)
			}
			r.ok(nil, "aoeping", "-t", "305419896", "-I", "-s", "10", "0", "1", "h0")
			// another address is not answered
			if code, _ := r.do("", "aoeping", "-s", "1", "0", "2", "h0"); code == 0 {
				t.Errorf("aoeping of an address that is not served succeeded")
			}
			r.quiet()
		})
	}
}

var hexLine = regexp.MustCompile(`^\s*(?:[0-9a-f]{2}\s+)+$`)

// dump reads the hexadecimal lines of a tool.
func dump(t *testing.T, out string) []byte {
	t.Helper()
	var b []byte
	for line := range strings.Lines(out) {
		if !hexLine.MatchString(line) {
			continue
		}
		x, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return b
}

// TestAoepingSMART: every SMART command that aoeping has.
func TestAoepingSMART(t *testing.T) {
	conformance.Covers(t, "C82", "C123")
	dir := t.TempDir()
	config := filepath.Join(dir, "goaoe.toml")
	write(t, config, fmt.Sprintf(`[global]
state-directory = %q
[defaults]
interfaces = ["t0"]
[[export]]
address = "0.1"
source = %q
smart = true
[[export]]
address = "0.2"
source = %q
`, dir+"/state", image(t, "a", 1<<20), image(t, "b", 1<<20)))
	r := newRig(t, 1500, 1, "serve", "-c", config)
	data := dump(t, r.ok([]string{"SMART data:"}, "aoeping", "-s", "10", "-S", "read_data", "0", "1", "h0"))
	if len(data) < 512 {
		t.Errorf("read_data printed %d bytes", len(data))
	} else {
		var sum byte
		for _, x := range data[len(data)-512:] {
			sum += x
		}
		if sum != 0 {
			t.Errorf("SMART data adds up to %#x, want 0", sum)
		}
	}
	out := r.ok(nil, "aoeping", "-s", "10", "-S", "return_status", "0", "1", "h0")
	for _, re := range []string{`LBA Mid: 0x4f`, `LBA High: 0xc2`, `Status: 0x[45]0`} {
		if !regexp.MustCompile(re).MatchString(out) {
			t.Errorf("return_status: no %s", re)
		}
	}
	r.ok(nil, "aoeping", "-s", "10", "-S", "read_log:0", "0", "1", "h0")
	r.ok(nil, "aoeping", "-s", "10", "-S", "offline_immediate:0", "0", "1", "h0")
	// disabled: other commands are refused until it is enabled again
	r.ok(nil, "aoeping", "-s", "10", "-S", "disable", "0", "1", "h0")
	r.ok(nil, "aoeping", "-s", "10", "-S", "enable", "0", "1", "h0")
	r.ok(nil, "aoeping", "-s", "10", "-S", "read_data", "0", "1", "h0")
	// logs cannot be written, and logs but the directory are not there: a clear refusal, no waiting
	for _, c := range []string{"write_log:1", "read_log:1"} {
		if code, _ := r.do(strings.Repeat("x", 512), "aoeping", "-s", "10", "-S", c, "0", "1", "h0"); code != 1 {
			t.Errorf("%s: exit status %d, want 1: refused", c, code)
		}
	}
	// without the setting it is not offered
	code, out := r.do("", "aoeping", "-s", "10", "-S", "return_status", "0", "2", "h0")
	if code == 0 || !strings.Contains(out, "does not support SMART") {
		t.Errorf("e0.2: exit status %d; want \"does not support SMART\"", code)
	}
	r.quiet()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAoecfg: the config string by aoecfg, in all its forms.
func TestAoecfg(t *testing.T) {
	conformance.Covers(t, "C29", "C30", "C31", "C123")
	dir := t.TempDir()
	r := newRig(t, 1500, 1, "serve", "--state-dir", dir, "-i", "t0", "e0.1="+image(t, "a", 1<<20), "e0.2="+image(t, "b", 1<<20))

	// For an exact address aoecfg prints the string of the answer in a line, or "*badcfg*" for a refusal; without an answer,
	// nothing.
	const silence, refused = "", "*badcfg*\n"
	for _, c := range []struct {
		args string // separated by tabs
		want string
	}{
		{"", "\n"},
		{"-c	read", "\n"},
		{"-c	test	-s	", "\n"}, // the empty string matches none
		{"-c	set	-s	hello", "hello\n"},
		{"-c	read", "hello\n"},
		{"-c	set	-s	hello", "hello\n"},
		{"-c	test	-s	hello", "hello\n"},
		{"-c	test	-s	hell", silence},
		{"-c	test	-s	hello!", silence},
		{"-c	prefix	-s	hell", "hello\n"},
		{"-c	prefix	-s	ello", silence},
		{"-c	prefix	-s	", "hello\n"},
		{"-c	read", "hello\n"},
		{"-c	set	-s	other", refused},
		{"-c	read", "hello\n"},
		{"-c	fset	-s	world 2", "world 2\n"},
		{"-c	read", "world 2\n"},
		{"-c	fset	-s	" + strings.Repeat("long ", 200), strings.Repeat("long ", 200) + "\n"},
		{"-c	fset	-s	", "\n"}, // cleared
		{"-c	test	-s	", "\n"},
		{"-c	set	-s	x", "x\n"}, // and free again
	} {
		args := []string{"aoecfg", "-t", "2"}
		if c.args != "" {
			args = append(args, strings.Split(c.args, "\t")...)
		}
		code, out := r.do("", append(args, "0", "1", "h0")...)
		if code == 124 || out != c.want {
			t.Errorf("aoecfg %q printed %q (exit status %d), want %q", c.args, out, code, c.want)
		}
	}

	// all targets, and those of one slot: in lines "shelf.slot string"
	if _, out := r.do("", "aoecfg", "-t", "2", "h0"); !sameLines(out, "0.1\tx", "0.2\t") {
		t.Errorf("aoecfg to all printed %q", out)
	}
	if _, out := r.do("", "aoecfg", "-t", "2", "65535", "2", "h0"); !sameLines(out, "0.2\t") {
		t.Errorf("aoecfg to slot 2 of every shelf printed %q", out)
	}
	if _, out := r.do("", "aoecfg", "-t", "2", "0", "255", "h0"); !sameLines(out, "0.1\tx", "0.2\t") {
		t.Errorf("aoecfg to every slot of shelf 0 printed %q", out)
	}
	// set to all at once: one has a string already and refuses, the other takes it
	r.do("", "aoecfg", "-c", "set", "-s", "for all", "-t", "2", "65535", "255", "h0")
	if _, out := r.do("", "aoecfg", "-t", "2", "h0"); !sameLines(out, "0.1\tx", "0.2\tfor all") {
		t.Errorf("after a set to all, aoecfg printed %q", out)
	}
	r.quiet()
}

// sameLines compares the lines of out with want, in any order.
func sameLines(out string, want ...string) bool {
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}

// TestAoeSancheck: every path is found to carry what it can.
func TestAoeSancheck(t *testing.T) {
	for _, c := range []struct{ mtu, links int }{{1500, 1}, {9000, 1}, {4200, 1}, {9000, 2}} {
		t.Run(fmt.Sprintf("mtu %d, %d links", c.mtu, c.links), func(t *testing.T) {
			conformance.Covers(t, "C48", "C123")
			interfaces := []string{"t0", "t1"}[:c.links]
			r := newRig(t, c.mtu, c.links, "serve", "--state-dir", t.TempDir(), "-i", strings.Join(interfaces, ","),
				"e0.1="+image(t, "a", 1<<20), "e7.3="+image(t, "b", 1<<20))
			out := r.ok([]string{"e0.1", "e7.3"}, "aoe-sancheck")
			payload := (c.mtu - 36) / 512 * 512
			for _, dev := range []string{"e0.1", "e7.3"} {
				line := regexp.MustCompile(fmt.Sprintf(`(?m)^\s*%s\s+%d\s+%d\s+h0`, regexp.QuoteMeta(dev), c.links, payload))
				if !line.MatchString(out) {
					t.Errorf("no line of %s with %d MAC(s) and a payload of %d", dev, c.links, payload)
				}
			}
			for _, bad := range []string{"only capable", "not set optimally", "skipping", "failure", "different"} {
				if strings.Contains(out, bad) {
					t.Errorf("aoe-sancheck has something to say: %q", bad)
				}
			}
			r.ok(nil, "aoe-sancheck", "-v")
			r.quiet()
		})
	}
}

// TestAoetoolsWhileOthersTalk: two tools at the same time do not disturb each other.
func TestAoetoolsWhileOthersTalk(t *testing.T) {
	r := newRig(t, 1500, 1, "serve", "--state-dir", t.TempDir(), "-i", "t0", "e0.1="+image(t, "a", 1<<20))
	r.ok([]string{"serial_number:"}, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do aoeping -I -s 10 0 1 h0 & p=\"$p $!\"; done; for i in $p; do wait $i || exit 1; done")
	r.quiet()
}
