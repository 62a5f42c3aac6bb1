package daemon

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"goaoe/aoe"
	"goaoe/internal/daemon/state"
	"goaoe/internal/engine"
	"goaoe/internal/link"
	"goaoe/internal/link/mem"
	"goaoe/internal/stats"
	"goaoe/internal/target"
)

// disk is a state directory that does what a test wants.
type disk struct{ save func() error }

func (d disk) Save(state.State) error { return d.save() }

// setSaver replaces where an export's state is kept.
func (r *rig) setSaver(a aoe.Addr, s saver) {
	r.t.Helper()
	done := make(chan struct{})
	r.d.post(func() {
		defer close(done)
		slow := r.d.slow
		slow.mu.Lock()
		defer slow.mu.Unlock()
		slow.exports[r.d.exports[a].run.target].entry = s
	})
	<-done
}

func set(s string) []byte { return append([]byte{0, 0, 0, 0, 0, 0x14, 0, byte(len(s))}, s...) }

// TestHangingStateDirectory: a state that cannot be saved at the moment holds up its own request and nothing else.
func TestHangingStateDirectory(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	r.file("disk2", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk1") + exportText("0.2", "DIR/disk2"))
	ear := r.listen("b0")
	hang := make(chan struct{})
	r.setSaver(e01, disk{func() error { <-hang; return nil }})
	if f := ear.ask(e01, 1, set("one"), 200*time.Millisecond); f != nil {
		t.Errorf("answered before the state was saved: %x", f)
	}
	if got, _, ok := ear.config(e01, patience); !ok || got != "" {
		t.Errorf("a query meanwhile: %q, %v", got, ok)
	}
	if n := ear.sectors(e01); n != 64 {
		t.Errorf("IDENTIFY meanwhile: %d sectors", n)
	}
	ear.setConfig(e02, "two")
	// More of them than there is room for: dropped, and nothing else happens.
	for range 2 * slowQueue {
		ear.send(e01, 1, set("x"))
	}
	if n := ear.sectors(e01); n != 64 {
		t.Errorf("IDENTIFY in a flood: %d sectors", n)
	}
	tag := ear.tag
	close(hang)
	if f := ear.hear(patience, func(f []byte) bool { return f[14] == 0x18 && f[29] == 0x14 }); f == nil {
		t.Errorf("no answer when the state was saved (up to tag %d)", tag)
	}
	if got, _, _ := ear.config(e01, patience); got == "" {
		t.Error("the config string was not set")
	}
}

func TestFailingStateDirectory(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	ear := r.listen("b0")
	ear.setConfig(e01, "old")
	r.setSaver(e01, disk{func() error { return errors.New("no space left on device") }})
	f := ear.ask(e01, 1, set("new"), patience)
	if f == nil || f[14] != 0x1c || f[15] != 3 {
		t.Errorf("reply % x, want AoE error 3", f[:min(len(f), 24)])
	}
	if got, _, _ := ear.config(e01, patience); got != "old" {
		t.Errorf("the config string is %q", got)
	}
	r.untilLog("level=ERROR", "no space left on device")
}

// TestSystemdIsTold checks what goes to the service manager.
func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", "")
	os.Unsetenv("WATCHDOG_PID")
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	hear := func(want ...string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			all := true
			for _, w := range want {
				all = all && strings.Contains(string(buf[:n]), w)
			}
			if all {
				return
			}
		}
	}
	hear("READY=1", "STATUS=1 export on 1 interface")
	hear("WATCHDOG=1")
	if err := r.d.Reload(); err != nil {
		t.Error(err)
	}
	hear("RELOADING=1", "MONOTONIC_USEC=")
	hear("READY=1")
	r.end()
	hear("STOPPING=1")
}

// TestInterfacesOfAnExportChange moves an export to other interfaces while it runs.
func TestInterfacesOfAnExportChange(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.cable("c0", "d0", 9000)
	r.file("disk", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	ear := r.listen("d0")
	for _, want := range []string{"a0,c0", "c0", "a0"} {
		r.write("[defaults]\ninterfaces = [\"" + strings.ReplaceAll(want, ",", `", "`) + "\"]\n" + exportText("0.1", "DIR/disk"))
		if err := r.d.Reload(); err != nil {
			t.Fatal(err)
		}
		r.until("serving on "+want, func(s Status) bool { return s.served("e0.1") == want && len(s.Ports) == 1+strings.Count(want, ",") })
		if want == "a0,c0" {
			ear.announced(e01, 17)
		}
		if _, _, ok := ear.config(e01, 300*time.Millisecond); ok != strings.Contains(want, "c0") {
			t.Errorf("on %s: an answer on c0: %v", want, ok)
		}
	}
	if got := strings.Count(r.log.String(), "opened again"); got > 0 {
		t.Error("an interface was opened again")
	}
}

// TestSlowRequestsOfRemovedExport: requests that wait for an export that is taken away get no answer, and are counted.
func TestSlowRequestsOfRemovedExport(t *testing.T) {
	eng, err := engine.NewStepped(engine.Options{Slow: func(engine.SlowRequest) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Kill()
	l := mem.NewNet(mem.Options{NoFD: true}).Open("a", aoe.MAC{2, 0, 0, 0, 0, 1}, 1500)
	p, err := eng.AddPort(engine.PortConfig{Name: "a", Links: []link.Link{l}, Ingress: target.Ingress{MAC: l.Info().MAC, MTU: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	te, err := target.NewExport(target.ExportConfig{Addr: e01, Sectors: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSlowPath(nil)
	s.add(te, disk{func() error { return nil }})
	s.exports[te].working = true // with a state that takes long to be saved
	for range 3 {
		if !s.take(engine.SlowRequest{Target: te, Port: p}) {
			t.Fatal("not taken")
		}
	}
	edited := s.edit(te, func(st target.State) target.State { return st })
	s.remove(te)
	if err := <-edited; err == nil {
		t.Error("an edit of an export that was closed has no error")
	}
	if n := p.Stats(0).Drops[stats.DropClosing].Load(); n != 3 {
		t.Errorf("%d requests are counted as dropped, want 3", n)
	}
}
