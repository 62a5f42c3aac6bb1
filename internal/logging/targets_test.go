package logging

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"goaoe/internal/config"
)

func newRecord(msg string) slog.Record { return slog.NewRecord(time.Now(), slog.LevelDebug, msg, 0) }

// clock is a time that tests move.
type clock struct{ nano atomic.Int64 }

func newClock(l *Log) *clock {
	c := &clock{}
	c.nano.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	l.now = func() time.Time { return time.Unix(0, c.nano.Load()) }
	return c
}

func (c *clock) forward(d time.Duration) { c.nano.Add(int64(d)) }

// eventually waits for text to appear on stderr and returns all of it.
func eventually(t *testing.T, out *output, text string) string {
	t.Helper()
	all := ""
	for range 2000 {
		if all += out.take(); strings.Contains(all, text) {
			return all
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%q did not appear: %q", text, all)
	return ""
}

// TestRotated: a file that was moved or removed is made anew without anybody saying so.
func TestRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, stderr := newLog(t)
	now := newClock(l)
	set(t, l, Defaults(config.Log{Target: config.LogFile, File: path}))
	log := l.Logger()
	log.Info("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	now.forward(2 * lookEvery)
	log.Info("two")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now.forward(2 * lookEvery)
	log.Info("three")
	if s := content(t, path+".1"); strings.Count(s, "\n") != 1 || !strings.Contains(s, "one") {
		t.Errorf("moved: %q", s)
	}
	if s := content(t, path); strings.Count(s, "\n") != 1 || !strings.Contains(s, "three") {
		t.Errorf("made anew: %q", s)
	}

	// Its directory goes, too: it is said, and the lines are not lost while the old file can be written.
	dir := filepath.Join(t.TempDir(), "sub")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "log")
	set(t, l, Defaults(config.Log{Target: config.LogFile, File: path}))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	now.forward(2 * lookEvery)
	log.Info("four")
	if s := content(t, dir+".old/log"); !strings.Contains(s, "four") {
		t.Errorf("moved with its directory: %q", s)
	}
	eventually(t, stderr, "it was moved away")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	now.forward(2 * calmAfter)
	log.Info("five")
	if s := content(t, path); !strings.Contains(s, "five") {
		t.Errorf("after the directory is back: %q", s)
	}
	eventually(t, stderr, "works again")
}

// TestFull: a full disk is said once, counted, and said to be over.
func TestFull(t *testing.T) {
	link := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/dev/full", link); err != nil {
		t.Fatal(err)
	}
	l, stderr := newLog(t)
	now := newClock(l)
	set(t, l, Defaults(config.Log{Target: config.LogFile, File: link}))
	log := l.Logger()
	for range 5 {
		log.Info("lost")
	}
	said := eventually(t, stderr, "no space left on device")
	if strings.Count(said, "no space left") != 1 || !strings.Contains(said, "log file "+link) || strings.Contains(said, "msg=lost") {
		t.Errorf("when it began: %q", said)
	}
	// Space is there again: the symbolic link leads to a real file now.
	good := filepath.Join(t.TempDir(), "good")
	if err := os.WriteFile(good, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	now.forward(2 * lookEvery)
	log.Info("early")
	if s := stderr.take(); s != "" {
		t.Errorf("said too early: %q", s)
	}
	now.forward(calmAfter)
	log.Info("kept")
	said = eventually(t, stderr, "works again")
	if !strings.Contains(said, "5 messages were lost") {
		t.Errorf("when it was over: %q", said)
	}
	now.forward(time.Minute)
	log.Info("more")
	if s := content(t, good); !strings.Contains(s, "msg=early") || !strings.Contains(s, "msg=kept") || !strings.Contains(s, "5 messages were lost") || !strings.Contains(s, "msg=more") {
		t.Errorf("in the file: %q", s)
	}
	if s := stderr.take(); s != "" {
		t.Errorf("said again: %q", s)
	}
}

// TestHangs: a target that does not take its lines does not hold up who logs.
func TestHangs(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	r, w := io.Pipe() // nobody reads
	l := New(w)
	log := l.Logger()
	begin := time.Now()
	for range queueLines + 100 {
		log.Info("line")
	}
	if d := time.Since(begin); d > 10*time.Second { // each would take sendPatience
		t.Errorf("it took %v", d)
	}
	got := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	_ = l.Close()
	_ = w.Close()
	s := <-got
	if n := strings.Count(s, "msg=line"); n < queueLines || n > queueLines+5 {
		t.Errorf("%d lines were kept of %d", n, queueLines)
	}
}

// fakeSocket is a datagram socket as syslogd and journald have one.
func fakeSocket(t *testing.T, path string) (read func() string, end func()) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func() string {
		t.Helper()
		buf := make([]byte, 65536)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("nothing came: %v", err)
		}
		return string(buf[:n])
	}, func() { _ = c.Close(); _ = os.Remove(path) }
}

func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	read, end := fakeSocket(t, path)
	l, stderr := newLog(t)
	now := newClock(l)
	l.syslog = path
	set(t, l, Defaults(config.Log{Target: config.LogSyslog, Facility: "local3", Tag: "storage", Level: "debug"}))
	log := l.Logger()
	log.Debug("a")
	log.With("k", 1).Info("b")
	log.Warn("c", "x", "y z")
	log.Error("e0.1 d", "export", "e0.1")
	for _, want := range []string{
		`^<159>.* storage\[\d+\]: msg=a\n$`, `^<158>.* msg=b k=1\n$`, `^<156>.* msg=c x="y z"\n$`, `^<155>.* msg="e0.1 d"\n$`,
	} {
		if got := read(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("got %q, want %s", got, want)
		}
	}

	end() // it is stopped: stderr takes its place
	for range 3 {
		log.Info("meanwhile")
	}
	said := eventually(t, stderr, "goes to stderr until it works again")
	if said += stderr.take(); strings.Count(said, "level=INFO msg=meanwhile") != 3 || strings.Count(said, "until it works") != 1 {
		t.Errorf("without syslog: %q", said)
	}
	read, _ = fakeSocket(t, path)
	now.forward(time.Minute)
	log.Info("back")
	if got := read(); !strings.Contains(got, "msg=back") {
		t.Errorf("when it is back: %q", got)
	}
	if got := read(); !strings.Contains(got, "works again") || strings.Contains(got, "lost") {
		t.Errorf("when it is back: %q", got)
	}
	eventually(t, stderr, "syslog works again")
}

// TestNoSyslog: a syslogd that comes later is no reason not to start.
func TestNoSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, stderr := newLog(t)
	now := newClock(l)
	l.syslog = path
	set(t, l, Defaults(config.Log{Target: config.LogSyslog}))
	eventually(t, stderr, "there is no syslog daemon to be reached")
	l.Logger().Info("one")
	if s := stderr.take(); !strings.Contains(s, "msg=one") {
		t.Errorf("in its place: %q", s)
	}
	read, _ := fakeSocket(t, path)
	now.forward(time.Minute)
	l.Logger().Info("two")
	if got := read(); !strings.HasPrefix(got, "<30>") || !strings.Contains(got, "msg=two") {
		t.Errorf("when it is there: %q", got)
	}
}
