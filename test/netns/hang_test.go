package netns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/test/need"
	"goaoe/test/program"
)

// frozen is a file system on a disk of its own that can be made to hang: whoever writes to it waits.
type frozen struct {
	t   *testing.T
	dir string
	on  bool
}

// newFrozen makes one with ext4 in it, which cannot refuse to wait.
func newFrozen(t *testing.T, r *rig) *frozen {
	t.Helper()
	need.Programs(t, "losetup", "mkfs.ext4")
	image, f := filepath.Join(r.dir, "fs"), &frozen{t: t, dir: filepath.Join(r.dir, "mnt")}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", image).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v\n%s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", loop).Run() })
	if out, err := exec.Command("mkfs.ext4", "-q", loop).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(loop, f.dir, "ext4", 0, ""); err != nil {
		t.Fatalf("mounting %s: %v", loop, err)
	}
	t.Cleanup(func() {
		f.hang(false)
		r.stop() // before it is unmounted
		_ = unix.Unmount(f.dir, unix.MNT_DETACH)
	})
	return f
}

// hang makes it hang, or go on.
func (f *frozen) hang(on bool) {
	f.t.Helper()
	if on == f.on {
		return
	}
	fd, err := unix.Open(f.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer unix.Close(fd)
	const freeze, thaw = 0xc0045877, 0xc0045878 // linux/fs.h: FIFREEZE, FITHAW
	call := uint(thaw)
	if on {
		call = freeze
	}
	if err := unix.IoctlSetInt(fd, call, 0); err != nil {
		f.t.Fatalf("freezing %v: %v", on, err)
	}
	f.on = on
}

// TestHangingDisk: what a disk that hangs holds up beside its own exports, by write-now.
func TestHangingDisk(t *testing.T) {
	for how, holds := range map[string]bool{"auto": false, "off": false, "on": true} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, 1, 1500)
			f := newFrozen(t, r)
			a, b := r.image("mnt/disk", 2048*512), r.image("disk", 2048*512)
			r.serve(fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\nwrite-cache = true\nwrite-now = %q\n[[export]]\naddress = \"1.1\"\nsource = %q\n[[export]]\naddress = \"1.2\"\nsource = %q\n", how, a, b))
			h := r.hosts[0]
			h.writeExt(1, sectors(1, 1)).good(t)
			f.hang(true)
			held := h.writeExt(2, sectors(1, 2))
			held.silent(t)
			other := h.writeExt(3, sectors(1, 3)).at(1, 2)
			if holds {
				other.silent(t) // or else nothing here hangs the lane, and auto shows nothing
				f.hang(false)
			} else {
				other.good(t)
				if got := h.readExt(3, 1).at(1, 2).data(t, 1); !bytes.Equal(got, sectors(1, 3)) {
					t.Error("the other disk does not hold what was written")
				}
				f.hang(false)
			}
			if got := h.readExt(2, 1).data(t, 1); !bytes.Equal(got, sectors(1, 2)) {
				t.Error("the write that hung did not take place")
			}
			h.drainAll()
		})
	}
}

// drainAll throws away late answers.
func (h *host) drainAll() {
	for h.read(100*time.Millisecond) != nil {
	}
}

// TestHangingOnlyDisk: the lane waits for the only disk that it has. It is reported all the same, the daemon still answers commands, and its end is an error that says
// what hangs.
func TestHangingOnlyDisk(t *testing.T) {
	r := newRig(t, 1, 1500)
	f := newFrozen(t, r)
	socket := filepath.Join(r.dir, "socket")
	r.write(fmt.Sprintf("[defaults]\ninterfaces = [\"t0\"]\nwrite-cache = true\n[[export]]\naddress = \"1.1\"\nsource = %q\n", r.image("mnt/disk", 2048*512)))
	r.start("serve", "-c", r.cfg, "--socket", socket)
	r.waitLog("goaoe: ready")
	r.drain()
	h := r.hosts[0]
	goaoe := func(args ...string) (string, error) {
		out, err := exec.Command(program.Goaoe(t), append(args, "--socket", socket)...).CombinedOutput()
		return string(out), err
	}
	h.writeExt(1, sectors(1, 1)).good(t)
	if out, err := goaoe("stats", "--json"); err != nil || !strings.Contains(out, `"write_now": 1,`) {
		t.Fatalf("the lane did not write itself: %v\n%s", err, out)
	}
	f.hang(true)
	h.writeExt(2, sectors(1, 2)).silent(t)
	h.config(0, "").silent(t) // the lane waits
	if out, err := goaoe("ls"); err != nil || !strings.Contains(out, "e1.1") {
		t.Errorf("goaoe ls: %v\n%s", err, out)
	}
	r.waitLog("the disk hangs: 1 request under way")
	if out, err := goaoe("set", "1.1", "queue-length=9", "--wait", "0"); err != nil {
		t.Errorf("goaoe set: %v\n%s", err, out)
	}
	if out, err := goaoe("add", "1.2", r.image("disk", 2048*512), "--wait", "2s"); !strings.Contains(out, "held up") {
		t.Errorf("goaoe add: %v\n%s", err, out)
	}
	if out, err := goaoe("stats", "--json"); err != nil || !strings.Contains(out, "e1.1") {
		t.Errorf("goaoe stats: %v\n%s", err, out)
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	// Ten seconds for what is in flight, and before that whatever the loop of the daemon has just asked the lane: 5 s each, when the lane does not answer.
	r.waitLogFor("lane 0: requests are still in flight on storage", time.Minute)
	f.hang(false) // the kernel lets no process end before
	select {
	case err := <-r.exit:
		if err == nil {
			t.Error("goaoe ended with success")
		}
	case <-time.After(20 * time.Second):
		t.Errorf("goaoe does not end:\n%s", r.log.String())
		_ = r.cmd.Process.Kill()
		<-r.exit
	}
	r.cmd = nil
	got, err := os.ReadFile(filepath.Join(f.dir, "disk"))
	if err != nil || !bytes.Equal(got[512:1024], sectors(1, 1)) {
		t.Errorf("%v, or what was acknowledged is not in the file", err)
	}
}
