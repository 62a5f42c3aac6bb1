// Package guest puts goaoe before real initiators: the aoe driver of a Linux kernel and iPXE, both in QEMU. See README.md.
package guest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goaoe/test/need"
)

// guestMAC is what `run` gives to the first network card of the guest.
const guestMAC = "52:54:00:ae:00:01"

// built is what the tests need, made once.
type built struct {
	dir           string
	goaoe, impair string
}

// build makes goaoe, the bad cable and, when it is not in the cache, the guest.
var build = sync.OnceValues(func() (built, error) {
	dir, err := os.MkdirTemp("", "goaoe-test-guest-")
	if err != nil {
		return built{}, err
	}
	b := built{dir: dir, goaoe: filepath.Join(dir, "goaoe"), impair: filepath.Join(dir, "impair")}
	for _, c := range [][]string{
		{"go", "build", "-o", b.goaoe, "goaoe/cmd/goaoe"},
		{"go", "build", "-o", b.impair, "goaoe/test/guest/impair"},
		{"harness/build"},
	} {
		cmd := exec.Command(c[0], c[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("%s: %w\n%s", strings.Join(c, " "), err, out)
		}
	}
	return b, nil
})

var wasBuilt bool

func TestMain(m *testing.M) {
	if job := os.Getenv(powerEnv); job != "" {
		if err := runPowerLoad(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Setenv("GOAOE_SOCKET", "off") // several targets run at the same time
	code := m.Run()
	if wasBuilt {
		if b, _ := build(); b.dir != "" {
			os.RemoveAll(b.dir)
		}
	}
	os.Exit(code)
}

// setUp skips (or in CI fails) the test where a guest cannot run, and returns what was built for it.
func setUp(t *testing.T) built {
	t.Helper()
	need.Root(t)
	need.Linux(t, "amd64")
	need.Programs(t, "bash", "qemu-system-x86_64", "ip", "unshare", "setpriv", "timeout", "cpio", "tcpdump", "fio", "mke2fs", "mkfs.xfs",
		"depmod", "xz", "zstd", "losetup", "flock")
	wasBuilt = true
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// peer is the target that the tests run against: goaoe, or vblade, which is there to try the harness itself.
func peer() string {
	if p := os.Getenv("GOAOE_GUEST_TARGET"); p != "" {
		return p
	}
	return "goaoe"
}

// goaoeOnly is for what other targets cannot do, or do wrong.
func goaoeOnly(t *testing.T) {
	t.Helper()
	if p := peer(); p != "goaoe" {
		t.Skipf("%s does not do this (GOAOE_GUEST_TARGET is set)", p)
	}
}

// export is one disk of a target.
type export struct {
	addr, path string
	more       string // further lines of its section
}

// serve returns the shell command of a target that serves the exports on the interfaces "t0", "t1" ...
func serve(t *testing.T, b built, interfaces []string, exports ...export) string {
	t.Helper()
	switch peer() {
	case "goaoe":
		return fmt.Sprintf("exec %s serve -c %s", b.goaoe, config(t, interfaces, exports...))
	case "vblade":
		var c []string
		for _, e := range exports {
			for _, i := range interfaces {
				shelf, slot, _ := strings.Cut(e.addr, ".")
				c = append(c, fmt.Sprintf("vblade %s %s %s %s &", shelf, slot, i, e.path))
			}
		}
		return strings.Join(c, " ") + " wait"
	}
	t.Fatalf("GOAOE_GUEST_TARGET=%q is not one of goaoe, vblade", peer())
	return ""
}

// config writes a configuration file, with a state directory of its own, and returns its path.
func config(t *testing.T, interfaces []string, exports ...export) string {
	t.Helper()
	dir := t.TempDir()
	var c strings.Builder
	fmt.Fprintf(&c, "[global]\nstate-directory = %q\n\n[defaults]\ninterfaces = [%q]\n", filepath.Join(dir, "state"), strings.Join(interfaces, `", "`))
	s := strings.ReplaceAll(c.String(), `\"`, `"`)
	for _, e := range exports {
		s += fmt.Sprintf("\n[[export]]\naddress = %q\nsource = %q\n%s\n", e.addr, e.path, e.more)
	}
	path := filepath.Join(dir, "goaoe.toml")
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// image makes a sparse file of that many bytes.
func image(t *testing.T, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

// scribble overwrites n bytes of the file from offset on with random ones, and returns them.
func scribble(t *testing.T, path string, offset, n int64) []byte {
	t.Helper()
	b := make([]byte, n)
	rand.Read(b)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
	return b
}

// loop makes a loop device of the file.
func loop(t *testing.T, path string) string {
	t.Helper()
	c := exec.Command("losetup", "--find", "--show", path)
	var complaint bytes.Buffer // it warns of an odd tail
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		need.Missing(t, fmt.Sprintf("needs a loop device: losetup: %v: %s", err, complaint.String()))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", dev, err, out)
		}
	})
	return dev
}

// job is one run of the guest.
type job struct {
	script  string   // below scripts/
	args    []string // of the script
	targets []string // shell commands
	nics    int      // 0: one
	mtu     int      // 0: 1500
	impair  string   // options of the bad cable; empty: a bridge
	limit   time.Duration
	add     []string // more files for the guest's /root
	cut     string   // image of a second disk, which loses what was not flushed when the power is cut
	noise   string   // pattern of lines in the target's log that are expected, beside the quiet ones
}

// result is what came out of it.
type result struct {
	out string   // what the script and the harness printed
	dir string   // what the script left in /out
	log []string // one for each target
}

// run boots the guest, fails the test when the script fails, and looks for complaints in the logs of the targets.
func (b built) run(t *testing.T, j job) result {
	t.Helper()
	dir := t.TempDir()
	if j.limit == 0 {
		j.limit = 2 * time.Minute
	}
	if j.nics == 0 {
		j.nics = 1
	}
	if j.mtu == 0 {
		j.mtu = 1500
	}
	r := result{dir: filepath.Join(dir, "out")}
	logs := filepath.Join(dir, "log")
	args := []string{"-m", strconv.Itoa(j.mtu), "-n", strconv.Itoa(j.nics), "-T", strconv.Itoa(int(j.limit.Seconds())),
		"-a", "scripts/lib.sh", "-o", r.dir, "-l", logs}
	for _, a := range j.add {
		args = append(args, "-a", a)
	}
	for _, c := range j.targets {
		args = append(args, "-t", c)
	}
	if j.cut != "" {
		args = append(args, "-c", j.cut)
	}
	if j.impair != "" {
		args = append(args, "-i", b.impair+" "+j.impair)
	}
	args = append(args, "scripts/"+j.script)
	code, out := execute(t, j.limit+30*time.Second, "harness/run", append(args, j.args...)...)
	r.out = out
	if j.cut != "" {
		r.out = killed.ReplaceAllString(out, "")
	}
	for i := range j.targets {
		l, _ := os.ReadFile(filepath.Join(logs, fmt.Sprintf("target%d.log", i)))
		r.log = append(r.log, string(l))
	}
	t.Logf("%s", r.out)
	if code != 0 {
		console, _ := os.ReadFile(filepath.Join(logs, "console.log"))
		t.Errorf("%s %s: exit status %d", j.script, strings.Join(j.args, " "), code)
		t.Logf("kernel console of the guest:\n%s", tail(string(console), 30))
		for i, l := range r.log {
			t.Logf("log of target %d:\n%s", i, tail(l, 60))
		}
	}
	for i, l := range r.log {
		for _, line := range complaints(l, j.noise) {
			t.Errorf("target %d complained: %s", i, line)
		}
	}
	for i := range j.nics {
		if l, err := os.ReadFile(filepath.Join(logs, fmt.Sprintf("impair%d.log", i))); err == nil {
			t.Logf("%s", l)
		}
	}
	return r
}

// killed is what bash says of processes that were killed, with their whole command line.
var killed = regexp.MustCompile(`(?m)^.*harness/run: line \d+: +\d+ Killed .*\n`)

// execute runs a program of the harness and returns its exit status and output.
func execute(t *testing.T, limit time.Duration, name string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // what it starts goes with it
	c.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

var complaint = regexp.MustCompile(`(?i)level=(warn|error)|\b(error|warning|fail(ed|ure)?|panic|fatal|goroutine \d+|cannot)\b`)

// complaints returns the lines of a log that speak of trouble, but for those that match expected.
func complaints(log, expected string) []string {
	var out []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if !complaint.MatchString(line) || expected != "" && regexp.MustCompile(expected).MatchString(line) {
			continue
		}
		out = append(out, line)
	}
	return out
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// readAt returns n bytes of the file from offset on.
func readAt(t *testing.T, path string, offset, n int64) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, offset, n))
	if err != nil || int64(len(b)) != n {
		t.Fatalf("reading %d bytes at %d of %s: got %d, %v", n, offset, path, len(b), err)
	}
	return b
}
