package logging

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

// inMounts runs the calling test again in a process with mounts of its own, so that it can have a journal and small disks
// at their usual places. It returns true in that process.
func inMounts(t *testing.T) bool {
	t.Helper()
	const mark = "GOAOE_TEST_MOUNTS"
	if os.Getenv(mark) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name(), "JOURNAL_STREAM=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs mount namespaces: %v", err)
		}
		t.Skipf("needs mount namespaces: %v", err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// small mounts an empty file system of some KiB.
func small(t *testing.T, dir string, size string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
}

// fields reads a message of the journal's protocol.
func fields(t *testing.T, data string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for data != "" {
		line, rest, _ := strings.Cut(data, "\n")
		if key, value, ok := strings.Cut(line, "="); ok {
			out[key], data = value, rest
			continue
		}
		n := int(binary.LittleEndian.Uint64([]byte(rest[:8])))
		out[line], data = rest[8:8+n], rest[8+n+1:]
	}
	return out
}

// TestJournal speaks to a journal that the test plays, at the journal's place.
func TestJournal(t *testing.T) {
	if !inMounts(t) {
		return
	}
	small(t, "/run", "64k")
	l, stderr := newLog(t)
	now := newClock(l)
	cfg := parse(t, "[log]\ntarget = \"journal\"\ntag = \"storage\"\n")

	set(t, l, cfg) // there is none
	l.Logger().Info("early", "export", "e0.1")
	const complaint = "goes to stderr until it works again"
	said := eventually(t, stderr, "msg=early") // before the complaint, or after it
	if !strings.Contains(said, complaint) {
		said += eventually(t, stderr, complaint)
	}
	if strings.Count(said, "the journal") != 1 || !strings.Contains(said, complaint) {
		t.Errorf("without a journal: %q", said)
	}

	if err := os.MkdirAll("/run/systemd/journal", 0o755); err != nil {
		t.Fatal(err)
	}
	read, _ := fakeSocket(t, "/run/systemd/journal/socket")
	now.forward(time.Minute)
	l.Logger().Warn("e0.1 serving on eth1", "export", "e0.1", "interface", "eth1", "mtu", 1500)
	got := fields(t, read())
	for key, want := range map[string]string{"PRIORITY": "4", "MESSAGE": "e0.1 serving on eth1 mtu=1500", "SYSLOG_IDENTIFIER": "storage",
		"GOAOE_EXPORT": "e0.1", "GOAOE_INTERFACE": "eth1"} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if _, ok := got["GOAOE_INITIATOR"]; ok {
		t.Error("an initiator from nowhere")
	}
	if back := fields(t, read())["MESSAGE"]; !strings.Contains(back, "the journal works again") {
		t.Errorf("afterwards: %q", back)
	}
	l.Logger().Error("refused", "initiator", "02:00:00:00:00:01", "text", "two\nlines")
	if got = fields(t, read()); got["PRIORITY"] != "3" || got["GOAOE_INITIATOR"] != "02:00:00:00:00:01" || got["MESSAGE"] != `refused initiator=02:00:00:00:00:01 text="two\nlines"` {
		t.Errorf("%q", got)
	}
	l.Logger().Info("a\nb")
	if got = fields(t, read()); got["MESSAGE"] != "a\nb" || got["PRIORITY"] != "6" {
		t.Errorf("two lines: %q", got)
	}
	eventually(t, stderr, "the journal works again")
}

// TestFullDisk fills a real file system and makes room again.
func TestFullDisk(t *testing.T) {
	if !inMounts(t) {
		return
	}
	dir := t.TempDir()
	small(t, dir, "64k")
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	l, stderr := newLog(t)
	now := newClock(l)
	path := filepath.Join(dir, "log")
	set(t, l, Defaults(config.Log{Target: config.LogFile, File: path}))
	log := l.Logger()
	long := strings.Repeat("x", 1000)
	const lines = 200
	for range lines {
		log.Info(long)
	}
	if said := eventually(t, stderr, "no space left on device"); strings.Count(said, "\n") != 1 {
		t.Errorf("it is said more than once: %q", said)
	}
	full := content(t, path)
	if err := os.Truncate(path, 0); err != nil { // as copytruncate does
		t.Fatal(err)
	}
	now.forward(time.Minute)
	log.Info("room")
	said := eventually(t, stderr, "works again")
	whole := strings.Count(full, long+"\n")
	if !strings.Contains(said, "; "+strconv.Itoa(lines-whole)+" messages were lost") {
		t.Errorf("%d of %d lines are in the file; said: %q", whole, lines, said)
	}
	got := strings.Split(strings.TrimSpace(content(t, path)), "\n")
	if len(got) != 2 || !strings.HasSuffix(got[0], "msg=room") || !strings.Contains(got[1], "were lost") {
		t.Errorf("in the file: %q", got)
	}
}

// TestSyslogOfTheSystem finds the socket at the places where syslog daemons have it.
func TestSyslogOfTheSystem(t *testing.T) {
	if !inMounts(t) {
		return
	}
	small(t, "/dev", "64k")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, _ := newLog(t)
	set(t, l, Defaults(config.Log{Target: config.LogSyslog}))
	l.Logger().Warn("hello")
	buf := make([]byte, 1000)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := c.Read(buf)
	if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, "<28>") || !strings.Contains(got, " goaoe[") || !strings.Contains(got, "]: msg=hello") {
		t.Errorf("%q, %v", got, err)
	}
}
