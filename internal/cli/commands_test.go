package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"goaoe/aoe"
	"goaoe/internal/control"
)

// controlCommands are command lines that all ask the daemon first.
var controlCommands = []string{"add 1.5 mem:1M", "rm 1.0", "ls", "show", "show --effective", "set 1.0 queue-length=8", "set log-level=debug", "announce", "announce 1.0", "reload",
	"reload --dry-run", "diff", "diff goaoe.toml", "clear config 1.0", "clear mask 1.0", "clear reserve 1.0", "clear stats", "status", "interfaces"}

// TestControlExitCodes: each kind of error has its exit status, whatever the command, and one line.
func TestControlExitCodes(t *testing.T) {
	codes := map[control.Code]int{control.CodeUsage: 2, control.CodeNotFound: 1, control.CodeConflict: 12, control.CodeInUse: 11, control.CodeRefused: 11, control.CodeFailed: 1,
		control.CodeGone: 10}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		m := newMadeUp(t)
		m.err = control.Errorf(code, "it did not work").WithHint("do something else")
		for _, c := range controlCommands {
			if code == control.CodeGone && c == "diff goaoe.toml" {
				continue // compares with the usual file then
			}
			got, stdout, stderr := call(strings.Fields(c)...)
			if got != codes[code] || stdout != "" || stderr != "goaoe: it did not work; do something else\n" {
				t.Errorf("%s: goaoe %s: status %d, want %d; stdout %q, stderr %q", code, c, got, codes[code], stdout, stderr)
			}
		}
	}
	t.Setenv(control.SocketEnv, filepath.Join(t.TempDir(), "none"))
	for _, c := range controlCommands {
		if strings.HasPrefix(c, "diff g") {
			continue
		}
		if got, stdout, stderr := call(strings.Fields(c)...); got != ExitNotRunning || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "goaoe: no daemon is running: ") {
			t.Errorf("without a daemon: goaoe %s: status %d, stdout %q, stderr %q", c, got, stdout, stderr)
		}
	}
}

// TestResults: what became of several things makes one exit status: that of all, or partly done.
func TestResults(t *testing.T) {
	inUse, conflict, failed := control.Errorf(control.CodeInUse, "used"), control.Errorf(control.CodeConflict, "changed"), control.Errorf(control.CodeFailed, "broken")
	for _, tt := range []struct {
		each map[string]*control.Error
		code int
	}{
		{nil, 0},
		{map[string]*control.Error{"e0.1": inUse}, 3},
		{map[string]*control.Error{"e0.1": inUse, "e0.2": inUse}, 11},
		{map[string]*control.Error{"e0.1": conflict, "e0.2": conflict}, 12},
		{map[string]*control.Error{"e0.1": failed, "e0.2": failed}, 1},
		{map[string]*control.Error{"e0.1": conflict, "e0.2": inUse}, 1},
	} {
		m := newMadeUp(t)
		m.each = tt.each
		for _, c := range []string{"rm 0.*", "set 0.* queue-length=8", "announce 0.*", "clear config 0.*", "clear stats 0.*"} {
			code, stdout, stderr := call(strings.Fields(c)...)
			if code != tt.code || strings.Count(stderr, "\n") != len(tt.each) || strings.Count(stdout, "\n") != 2-len(tt.each) {
				t.Errorf("%v: goaoe %s: status %d, want %d; stdout %q, stderr %q", tt.each, c, code, tt.code, stdout, stderr)
			}
			for a := range tt.each {
				if !strings.Contains(stderr, "goaoe: "+a+": ") {
					t.Errorf("%v: goaoe %s does not name %s: %q", tt.each, c, a, stderr)
				}
			}
		}
	}
}

// asked is all that a daemon was asked to do, as text.
func asked(m *madeUp) string {
	var out []string
	for _, r := range m.change {
		for _, c := range r.Changes {
			text := c.Op + " " + c.Address
			if c.Source != "" {
				text += " " + c.Source
			}
			for _, k := range slices.Sorted(maps.Keys(c.Settings)) {
				text += " " + k + "=" + c.Settings[k]
			}
			for _, k := range c.Unset {
				text += " -" + k
			}
			if c.Revision != "" {
				text += " @" + c.Revision
			}
			if c.Force {
				text += " force"
			}
			out = append(out, text)
		}
		out = append(out, fmt.Sprintf("save=%v dry=%v wait=%d", r.Save, r.DryRun, r.WaitMS))
	}
	for _, r := range m.clear {
		out = append(out, fmt.Sprintf("clear %s %v %v", r.What, r.Exports, r.Force))
	}
	for _, r := range m.log {
		out = append(out, fmt.Sprintf("log %q %q", r.Subject, r.Level))
	}
	for _, r := range m.told {
		out = append(out, fmt.Sprintf("announce %v", r))
	}
	for _, r := range m.reload {
		out = append(out, fmt.Sprintf("reload %v", r.DiscardUnsaved))
	}
	return strings.Join(out, "; ")
}

// TestRequests: what the commands ask the daemon to do.
func TestRequests(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"add 1.5 disk", "add 1.5 " + dir + "/disk; save=false dry=false wait=10000"},
		{"add e1 ../disk --wait 0 --save", "add e1 " + filepath.Dir(dir) + "/disk; save=true dry=false wait=0"},
		{"add 1.5 UUID=2b1c --force", "add 1.5 UUID=2b1c force; save=false dry=false wait=10000"},
		{"add 1.5 mem:1M -i eth1,eth2 --read-only --write-cache --direct --discard --accept a,b --deny c --queue-length 9 --buffer-count 8 --offset 1M --length 2M " +
			"--serial s --model m --name n -o smart=on -o io-engine=threads --set log-level=debug --wait 1s",
			"add 1.5 mem:1M accept=a,b buffer-count=8 deny=c direct-io=true discard=true interfaces=eth1,eth2 io-engine=threads length=2M log-level=debug model=m name=n offset=1M " +
				"queue-length=9 read-only=true serial=s smart=true write-cache=true; save=false dry=false wait=1000"},
		{"add 1.5 disk --write-now", "add 1.5 " + dir + "/disk write-now=on; save=false dry=false wait=10000"},
		{"add 1.5 disk --write-now=false", "add 1.5 " + dir + "/disk write-now=off; save=false dry=false wait=10000"},
		{"add 1.5 disk --write-now=auto -o write-now=auto", "add 1.5 " + dir + "/disk write-now=auto; save=false dry=false wait=10000"},
		{"set 0.1 write-now=yes", "set e0.1 write-now=on @r01; save=false dry=false wait=10000"},
		{"add 1.5 mem:1M --read-only=false -o read-only=off", "add 1.5 mem:1M read-only=false; save=false dry=false wait=10000"},
		{"rm mail", "remove e0.1; save=false dry=false wait=10000"},
		{"remove 1.0 e1.1 --force --dry-run", "remove e1.0 force; remove e1.1 force; save=false dry=true wait=10000"},
		{"delete 1.10 --save", "remove e1.10; save=true dry=false wait=10000"},
		{"rm 1.10", ""}, // is switched off already
		{"set 0.1 read-only=yes accept=a,b", "set e0.1 accept=a,b read-only=true @r01; save=false dry=false wait=10000"},
		{"set 0.? 1.0 queue-length=9 --unset accept,deny --unset name --save", "set e0.1 queue-length=9 -accept -deny -name @r01; set e0.2 queue-length=9 -accept -deny -name @r02; " +
			"set e1.0 queue-length=9 -accept -deny -name @r10; save=true dry=false wait=10000"},
		{"set 1.0 --save", "set e1.0 @r10; save=true dry=false wait=10000"},
		{"set 1.0 log-level=debug", "set e1.0 log-level=debug @r10; save=false dry=false wait=10000"},
		{"set 1.0 model=a=b", "set e1.0 model=a=b @r10; save=false dry=false wait=10000"},
		{"set 1.0 accept=", "set e1.0 accept= @r10; save=false dry=false wait=10000"},
		{"set log-level=debug", `log "" "debug"`},
		{"set log-level=", `log "" ""`},
		{"set eth1 log-level=error", `log "eth1" "error"`},
		{"set eth* log-level=warn", `log "eth1" "warn"; log "eth2" "warn"; log "eth9" "warn"`},
		{"set eth1 log-level=warn --dry-run", ""},
		{"announce", "announce []"},
		{"announce 0.*", "announce [e0.1 e0.2]"},
		{"reload", "reload false"},
		{"reload --discard-unsaved", "reload true"},
		{"reload --dry-run", ""},
		{"clear stats", "clear stats [] false"},
		{"clear stats mail", "clear stats [e0.1] false"},
		{"clear reserve 1.0 --force", "clear reserve [e1.0] true"},
		{"clear mask all", "clear mask [e0.1 e0.2 e1.0 e1.1 e1.2] false"}, // e1.10 is switched off
		{"clear mask 1.10", "clear mask [e1.10] false"},                   // the daemon says so
		{"announce 1.*", "announce [e1.0 e1.1 e1.2]"},
	} {
		m := newMadeUp(t)
		if code, stdout, stderr := call(strings.Fields(tt.args)...); code != 0 {
			t.Errorf("goaoe %s: status %d, %q, %q", tt.args, code, stdout, stderr)
		}
		if got := asked(m); got != tt.want {
			t.Errorf("goaoe %s asks\n%s\nwant\n%s", tt.args, got, tt.want)
		}
	}
	m := newMadeUp(t)
	m.exports = nil
	for i := range 2500 {
		m.exports = append(m.exports, control.Export{Address: aoe.Addr{Major: uint16(i / 200), Minor: uint8(i % 200)}.String(), State: control.StateServing})
	}
	code, stdout, stderr := call("set", "*", "queue-length=8")
	if len(m.change) != 3 || len(m.change[2].Changes) != 500 || code != 0 || strings.Count(stdout, "\n") != 2500 {
		t.Errorf("of 2500 exports: status %d, %d requests, %d lines, stderr %q", code, len(m.change), strings.Count(stdout, "\n"), stderr)
	}
}

// TestFailedAdd: an export that was added and cannot be served ends with a failure that says how to take it back.
func TestFailedAdd(t *testing.T) {
	m := newMadeUp(t)
	m.notes = map[string]string{"1.5": "failed: /dev is a directory", "1.6": "waiting: /dev/sdq does not exist"}
	if code, stdout, stderr := call("add", "1.5", "/dev"); code != 1 || stdout != "1.5: added; failed: /dev is a directory\n" || !strings.Contains(stderr, "goaoe rm 1.5 takes it back") {
		t.Errorf("status %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := call("add", "1.6", "/dev/sdq"); code != 0 || stdout != "1.6: added; waiting: /dev/sdq does not exist\n" || stderr != "" {
		t.Errorf("status %d, %q, %q", code, stdout, stderr)
	}
}

// TestWrongControlArguments: each command says what is wrong and what is right, in one line, and asks the daemon to do nothing.
func TestWrongControlArguments(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"add", 2, `^goaoe add takes ADDRESS and SOURCE, not 0 arguments; e\.g\. goaoe add 1\.0 /dev/sdb$`},
		{"add 1.0", 2, `not 1 argument; e\.g\.`},
		{"add 1.0 /dev/sdb eth0", 2, `not 3 arguments`},
		{"add /dev/sdb 1.0", 2, `"/dev/sdb" is no address; the address comes first: goaoe add 1\.0 /dev/sdb`},
		{"add 1.0 /dev/sdb -o queue-length", 2, `--set "queue-length" is not KEY=VALUE; e\.g\. queue-length=128; goaoe init --keys`},
		{"add 1.0 /dev/sdb -o =5", 2, `--set "=5" is not KEY=VALUE`},
		{"add 1.0 /dev/sdb -o model=a -o model=b", 2, `model is given twice: "a" and "b"; leave one`},
		{"add 1.0 /dev/sdb --model a -o model=b", 2, `model is given twice: "a" by its flag, "b" by --set`},
		{"add 1.0 /dev/sdb --queue-length many", 2, `invalid argument "many" for "--queue-length"`},
		{"add 1.0 /dev/sdb --wait -1s", 2, `--wait -1s: is not between 0 \(not at all\) and 1m40s`},
		{"add 1.0 /dev/sdb --wait 1h", 2, `--wait 1h0m0s: is not between`},
		{"add 1.0 /dev/sdb --colour", 2, `unknown flag: --colour; see goaoe add --help`},
		{"rm", 2, `no export is named; e\.g\. goaoe rm 1\.0; all of them: goaoe rm '\*'`},
		{"rm 7.7", 1, `no export is meant by 7\.7; there is e0\.1 \(mail\), e0\.2, e1\.0, e1\.1, e1\.2, e1\.10$`},
		{"rm 1.0 7.* 8.8", 1, `no export is meant by 7\.\*, 8\.8; there is`},
		{"rm 1.[", 2, `"1\.\[" is not a valid pattern`},
		{"ls nothing", 1, `no export is meant by nothing; there is`},
		{"ls --sort colour", 2, `--sort "colour": is one of address, name, state, size, source, initiators`},
		{"ls -o xml", 2, `--output "xml": is table, wide or json`},
		{"ls -q --json", 2, `--quiet prints addresses alone, not JSON`},
		{"ls -q -o wide", 2, `--quiet prints addresses alone, not a table`},
		{"show 9.9", 1, `no export is meant by 9\.9`},
		{"show --effective 1.0", 2, `--effective prints the whole configuration, not that of 1\.0`},
		{"set", 2, `nothing to set is given; e\.g\. goaoe set 1\.0 queue-length=128`},
		{"set 1.0", 2, `no KEY=VALUE is given for 1\.0`},
		{"set queue-length=8", 2, `it is not said which exports to change; name them before KEY=VALUE`},
		{"set 9.9 queue-length=8", 1, `no export is meant by 9\.9`},
		{"set eth7 log-level=debug", 1, `no export and no interface is meant by eth7`},
		{"set log-level=loud", 2, `log-level "loud" is none of error, warn, info, debug`},
		{"set log-level=debug --save", 2, `--save does not keep the log level of the daemon or an interface; write level in \[log\]`},
		{"set 1.0 model=a model=b", 2, `model is given twice`},
		{"set 1.0 model=a --unset model", 2, `model is set and unset`},
		{"set 1.0 --unset model=a", 2, `--unset "model=a": is a key alone`},
		{"set 1.0 =8", 2, `argument "=8" is not KEY=VALUE`},
		{"announce 9.9", 1, `no export is meant by 9\.9`},
		{"reload file.toml", 2, `goaoe reload takes no arguments: the daemon knows its file, not 1 arguments`},
		{"reload --dry-run --discard-unsaved", 2, `leave one of them out`},
		{"diff a b c", 2, `goaoe diff takes at most two files`},
		{"diff a b --socket s", 2, `no daemon is asked when two files are compared`},
		{"diff nothere.toml", 2, `nothere\.toml: .*no such file`},
		{"diff nothere.toml nothere.toml", 2, `nothere\.toml: .*no such file`},
		{"clear", 2, `it is not said what to clear; goaoe clear config\|mask\|reserve PATTERN\.\.\., or goaoe clear stats`},
		{"clear everything", 2, `"everything" cannot be cleared; goaoe clear config\|mask\|reserve`},
		{"clear mask", 2, `no export is named; e\.g\. goaoe clear mask 1\.0; all of them: goaoe clear mask '\*'`},
		{"clear config 9.9", 1, `no export is meant by 9\.9`},
		{"clear config 1.0 --force", 2, `unknown flag: --force`},
		{"status 1.0", 2, `goaoe status takes no arguments; goaoe show is about exports`},
		{"interfaces eth0", 2, `goaoe interfaces takes no arguments`},
		{"lss", 2, `there is no command "lss"; did you mean .*ls`},
	} {
		m := newMadeUp(t)
		code, stdout, stderr := call(strings.Fields(tt.args)...)
		line := strings.TrimSuffix(strings.TrimPrefix(stderr, "goaoe: "), "\n")
		if code != tt.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(tt.want).MatchString(line) {
			t.Errorf("goaoe %s: status %d, want %d; stdout %q, stderr %q; want %s", tt.args, code, tt.code, stdout, stderr, tt.want)
		}
		if got := asked(m); got != "" {
			t.Errorf("goaoe %s asks the daemon: %s", tt.args, got)
		}
	}
}

// TestDiffFiles: two files are compared without a daemon, of whatever format; one with what is in force.
func TestDiffFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const one = "[[export]]\naddress = \"0.1\"\nsource = \"/dev/a\"\ninterfaces = [\"eth0\"]\n"
	const two = "[[export]]\naddress = \"0.2\"\nsource = \"/dev/b\"\ninterfaces = [\"eth0\"]\n"
	a, b := write("a.toml", one+two), write("b.toml", strings.Replace(one, "eth0", "eth1", 1)+"model = \"x\"\n")
	bad := write("bad.toml", one+"colour = 1\n")
	foreign := write("ggaoed.conf", "[defaults]\ninterfaces = eth0\n[disk]\npath = /dev/a\nshelf = 0\nslot = 1\n")
	t.Setenv(control.SocketEnv, filepath.Join(dir, "none"))
	check := func(code int, want string, args ...string) {
		t.Helper()
		got, stdout, stderr := call(append([]string{"diff"}, args...)...)
		if text := stdout + stderr; got != code || !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("goaoe diff %s: status %d, want %d: %q, want %s", args, got, code, text, want)
		}
	}
	check(0, `^nothing to change; 2 exports as before\n$`, a, a)
	check(1, `^~ e0\.1 +interfaces eth0 -> eth1 +interrupts I/O: it is opened anew.*\n~ e0\.1 +model none -> x\n- e0\.2 +/dev/b +ends I/O\n2 changes; 0 exports as before\n$`, a, b)
	check(2, `bad\.toml:5:1: error: .*colour.*\n.*nothing would be changed`, a, bad)
	check(2, `bad\.toml:5:1: error: .*colour`, bad, a)
	check(1, `\+ e0\.2 +/dev/b`, foreign, a)
	check(10, `no daemon is running`)
	check(10, `no daemon is running`, a, "--socket", filepath.Join(dir, "other"))

	root := filepath.Join(dir, "root") // where the usual file is
	write("root/etc/goaoe/goaoe.toml", one+two)
	write("root/etc/goaoe/conf.d/e0.3.toml", strings.ReplaceAll(two, "0.2", "0.3"))
	var out, talk strings.Builder
	code := Run(&Env{Stdout: &out, Stderr: &talk, Sysroot: root}, []string{"diff", b})
	if code != 1 || strings.Contains(out.String(), "e0.3") || !strings.Contains(out.String(), "- e0.2") || !strings.Contains(talk.String(), "no daemon is running; comparing with "+root) {
		t.Errorf("with the usual file: status %d, %q, %q", code, out.String(), talk.String())
	}

	m := newMadeUp(t) // has two exports; what was set at run time stays
	m.config, m.status.Config = one+strings.Replace(two, "/dev/b", "/dev/c", 1), a
	m.exports = []control.Export{{Address: "e0.1", Origin: a + ":1"}, {Address: "e0.2", Origin: a + ":5", Unsaved: true, Origins: map[string]string{"source": "run time"}}}
	check(0, `nothing to change; 1 export as before\n.*was changed at run time`, a)
	m.exports[1].Unsaved = false
	check(1, `~ e0\.2 +source /dev/c -> /dev/b`, a)
	m.config = "rubbish"
	check(1, `what the daemon has in force cannot be read`, a)
}

// TestControlCompletion: what the tab key offers for the commands of a running daemon.
func TestControlCompletion(t *testing.T) {
	newMadeUp(t)
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"rm", "e0"}, "e0.1"},
		{[]string{"rm", "e0.1", ""}, "e1.1"},
		{[]string{"set", "e0.1", "queue"}, "queue-length="},
		{[]string{"set", "e0.1", "read-only="}, "read-only=true"},
		{[]string{"set", "--unset", ""}, "accept"},
		{[]string{"add", "1.0", "/dev/sdb", "-o", ""}, "queue-length="},
		{[]string{"add", "1.0", "/dev/sdb", "--set", "io-engine="}, "io-engine=io_uring"},
		{[]string{"add", "1.0", "/dev/sdb", "--set", "write-now="}, "write-now=auto"},
		{[]string{"add", "1.0", "/dev/sdb", "--write-now="}, "auto"},
		{[]string{"ls", "--sort", ""}, "initiators"},
		{[]string{"ls", "-o", ""}, "wide"},
		{[]string{"clear", ""}, "reserve"},
		{[]string{"clear", "mask", ""}, "e1.2"},
	} {
		if got, _ := completions(t, Env{}, tt.words...); !slices.Contains(got, tt.want) {
			t.Errorf("%q lacks %q: %q", tt.words, tt.want, got)
		}
	}
}
