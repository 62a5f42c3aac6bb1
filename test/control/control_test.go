package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

// vbMAC is the address of the initiator's interface, see package testnet.
const vbMAC = `02:00:5e:10:[0-9a-f:]{5}`

// TestLife: an export is added, used, not removed while it is used but by force, and what was written is in the file.
func TestLife(t *testing.T) {
	r := newRig(t, "")
	file := r.image("disk", 1<<20)
	r.want(0, `^e1\.0: added; serving on va\n$`, "", "add", "1.0", "disk", "--queue-length", "32", "-o", "name=mail") // relative
	if e := r.exports()["e1.0"]; e.Source != file || e.State != control.StateServing || !e.Unsaved || e.Settings["queue-length"] != "32" || e.Name != "mail" {
		t.Errorf("after add: %+v", e)
	}
	d := r.open("e1.0")
	data := bytes.Repeat([]byte("goaoe 16 bytes. "), 4096)
	if _, err := d.WriteAt(data, 8192); err != nil {
		t.Fatal(err)
	}
	r.want(0, `(?m)^e1\.0 +mail +serving +1\.0 MiB +.*/disk +va +`+vbMAC+` +unsaved$`, "", "ls")
	r.want(0, `(?s)^e1\.0 \(mail\): serving on va\n.*initiators +`+vbMAC+` on va, seen [0-9]+ s ago\n.*queue-length +32 +run time\n`, "", "show", "mail")
	r.want(11, "", `^goaoe: e1\.0 is in use and cannot be removed: by `+vbMAC+` on va, last seen .* ago; .*--force.*\n$`, "rm", "1.0")
	if e := r.exports()["e1.0"]; e.State != control.StateServing {
		t.Errorf("after the refusal: %+v", e)
	}
	r.want(0, `^e1\.0: removed\n$`, "", "rm", "mail", "--force")
	if list := r.exports(); len(list) != 0 {
		t.Errorf("after rm: %+v", list)
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got[8192:8192+len(data)], data) {
		t.Errorf("what was written is not in the file: %v", err)
	}
	r.want(0, "", "there are no exports", "ls")
	r.want(0, `\[\]`, "", "ls", "--json")
}

// load reads and writes an export until it is stopped, and checks what it reads.
type load struct {
	ops    atomic.Int64
	failed chan error
	stop   func()
}

func startLoad(t *testing.T, d *initiator.Disk) *load {
	t.Helper()
	l := &load{failed: make(chan error, 8)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			buf, want := make([]byte, 16<<10), make([]byte, 16<<10)
			for n := 0; ctx.Err() == nil; n++ {
				for i := range want {
					want[i] = byte(i*7 + n + w)
				}
				off := int64(w)*64<<10 + int64(n%4)*16<<10
				_, err := d.WriteAt(want, off)
				if err == nil {
					_, err = d.ReadAt(buf, off)
				}
				if err == nil && !bytes.Equal(buf, want) {
					err = fmt.Errorf("wrong data at %d", off)
				}
				if err != nil {
					l.failed <- err
					return
				}
				l.ops.Add(1)
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(l.stop)
	return l
}

// goesOn fails the test unless the load makes progress and had no error.
func (l *load) goesOn(r *rig, after string) {
	r.t.Helper()
	was := l.ops.Load()
	r.until("I/O goes on after "+after, func() bool { return l.ops.Load() > was+20 || len(l.failed) > 0 })
	select {
	case err := <-l.failed:
		r.t.Fatalf("I/O after %s: %v", after, err)
	default:
	}
}

// TestSetUnderLoad: settings change while I/O runs, none of which fails.
func TestSetUnderLoad(t *testing.T) {
	r := newRig(t, "")
	r.image("disk", 1<<20)
	r.want(0, `added`, "", "add", "0.1", "disk")
	d := r.open("e0.1")
	l := startLoad(t, d)
	l.goesOn(r, "the start")
	for _, s := range []string{"queue-length=2", "queue-length=1024", "queue-length=64", "write-cache=on", "buffer-count=8", "name=busy", "log-level=debug", "trace=false",
		"accept=" + r.mac(), "model=other", "write-cache=off"} { // the last two open it anew
		r.want(0, `^e0\.1: changed; serving on va\n$`, "", "set", "0.1", s)
		l.goesOn(r, "goaoe set 0.1 "+s)
		key, value, _ := strings.Cut(s, "=")
		if got := r.exports()["e0.1"].Settings[key]; got != value && got != map[string]string{"on": "true", "off": "false"}[value] {
			t.Errorf("after %s: %q", s, got)
		}
	}
	r.want(2, "", `queue-length: 1 is out of range`, "set", "0.1", "queue-length=1")
	r.want(0, `daemon: log level debug`, "", "set", "log-level=debug")
	r.want(0, `va: log level warn`, "", "set", "va", "log-level=warn")
	r.want(0, `"log_level": "debug"`, "", "status", "--json")
	r.want(0, `announced on va`, "", "announce", "0.*")
	r.want(0, `^e0\.1: changed`, "", "set", "0.1", "--unset", "queue-length,accept")
	if got := r.exports()["e0.1"].Settings; got["queue-length"] != "64" || got["accept"] != "" {
		t.Errorf("after --unset: %q", got)
	}
	l.goesOn(r, "all of it")
	l.stop()
	r.want(0, `changed`, "", "set", "0.1", "read-only=on")
	if _, err := d.WriteAt(make([]byte, 512), 0); err == nil {
		t.Error("a read-only export takes a write")
	}
	r.want(0, `changed`, "", "set", "0.1", "read-only=off")
	if _, err := d.WriteAt(make([]byte, 512), 0); err != nil {
		t.Errorf("after read-only=off: %v", err)
	}
	r.want(0, `changed`, "", "set", "0.1", "deny="+r.mac())
	answered := make(chan error, 1)
	go func() { _, err := d.ReadAt(make([]byte, 512), 0); answered <- err }()
	select {
	case err := <-answered:
		t.Errorf("a denied initiator is answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	r.want(0, `changed`, "", "set", "0.1", "--unset", "deny")
	if err := <-answered; err != nil { // the initiator asks again and again
		t.Errorf("after --unset deny: %v", err)
	}
}

// TestForceUnderLoad: what was acknowledged before an export was removed by force is in the file, and no more is answered.
func TestForceUnderLoad(t *testing.T) {
	r := newRig(t, "")
	const block, blocks = 4096, 1024
	file := r.image("disk", block*blocks)
	r.want(0, `added`, "", "add", "1.0", "disk", "--write-cache")
	d := r.openFor("e1.0", 2*time.Second)
	var done [blocks]atomic.Bool // acknowledged
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= blocks {
					next.Store(0) // once more: the same data
					continue
				}
				if _, err := d.WriteAt(bytes.Repeat([]byte{byte(n%255 + 1)}, block), n*block); err != nil {
					return
				}
				done[n].Store(true)
			}
		})
	}
	r.until("I/O runs", func() bool { return next.Load() > 100 })
	r.want(0, `removed`, "", "rm", "1.0", "--force")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait() // each has got its timeout
	n := 0
	for i := range done {
		if done[i].Load() {
			if n++; got[i*block] != byte(i%255+1) || got[i*block+block-1] != byte(i%255+1) {
				t.Fatalf("block %d was acknowledged and is not in the file", i)
			}
		}
	}
	if n < 50 {
		t.Errorf("%d blocks were acknowledged", n)
	}
}

// mac is the address of the initiator.
func (r *rig) mac() string {
	r.t.Helper()
	var mac string
	r.ns.Do(func() {
		vb, err := net.InterfaceByName("vb")
		if err != nil {
			r.t.Fatal(err)
		}
		mac = vb.HardwareAddr.String()
	})
	return mac
}

// TestReloadUnderLoad: diff tells what a reload does, the reload does it, and an export that stays does not notice.
func TestReloadUnderLoad(t *testing.T) {
	const kept = "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n"
	r := newRig(t, kept+"[[export]]\naddress = \"0.2\"\nsource = \"mem:2M\"\n[[export]]\naddress = \"0.3\"\nsource = \"mem:3M\"\n")
	l := startLoad(t, r.open("e0.1"))
	l.goesOn(r, "the start")
	r.want(0, `^nothing to change; 3 exports as before\n$`, "", "diff")
	r.want(0, `added`, "", "add", "9.9", "mem:1M")
	r.configure(kept + "[[export]]\naddress = \"0.2\"\nsource = \"mem:4M\"\nqueue-length = 8\n[[export]]\naddress = \"0.4\"\nsource = \"mem:4M\"\n[log]\nlevel = \"debug\"\n")
	plan := `(?s)^~ e0\.2 +source mem:2M -> mem:4M +interrupts I/O: .*\n~ e0\.2 +queue-length 64 -> 8\n.*- e0\.3 +mem:3M *%s\n\+ e0\.4 +mem:4M\n~ log +level info -> debug\n4 changes; 2 exports as before\n$`
	r.want(1, fmt.Sprintf(plan, "ends I/O"), "", "diff")
	r.want(1, `- e0\.3`, "was changed at run time and not saved stays", "diff", r.file)
	r.want(0, fmt.Sprintf(plan, "ends I/O"), "", "reload", "--dry-run")
	r.want(0, fmt.Sprintf(plan, ""), "", "reload")
	l.goesOn(r, "the reload")
	r.until("the reload is done", func() bool {
		list := r.exports()
		return len(list) == 4 && list["e0.2"].Sectors == 8192 && list["e0.4"].State == control.StateServing && list["e9.9"].State == control.StateServing
	})
	r.want(0, `nothing to change`, "", "diff")
	r.configure(kept + "rubbish = 1\n")
	r.want(2, "", `(?s)goaoe\.toml:10:1: error: .*rubbish.*\ngoaoe: the configuration has errors: nothing would be changed`, "diff")
	r.want(1, "", `^goaoe: nothing was changed: .*goaoe\.toml:10:1: .*rubbish`, "reload")
	r.configure(kept)
	r.want(0, `- e9\.9`, "", "reload", "--discard-unsaved")
	if list := r.exports(); len(list) != 1 {
		t.Errorf("after --discard-unsaved: %v", list)
	}
	l.goesOn(r, "all of it")
	l.stop()
	// The initiator asks again for what is lost, so it would not notice: but each frame that came was answered.
	var s control.Stats
	if got := r.try("stats", "--json"); json.Unmarshal([]byte(got.stdout), &s) != nil || len(s.Exports) != 1 || len(s.Interfaces) != 1 {
		t.Fatalf("goaoe stats: %+v", got)
	}
	e, i, again := s.Exports[0], s.Interfaces[0], stats.DropDuplicate.String() // a repetition may cross the answer
	if i.KernelDrops+i.TxErrors+i.Drops.Total()-i.Drops[again]+e.Drops.Total()-e.Drops[again] > 0 || e.Reads == 0 {
		t.Errorf("frames were lost: %+v, %+v", i, e)
	}
}

// TestSave: what was saved is there after the daemon died and was started again; what was not is not.
func TestSave(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n[[export]]\naddress = \"0.2\"\nsource = \"mem:1M\"\n")
	r.want(0, `^e1\.0: added and saved; serving on va\n$`, "", "add", "1", "mem:1M", "--save", "--read-only")
	r.want(0, `^e1\.1: added; serving`, "", "add", "e1", "mem:1M")
	r.want(0, `^e0\.1: changed and saved`, "", "set", "0.1", "queue-length=17", "--save")
	r.want(0, `^e0\.1: changed; `, "", "set", "0.1", "name=forgotten")
	r.want(0, `^e0\.2: switched off; .*goaoe\.toml still has it\n$`, "", "rm", "0.2", "--save")
	r.want(0, `unsaved +2 exports`, "", "status") // e1.1, and the name of e0.1
	files, err := filepath.Glob(filepath.Join(r.dir, "conf.d", "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("conf.d has %q, %v", files, err)
	}
	r.end(unix.SIGKILL) // leaves the socket behind
	r.want(10, "", `no daemon is running: nobody listens on .*; start one`, "ls")
	r.start()
	list := r.exports()
	if len(list) != 3 || list["e1.0"].Settings["read-only"] != "true" || list["e0.1"].Settings["queue-length"] != "17" || list["e0.1"].Name != "" ||
		list["e0.2"].State != control.StateDisabled || list["e1.0"].Unsaved {
		t.Errorf("after the restart: %+v", list)
	}
	r.want(0, `^e1\.0: removed, and its file\n$`, "", "rm", "1.0", "--save")
	r.end(unix.SIGTERM)
	r.start()
	if list := r.exports(); len(list) != 2 {
		t.Errorf("after rm --save and a restart: %+v", list)
	}
}

// TestPartly: of several exports some are done, and the others say why not.
func TestPartly(t *testing.T) {
	r := newRig(t, "")
	for range 3 {
		r.want(0, `^e1\.[0-2]: added`, "", "add", "1", "mem:1M")
	}
	d := r.open("e1.1")
	if _, err := d.ReadAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	r.want(0, `^e1\.0: would be removed\ne1\.2: would be removed\n$`, "", "rm", "1.[02]", "--dry-run")
	r.want(3, `^e1\.0: removed\ne1\.2: removed\n$`, `^goaoe: e1\.1 is in use and cannot be removed: by `+vbMAC+`[^\n]*\n$`, "rm", "1.*")
	if list := r.exports(); len(list) != 1 || list["e1.1"].State != control.StateServing {
		t.Errorf("after rm: %+v", list)
	}
	r.want(1, "", `^goaoe: no export is meant by 7\.\*; there is e1\.1\n$`, "rm", "1.1", "7.*")
	r.want(12, "", `^goaoe: e1\.1 is taken: it exports mem:1M .*goaoe add 1 takes the next free slot`, "add", "1.1", "mem:2M")
	r.want(0, `^e1\.7: added; waiting: .*/gone does not exist`, "", "add", "1.7", "/gone")
	r.want(3, `e1\.1: config string cleared`, `^goaoe: e1\.7 is not open at present`, "clear", "config", "*")
	r.want(1, "", `^goaoe: e1\.7 is not open`, "clear", "config", "1.7")
}

// TestTwoClients: of several who change the same export at the same moment those that come too late are told.
func TestTwoClients(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n")
	c := control.NewClient(r.socket)
	defer c.Close()
	list, err := c.Exports(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r.want(0, `changed`, "", "set", "0.1", "queue-length=10")
	reply, err := c.Change(context.Background(), &control.ChangeRequest{Changes: []control.Change{{Op: control.OpSet, Address: "0.1", Revision: list[0].Revision,
		Settings: map[string]string{"queue-length": "20"}}}})
	if err != nil || reply.Results[0].Error == nil || reply.Results[0].Error.Code != control.CodeConflict || reply.Results[0].Error.Code.Status() != 409 {
		t.Errorf("with an old revision: %v, %+v", err, reply)
	}
	var mu sync.Mutex
	codes, winners := map[int]int{}, map[string]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			value := strconv.Itoa(100 + i)
			got := r.try("set", "0.1", "queue-length="+value)
			mu.Lock()
			defer mu.Unlock()
			if codes[got.code]++; got.code == 0 {
				winners[value] = true
			} else if got.code != 12 || !strings.Contains(got.stderr, "e0.1 was changed by somebody else meanwhile") {
				t.Errorf("status %d, %q", got.code, got.stderr)
			}
		})
	}
	wg.Wait()
	if now := r.exports()["e0.1"].Settings["queue-length"]; !winners[now] || codes[0]+codes[12] != 8 {
		t.Errorf("queue-length is %s; of the clients %v, those that won wanted %v", now, codes, winners)
	}
}

// TestClear: what initiators have set is shown and cleared; a reservation of somebody who is there only by force.
func TestClear(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n")
	r.send("0.1", aoe.CmdConfig, func(b []byte) (int, error) {
		return (&aoe.Config{Op: aoe.ConfigForceSet, String: []byte("the string")}).Encode(b)
	})
	mac, err := aoe.ParseMAC(r.mac())
	if err != nil {
		t.Fatal(err)
	}
	r.send("0.1", aoe.CmdReserve, func(b []byte) (int, error) { return aoe.EncodeReserve(b, aoe.ReserveSet, []aoe.MAC{mac}) })
	if _, err := r.open("e0.1").ReadAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	r.want(0, `(?s)config string +"the string"\n.*reserved by +`+vbMAC+`\n.*holds it reserved`, "", "show", "0.1")
	r.want(0, `reserved`, "", "ls")
	r.want(11, "", `^goaoe: e0\.1 is reserved by `+vbMAC+`.*--force`, "clear", "reserve", "0.1")
	r.want(0, `^e0\.1: reservation cleared; was reserved by `+vbMAC+`\n$`, "", "clear", "reserve", "0.1", "--force")
	r.want(0, `^e0\.1: config string cleared\n$`, "", "clear", "config", "0.1")
	if e := r.exports()["e0.1"]; e.ConfigString != "" || len(e.Reserve) > 0 {
		t.Errorf("after clear: %+v", e)
	}
	r.want(0, `cleared`, "", "clear", "stats")
	r.want(0, `"reads": 0`, "", "stats", "0.1", "--json")
}

// TestWaiting: an interface and a source that are not there yet are waited for, and it is said everywhere.
func TestWaiting(t *testing.T) {
	r := newRig(t, "")
	r.want(0, `^e1\.0: added; waiting: interface eth9 does not exist`, "", "add", "1.0", "mem:1M", "-i", "eth9")
	r.want(0, `^e1\.1: added; waiting: .*/later does not exist`, "", "add", "1.1", "later")
	r.want(0, `(?s)\nwaiting: e1\.0: interface eth9 does not exist.*\nwaiting: e1\.1: .*/later does not exist`, "", "ls")
	r.want(3, `(?s)\n  exports +0 served, 2 waiting\n.*\nwaiting: interface eth9 does not exist`, "", "status")
	r.want(0, `(?m)^eth9 +waiting(.*\n)+waiting: interface eth9 does not exist`, "", "interfaces")
	r.want(1, `^e1\.2: added; failed: .*is a directory`, `e1\.2 was added, but cannot be served.*goaoe rm 1\.2 takes it back`, "add", "1.2", r.dir)
	r.want(1, `(?m)^problem: .*is a directory`, "", "status")
	r.want(0, `removed`, "", "rm", "1.2")
	r.ns.Veth("eth9", "eth9peer", 1500)
	r.image("later", 1<<20)
	r.until("both are served", func() bool {
		list := r.exports()
		return list["e1.0"].State == control.StateServing && list["e1.1"].State == control.StateServing
	})
	r.want(0, `^goaoe .*, healthy\n`, "", "status")
	r.want(0, `^goaoe .*, healthy\n(.*\n)+goaoe --help lists the commands\.\n$`, "")
}

// TestWhoMay: without permission, and without a daemon, each command ends at once with one line and a status of its own.
func TestWhoMay(t *testing.T) {
	r := newRig(t, "[[export]]\naddress = \"0.1\"\nsource = \"mem:1M\"\n")
	commands := [][]string{{"add", "1.0", "mem:1M"}, {"rm", "0.1"}, {"ls"}, {"show"}, {"show", "--effective"}, {"set", "0.1", "queue-length=8"}, {"set", "log-level=debug"},
		{"announce"}, {"reload"}, {"diff"}, {"clear", "mask", "0.1"}, {"clear", "stats"}, {"status"}, {"interfaces"}}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}
	for _, args := range commands {
		r.check(r.as(nobody, args...), 11, "", `^goaoe: no permission to use [^\n]*/s; run as root, or as a member of the group [^\n]*\n$`, args...)
	}
	r.check(r.as(nobody), 0, `Usage:`, "")
	second := r.try("serve", "-c", r.file)
	if second.code != 12 && second.code != 1 || !strings.Contains(second.stderr, r.socket) {
		t.Errorf("a second daemon on the same socket: %+v", second)
	}
	r.end(unix.SIGTERM)
	for _, args := range commands {
		r.want(10, "", `^goaoe: no daemon is running: [^\n]*/s does not exist; start one: [^\n]*\n$`, args...)
	}
	r.want(0, `Usage:`, "")
	if err := os.WriteFile(r.socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.want(10, "", `^goaoe: .*/s`, "ls")
}

// TestManySlots: exports are added to the next free slot by many at a time.
func TestManySlots(t *testing.T) {
	r := newRig(t, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if got := r.try("add", "3", "mem:64K", "--wait", "0"); got.code != 0 {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	wg.Wait()
	r.until("all are served", func() bool {
		n := 0
		for _, e := range r.exports() {
			if e.State == control.StateServing {
				n++
			}
		}
		return n == 20
	})
	if got := r.try("ls", "-q", "3.*"); strings.Count(got.stdout, "\n") != 20 || !strings.HasPrefix(got.stdout, "e3.0\ne3.1\n") || !strings.HasSuffix(got.stdout, "e3.19\n") {
		t.Errorf("%+v", got)
	}
}
