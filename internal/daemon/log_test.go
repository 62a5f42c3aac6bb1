package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/control"
	"goaoe/internal/logging"
)

// logged returns the content of a log file of the rig.
func (r *rig) logged(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// untilFile waits for text in a log file of the rig.
func (r *rig) untilFile(name, text string) {
	r.t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(r.logged(name), text) {
			return
		}
	}
	r.t.Fatalf("%s has no %q: %s", name, text, r.logged(name))
}

const logTargets = `
[log]
level = "warn"
[log-target.one]
type = "file"
file = "DIR/one.log"
[log-target.cable]
type = "file"
file = "DIR/cable.log"
[log-target.guard]
type = "file"
file = "DIR/guard.log"
format = "json"
[access-list.nobody]
members = "02:00:00:00:00:99"
log = true
log-target = "guard"
[[interface]]
name = "a0"
log-target = "cable"
log-level = "info"
`

// TestLogTargets: each line of a daemon goes where its export, interface or access list wants it, at the level that these have, and
// both change while it runs.
func TestLogTargets(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	logs := logging.New(&r.log)
	defer func() { _ = logs.Close() }()
	text := logTargets + onA0 +
		exportText("0.1", r.file("one", 8), `log-target = "one"`, `log-level = "debug"`) +
		exportText("0.2", r.file("two", 8), `log-level = "error"`, `accept = "nobody"`) +
		exportText("0.3", r.file("three", 8), `log-target = "default"`)
	r.start(text, func(o *Options) {
		o.Log, o.Logs = logs.Logger(), logs
		if err := logs.Set(o.Config); err != nil {
			t.Fatal(err)
		}
	})
	r.untilFile("one.log", `msg="e0.1 serving `)
	// The line about e0.3 names an interface, too, whose level and target count where the export has none of its own.
	r.untilFile("cable.log", `msg="e0.3 serving `)
	if s := r.log.String() + r.logged("one.log") + r.logged("cable.log"); strings.Contains(s, "e0.2 serving") || strings.Count(s, " serving ") != 2 {
		t.Errorf("lines that nobody wanted: %s", s)
	}

	e := r.listen("b0")
	const requests = 5
	for range requests {
		e.send(e02, 1, make([]byte, 8))
	}
	if f := e.ask(e01, 1, make([]byte, 8), patience); f == nil {
		t.Fatal("e0.1 does not answer")
	}
	if err := r.levelOf("", "info"); err != nil { // refusals are info
		t.Fatal(err)
	}
	if err := r.levelOf("e0.2", "info"); err != nil {
		t.Fatal(err)
	}
	r.untilFile("guard.log", `"export":"e0.2"`)
	if s := r.logged("guard.log"); !strings.Contains(s, "refused "+e.mac.String()) || !strings.Contains(s, `"initiator":"`+e.mac.String()+`"`) || !strings.Contains(s, `"list":"accept nobody"`) {
		t.Errorf("refusals: %s", s)
	}

	// Files that were moved are made anew by a reload, which also forgets the levels set at run time.
	if err := os.Rename(filepath.Join(r.dir, "one.log"), filepath.Join(r.dir, "one.log.1")); err != nil {
		t.Fatal(err)
	}
	if got := logs.Level(""); got != "info" {
		t.Errorf("the level is %s", got)
	}
	r.write(strings.Replace(text, `level = "warn"`, `level = "error"`, 1))
	if err := r.d.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "one.log")); err != nil {
		t.Error(err)
	}
	if got := logs.Level(""); got != "error" {
		t.Errorf("after the reload the level is %s", got)
	}
	r.one(change(control.Change{Op: control.OpSet, Address: "0.3", Settings: settings{"log-level": "debug", "log-target": "one"}}))
	if got := logs.Level("e0.3"); got != "debug" {
		t.Errorf("after the change the level of e0.3 is %s", got)
	}
	if s := r.show("e0.3").State; s != control.StateServing {
		t.Errorf("the change interrupted it: %s", s)
	}

	for subject, want := range map[string]string{"e7.7": "there is no export e7.7", "nowhere": `no interface "nowhere"`} {
		if err := r.levelOf(subject, "info"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if err := r.levelOf("", "loud"); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("a level that there is not: %v", err)
	}
}

func (r *rig) levelOf(subject, level string) error {
	return r.d.Control().SetLog(context.Background(), &control.LogRequest{Subject: subject, Level: level})
}

// TestTraceToLog: an export with trace = true has its requests in the log, another one has not, and both can change at run time.
func TestTraceToLog(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	logs := logging.New(&r.log)
	defer func() { _ = logs.Close() }()
	r.start("[log]\nlevel = \"error\"\n[log-target.one]\ntype = \"file\"\nfile = \"DIR/one.log\"\n"+onA0+
		exportText("0.1", r.file("one", 8), `log-target = "one"`, "trace = true")+exportText("0.2", r.file("two", 8)), func(o *Options) {
		o.Log, o.Logs = logs.Logger(), logs
		if err := logs.Set(o.Config); err != nil {
			t.Fatal(err)
		}
	})
	e := r.listen("b0")
	read := func(addr aoe.Addr, lba byte) {
		t.Helper()
		if f := e.ask(addr, 0, []byte{0, 0, 1, 0x20, lba, 0, 0, 0xe0, 0, 0, 0, 0}, patience); f == nil {
			t.Fatalf("%v does not answer", addr)
		}
	}
	read(e01, 3)
	read(e02, 4)
	r.untilFile("one.log", "e0.1 read 1 sectors at 3: done after ")
	line := r.logged("one.log")
	for _, want := range []string{"level=DEBUG", "initiator=" + e.mac.String(), "interface=a0", "tag="} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s: %s", want, line)
		}
	}
	r.done(change(control.Change{Op: control.OpSet, Address: "0.2", Settings: settings{"trace": "true", "log-target": "one"}}))
	read(e01, 5)
	read(e02, 6)
	r.untilFile("one.log", "e0.1 read 1 sectors at 5: done")
	r.untilFile("one.log", "e0.2 read 1 sectors at 6: done")
	read(e01, 9) // beyond the end
	r.untilFile("one.log", "e0.1 read 1 sectors at 9: failed: IDNF")
	for _, a := range []string{"0.1", "0.2"} {
		r.done(change(control.Change{Op: control.OpSet, Address: a, Settings: settings{"trace": "false"}}))
	}
	old := r.logged("one.log")
	read(e01, 7)
	time.Sleep(50 * time.Millisecond) // longer than a tap waits
	if s := strings.TrimPrefix(r.logged("one.log"), old); s != "" {
		t.Errorf("the trace goes on: %s", s)
	}
	if s := r.logged("one.log"); strings.Contains(s, "at 4") {
		t.Errorf("what was not traced: %s", s)
	}
}
