package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
)

// one makes one change and returns its result.
func (r *rig) one(q control.ChangeRequest) control.Result {
	r.t.Helper()
	if q.WaitMS == 0 {
		q.WaitMS = int(patience.Milliseconds())
	}
	reply, err := r.d.Control().Change(context.Background(), &q)
	if err != nil {
		return control.Result{Error: control.AsError(err)}
	}
	if len(reply.Results) != 1 {
		r.t.Fatalf("%d results", len(reply.Results))
	}
	return reply.Results[0]
}

func (r *rig) done(q control.ChangeRequest) control.Result {
	r.t.Helper()
	res := r.one(q)
	if res.Error != nil {
		r.t.Fatalf("%+v: %v", q.Changes, res.Error)
	}
	return res
}

func (r *rig) refused(q control.ChangeRequest, code control.Code, want string) {
	r.t.Helper()
	res := r.one(q)
	if res.Error == nil || res.Error.Code != code || !strings.Contains(res.Error.Error(), want) {
		r.t.Errorf("%+v: got %+v, want %s: ...%s...", q.Changes, res.Error, code, want)
	}
}

func (r *rig) show(addr string) control.Export {
	r.t.Helper()
	list, err := r.d.Control().Exports(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list {
		if e.Address == addr {
			return e
		}
	}
	return control.Export{}
}

func change(c control.Change) control.ChangeRequest {
	return control.ChangeRequest{Changes: []control.Change{c}}
}

type settings = map[string]string

func TestChangesAtRunTime(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	for _, f := range []string{"disk1", "disk2", "disk3"} {
		r.file(f, 64)
	}
	r.start(onA0 + exportText("0.1", "DIR/disk1"))
	ear := r.listen("b0")

	if res := r.done(change(control.Change{Op: control.OpAdd, Address: "1.0", Source: r.dir + "/disk2"})); res.Note != "serving on a0" || res.Address != "e1.0" {
		t.Errorf("%+v", res)
	}
	ear.setConfig(aoe.Addr{Major: 1}, "one")
	e := r.show("e1.0")
	if e.State != control.StateServing || !e.Unsaved || e.Origin != config.RunTime || e.ConfigString != "one" || e.Settings["queue-length"] != "64" || e.Sectors != 64 {
		t.Errorf("%+v", e)
	}
	if res := r.done(change(control.Change{Op: control.OpAdd, Address: "e1", Source: r.dir + "/disk3"})); res.Address != "e1.1" {
		t.Errorf("the next free slot of shelf 1 is %q", res.Address)
	}

	for _, c := range []struct {
		c    control.Change
		code control.Code
		want string
	}{
		{control.Change{Op: control.OpAdd, Address: "1.0", Source: "/x"}, control.CodeConflict, "e1.0 is taken: it exports " + r.dir + "/disk2 (run time)"},
		{control.Change{Op: control.OpAdd, Address: "0.1", Source: "/x"}, control.CodeConflict, "goaoe.toml:"},
		{control.Change{Op: control.OpAdd, Address: "1.255", Source: "/x"}, control.CodeUsage, "1.255"},
		{control.Change{Op: control.OpAdd, Address: "x", Source: "/x"}, control.CodeUsage, `"x" is neither an address nor a shelf`},
		{control.Change{Op: control.OpAdd, Address: "2.0"}, control.CodeUsage, "no source is named"},
		{control.Change{Op: control.OpAdd, Address: "2.0", Source: "disk"}, control.CodeUsage, `source: "disk" is not an absolute path`},
		{control.Change{Op: control.OpAdd, Address: "2.0", Source: "/x", Settings: settings{"qeue-length": "3"}}, control.CodeUsage, "did you mean queue-length?"},
		{control.Change{Op: control.OpAdd, Address: "2.0", Source: "/x", Settings: settings{"slot": "3"}}, control.CodeUsage, "slot cannot be set"},
		{control.Change{Op: control.OpSet, Address: "1.0", Settings: settings{"queue-length": "1"}}, control.CodeUsage, "queue-length: "},
		{control.Change{Op: control.OpSet, Address: "9.9", Settings: settings{"queue-length": "8"}}, control.CodeNotFound, "there is no export e9.9"},
		{control.Change{Op: control.OpRemove, Address: "9.9"}, control.CodeNotFound, "there is no export e9.9"},
		{control.Change{Op: control.OpSet, Address: "1.0", Revision: "abc"}, control.CodeConflict, "was changed by somebody else"},
		{control.Change{Op: "eat", Address: "1.0"}, control.CodeUsage, `no operation "eat"`},
	} {
		r.refused(change(c.c), c.code, c.want)
	}

	// What the export serves is the same object all the time: nothing was drained.
	run := r.d.exports[aoe.Addr{Major: 1}].run
	r.done(change(control.Change{Op: control.OpSet, Address: "e1.0", Revision: r.show("e1.0").Revision,
		Settings: settings{"queue-length": "8", "read-only": "true", "accept": ear.mac.String()}}))
	if e = r.show("e1.0"); e.Settings["queue-length"] != "8" || e.Settings["accept"] != ear.mac.String() || e.Settings["read-only"] != "true" {
		t.Errorf("%+v", e.Settings)
	}
	if now := r.d.exports[aoe.Addr{Major: 1}].run; now != run || !now.target.ReadOnly() {
		t.Error("the export was opened anew, or is not read-only")
	}
	r.done(change(control.Change{Op: control.OpSet, Address: "1.0", Settings: settings{"read-only": "false", "write-cache": "true"}}))
	if x := r.d.exports[aoe.Addr{Major: 1}]; x.run.target.ReadOnly() || !x.run.target.WriteCache() {
		t.Error("read-only or write-cache did not arrive")
	}
	r.done(change(control.Change{Op: control.OpSet, Address: "1.0", Settings: settings{"write-cache": "false"}}))
	if x := r.d.exports[aoe.Addr{Major: 1}]; x.run.target.WriteCache() || x.run == run {
		t.Error("the write cache is on, or was switched off without what it held being made durable")
	}
	if got, _, _ := ear.config(aoe.Addr{Major: 1}, patience); got != "one" {
		t.Errorf("the config string is %q now", got)
	}

	dry := change(control.Change{Op: control.OpRemove, Address: "1.1"})
	dry.DryRun = true
	r.done(dry)
	r.done(change(control.Change{Op: control.OpRemove, Address: "0.1"}))
	if e := r.show("e0.1"); e.State != control.StateDisabled {
		t.Errorf("%+v", e)
	}
	if _, _, ok := ear.config(e01, 300*time.Millisecond); ok {
		t.Error("an export that was removed answered")
	}
	if e := r.show("e1.1"); e.State != control.StateServing {
		t.Errorf("a dry run removed it: %+v", e)
	}
	r.done(change(control.Change{Op: control.OpAdd, Address: "0.1", Source: r.dir + "/disk1", Settings: settings{"queue-length": "4"}}))
	if e := r.show("e0.1"); e.State != control.StateServing || e.Settings["queue-length"] != "4" {
		t.Errorf("%+v", e)
	}
	// A reload leaves what was changed at run time, and with the word takes it back.
	if err := r.d.Reload(); err != nil || r.show("e1.1").State != control.StateServing {
		t.Errorf("%v, %+v", err, r.show("e1.1"))
	}
	if _, err := r.d.Control().Reload(context.Background(), &control.ReloadRequest{DiscardUnsaved: true}); err != nil {
		t.Fatal(err)
	}
	r.until("only the file's export", func(s Status) bool { return len(s.Exports) == 1 })
	if e := r.show("e0.1"); e.Unsaved || e.Settings["queue-length"] != "64" {
		t.Errorf("%+v", e)
	}
}

func TestSavedChanges(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	for _, f := range []string{"disk1", "disk2"} {
		r.file(f, 64)
	}
	text := onA0 + exportText("0.1", "DIR/disk1")
	r.start(text)
	save := func(c control.Change) control.ChangeRequest {
		q := change(c)
		q.Save = true
		return q
	}
	r.done(save(control.Change{Op: control.OpAdd, Address: "1.0", Source: r.dir + "/disk2", Settings: settings{"queue-length": "8"}}))
	r.done(change(control.Change{Op: control.OpSet, Address: "1.0", Settings: settings{"read-only": "true"}})) // not saved yet
	if e := r.show("e1.0"); !e.Unsaved {
		t.Error("a change that was not saved is not marked")
	}
	r.done(save(control.Change{Op: control.OpSet, Address: "1.0", Settings: settings{"model": "disk"}, Unset: []string{"queue-length"}}))
	r.done(save(control.Change{Op: control.OpSet, Address: "0.1", Settings: settings{"write-cache": "true"}}))
	if e := r.show("e0.1"); e.Unsaved {
		t.Error("a saved change is marked as unsaved")
	}
	r.end()
	r.start(text)
	if e := r.show("e1.0"); e.Settings["read-only"] != "true" || e.Settings["model"] != "disk" || e.Settings["queue-length"] != "64" || e.Unsaved ||
		!strings.HasSuffix(e.Origin, "conf.d/e1.0.toml:2:3") {
		t.Errorf("after a restart: %+v", e)
	}
	if e := r.show("e0.1"); e.Settings["write-cache"] != "true" {
		t.Errorf("after a restart: %+v", e.Settings)
	}
	r.done(save(control.Change{Op: control.OpRemove, Address: "1.0"}))
	r.done(save(control.Change{Op: control.OpRemove, Address: "0.1"}))
	r.end()
	left, err := filepath.Glob(r.dir + "/conf.d/*")
	if err != nil || len(left) != 1 {
		t.Errorf("left in conf.d: %v %v", left, err)
	}
	r.start(text)
	if e := r.show("e0.1"); e.State != control.StateDisabled {
		t.Errorf("an export of the main file that was removed for good is %+v", e)
	}

	// A drop-in of somebody else's is not rewritten, and a folder that cannot be written changes nothing.
	mine := filepath.Join(r.dir, "conf.d", "e0.1.toml")
	if err := os.WriteFile(mine, []byte("# mine\n[[change]]\naddress = \"0.1\"\n[[export]]\naddress=\"3.0\"\nsource=\""+r.dir+"/disk2\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.d.Reload(); err != nil {
		t.Fatal(err)
	}
	r.refused(save(control.Change{Op: control.OpSet, Address: "0.1", Settings: settings{"model": "x"}}), control.CodeFailed, "has more than one section")
	if err := os.RemoveAll(filepath.Join(r.dir, "conf.d")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "conf.d"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.refused(save(control.Change{Op: control.OpSet, Address: "3.0", Settings: settings{"model": "x"}}), control.CodeFailed, "it cannot be saved")
	if e := r.show("e3.0"); e.Settings["model"] == "x" {
		t.Error("a change that could not be saved is in force")
	}
}

// TestTwoClients: of two changes with the same revision one wins, the other is told; of two that add one address, too.
func TestTwoClients(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk1"))
	rev := r.show("e0.1").Revision
	for _, c := range []func(i int) control.Change{
		func(i int) control.Change {
			return control.Change{Op: control.OpSet, Address: "0.1", Revision: rev, Settings: settings{"queue-length": fmt.Sprint(10 + i)}}
		},
		func(int) control.Change {
			return control.Change{Op: control.OpAdd, Address: "5.5", Source: "mem:1M"}
		},
	} {
		var wg sync.WaitGroup
		var results [8]control.Result
		for i := range results {
			wg.Go(func() {
				q := change(c(i))
				reply, err := r.d.Control().Change(context.Background(), &q)
				if err != nil {
					t.Error(err)
					return
				}
				results[i] = reply.Results[0]
			})
		}
		wg.Wait()
		won := 0
		for _, res := range results {
			switch {
			case res.Error == nil:
				won++
			case res.Error.Code != control.CodeConflict:
				t.Error(res.Error)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	}
}

func TestPlan(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	for _, f := range []string{"disk1", "disk2", "disk3"} {
		r.file(f, 64)
	}
	r.start(onA0 + exportText("0.1", "DIR/disk1") + exportText("0.2", "DIR/disk2") + exportText("0.3", "DIR/disk3"))
	r.write(onA0 + exportText("0.1", "DIR/disk1", "queue-length = 8") + exportText("0.2", "DIR/disk2", "model = \"x\"") +
		exportText("0.4", "DIR/disk3") + "[web]\nlisten = \":8480\"\n")
	p, err := r.d.Control().Plan(context.Background())
	if err != nil || !p.OK {
		t.Fatalf("%+v %v", p, err)
	}
	var got []string
	for _, c := range p.Changes {
		got = append(got, fmt.Sprintf("%s %s %v interrupt=%t restart=%t", c.What, c.Subject, c.Keys, c.Interrupt, c.Restart))
	}
	want := []string{
		"change e0.1 [{queue-length 64 8} {buffer-count 64 8}] interrupt=false restart=false",
		"change e0.2 [{model  x}] interrupt=true restart=false",
		"remove e0.3 [] interrupt=true restart=false",
		"add e0.4 [] interrupt=false restart=false",
		"change services [{web.listen off :8480}] interrupt=false restart=true",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.show("e0.4").State != "" {
		t.Error("a plan was carried out")
	}
	r.write(onA0 + "[[export]]\nmistake = 1\n")
	if p, err = r.d.Control().Plan(context.Background()); err != nil || p.OK || len(p.Problems) == 0 {
		t.Errorf("%+v %v", p, err)
	}
	_, err = r.d.Control().Reload(context.Background(), &control.ReloadRequest{})
	var ce *control.Error
	if !errors.As(err, &ce) || !strings.Contains(ce.Message, "goaoe.toml:") {
		t.Errorf("the error of a reload is %v", err)
	}
}

func TestClear(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	text := onA0 + exportText("0.1", "DIR/disk1")
	r.start(text)
	ear := r.listen("b0")
	ear.setConfig(e01, "text")
	ctx := context.Background()
	reply, err := r.d.Control().Clear(ctx, &control.ClearRequest{What: control.ClearConfig, Exports: []string{"0.1", "0.2", "x"}})
	if err != nil || reply.Results[0].Error != nil || reply.Results[1].Error.Code != control.CodeNotFound || reply.Results[2].Error.Code != control.CodeUsage {
		t.Fatalf("%+v %v", reply, err)
	}
	if got, _, _ := ear.config(e01, patience); got != "" {
		t.Errorf("the config string is still %q", got)
	}
	if _, err := r.d.Control().Clear(ctx, &control.ClearRequest{What: "disk", Exports: []string{"0.1"}}); control.AsError(err).Code != control.CodeUsage {
		t.Error(err)
	}
	r.end()
	r.start(text)
	if e := r.show("e0.1"); e.ConfigString != "" {
		t.Errorf("it came back: %q", e.ConfigString)
	}
}

func TestStatusForTheAPI(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk1") + exportText("0.2", "DIR/none") + exportText("0.3", "DIR/disk1", `interfaces = ["eth9"]`, "read-only = true"))
	ctx := context.Background()
	s, err := r.d.Control().Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Exports != 3 || s.Serving != 1 || s.Interfaces != 1 || s.PID != os.Getpid() || !strings.Contains(strings.Join(s.Waiting, "|"), "interface eth9 does not exist") {
		t.Errorf("%+v", s)
	}
	if e := r.show("e0.2"); e.State != control.StateWaiting || !strings.Contains(e.Why, "does not exist") {
		t.Errorf("%+v", e)
	}
	if e := r.show("e0.3"); e.State != control.StateWaiting || !strings.Contains(e.Why, "interface eth9 does not exist") {
		t.Errorf("%+v", e)
	}
	ifs, err := r.d.Control().Interfaces(ctx)
	if err != nil || len(ifs) != 2 || ifs[0].Name != "a0" || ifs[0].State != control.StateServing || ifs[1].Name != "eth9" || ifs[1].State != control.StateWaiting {
		t.Errorf("%+v %v", ifs, err)
	}
	a, err := r.d.Control().Announce(ctx, nil)
	if err != nil || len(a.Results) != 3 || a.Results[0].Note != "announced on a0" || a.Results[1].Error == nil {
		t.Errorf("%+v %v", a, err)
	}
	text, err := r.d.Control().Config(ctx)
	cfg, ps := config.Parse("x", []byte(text), config.Options{})
	if err != nil || ps.Err() != nil || len(cfg.Exports) != 3 {
		t.Errorf("%v %v", err, ps)
	}
	r.end()
	if _, err := r.d.Control().Status(ctx); control.AsError(err).Code != control.CodeGone {
		t.Errorf("after the end: %v", err)
	}
}

// TestStatsAndUsers: what an initiator does shows in the statistics and makes it a user; a used export is removed by force only.
func TestStatsAndUsers(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	ear := func() *ear { return r.listen("b0") }
	r.start(onA0 + exportText("0.1", "DIR/disk1"))
	e := ear()
	r.d.cfg.Hosts[e.mac] = "node1"
	if n := e.sectors(e01); n != 64 {
		t.Fatalf("%d sectors", n)
	}
	ctx := context.Background()
	s, err := r.d.Control().Stats(ctx)
	if err != nil || len(s.Exports) != 1 || s.Exports[0].Others == 0 || s.Exports[0].State != control.StateServing || len(s.Interfaces) != 1 ||
		s.Interfaces[0].RxFrames == 0 || len(s.Lanes) != 1 {
		t.Fatalf("%+v %v", s, err)
	}
	found := false
	for _, i := range s.Initiators {
		found = found || i.MAC == e.mac.String() && i.Export == "e0.1" && i.Requests > 0 && i.Interface == "a0" && i.Name == "node1"
	}
	if !found {
		t.Errorf("the initiator is not in %+v", s.Initiators)
	}
	if u := r.show("e0.1").Users; len(u) != 1 || u[0].MAC != e.mac.String() || u[0].Name != "node1" || u[0].Interface != "a0" {
		t.Errorf("users: %+v", u)
	}
	rm := control.Change{Op: control.OpRemove, Address: "0.1"}
	r.refused(change(rm), control.CodeInUse, "by "+e.mac.String()+" (node1) on a0, last seen")
	r.refused(change(control.Change{Op: control.OpSet, Address: "0.1", Settings: settings{"disabled": "true"}}), control.CodeInUse, "--force")
	if _, err := r.d.Control().Clear(ctx, &control.ClearRequest{What: control.ClearStats}); err != nil {
		t.Fatal(err)
	}
	if s, err = r.d.Control().Stats(ctx); err != nil || s.Exports[0].Others != 0 || s.Interfaces[0].RxFrames != 0 || len(s.Initiators) != 0 || !s.Since.After(r.d.begun) {
		t.Errorf("after clearing: %+v %v", s, err)
	}
	rm.Force = true
	r.done(change(rm))
	if e := r.show("e0.1"); e.State != control.StateDisabled {
		t.Errorf("%+v", e)
	}
}

// TestTrace: a trace has the frames that match, requests and replies, and ends when it is told to.
func TestTrace(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk1"))
	e := r.listen("b0")
	for _, c := range []struct {
		q    control.TraceRequest
		want string
	}{
		{control.TraceRequest{Export: "0.1", Command: "identify", Count: 2}, "in out"},
		{control.TraceRequest{Command: "config", Count: 4}, "in out in out"},
	} {
		got := make(chan string)
		go func() {
			var seen []string
			err := r.d.Control().Trace(context.Background(), &c.q, func(rec *control.TraceRecord) error {
				seen = append(seen, map[bool]string{true: "out", false: "in"}[rec.Out])
				if rec.Interface != "a0" || len(rec.Frame) < 24 || rec.Length < 60 || time.Since(rec.Time) > patience {
					t.Errorf("%+v", rec)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			got <- strings.Join(seen, " ")
		}()
		deadline := time.After(patience)
	asking:
		for {
			e.sectors(e01)
			e.config(e01, time.Second)
			select {
			case text := <-got:
				if !strings.HasPrefix(text, c.want) && !strings.HasPrefix("in "+text, c.want) && !strings.HasPrefix("out "+text, "out in out in") {
					t.Errorf("%+v: %s", c.q, text)
				}
				break asking
			case <-deadline:
				t.Fatal("no trace")
			default:
			}
		}
	}
	for _, q := range []control.TraceRequest{{Export: "x"}, {Initiator: "x"}, {Command: "eat"}, {Snap: 1 << 20}, {Count: -1}} {
		if err := r.d.Control().Trace(context.Background(), &q, nil); control.AsError(err).Code != control.CodeUsage {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
