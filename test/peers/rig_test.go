// Package peers has the programs of others talk to goaoe: Debian's aoetools, as their users type them, in a network
// namespace joined to the target's by a virtual link.
package peers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"goaoe/internal/testnet"
	"goaoe/test/need"
	"goaoe/test/program"
)

func TestMain(m *testing.M) {
	os.Setenv("GOAOE_SOCKET", "off") // several targets run at the same time
	program.Main(m)
}

// rig is a pair of namespaces with goaoe serving in one of them, on t0, t1 ...; the tools run in the other, on h0, h1 ...
type rig struct {
	t      *testing.T
	bin    string // goaoe
	target string // namespace
	host   string // namespace
	middle string // namespace of what lies between them, when something does
	log    *program.Log
}

var rigs atomic.Int32

// newRig makes the namespaces and n links of that MTU, starts goaoe with the arguments and waits for its ready line.
// In args, DIR stands for a folder that is removed at the end. All is removed when the test ends.
func newRig(t *testing.T, mtu, n int, args ...string) *rig {
	t.Helper()
	r := emptyRig(t)
	for i := range n {
		ti, hi := fmt.Sprintf("t%d", i), fmt.Sprintf("h%d", i)
		command(t, "ip", "link", "add", ti, "netns", r.target, "mtu", fmt.Sprint(mtu), "type", "veth", "peer", "name", hi, "netns", r.host, "mtu", fmt.Sprint(mtu))
		command(t, "ip", "-n", r.target, "link", "set", ti, "up")
		command(t, "ip", "-n", r.host, "link", "set", hi, "up")
	}
	r.start(r.bin, args)
	return r
}

// emptyRig makes the namespaces, without links or a target.
func emptyRig(t *testing.T) *rig {
	t.Helper()
	need.Root(t)
	need.Linux(t, "")
	need.Programs(t, "ip", "timeout", "aoeping", "aoecfg", "aoe-sancheck")
	bin := program.Goaoe(t)
	id := fmt.Sprintf("goaoe-%d-%d", os.Getpid(), rigs.Add(1))
	r := &rig{t: t, bin: bin, target: id + "-t", host: id + "-h", middle: id + "-m", log: &program.Log{}}
	for _, ns := range []string{r.target, r.host, r.middle} {
		command(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { command(t, "ip", "netns", "del", ns) })
		command(t, "ip", "netns", "exec", ns, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true")
	}
	return r
}

func (r *rig) start(bin string, args []string) {
	t := r.t
	t.Helper()
	c := exec.Command("ip", append([]string{"netns", "exec", r.target, bin}, args...)...)
	c.Stdout, c.Stderr = r.log, r.log
	if err := testnet.Start(c); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("goaoe ended with %v after SIGTERM", err)
			}
		case <-time.After(15 * time.Second):
			c.Process.Kill()
			<-ended
			t.Errorf("goaoe did not end within 15 s of SIGTERM")
		}
		if t.Failed() {
			t.Logf("log of goaoe:\n%s", r.log)
		}
	})
	for range 200 {
		if l := r.log.String(); strings.Contains(l, "not served") {
			t.Fatalf("goaoe does not serve what it should:\n%s", l)
		} else if strings.Contains(l, "ready") || strings.Contains(l, " sectors") {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("goaoe ended at once: %v\n%s", err, r.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("goaoe is not ready after 10 s:\n%s", r.log)
}

// do runs a tool in the host's namespace, for 30 s at most, and returns its exit status (124: time-out) and output. in is
// its standard input.
func (r *rig) do(in string, args ...string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", r.host, "timeout", "30"}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	c.Stdin = strings.NewReader(in)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && c.ProcessState == nil {
		r.t.Fatalf("%s: %v", args[0], err)
	}
	code := c.ProcessState.ExitCode()
	r.t.Logf("$ %s  (exit status %d)\n%s", strings.Join(args, " "), code, out.String())
	return code, out.String()
}

// ok is do for a tool that has to succeed; all the texts have to be in its output.
func (r *rig) ok(texts []string, args ...string) string {
	r.t.Helper()
	code, out := r.do("", args...)
	if code != 0 {
		r.t.Errorf("%s: exit status %d", strings.Join(args, " "), code)
	}
	for _, s := range texts {
		if !strings.Contains(out, s) {
			r.t.Errorf("%s: no %q in its output", strings.Join(args, " "), s)
		}
	}
	return out
}

// quiet fails the test when the target has complained.
func (r *rig) quiet() {
	r.t.Helper()
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			r.t.Errorf("the target complained: %s", line)
		}
	}
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// image makes a sparse file.
func image(t *testing.T, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}
