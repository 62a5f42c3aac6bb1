package logging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output collects what was written, from any goroutine.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// take returns what was written since the last call.
func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.b.String()
	o.b.Reset()
	return s
}

// newLog makes a log whose stderr is returned, too.
func newLog(t *testing.T) (*Log, *output) {
	t.Helper()
	t.Setenv("JOURNAL_STREAM", "")
	out := &output{}
	l := New(out)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, out
}

// parse reads a configuration, which must be right.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, ps := config.Parse("test.toml", []byte(text), config.Options{Sysroot: t.TempDir()})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	return c
}

func set(t *testing.T, l *Log, c *config.Config) {
	t.Helper()
	if err := l.Set(c); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLog(t *testing.T) {
	l, stderr := newLog(t)
	early := l.Logger().With("export", "e0.1") // made before the settings change
	early.Debug("hidden")
	early.Info("one")
	if s := stderr.take(); strings.Contains(s, "hidden") || !strings.Contains(s, "level=INFO msg=one export=e0.1\n") || !strings.HasPrefix(s, "time=") {
		t.Errorf("by default: %q", s)
	}

	path := filepath.Join(t.TempDir(), "log")
	set(t, l, Defaults(config.Log{Level: "debug", Format: "json", Target: config.LogFile, File: path}))
	early.WithGroup("g").Debug("two", "k", 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	set(t, l, Defaults(config.Log{Level: "warn", Target: config.LogFile, File: path}))
	early.Info("hidden")
	early.Warn("three")
	var line struct {
		Msg, Export string
		G           struct{ K int }
	}
	old := content(t, path+".1")
	if err := json.Unmarshal([]byte(old), &line); err != nil || line.Msg != "two" || line.Export != "e0.1" || line.G.K != 1 {
		t.Errorf("first file: %q, %v", old, err)
	}
	if now := content(t, path); !strings.HasSuffix(now, "level=WARN msg=three export=e0.1\n") || strings.Contains(now, "hidden") {
		t.Errorf("after the rotation: %q", now)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("the file's mode: %v, %v", st.Mode(), err)
	}
	if s := stderr.take(); s != "" {
		t.Errorf("on stderr: %q", s)
	}

	err := l.Set(Defaults(config.Log{Target: config.LogFile, File: "/no/such/dir/log"}))
	if err == nil || !strings.Contains(err.Error(), "/no/such/dir/log") || !strings.Contains(err.Error(), "[log]") {
		t.Errorf("a file that cannot be made: %v", err)
	}
	early.Error("four") // still to the old file
	if now := content(t, path); !strings.Contains(now, "four") {
		t.Errorf("after a failed change: %q", now)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	early.Info("five")
	if s := stderr.take(); !strings.Contains(s, "five") {
		t.Errorf("after Close: %q", s)
	}
}

// TestStampless: stderr that the journal reads has no time, but priorities; what is no such stderr has the time although the
// variable is set.
func TestStampless(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	l := New(w)
	log := l.Logger()
	log.Info("one", "x", 1)
	log.Warn("two")
	log.Error("three")
	set(t, l, Defaults(config.Log{Level: "debug", Format: "json"}))
	log.Debug("four")
	_ = l.Close()
	buf := make([]byte, 4096)
	n, _ := r.Read(buf)
	want := "<6>level=INFO msg=one x=1\n<4>level=WARN msg=two\n<3>level=ERROR msg=three\n<7>{\"level\":\"DEBUG\",\"msg\":\"four\"}\n"
	if got := string(buf[:n]); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	var other output
	l = New(&other)
	l.Logger().Info("one")
	_ = l.Close()
	if s := other.take(); !strings.HasPrefix(s, "time=") {
		t.Errorf("to somewhere else: %q", s)
	}
}

// TestHidden: what the message says needs no attribute in text; programs get it all.
func TestHidden(t *testing.T) {
	l, stderr := newLog(t)
	say := func() string {
		l.Logger().With("interface", "eth1").Info("e0.1 serving on eth1", "export", "e0.1", "log-target", "", "trace", false, "initiator", "02:00:00:00:00:01")
		_, rest, _ := strings.Cut(stderr.take(), "msg")
		return rest
	}
	if s := say(); s != "=\"e0.1 serving on eth1\" initiator=02:00:00:00:00:01\n" {
		t.Errorf("text: %q", s)
	}
	set(t, l, Defaults(config.Log{Format: "json"}))
	if s := say(); s != "\":\"e0.1 serving on eth1\",\"interface\":\"eth1\",\"export\":\"e0.1\",\"initiator\":\"02:00:00:00:00:01\"}\n" {
		t.Errorf("json: %q", s)
	}
}

const routes = `
[log]
level = "warn"
[log-target.disks]
type = "file"
file = "DIR/disks"
[log-target.wire]
type = "file"
file = "DIR/wire"
level = "warn"
[log-target.refusals]
type = "file"
file = "DIR/refusals"
[access-list.a]
log = true
log-target = "refusals"
[[interface]]
name = "eth*"
log-level = "error"
log-target = "wire"
[[interface]]
name = "vlan1"
log-level = "debug"
[defaults]
interfaces = ["eth1", "vlan1"]
accept = "a"
[[export]]
address = "0.1"
source = "/dev/a"
log-target = "disks"
log-level = "debug"
[[export]]
address = "0.2"
source = "/dev/b"
log-level = "error"
[[export]]
address = "0.3"
source = "/dev/c"
log-target = "disks"
`

func TestRoutes(t *testing.T) {
	dir := t.TempDir()
	l, stderr := newLog(t)
	set(t, l, parse(t, strings.ReplaceAll(routes, "DIR", dir)))
	log := l.Logger()
	const none = "nowhere"
	e, i := "export", "interface"
	for n, c := range []struct {
		level string
		about []any
		want  string
	}{
		{"info", nil, none},
		{"warn", nil, "stderr"},
		{"debug", []any{e, "e0.1"}, "disks"},
		{"warn", []any{e, "e0.2"}, none},
		{"error", []any{e, "e0.2"}, "stderr"},
		{"info", []any{e, "e0.3"}, none},
		{"warn", []any{e, "e0.3"}, "disks"},
		{"warn", []any{e, "e0.9"}, "stderr"}, // not configured
		{"warn", []any{i, "eth7"}, none},
		{"error", []any{i, "eth7"}, "wire"},
		{"debug", []any{i, "vlan1"}, "stderr"},
		{"info", []any{i, "vlan2"}, none},
		{"debug", []any{i, "eth1", e, "e0.1"}, "disks"}, // the export has the last word
		{"debug", []any{i, "vlan1", e, "e0.2"}, none},
		{"error", []any{i, "eth1", e, "e0.2"}, "wire"},
		{"debug", []any{i, "vlan1", e, "e0.3"}, "disks"},
		{"info", []any{e, "e0.1", "log-target", "refusals"}, "refusals"},
		{"warn", []any{"log-target", "gone"}, "stderr"},
		{"info", []any{e, "e0.1", "log-target", "wire"}, none}, // the target's own level
		{"warn", []any{e, "e0.1", "log-target", "wire"}, "wire"},
	} {
		msg := fmt.Sprintf("line%d.", n)
		log.Log(t.Context(), levelOf(c.level), msg, c.about...)
		files := map[string]string{"stderr": stderr.take(), "disks": content(t, dir+"/disks"), "wire": content(t, dir+"/wire"), "refusals": content(t, dir+"/refusals")}
		got := none
		for name, text := range files {
			if strings.Contains(text, msg) {
				got = name
			}
		}
		if got != c.want {
			t.Errorf("%s %v: %s, want %s", c.level, c.about, got, c.want)
		}
	}
}

func TestSetLevel(t *testing.T) {
	dir := t.TempDir()
	l, stderr := newLog(t)
	cfg := parse(t, strings.ReplaceAll(routes, "DIR", dir))
	set(t, l, cfg)
	log := l.Logger()
	heard := func(level string, about ...any) bool {
		log.Log(t.Context(), levelOf(level), "hear this", about...)
		return strings.Contains(stderr.take(), "hear this")
	}
	check := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: heard %v, want %v", what, got, want)
		}
	}
	to := func(subject, level string) {
		t.Helper()
		if err := l.SetLevel(subject, level); err != nil {
			t.Fatal(err)
		}
	}
	to("", "debug")
	check("daemon", heard("debug"), true)
	check("an export with its own level", heard("warn", "export", "e0.2"), false)
	to("e0.2", "info")
	check("that export", heard("info", "export", "e0.2"), true)
	check("that export, below", heard("debug", "export", "e0.2"), false)
	to("vlan1", "error")
	check("an interface", heard("warn", "interface", "vlan1"), false)
	if err := l.Apply(cfg); err != nil { // the configuration in force changed: levels stay
		t.Fatal(err)
	}
	check("after Apply", heard("debug"), true)
	for subject, want := range map[string]string{"": "debug", "e0.1": "debug", "e0.2": "info", "vlan1": "error", "eth9": "error", "e0.3": "debug"} {
		if got := l.Level(subject); got != want {
			t.Errorf("level of %q: %s, want %s", subject, got, want)
		}
	}
	to("e0.2", "")
	check("taken back", heard("info", "export", "e0.2"), false)
	set(t, l, cfg)
	check("after a reload", heard("debug"), false)
	check("an interface after a reload", heard("warn", "interface", "vlan1"), true)
	if err := l.SetLevel("", "loud"); err == nil || !strings.Contains(err.Error(), `"loud"`) || !strings.Contains(err.Error(), "debug") {
		t.Errorf("a level that there is not: %v", err)
	}
}

// TestTrace: what trace = true asked for comes at any level.
func TestTrace(t *testing.T) {
	l, stderr := newLog(t)
	set(t, l, Defaults(config.Log{Level: "error"}))
	h := l.Logger().Handler()
	if h.Enabled(t.Context(), levelOf("debug")) {
		t.Error("debug is on")
	}
	log := l.Logger().With("trace", true)
	r := newRecord("read 8 sectors at 16")
	if err := log.Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // it was not waited for
	if s := stderr.take(); !strings.Contains(s, "read 8 sectors") || strings.Contains(s, "trace") {
		t.Errorf("%q", s)
	}
}

func TestApplyKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, _ := newLog(t)
	cfg := Defaults(config.Log{Target: config.LogFile, File: path})
	set(t, l, cfg)
	s := l.table.Load().sinks[""]
	if err := l.Apply(cfg); err != nil || l.table.Load().sinks[""] != s {
		t.Errorf("an unchanged target was opened anew: %v", err)
	}
	set(t, l, cfg)
	if l.table.Load().sinks[""] == s {
		t.Error("Set did not open the file again")
	}
}

func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, stderr := newLog(t)
	cfg := Defaults(config.Log{Target: config.LogFile, File: path})
	set(t, l, cfg)
	log := l.Logger()
	const writers, lines = 8, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				log.Info("line", "export", fmt.Sprintf("e%d.%d", w, i))
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			_ = l.Set(cfg)
			_ = l.SetLevel("e1.1", "debug")
		}
	})
	wg.Wait()
	if n := strings.Count(content(t, path), "msg=line"); n != writers*lines || stderr.take() != "" {
		t.Errorf("%d lines of %d", n, writers*lines)
	}
}

func TestFacilities(t *testing.T) {
	for _, k := range config.Keys {
		if k.Name != "facility" {
			continue
		}
		for _, f := range k.Enum {
			if _, ok := facilities[f]; !ok {
				t.Errorf("the facility %s is not known", f)
			}
		}
		if len(k.Enum) != len(facilities) {
			t.Errorf("%d facilities for the %d of the configuration", len(facilities), len(k.Enum))
		}
	}
	for _, k := range config.Keys {
		if k.Section == "log" && k.Name == "level" && !slices.Equal(k.Enum, levelNames) {
			t.Errorf("levels %v, the configuration has %v", levelNames, k.Enum)
		}
	}
}
