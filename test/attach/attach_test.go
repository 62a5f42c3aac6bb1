package attach

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const size = 32 << 20

// TestClients: what the usual NBD programs do, over both targets.
func TestClients(t *testing.T) {
	for _, kind := range []string{"goaoe", "vblade"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, kind, 1, size)
			r.start()
			r.attach()
			out := r.ok("nbdinfo", uri)
			for _, want := range []string{"export-size: 33554432", "can_flush: true", "can_fua: true", "can_multi_conn: true", "can_zero: true", "is_read_only: false",
				"block_size_minimum: 512"} {
				if !strings.Contains(out, want) {
					t.Errorf("nbdinfo does not say %q:\n%s", want, out)
				}
			}
			if trim := strings.Contains(out, "can_trim: true"); trim != (kind == "goaoe") { // vblade has none
				t.Errorf("nbdinfo about TRIM:\n%s", out)
			}
			if out := r.ok("nbdinfo", "--list", uri); !strings.Contains(out, `export="e0.1"`) {
				t.Errorf("nbdinfo --list:\n%s", out)
			}
			want := r.random("src", size)
			r.ok("nbdcopy", "HERE/src", uri)
			r.same(want)
			r.ok("nbdcopy", "--connections=4", uri, "HERE/dst")
			if got, err := os.ReadFile(filepath.Join(r.dir, "dst")); err != nil || !bytes.Equal(got, want) {
				t.Errorf("nbdcopy read other data: %v", err)
			}
			r.ok("qemu-img", "compare", "-f", "raw", uri, "HERE/src")
			r.ok("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, "HERE/q")
			r.ok("qemu-img", "compare", "HERE/q", uri)
			if out := r.ok("qemu-img", "map", "--output=json", "-f", "raw", uri); !strings.Contains(out, `"length": 33554432`) {
				t.Errorf("qemu-img map:\n%s", out)
			}
			out = r.ok("qemu-io", "-f", "raw", "-c", "write -P 7 1M 3M", "-c", "read -P 7 1M 3M", "-c", "write -z 2M 64k", "-c", "read -P 0 2M 64k", "-c", "write -f -P 8 0 512",
				"-c", "read -P 8 0 512", "-c", "discard 24M 1M", "-c", "flush", "-c", "aio_write -P 9 16M 1M", "-c", "aio_write -P 10 17M 1M", "-c", "aio_flush",
				"-c", "read -P 9 16M 1M", "-c", "read -P 10 17M 1M", uri)
			if strings.Contains(out, "verification failed") || strings.Contains(out, "error") {
				t.Errorf("qemu-io:\n%s", out)
			}
			if kind == "goaoe" {
				clear(want[24<<20 : 25<<20]) // trimmed, and read as zeros
			}
			copy(want[1<<20:], bytes.Repeat([]byte{7}, 3<<20))
			clear(want[2<<20 : 2<<20+64<<10])
			copy(want, bytes.Repeat([]byte{8}, 512))
			copy(want[16<<20:], bytes.Repeat([]byte{9}, 1<<20))
			copy(want[17<<20:], bytes.Repeat([]byte{10}, 1<<20))
			r.same(want)
			r.ok("fio", "--name=v", "--ioengine=nbd", "--uri="+uri, "--rw=randwrite", "--bsrange=512-128k", "--iodepth=32", "--size=8M", "--verify=crc32c", "--verify_fatal=1",
				"--do_verify=1", "--fsync=32", "--verify_state_save=0")
			if s := r.status(); s.State != "attached" || s.Size != size || !s.Flush {
				t.Errorf("status %+v", s)
			}
			r.ok(r.bin, "detach", "--run-dir", "HERE/run", "e0.1")
			if s := r.status(); s != nil {
				t.Errorf("after detach: %+v", s)
			}
		})
	}
}

// same fails unless the image holds these bytes.
func (r *rig) same(want []byte) {
	r.t.Helper()
	got, err := os.ReadFile(r.image)
	if err != nil || !bytes.Equal(got, want) {
		r.t.Errorf("the image has other data: %v", err)
	}
}

// TestTargetRestarts: killed and started anew under verified load; nobody sees an error.
func TestTargetRestarts(t *testing.T) {
	for _, kind := range []string{"goaoe", "vblade"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, kind, 1, size)
			r.start()
			r.attach()
			l := r.load(12)
			r.moving()
			r.kill()
			time.Sleep(2 * time.Second)
			r.start()
			r.moving()
			l.end()
		})
	}
}

// TestPathFails: one of two paths is cut under verified load and comes back.
func TestPathFails(t *testing.T) {
	r := newRig(t, "goaoe", 2, size)
	r.start()
	r.attach()
	up := func(n int) func() bool {
		return func() bool {
			k := 0
			for _, p := range r.status().Paths {
				if p.State == "up" {
					k++
				}
			}
			return k == n
		}
	}
	r.eventually("two paths", up(2))
	l := r.load(20)
	r.moving()
	r.must("ip", "-n", r.target, "link", "set", "t0", "down")
	r.moving()
	r.eventually("one path", up(1))
	r.must("ip", "-n", r.target, "link", "set", "t0", "up")
	r.eventually("two paths again", up(2))
	r.moving()
	l.end()
}

// TestInterfaceComesBack: an interface that is removed and made anew, with the same name and another address, is used again under verified load: one
// of two, and the only one.
func TestInterfaceComesBack(t *testing.T) {
	for _, links := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d interfaces", links), func(t *testing.T) {
			r := newRig(t, "goaoe", links, size)
			r.start()
			r.attach()
			up := func() bool {
				n := 0
				for _, p := range r.status().Paths {
					if p.State == "up" && (links == 2 || p.Interface == "h0") {
						n++
					}
				}
				return n >= links
			}
			r.eventually("all paths", up)
			l := r.load(25)
			r.moving()
			r.must("ip", "-n", r.host, "link", "del", "h0") // and t0 with it
			if links > 1 {
				r.moving()
			}
			r.eventually("the path is down", func() bool { return !up() })
			r.link(0)
			r.eventually("all paths again", up)
			r.moving()
			l.end()
		})
	}
}

// TestTargetVanishes: an error, and within the time limit; and when the target is back, so is the disk.
func TestTargetVanishes(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	r.attach("--timeout", "2s")
	r.kill()
	begun := time.Now()
	if code, out := r.run("qemu-io", "-f", "raw", "-c", "read 1M 64k", uri); code == 0 || !strings.Contains(out, "Input/output error") {
		t.Errorf("reading from a target that is gone: exit status %d\n%s", code, out)
	}
	if took := time.Since(begun); took < time.Second || took > 30*time.Second {
		t.Errorf("the error came after %v, the limit is 2 s", took)
	}
	if code, out := r.run("qemu-io", "-f", "raw", "-c", "write 1M 64k", "-c", "flush", uri); code == 0 {
		t.Errorf("writing to a target that is gone went well:\n%s", out)
	}
	r.start()
	r.eventually("the disk is back", func() bool { code, _ := r.run("qemu-io", "-f", "raw", "-c", "read 1M 64k", uri); return code == 0 })
}

// TestReadOnly: neither qemu nor a client that does not ask can write.
func TestReadOnly(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	r.attach("--read-only")
	if out := r.ok("nbdinfo", uri); !strings.Contains(out, "is_read_only: true") {
		t.Errorf("nbdinfo:\n%s", out)
	}
	r.random("src", size)
	if code, _ := r.run("nbdcopy", "HERE/src", uri); code == 0 {
		t.Error("a read-only disk was written")
	}
	r.same(make([]byte, size))
}

// TestRefusals: what cannot be done is said in one line, with a hint, in bounded time.
func TestRefusals(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	if err := os.WriteFile(filepath.Join(r.dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.attach()
	attach := []string{r.bin, "attach", "--run-dir", "HERE/run"}
	for _, c := range []struct {
		name string
		line []string
		code int
		want []string
	}{
		{"nobody there", append(attach, "--wait", "300ms", "--server", "e7.7"), 4, []string{"e7.7", "no target answers", "goaoe discover"}},
		{"no interface", append(attach, "-i", "eth9", "--server", "e0.2"), 1, []string{"eth9"}},
		{"twice", append(attach, "--server", "e0.1"), 12, []string{"e0.1 is attached already", "e0.1.sock", "goaoe detach"}},
		{"a file in place of the socket", append(attach, "--run-dir", "HERE/other", "--socket", "HERE/file", "e0.1"), 1, []string{"file", "no socket"}},
		{"a socket that is in use", append(attach, "--run-dir", "HERE/other", "--socket", "HERE/run/e0.1.sock", "e0.1"), 1, []string{"somebody serves the socket"}},
		{"wildcard", append(attach, "--server", "0.*"), 2, []string{"one target must be named"}},
		{"device and server", append(attach, "--server", "--device", "nbd0", "e0.1"), 2, []string{"contradict"}},
		{"no device", append(attach, "--device", "sda", "e0.2"), 2, []string{`"sda"`, "/dev/nbd0"}},
		{"no time", append(attach, "--timeout", "0s", "e0.2"), 2, []string{"--timeout"}},
		{"no group", append(attach, "--server", "--group", "nobody-has-this", "e0.2"), 2, []string{"nobody-has-this"}},
		{"no permission", append([]string{"setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"}, r.bin, "attach", "--run-dir", "HERE/nobody", "--server", "e0.1"), 11,
			[]string{"permission", "root"}},
		{"not attached", []string{r.bin, "detach", "--run-dir", "HERE/run", "e5.5"}, 1, []string{"e5.5 is not attached"}},
		{"nothing to detach", []string{r.bin, "detach", "--run-dir", "HERE/run"}, 2, []string{"--all"}},
	} {
		if c.name == "no permission" {
			dir := filepath.Join(r.dir, "nobody")
			os.Mkdir(dir, 0o700)
			os.Chown(dir, 65534, 65534)
			for d := r.dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
				os.Chmod(d, 0o755)
			}
			os.Chmod(filepath.Dir(r.bin), 0o755)
		}
		code, out := r.run(c.line[0], c.line[1:]...)
		if code != c.code || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "goaoe: ") {
			t.Errorf("%s: exit status %d, want %d, and one line:\n%s", c.name, code, c.code, out)
		}
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: %q is not in\n%s", c.name, w, out)
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(r.dir, "file")); err != nil || string(b) != "x" {
		t.Error("the file in the way was changed")
	}
	if s := r.status(); s == nil || s.State != "attached" {
		t.Errorf("the disk that is attached: %+v", s)
	}
}

// TestNoDriver: a kernel without NBD is named, with what helps. Where the kernel has it, the guest's test covers the rest.
func TestNoDriver(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	if _, err := os.Stat("/sys/module/nbd"); err == nil {
		t.Skip("this kernel has the driver")
	}
	if code, _ := r.run("modprobe", "-n", "nbd"); code == 0 {
		t.Skip("this kernel has the driver")
	}
	code, out := r.run(r.bin, "attach", "--run-dir", "HERE/run", "e0.1")
	if code != 1 || !strings.Contains(out, "no NBD driver") || !strings.Contains(out, "--server") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}

// TestDetachInUse: a client that is connected is not cut off, but by force.
func TestDetachInUse(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	r.attach()
	l := r.load(60)
	r.moving()
	code, out := r.run(r.bin, "detach", "--run-dir", "HERE/run", "e0.1")
	if code != 11 || !strings.Contains(out, "connection of fio (pid ") || !strings.Contains(out, "--force") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
	r.moving()
	r.ok(r.bin, "detach", "--force", "--run-dir", "HERE/run", "e0.1")
	if err := l.c.Wait(); err == nil {
		t.Error("fio saw no error when its disk was taken away")
	}
	if s := r.status(); s != nil {
		t.Errorf("still there: %+v", s)
	}
}

// TestDead: what a process leaves that was killed is shown, and the next one starts all the same.
func TestDead(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	r.attach()
	first := r.status()
	r.must("kill", "-9", strconv.Itoa(first.PID))
	r.eventually("it is dead", func() bool { return r.status().State == "dead" })
	r.attach()
	if s := r.status(); s.State != "attached" || s.PID == first.PID {
		t.Errorf("attached again: %+v", s)
	}
	r.ok("nbdinfo", uri)
	r.must("kill", "-9", strconv.Itoa(r.status().PID))
	r.eventually("it is dead", func() bool { return r.status().State == "dead" })
	r.ok(r.bin, "detach", "--all", "--run-dir", "HERE/run")
	if s := r.status(); s != nil {
		t.Errorf("still there: %+v", s)
	}
}

// TestSignals: SIGTERM waits for clients, a second one does not.
func TestSignals(t *testing.T) {
	r := newRig(t, "goaoe", 1, size)
	r.start()
	r.attach()
	l := r.load(60)
	r.moving()
	pid := strconv.Itoa(r.status().PID)
	r.must("kill", pid)
	r.moving()
	r.must("kill", pid)
	l.c.Wait()
	r.eventually("it has ended", func() bool { return r.status() == nil })
}
