package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/test/need"
)

var update = flag.Bool("update", false, "write the golden files")

// madeUp is a daemon that says what a test wants, and keeps what it was asked.
type madeUp struct {
	status     control.Status
	exports    []control.Export
	interfaces []control.Interface
	plan       control.Plan
	config     string

	err    *control.Error            // of every call
	each   map[string]*control.Error // of a change or the like, by address
	notes  map[string]string         // of a success, by address
	delay  time.Duration             // of a change
	change []control.ChangeRequest   // what was asked, in order
	clear  []control.ClearRequest
	log    []control.LogRequest
	told   [][]aoe.Addr
	reload []control.ReloadRequest
}

// answer returns v, or the error of every call.
func answer[T any](m *madeUp, v T) (T, error) {
	if m.err != nil {
		var none T
		return none, m.err
	}
	return v, nil
}

func (m *madeUp) results(addresses []string) *control.ChangeReply {
	r := &control.ChangeReply{Results: []control.Result{}}
	for _, a := range addresses {
		x := control.Result{Address: a, Error: m.each[a]}
		if x.Error == nil {
			x.Note = m.notes[a]
		}
		r.Results = append(r.Results, x)
	}
	return r
}

func (m *madeUp) Status(context.Context) (*control.Status, error) { return answer(m, &m.status) }
func (m *madeUp) Exports(context.Context) ([]control.Export, error) {
	return answer(m, m.exports)
}
func (m *madeUp) Interfaces(context.Context) ([]control.Interface, error) {
	return answer(m, m.interfaces)
}
func (m *madeUp) Stats(context.Context) (*control.Stats, error) { return answer(m, &control.Stats{}) }
func (m *madeUp) Change(_ context.Context, r *control.ChangeRequest) (*control.ChangeReply, error) {
	m.change = append(m.change, *r)
	time.Sleep(m.delay)
	var list []string
	for _, c := range r.Changes {
		list = append(list, c.Address)
	}
	return answer(m, m.results(list))
}

func (m *madeUp) Announce(_ context.Context, list []aoe.Addr) (*control.ChangeReply, error) {
	m.told = append(m.told, list)
	var names []string
	for _, a := range list {
		names = append(names, a.String())
	}
	if len(list) == 0 {
		for _, e := range m.exports {
			names = append(names, e.Address)
		}
	}
	return answer(m, m.results(names))
}
func (m *madeUp) Plan(context.Context) (*control.Plan, error) { return answer(m, &m.plan) }
func (m *madeUp) Reload(_ context.Context, r *control.ReloadRequest) (*control.Plan, error) {
	m.reload = append(m.reload, *r)
	return answer(m, &m.plan)
}

func (m *madeUp) Clear(_ context.Context, r *control.ClearRequest) (*control.ChangeReply, error) {
	m.clear = append(m.clear, *r)
	return answer(m, m.results(r.Exports))
}

func (m *madeUp) SetLog(_ context.Context, r *control.LogRequest) error {
	m.log = append(m.log, *r)
	_, err := answer(m, 0)
	return err
}
func (m *madeUp) Config(context.Context) (string, error) { return answer(m, m.config) }
func (m *madeUp) Trace(context.Context, *control.TraceRequest, func(*control.TraceRecord) error) error {
	return nil
}

// someExports are exports in all states. seen is when initiators were there.
func someExports(seen time.Time) []control.Export {
	base := map[string]string{"source": "/dev/sdb", "interfaces": "eth1", "queue-length": "64", "read-only": "false", "write-cache": "false"}
	with := func(add ...string) map[string]string {
		out := map[string]string{}
		for k, v := range base {
			out[k] = v
		}
		for i := 0; i < len(add); i += 2 {
			out[add[i]] = add[i+1]
		}
		return out
	}
	const node1, node2, stranger = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:63"
	return []control.Export{
		{Address: "e0.1", Name: "mail", Source: "UUID=2b1c", Path: "/dev/sdb1", State: control.StateServing, Sectors: 1 << 31, Served: []string{"eth1", "eth2"},
			Serial: "0.1-abc", Origin: "/etc/goaoe/goaoe.toml:12", Revision: "r01", Unsaved: true, Settings: with("write-cache", "true", "direct-io", "true", "accept", node1, "source", "UUID=2b1c"),
			Origins: map[string]string{"write-cache": "run time", "direct-io": "/etc/goaoe/goaoe.toml:15:1"}, ConfigString: "a \"b\"\n", Mask: []string{node1, node2},
			Reserve: []string{node1}, Users: []control.User{{MAC: node1, Name: "node1", Interface: "eth1", LastSeen: seen, Reserved: true}, {MAC: stranger, LastSeen: seen}}},
		{Address: "e0.2", Source: "/srv/img", State: control.StateServing, Sectors: 2048, Served: []string{"eth1"}, Waiting: []string{"interface eth9 does not exist"},
			Origin: "/etc/goaoe/conf.d/e0.2.toml:2", Revision: "r02", Lane: 1, Settings: with("read-only", "true", "source", "/srv/img"), Mask: []string{}, Reserve: []string{},
			Users: []control.User{{MAC: node1}, {MAC: node2}, {MAC: stranger}}},
		{Address: "e1.0", Source: "/dev/sdz", State: control.StateWaiting, Why: "/dev/sdz does not exist", Origin: "run time", Revision: "r10", Settings: with(), Unsaved: true},
		{Address: "e1.1", Source: "/dev/sdy", State: control.StateFailed, Why: "/dev/sdy: input/output error", Revision: "r11", Settings: with()},
		{Address: "e1.2", Source: "mem:1M", State: control.StateWaiting, Sectors: 2048, Why: "interface eth9 does not exist", Waiting: []string{"interface eth9 does not exist"}, Revision: "r12", Settings: with()},
		{Address: "e1.10", Source: "mem:1M", State: control.StateDisabled, Why: "it is switched off: goaoe set e1.10 disabled=false", Revision: "r1a", Settings: with()},
	}
}

// newMadeUp starts one behind a socket that the commands find.
func newMadeUp(t *testing.T) *madeUp {
	t.Helper()
	now := time.Now()
	m := &madeUp{exports: someExports(now.Add(-5*time.Minute - time.Second)), config: "[global]\nlanes = 2\n",
		status: control.Status{Version: "1.2", PID: 4711, Started: now.Add(-75 * time.Hour), Config: "/etc/goaoe/goaoe.toml", Format: "native", StateDir: "/var/lib/goaoe",
			Socket: "/run/goaoe/control.sock", Lanes: 2, LogLevel: "info", Exports: 5, Serving: 2, Interfaces: 2, Unsaved: 2,
			Waiting: []string{"interface eth9 does not exist", "/dev/sdz does not exist"}, Problems: []string{"e1.1 not served: /dev/sdy: input/output error"}},
		interfaces: []control.Interface{{Name: "eth1", State: control.StateServing, MAC: "02:00:00:00:00:aa", MTU: 9000, LinkMTU: 9000, Up: true, Exports: 2},
			{Name: "eth2", State: control.StateFailed, Why: "eth2: permission denied", MAC: "02:00:00:00:00:ab", LinkMTU: 1500},
			{Name: "eth9", State: control.StateWaiting, Why: "interface eth9 does not exist"}},
		plan: control.Plan{OK: true, Kept: 3, Problems: []string{"goaoe.toml:3:1: warning: something"}, Changes: []control.PlanChange{
			{What: "change", Subject: "e0.1", Keys: []control.Key{{Name: "queue-length", Old: "64", New: "128"}, {Name: "accept", Old: "", New: "02:00:00:00:00:01"}}},
			{What: "change", Subject: "e0.2", Keys: []control.Key{{Name: "source", Old: "/srv/img", New: "/srv/new"}, {Name: "model", Old: "x", New: ""}}, Interrupt: true, Note: "it is opened anew"},
			{What: "remove", Subject: "e1.0", Note: "/dev/sdz; used by 02:00:00:00:00:01 on eth1", Interrupt: true},
			{What: "add", Subject: "e7.0", Note: "/dev/sdq"},
			{What: "change", Subject: "interface eth1", Interrupt: true, Note: "its sockets are opened anew"},
			{What: "change", Subject: "global", Keys: []control.Key{{Name: "lanes", Old: "1", New: "4"}}, Restart: true}}},
	}
	dir, err := os.MkdirTemp("", "goaoe") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := control.Serve(l, control.Handler(m, control.HandlerOptions{}), nil)
	t.Cleanup(func() { s.Close() })
	t.Setenv(control.SocketEnv, filepath.Join(dir, "s"))
	return m
}

// call runs a command line.
func call(args ...string) (code int, stdout, stderr string) {
	var out, talk bytes.Buffer
	code = Run(&Env{Stdout: &out, Stderr: &talk}, args)
	return code, out.String(), talk.String()
}

// TestControlGoldens: what people and programs read.
func TestControlGoldens(t *testing.T) {
	for _, tt := range []struct {
		file string
		args string
		code int
	}{
		{"ls", "ls", 0},
		{"ls-wide", "ls -o wide", 0},
		{"ls-one", "list 0.2", 0},
		{"ls-sorted", "ls 1.* --sort state --reverse", 0},
		{"ls-quiet", "ls -q --sort size", 0},
		{"ls-json", "ls e0.* --json", 0},
		{"show", "show mail 0.2 1.10", 0},
		{"show-json", "show 1.0 --json", 0},
		{"show-effective", "show --effective", 0},
		{"status", "status", 1},
		{"status-json", "status --json", 1},
		{"interfaces", "interfaces", 0},
		{"interfaces-json", "interfaces --json", 0},
		{"diff", "diff", 1},
		{"diff-json", "diff --json", 1},
		{"reload", "reload", 0},
		{"rm-json", "rm 1.* --json --save", 3},
		{"rm", "rm 1.*", 3},
		{"set", "set 0.* queue-length=8 --save", 0},
		{"set-dry", "set 0.* queue-length=8 --save --dry-run", 0},
		{"glance", "", 0},
	} {
		t.Run(tt.file, func(t *testing.T) {
			m := newMadeUp(t)
			if strings.Contains(tt.args, "--json") { // programs get times as they are
				m.exports = someExports(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
				m.status.Started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			}
			m.each = map[string]*control.Error{"e1.1": control.Errorf(control.CodeInUse, "e1.1 is in use and cannot be removed: by 02:00:00:00:00:01").WithHint("unmount it there first")}
			m.notes = map[string]string{"e1.0": "removed, and its file", "e0.1": "serving on eth1, eth2"}
			code, stdout, stderr := call(strings.Fields(tt.args)...)
			got := stdout
			if stderr != "" {
				got += "--- stderr\n" + stderr
			}
			if code != tt.code {
				t.Errorf("status %d, want %d", code, tt.code)
			}
			file := filepath.Join("testdata", "control", tt.file)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("goaoe %s prints\n%s\nwant (go test -update writes it)\n%s", tt.args, got, want)
			}
		})
	}
}

// TestWaitingFor: what is waited for is said to people before a terminal, and only when it takes long.
func TestWaitingFor(t *testing.T) {
	m := newMadeUp(t)
	primary, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		need.Missing(t, fmt.Sprintf("there are no terminals here: %v", err))
	}
	defer primary.Close()
	fd, n, err := openTerminal(primary)
	if err != nil {
		t.Fatalf("terminal %d: %v", n, err)
	}
	defer fd.Close()
	said := make(chan string, 8)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := primary.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	run := func() {
		t.Helper()
		if code := Run(&Env{Stdout: &bytes.Buffer{}, Stderr: fd}, []string{"add", "1.5", "mem:1M"}); code != 0 {
			t.Errorf("status %d", code)
		}
	}
	run()
	m.delay = slowAfter + 300*time.Millisecond
	run()
	if got := <-said; got != "goaoe: waiting for 1.5 to be served ...\r\n" {
		t.Errorf("on the terminal: %q", got)
	}
	select {
	case more := <-said:
		t.Errorf("and then %q", more)
	default:
	}
	if _, _, stderr := call("add", "1.5", "mem:1M"); stderr != "" {
		t.Errorf("to a pipe: %q", stderr)
	}
}

// openTerminal opens the other end of a terminal.
func openTerminal(primary *os.File) (f *os.File, n int, err error) {
	if err = unix.IoctlSetPointerInt(int(primary.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, 0, err
	}
	if n, err = unix.IoctlGetInt(int(primary.Fd()), unix.TIOCGPTN); err != nil {
		return nil, 0, err
	}
	f, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	return f, n, err
}
