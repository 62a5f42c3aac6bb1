package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/cli/figures"
	"goaoe/internal/cli/frames"
	"goaoe/internal/testnet"
	"goaoe/test/need"
)

// watchRig is a daemon in a namespace of its own, and commands that talk to it.
type watchRig struct {
	t      *testing.T
	ns     *testnet.NS
	a, b   string
	dir    string
	goaoe  string // this program under the name goaoe
	daemon *watchProc
}

// watchProc is a command that runs as a process.
type watchProc struct {
	cmd      *exec.Cmd
	out, err output
}

func newWatchRig(t *testing.T) *watchRig {
	ns, a, b := testnet.Pair(t, 9000)
	r := &watchRig{t: t, ns: ns, a: a, b: b, dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.goaoe = filepath.Join(r.dir, "goaoe")
	if err := os.Symlink(self, r.goaoe); err != nil {
		t.Fatal(err)
	}
	for _, disk := range []string{"disk2"} {
		if err := os.WriteFile(filepath.Join(r.dir, disk), make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf(`
[global]
state-directory = "DIR/state"
[metrics]
listen = "127.0.0.1:9480"
[[export]]
address = "1.0"
name = "mail"
source = "mem:8M"
interfaces = [%q]
[[export]]
address = "1.1"
source = "DIR/disk2"
interfaces = [%q, "later0"]
`, a, a)
	if err := os.WriteFile(filepath.Join(r.dir, "goaoe.toml"), []byte(strings.ReplaceAll(config, "DIR", r.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *watchRig) socket() string { return filepath.Join(r.dir, "sock") }

// process starts goaoe with args in the namespace.
func (r *watchRig) process(args ...string) *watchProc {
	r.t.Helper()
	p := &watchProc{cmd: &exec.Cmd{Path: r.goaoe, Args: append([]string{"goaoe"}, args...), Dir: r.dir, Env: append(os.Environ(), "GOAOE_SOCKET="+r.socket())}}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	r.ns.Start(p.cmd)
	r.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended
		_ = p.cmd.Wait()
	})
	return p
}

// onTheWire waits until a process has a socket open: then it has also got to catching signals.
func (r *watchRig) onTheWire(p *watchProc) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "socket:") {
				return
			}
		}
		if time.Now().After(end) {
			r.t.Fatalf("%v has no socket open", p.cmd.Args)
		}
	}
}

// end sends a signal (0: none) and returns the exit status.
func (r *watchRig) end(p *watchProc, s unix.Signal) int {
	r.t.Helper()
	if s != 0 {
		_ = p.cmd.Process.Signal(s)
	}
	timer := time.AfterFunc(2*time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		r.t.Fatalf("%v: %v", p.cmd.Args, err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// goaoe runs a command to its end.
func (r *watchRig) run(status int, args ...string) (stdout, stderr string) {
	r.t.Helper()
	p := r.process(args...)
	if code := r.end(p, 0); code != status {
		r.t.Errorf("goaoe %v: status %d, want %d\n%s%s", args, code, status, &p.out, &p.err)
	}
	return p.out.String(), p.err.String()
}

func (r *watchRig) serve() {
	r.t.Helper()
	r.daemon = r.process("serve", "-c", "goaoe.toml")
	r.daemon.err.wait(r.t, `goaoe: ready: 2 exports on 1 interface`)
	r.daemon.err.wait(r.t, `ready`)
}

// load reads and writes 4 KiB so many times. It returns the initiator's address and how often it had to send a request again: on a
// busy machine as many requests may be done twice.
func (r *watchRig) load(slot uint8, reads, writes int) (mac string, again uint64) {
	r.t.Helper()
	r.ns.Do(func() {
		d, err := initiator.Open(context.Background(), aoe.Addr{Major: 1, Minor: slot}, initiator.Options{Interfaces: []string{r.b}, Sectors: 8, Timeout: 20 * time.Second})
		if err != nil {
			r.t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		p := make([]byte, 4096)
		for i := range reads - 1 { // the first was that of Open, which tries whether frames of 8 sectors pass
			if _, err := d.ReadAt(p, int64(i)*4096); err != nil {
				r.t.Fatal(err)
			}
		}
		for i := range writes {
			if _, err := d.WriteAt(p, int64(i)*4096); err != nil {
				r.t.Fatal(err)
			}
		}
		again = d.Stats().Retransmits
	})
	for _, n := range linksIn(r.t, r.ns) {
		if n[0] == r.b {
			mac = n[1]
		}
	}
	return mac, again
}

// linksIn lists names and addresses in a namespace.
func linksIn(t *testing.T, ns *testnet.NS) (out [][2]string) {
	t.Helper()
	var b []byte
	ns.Do(func() {
		var err error
		if b, err = exec.Command("ip", "-json", "link").Output(); err != nil {
			t.Fatal(err)
		}
	})
	var list []struct{ Ifname, Address string }
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		out = append(out, [2]string{l.Ifname, l.Address})
	}
	return out
}

// lines decodes JSON, one object per line.
func lines[T any](t *testing.T, text string) (out []T) {
	t.Helper()
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		var v T
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%v: %q", err, l)
		}
		out = append(out, v)
	}
	return out
}

// TestWatching: what stats, monitor, trace and the metrics show of a load is what the load did.
func TestWatching(t *testing.T) {
	need.Programs(t, "ip", "tshark", "curl")
	const reads, writes = 150, 70
	r := newWatchRig(t)
	r.serve()
	monitor := r.process("monitor", "0.1", "mail", "--json")
	monitor.out.wait(t, `(?s)"name".*"name"`)
	live := r.process("trace", "--json", "mail")
	file := r.process("trace", "-w", "trace.pcapng", "e1.0", "--command", "read,write")
	time.Sleep(300 * time.Millisecond) // nothing says when a trace has begun
	mac, again := r.load(0, reads, writes)
	time.Sleep(250 * time.Millisecond) // a report of the monitor after the load
	for _, p := range []*watchProc{monitor, live, file} {
		if code := r.end(p, unix.SIGINT); code != 0 {
			t.Errorf("%v: status %d\n%s", p.cmd.Args, code, &p.err)
		}
	}

	out, _ := r.run(0, "stats", "mail", "--json")
	var s struct {
		Exports []struct {
			Address                    string
			Reads, Writes, Retransmits uint64
			ReadBytes                  uint64 `json:"read_bytes"`
			WriteBytes                 uint64 `json:"write_bytes"`
			Quantiles                  map[string]figures.Quantiles
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Exports) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	e := s.Exports[0]
	near := func(got, want uint64) bool { return got >= want && got <= want+again }
	if e.Address != "e1.0" || !near(e.Reads, reads) || !near(e.Writes, writes) || e.ReadBytes != e.Reads*4096 || e.WriteBytes != e.Writes*4096 ||
		e.Quantiles["read"].Count != e.Reads || e.Quantiles["write"].Count != e.Writes || e.Quantiles["read"].P50 <= 0 ||
		e.Quantiles["read"].Max < e.Quantiles["read"].P50 {
		t.Errorf("stats: %+v, with %d sent again", e, again)
	}
	if out, _ = r.run(0, "stats", "--by", "initiator", mac); !strings.Contains(strings.Join(strings.Fields(out), " "), mac+" - e1.0 "+r.a) {
		t.Errorf("stats --by initiator:\n%s", out)
	}
	r.checkMonitor(monitor, float64(e.Reads), float64(e.Writes))
	r.checkTrace(live, file, mac, int(e.Reads), int(e.Writes), int(again))

	out, _ = r.run(0, "metrics")
	for _, want := range []string{
		fmt.Sprintf(`goaoe_export_requests_total{export="e1.0",op="read"} %d`, e.Reads),
		fmt.Sprintf(`goaoe_export_written_bytes_total{export="e1.0"} %d`, e.WriteBytes),
		fmt.Sprintf(`goaoe_export_latency_seconds_count{export="e1.0",op="write"} %d`, e.Writes),
		fmt.Sprintf(`goaoe_initiator_operations_total{export="e1.0",initiator=%q,name="",op="read"} %d`, mac, e.Reads),
		`goaoe_export_serving{export="e1.1"} 1`,
		fmt.Sprintf(`goaoe_interface_up{interface=%q} 1`, r.a),
		`goaoe_up 1`,
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("metrics: not there: %s", want)
		}
	}
	if !strings.Contains(out, `goaoe_waiting{reason="`) || !strings.Contains(out, "later0") {
		t.Errorf("metrics do not say that later0 is waited for")
	}
	r.checkListener()
	if code := r.end(r.daemon, unix.SIGTERM); code != 0 {
		t.Errorf("the daemon: status %d\n%s", code, &r.daemon.err)
	}
}

// checkMonitor: the reports of all intervals together are the load, but for the first one.
func (r *watchRig) checkMonitor(monitor *watchProc, reads, writes float64) {
	r.t.Helper()
	var gotReads, gotWrites, gotBytes float64
	for i, row := range lines[figures.Row](r.t, monitor.out.String()) {
		if row.Name != "e1.0" || row.Kind != "export" {
			r.t.Errorf("monitor shows %s %s", row.Kind, row.Name)
		}
		if i == 0 {
			continue
		}
		gotReads += *row.Reads * row.Interval
		gotWrites += *row.Writes * row.Interval
		gotBytes += *row.ReadBytes * row.Interval
	}
	if math.Abs(gotReads-reads) > .01 || math.Abs(gotWrites-writes) > .01 || math.Abs(gotBytes-reads*4096) > 1 {
		r.t.Errorf("monitor: %v reads of %v bytes and %v writes, want %v and %v", gotReads, gotBytes, gotWrites, reads, writes)
	}
}

// checkTrace: each request and its reply are in the trace and in the capture file, with the right addresses.
func (r *watchRig) checkTrace(live, file *watchProc, mac string, reads, writes, again int) {
	r.t.Helper()
	near := func(got, want int) bool { return got >= want && got <= want+again }
	asked, answered := map[string]int{}, map[string]int{}
	for i, f := range lines[frames.Frame](r.t, live.out.String()) {
		if f.Initiator != mac || f.Export != "e1.0" && f.Export != "e*.*" || f.Interface != r.a {
			r.t.Errorf("frame %d: %s", i, f.Line())
		}
		if !f.Out {
			asked[f.What]++
			if f.What == "read" && (f.LBA == nil || *f.LBA%8 != 0 || *f.Sectors != 8) {
				r.t.Errorf("frame %d: %s", i, f.Line())
			}
			continue
		}
		answered[f.What]++
		// How often Open asked for the configuration does not count as sent again; the second answer to a tag is to no question, and has no latency.
		if again == 0 && f.Latency == nil && f.Command != "config" || f.Latency != nil && (*f.Latency <= 0 || *f.Latency > int64(time.Minute)) || f.Result != frames.OK {
			r.t.Errorf("frame %d: %s", i, f.Line())
		}
	}
	if !near(asked["read"], reads) || !near(asked["write"], writes) || !near(reads, answered["read"]) || !near(writes, answered["write"]) || asked["identify"] == 0 {
		r.t.Errorf("trace: asked %v, answered %v", asked, answered)
	}
	file.err.wait(r.t, `^\d+ frames written to trace.pcapng\n$`)
	cmd := exec.Command("tshark", "-r", filepath.Join(r.dir, "trace.pcapng"), "-T", "fields", "-e", "frame.interface_name", "-e", "eth.src", "-e", "aoe.major",
		"-e", "aoe.minor", "-e", "aoe.response", "-e", "aoe.ata.cmd", "-e", "aoe.sector_count")
	cmd.Env = append(os.Environ(), "HOME="+r.dir)
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(l, "\t")
		if len(f) != 7 || f[0] != r.a || (f[1] == mac) != (f[4] == "0") || f[2] != "0x0001" || f[3] != "0x00" {
			r.t.Errorf("tshark: %q", l)
			continue
		}
		if f[4] == "0" {
			kinds[f[5]+" "+f[6]]++
		} else {
			kinds["reply"]++
		}
	}
	if !near(kinds["0x24 8"], reads) || !near(kinds["0x34 8"], writes) || !near(reads+writes, kinds["reply"]) {
		r.t.Errorf("tshark sees %v", kinds)
	}
	if out, _ := r.run(0, "stats", "--by", "lane"); !strings.Contains(out, "TURNS") {
		r.t.Errorf("stats --by lane:\n%s", out)
	}
}

// checkListener asks the daemon as Prometheus does.
func (r *watchRig) checkListener() {
	r.t.Helper()
	r.ns.Do(func() {
		out, err := exec.Command("curl", "-sS", "-m", "10", "http://127.0.0.1:9480/metrics").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("goaoe_up 1\n")) || !bytes.Contains(out, []byte("process_open_fds")) {
			r.t.Errorf("curl: %v: %.300s", err, out)
		}
	})
}

// TestWatchingComesBack: a daemon that goes away is said, and what watches goes on when it is back; what cannot go on ends with 10.
func TestWatchingComesBack(t *testing.T) {
	r := newWatchRig(t)
	for _, args := range [][]string{{"stats"}, {"monitor"}, {"trace"}, {"metrics"}} {
		if _, text := r.run(ExitNotRunning, args...); strings.Count(text, "\n") != 1 || !strings.Contains(text, "no daemon is running") {
			t.Errorf("goaoe %v: %s", args, text)
		}
	}
	r.serve()
	monitor := r.process("monitor", "0.1", "-t")
	monitor.out.wait(t, `(?m)^e1\.1 `)
	trace := r.process("trace")
	time.Sleep(200 * time.Millisecond)
	if code := r.end(r.daemon, unix.SIGTERM); code != 0 {
		t.Errorf("the daemon: status %d", code)
	}
	if code := r.end(trace, 0); code != ExitNotRunning {
		t.Errorf("trace: status %d\n%s", code, &trace.err)
	}
	monitor.err.wait(t, `(?m)^\d\d:\d\d:\d\d the daemon went away; waiting until it is back$`)
	r.serve()
	monitor.err.wait(t, `(?m)^\d\d:\d\d:\d\d the daemon is back$`)
	n := strings.Count(monitor.out.String(), "dev ")
	monitor.out.wait(t, fmt.Sprintf(`(?s)(dev .*){%d}`, n+2))
	if code := r.end(monitor, unix.SIGINT); code != 0 {
		t.Errorf("monitor: status %d\n%s", code, &monitor.err)
	}
	if n := strings.Count(monitor.err.String(), "\n"); n != 2 {
		t.Errorf("%d lines on stderr:\n%s", n, &monitor.err)
	}
	// Nobody reads any more: no error, no endless loop.
	rd, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &watchProc{cmd: &exec.Cmd{Path: r.goaoe, Args: []string{"goaoe", "monitor", "0.05"}, Env: append(os.Environ(), "GOAOE_SOCKET="+r.socket()), Stdout: wr}}
	p.cmd.Stderr = &p.err
	if err := testnet.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	_ = wr.Close()
	if _, err := rd.Read(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	_ = rd.Close()
	if code := r.end(p, 0); code != 0 || p.err.String() != "" {
		t.Errorf("with a closed pipe: status %d, %s", code, &p.err)
	}
}

// TestWatchingMistakes: each wrong call is one line.
func TestWatchingMistakes(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"stats --by colour", "--by colour: is one of export, interface, initiator, lane"},
		{"stats --by lane --histogram", "--histogram: only exports"},
		{"stats [", `"[" is not a valid name`},
		{"monitor 0", "INTERVAL 0: must be"},
		{"monitor NaN", "INTERVAL NaN: must be"},
		{"monitor 1e300", "INTERVAL 1e300: must be"},
		{"monitor -c -1", "-c -1: must be"},
		{"monitor -- -5", "INTERVAL -5: must be"},
		{"trace --command colour", "there is no such command; it is one of ata, config"},
		{"trace -c -1", "-c -1: must be"},
		{"trace --snap -2", "--snap -2: must be"},
		{"trace --json -w x", "exclude each other"},
		{"top", "goaoe top needs a terminal; goaoe monitor"},
		{"top -n 0", "-n 0: must be"},
		{"top -n x", "-n x: must be"},
		{"metrics x", "takes no arguments"},
	} {
		var stdout, stderr bytes.Buffer
		code := Run(&Env{Stdout: &stdout, Stderr: &stderr, Sysroot: t.TempDir()}, strings.Fields(tt.args))
		if code != ExitUsage || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("goaoe %s: status %d, %q, %q", tt.args, code, stdout.String(), stderr.String())
		}
	}
}
