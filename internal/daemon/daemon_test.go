package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/internal/daemon/neighbour"
	"goaoe/internal/daemon/state"
	"goaoe/internal/store"
)

func TestServesAndAnnounces(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	ear := r.listen("b0")
	r.file("disk", 2048)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	ear.announced(e01, 2)
	r.untilLog("level=INFO", "e0.1 serving", "2048 sectors on a0")
	if n := ear.sectors(e01); n != 2048 {
		t.Errorf("IDENTIFY says %d sectors", n)
	}
	s, _ := r.d.Status()
	if got, want := s.String(), "1 export on 1 interface"; got != want {
		t.Errorf("status %q, want %q", got, want)
	}
	if sn := s.export("e0.1").Serial; len(sn) > 20 || !strings.HasPrefix(sn, "0.1-") {
		t.Errorf("serial number %q", sn)
	}
	// Its config string survives a restart; the client that sets it causes no line in the log.
	before := r.log.String()
	ear.setConfig(e01, "mine")
	if after := r.log.String(); after != before {
		t.Errorf("a client at work made the log grow by %q", after[len(before):])
	}
	r.end()
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	if got, _, _ := ear.config(e01, patience); got != "mine" {
		t.Errorf("after a restart the config string is %q", got)
	}
}

func TestInterfaceComesAndGoes(t *testing.T) {
	r := newRig(t)
	r.file("disk", 64)
	r.start("[defaults]\ninterfaces = [\"a0\", \"vlan*\"]\n" + exportText("0.1", "DIR/disk"))
	r.untilLog("waiting: interface a0 does not exist")
	r.untilLog("waiting: no interface matches vlan*")
	for range 2 {
		r.cable("a0", "b0", 1500)
		r.until("serving on a0", func(s Status) bool { return s.served("e0.1") == "a0" })
		ear := r.listen("b0")
		if _, _, ok := ear.config(e01, patience); !ok {
			t.Fatal("no answer on an interface that appeared")
		}
		r.change("a0", netlink.LinkDel)
		r.until("the end of a0", func(s Status) bool { return s.served("e0.1") == "" && len(s.Waiting) == 2 })
	}
	r.cable("vlan7", "b7", 1500)
	r.until("serving on vlan7", func(s Status) bool { return s.served("e0.1") == "vlan7" })
	// A name that no pattern matches any more, and back.
	rename := func(from, to string) {
		r.change(from, func(l netlink.Link) error {
			return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, to), netlink.LinkSetUp(l))
		})
	}
	rename("vlan7", "other")
	r.until("the end of vlan7", func(s Status) bool { return s.served("e0.1") == "" })
	rename("other", "vlan8")
	r.until("serving on vlan8", func(s Status) bool { return s.served("e0.1") == "vlan8" })
}

func TestInterfaceChanges(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 9000)
	r.change("a0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1500) })
	ear := r.listen("b0")
	r.file("disk", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	ear.announced(e01, 2)
	r.change("a0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 9000) })
	ear.announced(e01, 17)
	if _, n, _ := ear.config(e01, patience); n != 17 {
		t.Errorf("advertises %d sectors at MTU 9000", n)
	}
	r.change("a0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 4200) })
	ear.announced(e01, 8)
	// What was made for the larger MTU is not refused at once: it may come by a path that has it, and its initiator may not have heard of this.
	large := []byte{0x40, 0, 17, 0x24, 0, 0, 0, 0, 0, 0, 0, 0} // READ EXT of 17 sectors
	if f := ear.ask(e01, 0, large, time.Second); f != nil {
		t.Errorf("a read of 17 sectors right after the MTU became too small for it is answered: %x", f)
	}
	var refused []byte
	for end := time.Now().Add(mtuGrace + patience); refused == nil && time.Now().Before(end); {
		refused = ear.ask(e01, 0, large, time.Second)
	}
	if refused == nil || refused[27]&1 == 0 || refused[25] != 4 {
		t.Errorf("a read of 17 sectors later: %x, want a refusal", refused)
	}
	r.change("a0", netlink.LinkSetDown)
	r.untilLog("waiting: interface a0 is down")
	r.change("a0", netlink.LinkSetUp)
	ear.announced(e01, 8)
	// Another address of its own: replies must come from it.
	r.change("a0", func(l netlink.Link) error {
		return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 0x77})
	})
	r.until("the new address", func(s Status) bool {
		return len(s.Ports) == 1 && s.Ports[0].MAC == "02:00:00:00:00:77" && s.served("e0.1") == "a0"
	})
	if f := ear.ask(e01, 1, make([]byte, 8), patience); f == nil || aoe.MAC(f[6:12]) != (aoe.MAC{2, 0, 0, 0, 0, 0x77}) {
		t.Errorf("reply %x", f)
	}
	// Too small for a config string: not served, and said so, until it is large enough again.
	r.change("a0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1000) })
	r.untilLog("a0", "MTU is 1000", "1042 or more")
	r.change("a0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1500) })
	r.until("serving again", func(s Status) bool { return s.served("e0.1") == "a0" })
}

func TestConfiguredMTU(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 9000)
	r.file("disk", 64)
	r.start(onA0 + "[[interface]]\nname = \"a*\"\nmtu = 4200\n" + exportText("0.1", "DIR/disk"))
	if _, n, _ := r.listen("b0").config(e01, patience); n != 8 {
		t.Errorf("advertises %d sectors at a configured MTU of 4200", n)
	}
}

func TestGrowth(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 1000)
	r.start(onA0 + exportText("0.1", "DIR/disk") + exportText("0.2", "DIR/disk", `length = "100s"`, `force = true`) + exportText("0.3", "DIR/rounded", "size-round = 300"))
	ear := r.listen("b0")
	r.untilLog("e0.3 waiting: ", "rounded does not exist yet")
	r.file("rounded", 1000)
	r.until("the file that was missing", func(s Status) bool { return s.export("e0.3").Sectors == 900 && s.served("e0.3") == "a0" })
	ear.drain() // the announcements of the start
	r.file("disk", 3000)
	ear.announced(e01, 2)
	if n := ear.sectors(e01); n != 3000 {
		t.Errorf("after growth IDENTIFY says %d", n)
	}
	r.untilLog("e0.1 grew from 1000 to 3000 sectors")
	r.file("disk", 500)
	r.untilLog("level=WARN", "e0.1 shrank from 3000 to 500 sectors")
	if s, _ := r.d.Status(); s.export("e0.2").Sectors != 100 {
		t.Errorf("a window inside did not keep its size: %+v", s.export("e0.2"))
	}
}

// TestReloadTouchesOnlyWhatChanged asks an export all the time while others come, go and change: it must not miss a request.
func TestReloadTouchesOnlyWhatChanged(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	for _, f := range []string{"disk1", "disk2", "disk3"} {
		r.file(f, 64)
	}
	one := onA0 + exportText("0.1", "DIR/disk1")
	r.start(one)
	ear := r.listen("b0")
	stop, lost := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				lost <- n
				return
			default:
				if _, _, ok := ear.config(e01, time.Second); !ok {
					n++
				}
			}
		}
	}()
	reload := func(text string) {
		t.Helper()
		r.write(text)
		if err := r.d.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	other := r.listen("b0")
	reload(one + exportText("0.2", "DIR/disk2"))
	r.until("an added export", func(s Status) bool { return s.served("e0.2") == "a0" })
	other.setConfig(e02, "two")
	reload(one + exportText("0.2", "DIR/disk2", `queue-length = 8`, `deny = ["`+other.mac.String()+`"]`))
	if _, _, ok := other.config(e02, 300*time.Millisecond); ok {
		t.Error("an initiator that is denied since the reload got an answer")
	}
	reload(one + exportText("0.2", "DIR/disk3", "read-only = true"))
	r.until("another source", func(s Status) bool { return s.export("e0.2").ReadOnly && s.served("e0.2") == "a0" })
	if got, _, _ := other.config(e02, patience); got != "two" {
		t.Errorf("an export that was opened anew has the config string %q", got)
	}
	reload(one)
	r.until("a removed export", func(s Status) bool { return len(s.Exports) == 1 })
	if _, _, ok := other.config(e02, 300*time.Millisecond); ok {
		t.Error("a removed export answered")
	}
	r.write(one + "[[export]]\naddress = \"0.1\"\nsource = \"/dev/null\"\nmistake = 1\n")
	if err := r.d.Reload(); err == nil {
		t.Error("a wrong file was accepted")
	}
	r.untilLog("level=ERROR", "mistake")
	r.untilLog("nothing was changed")
	close(stop)
	if n := <-lost; n > 0 {
		t.Errorf("the export that did not change missed %d requests", n)
	}
	if got := strings.Count(r.log.String(), "e0.1 serving"); got != 1 {
		t.Errorf("e0.1 was started %d times", got)
	}
}

func TestDamagedStateIsNotServed(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	r.file("disk2", 64)
	path := filepath.Join(r.dir, "state", "e0.1.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(`{"format":"goaoe`), 0o600)); err != nil {
		t.Fatal(err)
	}
	text := onA0 + exportText("0.1", "DIR/disk") + exportText("0.2", "DIR/disk2")
	r.start(text)
	r.untilLog("level=ERROR", "e0.1 not served", "damaged state file "+path, "ends too early")
	ear := r.listen("b0")
	if _, _, ok := ear.config(e02, patience); !ok {
		t.Error("the other export does not answer")
	}
	if _, _, ok := ear.config(e01, 300*time.Millisecond); ok {
		t.Error("a target with a damaged state answers")
	}
	r.end()
	if err := r.launch(text, func(o *Options) { o.Strict = true }); !errors.Is(err, state.ErrDamaged) && (err == nil || !strings.Contains(err.Error(), "damaged state file")) {
		t.Errorf("strict start: %v", err)
	}
	// With nothing else to serve it is an error without being strict.
	if err := r.launch(onA0 + exportText("0.1", "DIR/disk")); err == nil || !strings.Contains(err.Error(), "damaged state file") {
		t.Errorf("start with nothing to serve: %v", err)
	}
}

func TestAnotherTargetHasTheAddress(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	other := r.listen("b0")
	answer := make(chan bool, 1)
	done := make(chan struct{})
	go func() { // somebody who has e0.1 until told otherwise
		defer close(done)
		has := true
		for {
			f := other.hear(20*time.Millisecond, func(f []byte) bool { return f[14] == 0x10 && f[19] == 1 && f[18] == 1 })
			select {
			case on, more := <-answer:
				if has = on; !more {
					return
				}
			default:
			}
			if f != nil && has {
				copy(f, f[6:12])
				copy(f[6:], other.mac[:])
				f[14] = 0x18
				if _, err := other.file.Write(f[:60]); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	defer func() { close(answer); <-done }()
	text := onA0 + exportText("0.1", "DIR/disk") + exportText("0.2", "DIR/disk", "read-only = true", "force = true")
	r.start(text)
	r.untilLog("level=ERROR", "e0.1 not served on a0", other.mac.String(), "destroy data")
	if s, _ := r.d.Status(); s.served("e0.1") != "" || s.served("e0.2") != "a0" {
		t.Errorf("served: %+v", s)
	}
	r.end()
	err := r.launch(text, func(o *Options) { o.Strict = true })
	if err == nil || !strings.Contains(err.Error(), "answers for it") {
		t.Errorf("strict start: %v", err)
	}
	for _, more := range []string{"force = true", ""} {
		head := ""
		if more == "" {
			head = "duplicate-check = false\n"
		}
		r.start(head + onA0 + exportText("0.1", "DIR/disk", more))
		if s, _ := r.d.Status(); s.served("e0.1") != "a0" {
			t.Errorf("with %s%s it is not served: %+v", head, more, s)
		}
		r.end()
	}
	answer <- false
	r.start(text)
	r.until("serving when the other is gone", func(s Status) bool { return s.served("e0.1") == "a0" })
	// Somebody announces one of our addresses later.
	f := make([]byte, 60)
	copy(f, aoe.Broadcast[:])
	copy(f[6:], other.mac[:])
	f[12], f[13], f[14], f[18], f[19] = 0x88, 0xa2, 0x18, 1, 1
	binary.BigEndian.PutUint16(f[26:], 16)
	f[29] = 0x10
	for range 3 {
		if _, err := other.file.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	r.untilLog("level=ERROR", "another target at "+other.mac.String()+" announces the same address on a0")
	time.Sleep(50 * time.Millisecond)
	if n := strings.Count(r.log.String(), "announces the same address"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestTwoDaemons(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	text := onA0 + exportText("0.1", "DIR/disk")
	r.start(text)
	second := &rig{t: t, ns: r.ns, dir: r.dir}
	if err := second.launch(text, func(o *Options) { o.Strict = true }); !errors.Is(err, state.ErrInUse) && (err == nil || !strings.Contains(err.Error(), "already served by another goaoe")) {
		t.Errorf("with the same state directory: %v", err)
	}
	second.dir = t.TempDir()
	second.file("disk", 64)
	if err := second.launch(text, func(o *Options) { o.Strict = true }); err == nil || !strings.Contains(err.Error(), neighbour.ErrClaimed.Error()) {
		t.Errorf("with another state directory: %v", err)
	}
	r.end()
	second.start(text)
	second.end()
}

func TestStrictStart(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	r.file("empty", 0)
	for _, tc := range []struct{ text, want string }{
		{onA0 + exportText("0.1", "DIR/missing"), "missing"},
		{onA0 + exportText("0.1", "DIR"), "directory"},
		{onA0 + exportText("0.1", "DIR/empty"), "empty"},
		{"[defaults]\ninterfaces = [\"eth9\"]\n" + exportText("0.1", "DIR/disk"), "interface eth9 does not exist (there is a0, b0)"},
		{"[defaults]\ninterfaces = [\"lo\"]\n" + exportText("0.1", "DIR/disk"), "loopback"},
		{onA0 + exportText("0.1", "DIR/disk") + exportText("0.2", "DIR/disk"), "write to the same bytes"},
		{onA0 + exportText("0.1", "DIR/disk") + exportText("0.2", "DIR/missing"), "missing"},
	} {
		ear := r.listen("b0")
		err := r.launch(tc.text, func(o *Options) { o.Strict = true })
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.text, err, tc.want)
		}
		if f := ear.hear(time.Millisecond, func(f []byte) bool { return f[14]&8 != 0 }); f != nil {
			t.Errorf("%s: half started: something was announced", tc.text)
		}
		if r.stop != nil {
			r.end()
		}
	}
}

func TestAccessListAnnouncesToMembers(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk", 64)
	ear := r.listen("b0")
	r.start(onA0 + exportText("0.1", "DIR/disk", `accept = ["`+ear.mac.String()+`"]`, "broadcast = false"))
	f := ear.hear(patience, func(f []byte) bool { return f[14] == 0x18 && f[18] == 1 && binary.BigEndian.Uint32(f[20:]) == 0 })
	if f == nil || aoe.MAC(f[:6]) != ear.mac {
		t.Errorf("announcement %x", f)
	}
}

// TestAnnounceOff: an export with announce = false says nothing by itself, and answers who asks; beside it one that is announced.
func TestAnnounceOff(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("quiet", 64)
	r.file("loud", 64)
	ear := r.listen("b0")
	r.start(onA0 + exportText("0.1", "DIR/quiet", "announce = false") + exportText("0.2", "DIR/loud"))
	slot := byte(0)
	announced := func(f []byte) bool {
		slot = f[18]
		return f[14] == 0x18 && binary.BigEndian.Uint32(f[20:]) == 0
	}
	if f := ear.hear(patience, announced); f == nil || slot != 2 {
		t.Fatalf("the first announcement is %x of slot %d", f, slot)
	}
	if f := ear.hear(1500*time.Millisecond, func(f []byte) bool { return announced(f) && f[18] == 1 }); f != nil {
		t.Errorf("announced itself: %x", f)
	}
	ear.setConfig(e01, "found by asking")
}

func TestDefaultSerial(t *testing.T) {
	a := defaultSerial(aoe.Addr{Major: 65534, Minor: 254}, "m")
	if len(a) > 20 {
		t.Errorf("%q has %d characters", a, len(a))
	}
	if a == defaultSerial(aoe.Addr{Major: 65534, Minor: 254}, "n") || a == defaultSerial(aoe.Addr{Major: 65534, Minor: 253}, "m") {
		t.Error("serial numbers are not unique")
	}
	if firmware("v1.2.3-dirty\n") != "v1.2.3-d" {
		t.Errorf("firmware %q", firmware("v1.2.3-dirty\n"))
	}
}

// pulledOut is a store whose device is gone.
type pulledOut struct{ store.Store }

func (p pulledOut) Refresh() (store.Info, error) {
	return p.Info(), fmt.Errorf("reading the size: %w", unix.ENXIO)
}

// TestDeviceGoneAndBack pulls a device out and puts it back: it is opened anew, with the state and the counters that it had.
func TestDeviceGoneAndBack(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	path := r.file("disk", 64)
	r.start(onA0 + exportText("0.1", "DIR/disk"))
	ear := r.listen("b0")
	ear.setConfig(e01, "mine")
	others := func() (n uint64) {
		done := make(chan struct{})
		r.d.post(func() { n = r.d.exports[e01].run.target.Stats.Others.Load(); close(done) })
		<-done
		return n
	}
	before := others()
	if before == 0 {
		t.Error("nothing was counted")
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	r.d.post(func() { x := r.d.exports[e01]; x.store = pulledOut{x.store} })
	r.untilLog("e0.1", "is gone")
	r.untilLog("e0.1 waiting", "does not exist yet")
	if _, _, ok := ear.config(e01, 200*time.Millisecond); ok {
		t.Error("an export whose device is gone answers")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	r.until("serving again", func(s Status) bool { return s.served("e0.1") == "a0" })
	if got, _, _ := ear.config(e01, patience); got != "mine" {
		t.Errorf("the config string is %q", got)
	}
	if after := others(); after < before {
		t.Errorf("counters began anew: %d, had been %d", after, before)
	}
}

// TestLanes serves neighbouring addresses by two lanes: each answers for its own, and both are found by a wildcard.
func TestLanes(t *testing.T) {
	r := newRig(t)
	r.cable("a0", "b0", 1500)
	r.file("disk1", 64)
	r.file("disk2", 65)
	r.start("lanes = 2\nbusy-poll = \"50us\"\n" + onA0 + exportText("0.1", "DIR/disk1") + exportText("0.2", "DIR/disk2"))
	ear := r.listen("b0")
	if a, b := ear.sectors(e01), ear.sectors(e02); a != 64 || b != 65 {
		t.Errorf("sizes %d and %d", a, b)
	}
	ear.setConfig(e02, "two") // by the slow path of a lane that is not the first
	tag := ear.send(aoe.Addr{Major: aoe.WildMajor, Minor: aoe.WildMinor}, 1, make([]byte, 8))
	seen := map[byte]bool{}
	for range 2 {
		if f := ear.hear(patience, func(f []byte) bool { return f[14] == 0x18 && binary.BigEndian.Uint32(f[20:]) == tag }); f != nil {
			seen[f[18]] = true
		}
	}
	if !seen[1] || !seen[2] {
		t.Errorf("a wildcard query was answered by %v", seen)
	}
}
