// Package attach puts programs that speak NBD before goaoe attach: qemu-img, qemu-io, nbdinfo, nbdcopy and fio, with goaoe and Debian's vblade
// as targets, in a network namespace joined to the target's by virtual links. The kernel's NBD driver is tested in test/guest.
package attach

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/internal/testnet"
	"goaoe/test/need"
	"goaoe/test/program"
)

func TestMain(m *testing.M) {
	if line := os.Getenv(quirksEnv); line != "" {
		fmt.Fprintln(os.Stderr, runQuirks(line))
		os.Exit(1)
	}
	os.Setenv("GOAOE_SOCKET", "off") // several targets run at the same time
	program.Main(m)
}

// rig is a pair of namespaces: a target on t0, t1 ... in one, goaoe attach on h0, h1 ... in the other.
type rig struct {
	t            *testing.T
	bin, dir     string
	target, host string // namespaces
	image        string
	kind         string // goaoe, vblade, or quirks (see runQuirks)
	links        int
	running      []*exec.Cmd
}

var rigs atomic.Int32

// newRig makes the namespaces and links and an image of that size; start starts the target.
func newRig(t *testing.T, kind string, links int, size int64) *rig {
	t.Helper()
	need.Root(t)
	need.Linux(t, "")
	need.Programs(t, "ip", "vblade", "qemu-img", "qemu-io", "nbdinfo", "nbdcopy", "fio")
	bin := program.Goaoe(t)
	id := fmt.Sprintf("goaoe-attach-%d-%d", os.Getpid(), rigs.Add(1))
	r := &rig{t: t, bin: bin, dir: t.TempDir(), target: id + "-t", host: id + "-h", kind: kind, links: links}
	r.image = filepath.Join(r.dir, "disk.img")
	if err := os.WriteFile(r.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.image, size); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{r.target, r.host} {
		r.must("ip", "netns", "add", ns)
		t.Cleanup(func() { r.must("ip", "netns", "del", ns) })
		r.must("ip", "netns", "exec", ns, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true")
	}
	for i := range links {
		r.link(i)
	}
	t.Cleanup(r.kill)
	return r
}

// link makes the link of that number.
func (r *rig) link(i int) {
	r.t.Helper()
	ti, hi := fmt.Sprintf("t%d", i), fmt.Sprintf("h%d", i)
	r.must("ip", "link", "add", ti, "netns", r.target, "mtu", "9000", "type", "veth", "peer", "name", hi, "netns", r.host, "mtu", "9000")
	r.must("ip", "-n", r.target, "link", "set", ti, "up")
	r.must("ip", "-n", r.host, "link", "set", hi, "up")
}

func (r *rig) must(name string, args ...string) string {
	r.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start starts the target: vblade once for each link.
func (r *rig) start() {
	r.t.Helper()
	var lines [][]string
	switch r.kind {
	case "vblade":
		for i := range r.links {
			lines = append(lines, []string{"vblade", "-b", "64", "0", "1", fmt.Sprintf("t%d", i), r.image})
		}
	case "quirks":
		self, err := os.Executable()
		if err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, []string{"env", quirksEnv + "=t0 " + r.image, self})
	default:
		interfaces := make([]string, r.links)
		for i := range interfaces {
			interfaces[i] = fmt.Sprintf("%q", fmt.Sprintf("t%d", i))
		}
		file := filepath.Join(r.dir, "goaoe.toml")
		text := fmt.Sprintf("[global]\nstate-directory = %q\n[log]\nlevel = \"error\"\n[[export]]\naddress = \"0.1\"\nsource = %q\ninterfaces = [%s]\ndiscard = true\n",
			filepath.Join(r.dir, "state"), r.image, strings.Join(interfaces, ", "))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, []string{r.bin, "serve", "-c", file})
	}
	for _, l := range lines {
		c := exec.Command("ip", append([]string{"netns", "exec", r.target}, l...)...)
		if err := testnet.Start(c); err != nil {
			r.t.Fatal(err)
		}
		r.running = append(r.running, c)
	}
}

// kill kills the target.
func (r *rig) kill() {
	for _, c := range r.running {
		c.Process.Kill()
		c.Wait()
	}
	r.running = nil
}

// run runs a program in the host's namespace for a minute at most, and returns exit status and output. HERE stands for the rig's folder.
func (r *rig) run(name string, args ...string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	line := []string{"netns", "exec", r.host, name}
	for _, a := range args {
		line = append(line, strings.ReplaceAll(a, "HERE", r.dir))
	}
	c := exec.CommandContext(ctx, "ip", line...)
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && c.ProcessState == nil {
		r.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

// ok is run for what must succeed.
func (r *rig) ok(name string, args ...string) string {
	r.t.Helper()
	code, out := r.run(name, args...)
	if code != 0 {
		r.t.Fatalf("%s %s: exit status %d\n%s", name, strings.Join(args, " "), code, out)
	}
	return out
}

// attach attaches e0.1 on a socket, until the end of the test.
func (r *rig) attach(args ...string) {
	r.t.Helper()
	out := r.ok(r.bin, append([]string{"attach", "--run-dir", "HERE/run", "--server", "e0.1"}, args...)...)
	if !strings.Contains(out, "e0.1 is nbd+unix:///?socket="+r.dir+"/run/e0.1.sock") {
		r.t.Fatalf("attach said %q", out)
	}
	r.t.Cleanup(func() { r.run(r.bin, "detach", "--force", "--run-dir", "HERE/run", "e0.1") })
}

const uri = "nbd+unix:///?socket=HERE/run/e0.1.sock"

// status is what goaoe attached tells of e0.1, as far as the tests look at it.
type status struct {
	Address, State, Socket string
	PID                    int
	Size                   int64
	Flush                  bool
	Users                  []string
	Paths                  []struct{ Interface, State string }
	Clients                []struct{ Reads, Writes, Errors uint64 }
}

func (r *rig) status() *status {
	r.t.Helper()
	var l []status
	out := r.ok(r.bin, "attached", "--run-dir", "HERE/run", "--json")
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		r.t.Fatalf("%v:\n%s", err, out)
	}
	if len(l) == 0 {
		return nil
	}
	return &l[0]
}

// moving waits until the clients' requests go on.
func (r *rig) moving() {
	r.t.Helper()
	count := func() (n uint64) {
		for _, c := range r.status().Clients {
			n += c.Reads + c.Writes
		}
		return n
	}
	before := count()
	r.eventually("the load moves", func() bool { return count() > before+500 })
}

func (r *rig) eventually(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(40 * time.Second); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within 40 s: %s; status %+v", what, r.status())
		}
	}
}

// load is a fio job that writes and verifies until told to stop.
type load struct {
	r   *rig
	c   *exec.Cmd
	out bytes.Buffer
}

func (r *rig) load(seconds int) *load {
	r.t.Helper()
	l := &load{r: r, c: exec.Command("ip", "netns", "exec", r.host, "fio", "--name=load", "--ioengine=nbd", "--uri="+strings.ReplaceAll(uri, "HERE", r.dir),
		"--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=16M", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=256", "--randrepeat=0",
		"--time_based", fmt.Sprintf("--runtime=%d", seconds), "--verify_state_save=0")}
	l.c.Stdout, l.c.Stderr = &l.out, &l.out
	if err := testnet.Start(l.c); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.c.Process.Kill() })
	r.eventually("fio is there", func() bool { return len(r.status().Clients) > 0 })
	return l
}

// end waits for the load, which must have seen no error.
func (l *load) end() {
	l.r.t.Helper()
	if err := l.c.Wait(); err != nil || strings.Contains(l.out.String(), "error=") || !strings.Contains(l.out.String(), "err= 0") {
		l.r.t.Errorf("fio: %v\n%s", err, &l.out)
	}
}

// random makes a file of random bytes.
func (r *rig) random(name string, n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	rand.Read(b)
	if err := os.WriteFile(filepath.Join(r.dir, name), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return b
}
