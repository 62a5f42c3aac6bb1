package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
	"goaoe/internal/control"
	"goaoe/test/need"
	"goaoe/test/program"
)

// links makes links to the binary by the names of the other programs, as goaoe install-links does, and returns their folder.
func (r *rig) links() string {
	r.t.Helper()
	dir := filepath.Join(r.dir, "bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	got := r.try("install-links", dir)
	for _, name := range []string{"vblade", "vbladed", "kvadd", "kvdel", "kvstat", "ggaoed", "ggaoectl", "qaoed"} {
		if to, err := os.Readlink(filepath.Join(dir, name)); got.code != 0 || err != nil || to != r.bin {
			r.t.Fatalf("goaoe install-links: %+v; %s leads to %q, %v", got, name, to, err)
		}
	}
	return dir
}

// alone runs "$0" "$@" with a /var/lib/goaoe of its own, and the namespace's interfaces in /sys.
const alone = `exec unshare --mount sh -c 'mount -t tmpfs none /var/lib && mount -t sysfs none /sys && exec "$0" "$@"' "$0" "$@"`

// program runs a program in the namespace until it ends, as it would be run by hand.
func (r *rig) program(name string, args ...string) result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Files: a process that goes on in the background holds pipes open.
	stdout, err := os.CreateTemp(r.dir, "stdout")
	if err != nil {
		r.t.Fatal(err)
	}
	stderr, err := os.CreateTemp(r.dir, "stderr")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { stdout.Close(); stderr.Close() }()
	c := exec.CommandContext(ctx, "sh", append([]string{"-c", alone, name}, args...)...)
	c.Dir, c.Stdout, c.Stderr = r.dir, stdout, stderr
	c.Env = append(os.Environ(), control.SocketEnv+"="+r.socket)
	r.ns.Do(func() {
		var exit *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &exit) {
			r.t.Fatalf("%s: %v", name, err)
		}
	})
	out, _ := os.ReadFile(stdout.Name())
	errs, _ := os.ReadFile(stderr.Name())
	return result{c.ProcessState.ExitCode(), string(out), string(errs)}
}

// wantProgram is want for a program.
func (r *rig) wantProgram(code int, stdout, stderr, name string, args ...string) result {
	r.t.Helper()
	got := r.program(name, args...)
	r.check(got, code, stdout, stderr, append([]string{name}, args...)...)
	return got
}

// foreground starts a program that serves until the function that is returned ends it by SIGTERM.
func (r *rig) foreground(name string, args ...string) (log *program.Log, end func()) {
	r.t.Helper()
	log = &program.Log{}
	c := exec.Command("sh", append([]string{"-c", alone, name}, args...)...)
	c.Dir, c.Stdout, c.Stderr = r.dir, log, log
	c.Env = append(os.Environ(), control.SocketEnv+"="+r.socket)
	r.ns.Start(c)
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }()
	done := false
	end = func() {
		if done {
			return
		}
		done = true
		_ = c.Process.Signal(unix.SIGTERM)
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			_ = c.Process.Kill()
			r.t.Errorf("%s did not end by SIGTERM", name)
		}
	}
	r.t.Cleanup(end)
	return log, end
}

// background returns the processes of the programs that go on in the background.
func (r *rig) background() (pids []int) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range procs {
		exe, _ := os.Readlink(p + "/exe")
		cwd, _ := os.Readlink(p + "/cwd")
		args, _ := os.ReadFile(p + "/cmdline")
		if strings.HasPrefix(string(args), "goaoe-opener\x00") {
			continue // it ends with its daemon
		}
		if pid, err := strconv.Atoi(filepath.Base(p)); err == nil && exe == r.bin && cwd == r.dir {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endBackground ends what goes on in the background.
func (r *rig) endBackground() {
	r.t.Helper()
	for _, pid := range r.background() {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
	r.until("what ran in the background is gone", func() bool { return len(r.background()) == 0 })
}

// seen is what an initiator finds.
type seen struct {
	buffers uint16
	sectors int64
	first   string // the beginning of the disk
	write   bool   // whether it can be written
}

// look finds out what a target exports.
func (r *rig) look(address string) seen {
	r.t.Helper()
	addr, err := aoe.ParseAddr(address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.until(address+" answers", func() bool {
		var found []initiator.Target
		r.ns.Do(func() {
			found, err = initiator.DiscoverAll(context.Background(), initiator.Search{Interfaces: []string{"vb"}, Addrs: []aoe.Addr{addr}, Wait: 50 * time.Millisecond})
		})
		return err == nil && len(found) > 0
	})
	reply := r.send(address, aoe.CmdConfig, func(b []byte) (int, error) { return (&aoe.Config{Op: aoe.ConfigRead}).Encode(b) })
	cfg, err := aoe.DecodeConfig(reply)
	if err != nil {
		r.t.Fatal(err)
	}
	d := r.openFor(address, 3*time.Second)
	defer d.Close()
	b := make([]byte, 512)
	if _, err := d.ReadAt(b, 0); err != nil {
		r.t.Fatalf("reading %s: %v", address, err)
	}
	_, err = d.WriteAt(b, d.Size()-512)
	return seen{cfg.BufferCount, d.Size() / 512, string(bytes.TrimRight(b, "\x00")), err == nil}
}

// silent fails the test when a target answers.
func (r *rig) silent(who, address string) {
	r.t.Helper()
	addr, _ := aoe.ParseAddr(address)
	r.ns.Do(func() {
		found, err := initiator.DiscoverAll(context.Background(), initiator.Search{Interfaces: []string{"vb"}, Addrs: []aoe.Addr{addr}, Wait: time.Second})
		if err != nil || len(found) > 0 {
			r.t.Errorf("%s answers somebody who is not in its list: %v %v", who, found, err)
		}
	})
}

// TestVblade: called by vblade's name and with its arguments, goaoe does what Debian's vblade does: what an initiator sees, what is printed,
// the exit status of mistakes.
func TestVblade(t *testing.T) {
	need.Programs(t, "/usr/sbin/vblade")
	r := newStage(t)
	ours := filepath.Join(r.links(), "vblade")
	image := func() string {
		file := r.image("disk", 1<<20)
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := range int64(2048) {
			if _, err := fmt.Fprintf(io.NewOffsetWriter(f, i*512), "sector %d", i); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	mac := r.mac()
	for _, args := range []string{
		"0 1 va disk",
		"-b 16 11 3 va disk",
		"-r 0 1 va disk",
		"-o 8 -l 100 0 1 va disk",
		"-d -s 0 1 va disk",
		"-dsr -b 3 -m 020000000001," + mac + " 0 1 va disk",
		"-m " + strings.ReplaceAll(mac, ":", "") + " 65534 254 va disk",
		"0 1 va disk -r", // behind the arguments
	} {
		t.Run(args, func(t *testing.T) {
			at := regexp.MustCompile(`([0-9]+) ([0-9]+) va`).FindStringSubmatch(args)
			address := "e" + at[1] + "." + at[2]
			var found [2]seen
			var printed [2]string
			for i, program := range []string{"/usr/sbin/vblade", ours} {
				image()
				log, end := r.foreground(program, strings.Fields(args)...)
				found[i] = r.look(address)
				end()
				printed[i] = regexp.MustCompile(`pid [0-9]+:`).ReplaceAllString(log.String(), "pid N:")
			}
			if !strings.Contains(args, "-b") {
				if found[1].buffers != 64 {
					t.Errorf("the buffer count is %d", found[1].buffers)
				}
				found[1].buffers = found[0].buffers // more than vblade's by choice
			}
			if found[0] != found[1] {
				t.Errorf("vblade %s is seen as %+v; with Debian's as %+v", args, found[1], found[0])
			}
			// Debian's may be ended before its output, which is no terminal, is written.
			if want := fmt.Sprintf("pid N: %s, %d sectors %s\n", address, found[0].sectors, map[bool]string{true: "O_RDWR", false: "O_RDONLY"}[found[0].write]); !strings.Contains(printed[1], want) ||
				printed[0] != "" && printed[0] != want {
				t.Errorf("vblade %s prints %q; Debian's %q; want %q", args, printed[1], printed[0], want)
			}
		})
	}
	image()
	for _, program := range []string{"/usr/sbin/vblade", ours} {
		_, end := r.foreground(program, "-m", "020000000001", "0", "1", "va", "disk")
		time.Sleep(300 * time.Millisecond) // it may be silent because it does not run yet
		r.silent(program, "e0.1")
		end()
		for _, args := range []string{"", "0 1 va", "-x 0 1 va disk", "0 1 gone disk", "0 1 va gone", "-b", "-o 5000 0 1 va disk"} {
			if got := r.program(program, strings.Fields(args)...); got.code != 1 || got.stderr == "" || got.stdout != "" {
				t.Errorf("%s %s: %+v", program, args, got)
			}
		}
	}
	if got := r.program(ours, "0", "1"); !strings.Contains(got.stderr, "\nusage: vblade [-b bufcnt] [-o offset]") {
		t.Errorf("%+v", got)
	}
}

// TestVbladed: vbladed returns, and what it exports stays.
func TestVbladed(t *testing.T) {
	r := newStage(t)
	vbladed := filepath.Join(r.links(), "vbladed")
	r.image("disk", 1<<20)
	r.wantProgram(1, "", `^vbladed: .*\nusage: vbladed \[-b bufcnt\]`, vbladed, "0", "1")
	r.wantProgram(1, "", `vbladed: .*/gone`, vbladed, "0", "1", "va", "gone")
	defer r.endBackground()
	r.wantProgram(0, "", "", vbladed, "-b", "7", "0", "1", "va", "disk")
	pids := r.background()
	if len(pids) != 1 {
		t.Fatalf("processes in the background: %v", pids)
	}
	if s := r.look("e0.1"); s.buffers != 7 || s.sectors != 2048 || !s.write {
		t.Errorf("%+v", s)
	}
	if sid, err := unix.Getsid(pids[0]); err != nil || sid != pids[0] {
		t.Errorf("process %d is in session %d, %v", pids[0], sid, err)
	}
}

// TestKvblade: kvadd starts a daemon, and more of them share it; kvstat prints kvblade's columns; kvdel takes exports off interfaces.
func TestKvblade(t *testing.T) {
	r := newStage(t)
	bin := r.links()
	kvadd, kvdel, kvstat := filepath.Join(bin, "kvadd"), filepath.Join(bin, "kvdel"), filepath.Join(bin, "kvstat")
	r.ns.Veth("vc", "vd", 1500)
	disk := r.image("disk", 3<<30)
	r.wantProgram(1, "", `^kvstat: no daemon is running`, kvstat)
	r.wantProgram(1, "", `^kvdel: no daemon is running`, kvdel, "0", "1", "va")
	r.wantProgram(1, "", `^usage: kvadd major minor ifname bpath\n$`, kvadd, "0", "1", "va")
	r.wantProgram(0, "", "", kvadd, "0", "1", "va", "disk")
	defer r.endBackground()
	r.wantProgram(0, "", "", kvadd, "0", "1", "vc", disk)
	r.wantProgram(0, "", "", kvadd, "11", "2", "va", r.image("other", 1<<20))
	r.wantProgram(0, "^"+regexp.QuoteMeta(fmt.Sprintf("%10s %6s %10s %-14s\n%10s %6s %10s %-14s\n%10s %6s %10s %-14s\n", "0.1", "va", "3.221GB", disk,
		"0.1", "vc", "3.221GB", disk, "11.2", "va", "0.001GB", filepath.Join(r.dir, "other")))+"$", "", kvstat)
	if s := r.look("e0.1"); s.sectors != 3<<21 || !s.write {
		t.Errorf("%+v", s)
	}
	r.wantProgram(1, "", `^kvadd: e0\.1 is exported on va already\n$`, kvadd, "0", "1", "va", disk)
	r.wantProgram(1, "", `^kvadd: e0\.1 is taken: it exports .*/disk; kvstat lists what is exported\n$`, kvadd, "0", "1", "va", "other")
	r.wantProgram(1, "", `^kvadd: e2\.2 cannot be exported on eth9: interface eth9 does not exist`, kvadd, "2", "2", "eth9", r.image("third", 1<<20))
	r.wantProgram(1, "", `^kvadd: e2\.2 cannot be exported on va: e2\.2 and e0\.1 .* write to the same bytes`, kvadd, "2", "2", "va", disk)
	r.wantProgram(1, "", `^kvadd: e2\.2 cannot be exported on va: .*/gone does not exist`, kvadd, "2", "2", "va", "gone")
	if list := r.exports(); len(list) != 2 {
		t.Errorf("what could not be exported is left: %v", list)
	}
	r.wantProgram(1, "", `^kvdel: e11\.2 is not exported on vc, but on va\n$`, kvdel, "11", "2", "vc")
	r.wantProgram(0, "", `^kvdel: e0\.1 was in use by `+vbMAC+`\n$`, kvdel, "0", "1", "va")
	r.wantProgram(0, `^ +0\.1 +vc +3\.221GB .*\n +11\.2 +va `, "", kvstat)
	r.wantProgram(0, "", "", kvdel, "0", "1", "vc")
	r.wantProgram(0, "", "", kvdel, "11", "2", "va")
	r.wantProgram(0, "", "", kvstat)
	r.wantProgram(1, "", `^kvdel: there is no export 11\.2; kvstat lists what is exported\n$`, kvdel, "11", "2", "va")
}

// TestGgaoed: ggaoed runs its own file in the background, and ggaoectl controls it and prints what its users' scripts look for.
func TestGgaoed(t *testing.T) {
	r := newStage(t)
	bin := r.links()
	ggaoed, ggaoectl := filepath.Join(bin, "ggaoed"), filepath.Join(bin, "ggaoectl")
	conf := filepath.Join(r.dir, "ggaoed.conf")
	write := func(rest string) {
		t.Helper()
		text := fmt.Sprintf("[defaults]\ninterfaces = va\nstate-directory = %s/state\ncontrol-socket = %s\ndirect-io = false\nqueue-length = 32\n\n[vd1]\npath = %s\nshelf = 0\nslot = 1\n%s",
			r.dir, r.socket, r.image("disk", 1<<20), rest)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	r.wantProgram(1, "", `^ggaoed: none: error: no such file`, ggaoed, "-c", "none")
	r.wantProgram(1, "", `^ggaoectl: no daemon is running`, ggaoectl, "-c", conf, "stats")
	r.wantProgram(0, "", "", ggaoed, "--config", conf)
	defer r.endBackground()
	if s := r.look("e0.1"); s.buffers != 32 || s.sectors != 2048 || !s.write {
		t.Errorf("%+v", s)
	}

	// GOAOE_SOCKET is not set: the socket is that of the file.
	socket := r.socket
	r.socket = ""
	got := r.wantProgram(0, `^# Statistics for device vd1\nread_cnt: [1-9][0-9]*\nread_bytes: [0-9]+\nread_time: [0-9.e-]+\nwrite_cnt: 1\nwrite_bytes: 512\nwrite_time: [0-9.e-]+\n`+
		`other_cnt: [0-9]+\nother_time: [0-9.e-]+\nio_slots: [0-9]+\nio_runs: [0-9]+\nqueue_length: 0\nqueue_stall: 0\nqueue_over: 0\nata_err: 0\nproto_err: 0\n\n`+
		`# Statistics for interface va\nrx_cnt: [0-9]+\n(?s).*\nignored: [0-9]+\n\n$`, "", ggaoectl, "-c", conf, "stats")
	r.socket = socket
	if n := strings.Count(got.stdout, "#"); n != 2 {
		t.Errorf("%d blocks", n)
	}
	r.wantProgram(0, `^# Statistics for device vd1\n`, "", ggaoectl, "stats", "vd1") // a script: is vd1 exported?
	r.wantProgram(0, "", "", ggaoectl, "stats", "vd2")
	r.wantProgram(0, "cleared", "", ggaoectl, "clear-stats", "vd1")
	r.wantProgram(0, `write_cnt: 0\n`, "", ggaoectl, "stats", "vd1")

	r.send("0.1", aoe.CmdConfig, func(b []byte) (int, error) {
		return (&aoe.Config{Op: aoe.ConfigForceSet, String: []byte("a config string\nof two lines")}).Encode(b)
	})
	mac, err := aoe.ParseMAC(r.mac())
	if err != nil {
		t.Fatal(err)
	}
	r.send("0.1", aoe.CmdReserve, func(b []byte) (int, error) { return aoe.EncodeReserve(b, aoe.ReserveSet, []aoe.MAC{mac}) })
	r.wantProgram(0, "^"+regexp.QuoteMeta("Device vd1:\n"+
		"61 20 63 6f 6e 66 69 67 20 73 74 72 69 6e 67 0a  a config string.\n"+
		"6f 66 20 74 77 6f 20 6c 69 6e 65 73              of two lines\n\n")+"$", "", ggaoectl, "show-config")
	r.wantProgram(0, `^Device vd1:\n`+vbMAC+`\n\n$`, "", ggaoectl, "show-reserve", "vd*")
	r.wantProgram(0, `^Device vd1:\n\n$`, "", ggaoectl, "show-macmask", "vd1")
	r.wantProgram(1, "", `^ggaoectl: no device is called vd7; there is vd1\n$`, ggaoectl, "show-macmask", "vd7")
	r.wantProgram(1, "", `^ggaoectl: clear-reserve needs the name of a device\nusage: `, ggaoectl, "clear-reserve")
	r.wantProgram(0, "cleared", "", ggaoectl, "clear-reserve", "vd1")
	r.wantProgram(0, "cleared", "", ggaoectl, "clear-config", "vd1")
	r.wantProgram(0, "cleared", "", ggaoectl, "clear-macmask", "vd1")
	if e := r.exports()["e0.1"]; e.ConfigString != "" || len(e.Reserve) > 0 {
		t.Errorf("after clear: %+v", e)
	}
	r.look("e0.1")
	log, end := r.foreground(ggaoectl, "monitor", "1")
	head := regexp.MustCompile(`(?m)^dev +rrqm/s +rkB/s +wrqm/s +wkB/s oth avgqsz qs qf ae pe +svctm`)
	line := regexp.MustCompile(`(?m)^vd1 .*\n`)
	r.until("monitor reports twice", func() bool { return len(line.FindAllString(log.String(), -1)) >= 2 })
	if lines := line.FindAllString(log.String(), -1); !head.MatchString(log.String()) || !regexp.MustCompile(`^vd1 +0\.0 +0\.00 +0\.0 +0\.00 +0 +0\.00 +0 `).MatchString(lines[1]) {
		t.Errorf("ggaoectl monitor printed\n%s", log)
	}
	end()

	write("[vd2]\npath = " + r.image("second", 2<<20) + "\nshelf = 0\nslot = 2\nread-only = true\n")
	r.wantProgram(0, `(?m)^\+ e0\.2 `, "", ggaoectl, "reload")
	if s := r.look("e0.2"); s.sectors != 4096 || s.write {
		t.Errorf("%+v", s)
	}
	write("[vd2]\npath = " + r.image("second", 2<<20) + "\nshelf = 0\nslot = 300\n")
	r.wantProgram(1, "", `ggaoed\.conf:15:1: .*slot: 300 is out of range`, ggaoectl, "reload")
	r.wantProgram(0, `^# Statistics for device vd2\n`, "", ggaoectl, "stats", "vd2")

	// In the foreground.
	r.endBackground()
	write("")
	log, end = r.foreground(ggaoed, "-n", "-c", conf)
	r.look("e0.1")
	end()
	if !strings.Contains(log.String(), "e0.1 serving") || strings.Contains(log.String(), "level=DEBUG") {
		t.Errorf("ggaoed -n logged\n%s", log)
	}
	_, end = r.foreground(ggaoed, "-d", "-c", conf)
	r.look("e0.1")
	r.want(0, `"log_level": "debug"`, "", "status", "--json")
	end()
	r.wantProgram(0, "", "", ggaoed, "-c", conf) // for the defer
}

// TestQaoed: qaoed runs its own file, in the background and in the foreground, and reads it again by SIGHUP.
func TestQaoed(t *testing.T) {
	r := newStage(t)
	qaoed := filepath.Join(r.links(), "qaoed")
	conf := filepath.Join(r.dir, "qaoed.conf")
	write := func(rest string) {
		t.Helper()
		text := fmt.Sprintf("apisocket = %q;\ndefault { interface = va; writecache = off; shelf = 3; slot = 1; }\ndevice { target = %s; }\n%s", r.socket, r.image("disk", 1<<20), rest)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	r.wantProgram(1, "", `^qaoed: none: error: no such file`, qaoed, "-c", "none")
	r.wantProgram(0, "", "", qaoed, "-c", conf)
	defer r.endBackground()
	if s := r.look("e3.1"); s.sectors != 2048 || !s.write {
		t.Errorf("%+v", s)
	}
	write("device { target = " + r.image("second", 2<<20) + "; }\n")
	var st control.Status
	if err := json.Unmarshal([]byte(r.try("status", "--json").stdout), &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(st.PID, unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if s := r.look("e3.2"); s.sectors != 4096 {
		t.Errorf("%+v", s)
	}
	r.wantProgram(1, "", r.socket, qaoed, "-f", "-c", conf) // a second one
	r.endBackground()
	write("device { target = disk; slot = 400; }\n")
	r.wantProgram(1, "", `qaoed\.conf:4:25: .*400`, qaoed, "-f", "-c", conf)
	write("")
	log, end := r.foreground(qaoed, "-fc", conf)
	r.look("e3.1")
	end()
	if !strings.Contains(log.String(), "e3.1 serving") {
		t.Errorf("qaoed -f logged\n%s", log)
	}
	r.wantProgram(0, "", "", qaoed, "-c", conf) // for the defer
}
