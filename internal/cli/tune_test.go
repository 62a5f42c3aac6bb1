package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"goaoe/internal/tune"
)

// TestTune: the command over a made-up machine: what it prints, what it changes, what it leaves alone, and how it ends.
func TestTune(t *testing.T) {
	root := sysTree(t, map[string]string{
		"etc/goaoe/goaoe.toml":     "[defaults]\ninterfaces = [\"eth1\"]\n[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\nqueue-length = 200\n",
		"sys/class/net/eth1/mtu":   "9000\n",
		"sys/class/net/eth1/speed": "1000\n", "sys/class/net/eth1/ifindex": "2\n", "sys/class/net/eth1/tx_queue_len": "10\n", "sys/class/net/eth2/mtu": "1500\n", "sys/class/net/eth2/ifindex": "3\n",
		"proc/sys/net/core/netdev_max_backlog": "100\n", "proc/sys/net/core/busy_poll": "50\n", "proc/sys/kernel/io_uring_disabled": "2\n", "proc/sys/net/core/wmem_max": "4194304\n",
	})
	socket := filepath.Join(t.TempDir(), "none.sock")
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := Run(&Env{Stdout: &out, Stderr: &errs, Sysroot: root}, append([]string{"tune", "--socket", socket}, args...)); got != code {
			t.Errorf("%q: exit %d, want %d: %s%s", args, got, code, &out, &errs)
		}
		return out.String(), errs.String()
	}
	out, _ := run(ExitOK, "--only", "queue,backlog,io-uring,sockets,mtu")
	for _, want := range []string{
		"note     queue eth1: 10 frames may wait to be sent\n         better: 1000\n         why: ", "         do: ip link set dev eth1 txqueuelen 1000\n",
		"note     backlog: net.core.netdev_max_backlog is 100\n         better: 512\n", "note     io-uring: nobody may use io_uring: ", "         your choice (--only io-uring): sysctl -w kernel.io_uring_disabled=0\n",
		"         your choice (--only sockets): sysctl -w net.core.busy_poll=0\n", "2 to change (goaoe tune --apply), 2 to choose, 0 by hand, 1 fine\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "ok  ") || strings.Contains(out, "eth2") {
		t.Errorf("%s", out)
	}
	if out, _ = run(ExitOK, "-v", "--only", "mtu"); !strings.Contains(out, "ok       mtu eth1: MTU 9000\n") {
		t.Errorf("%s", out)
	}
	if out, _ = run(ExitOK, "eth2", "--only", "mtu"); !strings.Contains(out, "note     mtu eth2: MTU 1500, 2 sectors in a frame\n") {
		t.Errorf("%s", out)
	}
	if read("sys/class/net/eth1/tx_queue_len") != "10" || read("proc/sys/kernel/io_uring_disabled") != "2" {
		t.Error("something was changed without --apply")
	}
	out, _ = run(ExitOK, "--json", "--only", "queue")
	var r tuneReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || !r.OK || len(r.Advice) != 1 || r.Advice[0].How != tune.Auto || r.Advice[0].Command == "" || r.Advice[0].Why == "" || len(r.Results) != 0 {
		t.Errorf("%v %+v", err, r)
	}

	// Without its topic a choice is left alone.
	out, _ = run(ExitOK, "--apply")
	for _, want := range []string{"done     queue eth1: ip link set dev eth1 txqueuelen 1000 (was 10)\n", "2 of 2 changes made\n",
		"To take back what was done:\n  sysctl -w net.core.netdev_max_backlog=100\n  ip link set dev eth1 txqueuelen 10\n",
		"The next boot forgets it. To keep it, take it back and make it again with --persist.\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if read("sys/class/net/eth1/tx_queue_len") != "1000" || read("proc/sys/net/core/netdev_max_backlog") != "512" || read("proc/sys/net/core/busy_poll") != "50" || read("proc/sys/kernel/io_uring_disabled") != "2" {
		t.Error("the changes are not made, or one too many")
	}
	if out, _ = run(ExitOK, "--apply"); !strings.HasPrefix(out, "0 of 0 changes made\n") {
		t.Errorf("a second time: %s", out)
	}
	out, _ = run(ExitOK, "--apply", "--persist", "--only", "sockets")
	if !strings.Contains(out, "         kept in "+tune.SysctlFile+"\n") || !strings.Contains(out, "  rm "+tune.SysctlFile+"\n") || strings.Contains(out, "forgets") ||
		!strings.Contains(read(tune.SysctlFile), "net.core.busy_poll = 0") {
		t.Errorf("%s", out)
	}
	out, _ = run(ExitOK, "eth2", "--mtu", "9000", "--only", "mtu", "--apply", "--persist")
	if read("sys/class/net/eth2/mtu") != "9000" || !strings.Contains(out, "  ip link set dev eth2 mtu 1500\n") || !strings.Contains(out, "not kept: no file that is read at boot can set it") {
		t.Errorf("%s", out)
	}

	_, errs := run(ExitUsage, "--only", "heart")
	if !strings.Contains(errs, `there is no topic "heart"; the topics are mtu, ring`) {
		t.Error(errs)
	}
	for _, c := range []struct{ args, want string }{
		{"--persist", "--persist keeps what --apply changes; goaoe tune --apply --persist"},
		{"--mtu 9000", "--mtu is for interfaces that are named; e.g. goaoe tune eth1 --mtu 9000 --only mtu --apply"},
		{"eth1 --mtu 9000 --only ring --apply", "--mtu 9000: --only leaves the topic mtu out; --only mtu,ring"},
		{"-c " + filepath.Join(root, "none.toml"), "none.toml"},
		{"eth1 --mtu 70000", "--mtu 70000: must be "},
	} {
		if _, errs := run(ExitUsage, strings.Fields(c.args)...); !strings.Contains(errs, c.want) {
			t.Errorf("%s: %s", c.args, errs)
		}
	}
	if _, errs := run(ExitFailure, "eth9"); errs != "goaoe: there is no interface eth9; ip link shows those that are there\n" {
		t.Error(errs)
	}
	if err := os.WriteFile(filepath.Join(root, "none.toml"), []byte("[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\ninterfaces = [\"eth7\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs = run(ExitOK, "-c", filepath.Join(root, "none.toml"), "--only", "mtu,queue")
	if strings.Contains(out, "eth1") || !strings.Contains(errs, "no interface of "+filepath.Join(root, "none.toml")+" is there: only the machine as a whole is looked at") {
		t.Errorf("a file that is named: %s%s", out, errs)
	}
	if out, _ = run(ExitOK, "--list"); strings.Count(out, "\n") != len(tune.Topics) {
		t.Errorf("%s", out)
	}
	out, _ = run(ExitOK, "--list", "--json")
	var topics []tune.TopicHelp
	if err := json.Unmarshal([]byte(out), &topics); err != nil || !slices.Equal(topics, tune.Topics) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTuneCounts: what nothing can be done about is not fine.
func TestTuneCounts(t *testing.T) {
	var out bytes.Buffer
	printAdvice(&Env{Stdout: &out}, []tune.Advice{{Topic: tune.URing, Level: tune.Note, Is: "too old"}, {Topic: tune.MTU, Level: tune.OK}}, false)
	if want := "note     io-uring: too old\n0 to change (goaoe tune --apply), 0 to choose, 1 by hand, 1 fine\n"; out.String() != want {
		t.Errorf("%q", &out)
	}
}

// TestTuneFails: a failed change has its status, and what was done is said.
func TestTuneFails(t *testing.T) {
	root := sysTree(t, map[string]string{"sys/class/net/eth1/mtu": "9000\n", "sys/class/net/eth1/ifindex": "2\n", "sys/class/net/eth1/tx_queue_len": "10\n"})
	if err := os.MkdirAll(filepath.Join(root, "proc/sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/sys/kernel/ngroups_max", filepath.Join(root, "proc/sys/kernel/io_uring_disabled")); err != nil { // read-only, for root too
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	env := &Env{Stdout: &out, Stderr: &errs, Sysroot: root}
	if code := Run(env, []string{"tune", "eth1", "--apply", "--only", "queue,io-uring", "--socket", filepath.Join(root, "none")}); code != ExitPartly {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"done     queue eth1: ", "failed   io-uring: sysctl -w kernel.io_uring_disabled=0: ", "1 of 2 changes made\n", "To take back what was done:\n  ip link set dev eth1 txqueuelen 10\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s%s", want, &out, &errs)
		}
	}
	out.Reset()
	if code := Run(env, []string{"tune", "eth1", "--apply", "--only", "io-uring", "--json", "--socket", filepath.Join(root, "none")}); code != ExitFailure {
		t.Errorf("exit %d when nothing could be done", code)
	}
	var r tuneReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.OK || len(r.Results) != 1 || r.Results[0].Error == "" || r.Results[0].Undo != "" {
		t.Errorf("%v %+v", err, r)
	}
}
