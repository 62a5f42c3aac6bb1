package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/nbd"
	"goaoe/test/need"
)

const mib = 1 << 20

// image makes random data of n bytes with its third quarter zeros.
func image(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 5))
	for i := 0; i+8 <= n; i += 8 {
		if i < n/2 || i >= n/4*3 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64()|1)
		}
	}
	return b
}

// put writes a file of the rig, with holes where there are zeros.
func (r *watchRig) put(name string, b []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	_ = os.Truncate(path, 0) // it may not exist
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	for at := 0; at < len(b) && err == nil; at += 4096 {
		if p := b[at:min(at+4096, len(b))]; !bytes.Equal(p, make([]byte, len(p))) {
			_, err = f.WriteAt(p, int64(at))
		}
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return path
}

// holds fails when a file of the rig is something else.
func (r *watchRig) holds(name string, want []byte) {
	r.t.Helper()
	got, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		r.t.Errorf("%s has %d bytes, want %d; the first that differs is at %d", name, len(got), len(want), i)
	}
}

// takes is how much of the disk a file of the rig takes.
func (r *watchRig) takes(name string) int64 {
	r.t.Helper()
	st, err := os.Stat(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Blocks * 512
}

// result decodes --json.
func (r *watchRig) result(args ...string) (c copied) {
	r.t.Helper()
	out, text := r.run(0, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		r.t.Fatalf("goaoe %v: %v: %s%s", args, err, out, text)
	}
	return c
}

// TestCopyThere: a file to a disk of goaoe, to another disk, and back, sparse all the way, in each form of the command.
func TestCopyThere(t *testing.T) {
	r := newWatchRig(t)
	r.put("disk2", bytes.Repeat([]byte{0x55}, 8*mib))
	r.discards()
	r.serve()
	img := image(8*mib, 1)
	r.put("img", img)
	if c := r.result("write", "img", "1.1", "--yes", "--verify"); c.Bytes != 8*mib || c.Zeros != 2*mib || c.Written != 6*mib || !c.Flushed || !c.Verified || c.Source != "img" || c.Destination != "e1.1" {
		t.Errorf("%+v", c)
	}
	r.holds("disk2", img)
	if n := r.takes("disk2"); n > 7*mib {
		t.Errorf("the zeros were not trimmed: the disk takes %d bytes", n)
	}
	if out, text := r.run(0, "copy", "e1.1", "1.0", "-y", "--verify"); !strings.HasPrefix(out, "8.0 MiB copied from e1.1 to e1.0 in ") || !strings.Contains(out, "; on stable storage; verified\n") || text != "" {
		t.Errorf("%s%s", out, text)
	}
	r.run(0, "read", "1.0", "back")
	r.holds("back", img)
	if n := r.takes("back"); n > 7*mib {
		t.Errorf("the zeros are no hole: the file takes %d bytes", n)
	}
	// Parts: 1 MiB of the image's second one to the disk's fourth one, and out of it by a pipe.
	r.run(0, "copy", "img", "1.1", "-y", "--offset", "1M", "--length", "1M", "--to", "3M")
	want := bytes.Clone(img)
	copy(want[3*mib:], img[mib:2*mib])
	r.holds("disk2", want)
	if out, text := r.run(0, "read", "1.1", "--offset", "2M", "--length", "3M"); out != string(want[2*mib:5*mib]) || !strings.Contains(text, "3.0 MiB copied") {
		t.Errorf("read to standard output: %d bytes, %s", len(out), text)
	}
	if c := r.result("read", "1.1", "/dev/null"); c.Bytes != 8*mib || c.Flushed {
		t.Errorf("%+v", c)
	}
	// Into the middle of a file, which keeps the rest.
	r.run(0, "copy", "1.1", "back", "-y", "--offset", "3M", "--length", "64K", "--to", "100")
	back := bytes.Clone(img)
	copy(back[100:], want[3*mib:3*mib+64<<10])
	r.holds("back", back)
	// Standard input, padded.
	p := r.process("write", "-", "1.1", "--yes", "--pad", "--offset", "7M")
	_ = r.end(p, 0) // without input: nothing
	r.holds("disk2", want)
	if p := r.piped(want[:1000], "write", "-", "1.1", "--yes", "--offset", "7M"); p.cmd.ProcessState.ExitCode() != ExitFailure || !strings.Contains(p.err.String(), "standard input ended after 1000 bytes, 488 more than whole sectors of 512 bytes") {
		t.Errorf("%s", &p.err)
	}
	if p := r.piped(want[:1000], "write", "-", "1.1", "--yes", "--pad", "--offset", "7M", "--verify"); p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%s", &p.err)
	}
	copy(want[7*mib:], append(bytes.Clone(want[:1000]), make([]byte, 24)...))
	r.holds("disk2", want)
}

// discards has the disks offer TRIM.
func (r *watchRig) discards() {
	r.t.Helper()
	path := filepath.Join(r.dir, "goaoe.toml")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte("[defaults]\ndiscard = true\n"), text...), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// piped runs a command with standard input to its end.
func (r *watchRig) piped(in []byte, args ...string) *watchProc {
	r.t.Helper()
	p := &watchProc{cmd: &exec.Cmd{Path: r.goaoe, Args: append([]string{"goaoe"}, args...), Dir: r.dir, Env: os.Environ(), Stdin: bytes.NewReader(in)}}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	r.ns.Start(p.cmd)
	r.end(p, 0)
	return p
}

// TestCopyConsent: nothing is overwritten without a yes, and what is wrong is refused before anything is.
func TestCopyConsent(t *testing.T) {
	r := newWatchRig(t)
	old := bytes.Repeat([]byte{0x55}, 8*mib)
	r.put("disk2", old)
	img := image(mib, 1)
	r.put("img", img)
	r.put("odd", img[:1000])
	r.put("large", image(9*mib, 2))
	r.serve()
	for _, c := range []struct {
		in, args string
		status   int
		want     string
	}{
		{"", "write img 1.1", ExitRefused, `bytes 0 to 1048576 of e1.1 on`},
		{"", "write img 1.1", ExitRefused, "goaoe: nothing was written; --yes overwrites without a question"},
		{"no\n", "write img 1.1", ExitRefused, "nothing was written"},
		{"", "write - 1.1", ExitUsage, "standard input is the source, so nothing can be asked; --yes"},
		{"", "write odd 1.1 -y", ExitFailure, "odd has 1000 bytes, 488 more than whole sectors of 512 bytes, which is all that e1.1 takes; --pad"},
		{"", "write large 1.1 -y", ExitFailure, "large does not fit: 9437184 bytes at offset 0 are more than the 8388608 bytes of e1.1"},
		{"", "write img 1.1 -y --offset 8M", ExitFailure, "img does not fit: 1048576 bytes at offset 8388608"},
		{"", "write img 1.1 -y --offset 100", ExitFailure, "the offset in e1.1 is 100 bytes: must be a multiple of 512"},
		{"", "copy 1.1 e1.1 -y", ExitUsage, "source and destination are the same: e1.1"},
		{"", "copy img ./img -y", ExitUsage, "source and destination are the same: img"},
		{"", "copy disk2 img", ExitRefused, "img, which exists and has 1.0 MiB. Go on?"},
		{"", "write nosuch 1.1 -y", ExitFailure, "open nosuch: no such file or directory"},
		{"", "write img 9.9 -y --timeout 1s", ExitNoAnswer, "e9.9"},
		{"", "write img 1.1 -y -i nosuch0", ExitFailure, "nosuch0"},
		{"", "write img x.y", ExitUsage, "x.y"},
		{"", "read 1.1 . -y", ExitFailure, ". is a directory"},
		{"", "read 1.1 new --offset 9M", ExitFailure, "offset 9437184 is behind the end of e1.1, which has 8388608 bytes"},
		{"", "read 1.1 new --resume --journal j", ExitFailure, "journal j does not exist"},
	} {
		p := r.piped([]byte(c.in), strings.Fields(c.args)...)
		if got := p.cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(p.err.String(), c.want) || p.out.String() != "" {
			t.Errorf("goaoe %s: status %d, want %d and %q: %s%s", c.args, got, c.status, c.want, &p.out, &p.err)
		}
	}
	r.holds("disk2", old)
	r.holds("img", img)
	for _, name := range []string{"new", "j"} {
		if st, err := os.Stat(filepath.Join(r.dir, name)); err == nil && st.Size() > 0 {
			t.Errorf("%s was made", name)
		}
	}
	if p := r.piped([]byte("yes\n"), "write", "img", "1.1"); p.cmd.ProcessState.ExitCode() != 0 {
		t.Error(&p.err)
	}
	copy(old, img)
	r.holds("disk2", old)
	// Reserved by somebody else: refused, also by force, because the target refuses.
	r.run(0, "reserve", "force", "1.1", "02:00:00:00:00:99")
	if p := r.piped(nil, "write", "img", "1.1", "-y"); p.cmd.ProcessState.ExitCode() != ExitRefused || !strings.Contains(p.err.String(), "reserved") {
		t.Errorf("reserved: %s", &p.err)
	}
}

// TestCopyInterrupted: a copy that is interrupted, and one whose target is killed, are failures that say so, and are gone on with: by
// the journal without doing the first part again, without one by comparing.
func TestCopyInterrupted(t *testing.T) {
	r := newWatchRig(t)
	r.put("disk2", make([]byte, 8*mib))
	img := image(8*mib, 3)
	for i := range img {
		img[i] |= 1 // no zeros: they would take no time
	}
	r.put("img", img)
	r.serve()
	p := r.process("write", "img", "1.1", "-y", "--rate", "2M", "--journal", "j")
	r.until("the copy is under way", func() bool { return r.takes("disk2") > mib })
	if code := r.end(p, unix.SIGINT); code != ExitFailure || !strings.Contains(p.err.String(), "goaoe: interrupted; ") || !strings.Contains(p.err.String(), "of img is copied; the same command with --resume goes on") {
		t.Errorf("status %d: %s", code, &p.err)
	}
	if c := r.result("write", "img", "1.1", "-y", "--journal", "j", "--resume", "--verify"); c.Resumed < mib/2 || c.Resumed+c.Written != 8*mib || c.Bytes != 8*mib {
		t.Errorf("%+v", c)
	}
	r.holds("disk2", img)
	if _, err := os.Stat(filepath.Join(r.dir, "j")); err == nil {
		t.Error("the journal is still there")
	}

	// The target is killed in the middle.
	img = image(8*mib, 4)
	r.put("img2", img)
	p = r.process("write", "img2", "1.1", "-y", "--rate", "2M", "--timeout", "1s")
	r.until("the copy is under way", func() bool {
		b, err := os.ReadFile(filepath.Join(r.dir, "disk2"))
		return err == nil && bytes.Equal(b[:mib], img[:mib])
	})
	_ = r.daemon.cmd.Process.Kill()
	_ = r.daemon.cmd.Wait()
	if code := r.end(p, 0); code != ExitNoAnswer || !strings.Contains(p.err.String(), "of img2 is copied") || p.out.String() != "" {
		t.Errorf("status %d: %s", code, &p.err)
	}
	r.serve()
	if c := r.result("write", "img2", "1.1", "-y", "--resume", "--verify"); c.Kept < mib || c.Kept+c.Written+c.Zeros != 8*mib {
		t.Errorf("%+v", c)
	}
	r.holds("disk2", img)
}

// until polls for a condition.
func (r *watchRig) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not in 30 seconds: %s", what)
		}
	}
}

// TestCopyShrinks: a disk that becomes smaller while it is read is a failure, in bounded time.
func TestCopyShrinks(t *testing.T) {
	r := newWatchRig(t)
	r.put("disk2", bytes.Repeat([]byte{0x55}, 8*mib))
	r.serve()
	p := r.process("read", "1.1", "out", "--rate", "2M", "--timeout", "5s")
	r.until("the copy is under way", func() bool { st, err := os.Stat(filepath.Join(r.dir, "out")); return err == nil && st.Size() > mib })
	if err := os.Truncate(filepath.Join(r.dir, "disk2"), 4*mib); err != nil {
		t.Fatal(err)
	}
	if code := r.end(p, 0); code == 0 || !strings.Contains(p.err.String(), "of e1.1 is copied") {
		t.Errorf("status %d: %s%s", code, &p.out, &p.err)
	}
}

// TestCopyVblade: the same with Debian's vblade, which has neither TRIM nor announcements after a change.
func TestCopyVblade(t *testing.T) {
	need.Programs(t, "vblade")
	r := newWatchRig(t)
	r.put("blade", bytes.Repeat([]byte{0x55}, 4*mib))
	img := image(4*mib, 5)
	r.put("img", img)
	v := r.vblade("7", "3", r.a, "blade")
	if c := r.result("write", "img", "7.3", "-y", "--verify"); c.Bytes != 4*mib || c.Written != 4*mib || c.Zeros != 0 {
		t.Errorf("%+v", c)
	}
	r.holds("blade", img)
	r.run(0, "read", "7.3", "back", "--verify")
	r.holds("back", img)
	// What vblade cannot read any more it answers with an error.
	if err := os.Truncate(filepath.Join(r.dir, "blade"), 2*mib); err != nil {
		t.Fatal(err)
	}
	if _, text := r.run(ExitFailure, "read", "7.3", "back", "-y", "--timeout", "2s"); !strings.Contains(text, "reading e7.3 at") {
		t.Error(text)
	}
	_ = v.Process.Kill()
	_ = v.Wait()
	if _, text := r.run(ExitNoAnswer, "read", "7.3", "back", "-y", "--timeout", "1s"); !strings.Contains(text, "e7.3") {
		t.Error(text)
	}
}

// vblade starts Debian's vblade.
func (r *watchRig) vblade(args ...string) *exec.Cmd {
	r.t.Helper()
	path, err := exec.LookPath("vblade")
	if err != nil {
		r.t.Fatal(err)
	}
	var out output
	cmd := &exec.Cmd{Path: path, Args: append([]string{"vblade"}, args...), Dir: r.dir, Stdout: &out, Stderr: &out}
	r.ns.Start(cmd)
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill() // most have ended
		_ = cmd.Wait()
	})
	r.until("vblade answers", func() bool {
		p := r.process("identify", args[0]+"."+args[1], "--timeout", "300ms")
		return r.end(p, 0) == 0
	})
	return cmd
}

// TestCopyLossy: over a relay that loses, doubles and swaps frames every byte still arrives.
func TestCopyLossy(t *testing.T) {
	r := newWatchRig(t)
	r.put("disk2", make([]byte, 8*mib))
	img := image(8*mib, 6)
	r.put("img", img)
	r.ns.Veth("relayed", "user0", 9000)
	r.serve()
	lost, doubled := r.relay(r.b, "relayed")
	if c := r.result("write", "img", "1.1", "-y", "--verify", "-i", "user0"); c.Retransmits == 0 || c.Bytes != 8*mib {
		t.Errorf("%+v", c)
	}
	r.holds("disk2", img)
	r.result("read", "1.1", "back", "-i", "user0")
	r.holds("back", img)
	if lost.Load() < 20 || doubled.Load() < 20 {
		t.Errorf("%d frames were lost and %d doubled: the test tries too little", lost.Load(), doubled.Load())
	}
}

// relay passes frames between two interfaces until the test is over. Some it loses, some it sends twice, some it sends late.
func (r *watchRig) relay(a, b string) (lost, doubled *atomic.Int64) {
	r.t.Helper()
	lost, doubled = new(atomic.Int64), new(atomic.Int64)
	var socks [2]int
	var numbers [2]int
	r.ns.Do(func() {
		for i, name := range []string{a, b} {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				r.t.Fatal(err)
			}
			const aoeProtocol = 0xa288 // in network byte order
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				r.t.Fatal(err)
			}
			// Frames are for the other end: only a promiscuous interface takes them.
			mreq := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}
			err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
				unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq), unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: aoeProtocol}))
			if err != nil {
				r.t.Fatal(err)
			}
			socks[i], numbers[i] = fd, ifi.Index
		}
	})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		rnd := rand.New(rand.NewPCG(1, 1))
		buf := make([]byte, 10000)
		var late [2][]byte
		for {
			select {
			case <-stop:
				return
			default:
			}
			idle := true
			for i := range socks {
				send := func(f []byte) { _ = unix.Sendto(socks[1-i], f, 0, &unix.SockaddrLinklayer{Ifindex: numbers[1-i]}) } // what does not fit is lost
				n, err := unix.Read(socks[i], buf)
				if err != nil {
					continue
				}
				idle = false
				switch rnd.IntN(50) {
				case 0:
					lost.Add(1)
					continue
				case 1:
					doubled.Add(1)
					send(buf[:n])
				case 2:
					if late[i] == nil {
						late[i] = bytes.Clone(buf[:n])
						continue
					}
				}
				send(buf[:n])
				if late[i] != nil && rnd.IntN(5) == 0 {
					send(late[i])
					late[i] = nil
				}
			}
			if idle {
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	r.t.Cleanup(func() {
		close(stop)
		<-done
		for _, fd := range socks {
			_ = unix.Close(fd)
		}
	})
	return lost, doubled
}

// TestCopyInUse: a disk that is mounted here, by the kernel's driver or by goaoe attach, is refused and stays as it is; --force does it.
func TestCopyInUse(t *testing.T) {
	need.Root(t)
	losetup := need.Programs(t, "losetup", "mke2fs", "mount", "umount")[0]
	r := newWatchRig(t)
	old := bytes.Repeat([]byte{0x55}, 8*mib)
	r.put("disk2", old)
	r.put("img", image(mib, 7))
	r.serve()
	// A loop device in the place of the aoe driver's, which this kernel may not have: what counts is the number, and who holds it.
	r.put("fs", make([]byte, 8*mib))
	out, err := exec.Command("sh", "-c", `set -e; cd "$1"; mke2fs -q fs; `+losetup+` -f --show fs`, "sh", r.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	first := loop
	t.Cleanup(func() { _ = exec.Command(losetup, "-d", first).Run() })
	mnt := filepath.Join(r.dir, "mnt")
	if out, err := exec.Command("sh", "-c", `mkdir "$2"; mount "$1" "$2"`, "sh", loop, mnt).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mounted := true
	unmount := func() {
		if mounted {
			_ = exec.Command("umount", mnt).Run()
			mounted = false
		}
	}
	t.Cleanup(unmount)
	root := filepath.Join(r.dir, "root")
	etherd := filepath.Join(root, "dev/etherd")
	st, err := os.Stat(loop)
	if err == nil {
		err = os.MkdirAll(etherd, 0o755)
	}
	if err == nil {
		err = unix.Mknod(filepath.Join(etherd, "e1.1"), unix.S_IFBLK|0o600, int(st.Sys().(*syscall.Stat_t).Rdev))
	}
	for _, dir := range []string{"proc", "sys"} {
		if err == nil {
			err = os.Symlink("/"+dir, filepath.Join(root, dir))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	try := func(args ...string) (code int, text string) {
		var stdout, stderr bytes.Buffer
		r.ns.Do(func() {
			code = Run(&Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Sysroot: root}, args)
		})
		return code, stdout.String() + stderr.String()
	}
	img := filepath.Join(r.dir, "img")
	if code, text := try("write", img, "1.1", "-y"); code != ExitRefused || !strings.Contains(text, "e1.1 is in use on this machine (mounted on "+mnt+"); --force") {
		t.Errorf("mounted by the driver: status %d: %s", code, text)
	}
	if code, text := try("copy", img, loop, "-y"); code != ExitRefused || !strings.Contains(text, loop+" is in use on this machine (mounted on "+mnt+"); --force") {
		t.Errorf("a device that is mounted: status %d: %s", code, text)
	}
	if code, text := try("bench", "1.1", "--writes", "10", "-y"); code != ExitRefused || !strings.Contains(text, "e1.1 is in use") {
		t.Errorf("bench: status %d: %s", code, text)
	}
	if code, text := try("read", "1.1", filepath.Join(r.dir, "back")); code != 0 || !strings.Contains(text, "note: "+etherd+"/e1.1 is in use") {
		t.Errorf("reading it: status %d: %s", code, text)
	}
	if code, text := try("copy", loop, "1.1", "-y"); code == 0 || !strings.Contains(text, "source and destination are the same device") && code != ExitRefused {
		t.Errorf("the same device: status %d: %s", code, text)
	}
	unmount()
	// Another device for what follows: mount namespaces that other tests made meanwhile may still have the first one mounted.
	if out, err = exec.Command("sh", "-c", `cd "$1"; truncate -s 8M other; `+losetup+` -f --show other`, "sh", r.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	loop = strings.TrimSpace(string(out))
	other := loop
	t.Cleanup(func() { _ = exec.Command(losetup, "-d", other).Run() })
	if st, err = os.Stat(loop); err == nil {
		err = errors.Join(os.Remove(filepath.Join(etherd, "e1.1")), unix.Mknod(filepath.Join(etherd, "e1.1"), unix.S_IFBLK|0o600, int(st.Sys().(*syscall.Stat_t).Rdev)))
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, text := try("copy", "1.1", loop, "-y"); code != ExitUsage || !strings.Contains(text, "source and destination are the same device") {
		t.Errorf("the same device: status %d: %s", code, text)
	}
	r.holds("disk2", old)
	if err := os.Remove(filepath.Join(etherd, "e1.1")); err != nil {
		t.Fatal(err)
	}

	// Onto a block device and back: it has no holes to punch in the file system's way, and a size of its own.
	if code, text := try("copy", img, loop, "-y", "--verify", "--to", "1M"); code != 0 {
		t.Errorf("onto a device: status %d: %s", code, text)
	}
	if code, text := try("copy", loop, filepath.Join(r.dir, "again"), "-y", "--offset", "1M", "--length", "1M"); code != 0 {
		t.Errorf("from a device: status %d: %s", code, text)
	}
	want, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	r.holds("again", want)
	if code, text := try("copy", img, loop, "-y", "--to", "8M"); code != ExitFailure || !strings.Contains(text, "are more than the 8388608 bytes of "+loop) {
		t.Errorf("behind the end of a device: status %d: %s", code, text)
	}

	// Attached by goaoe, with a client on its socket.
	run := filepath.Join(root, "run/goaoe-attach")
	r.run(0, "attach", "1.1", "--server", "--run-dir", run)
	defer r.run(0, "detach", "1.1", "--force", "--run-dir", run)
	if code, text := try("write", img, "1.1", "-y", "--length", "4K"); code != 0 {
		t.Errorf("attached and not used: status %d: %s", code, text)
	}
	conn, err := net.Dial("unix", filepath.Join(run, "e1.1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := nbd.Handshake(conn, ""); err != nil {
		t.Fatal(err)
	}
	if code, text := try("write", img, "1.1", "-y"); code != ExitRefused || !strings.Contains(text, "e1.1 is attached to this machine and in use: ") {
		t.Errorf("attached and used: status %d: %s", code, text)
	}
	copy(old, want[:4096])
	r.holds("disk2", old)
	if code, text := try("write", img, "1.1", "-y", "--force"); code != 0 {
		t.Errorf("--force: status %d: %s", code, text)
	}
	copy(old, want)
	r.holds("disk2", old)
}

// TestProgress: the line of a terminal, with made-up time.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progressLine{w: &out, columns: 120, now: func() time.Time { return now }}
	p.show("copy", 0, 100*mib)
	now = now.Add(2 * time.Second)
	p.show("copy", 20*mib, 100*mib)
	if got := strings.TrimSuffix(out.String()[strings.LastIndex(out.String(), "\r")+1:], "\x1b[K"); got != "copy     20 %  [====                ]  20 MiB of 100 MiB  10 MiB/s  8s left" {
		t.Errorf("%q", got)
	}
	p.columns = 20
	p.show("verify", 0, -1)
	if got := out.String()[strings.LastIndex(out.String(), "\r")+1:]; len(got) > 19+3 || !strings.HasPrefix(got, "verify  0 B  0 B/s") {
		t.Errorf("%q", got)
	}
	p.clear()
	p.clear()
	if !strings.HasSuffix(out.String(), "\x1b[K\r\x1b[K") {
		t.Errorf("%q", out.String())
	}
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 200 * time.Second: "3m20s", 7500 * time.Second: "2h5m", 100 * time.Hour: "4d4h"} {
		if got := spell(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if p := newProgress(io.Discard); p.columns != 0 {
		t.Error("a progress line without a terminal")
	}
}
