package control_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/aoe"
	"goaoe/initiator"
)

// TestLogs: each line goes where the configuration says, files that were moved away are made anew by SIGHUP, who is refused is told at a
// limited rate, and levels change while the daemon runs.
func TestLogs(t *testing.T) {
	r := newStage(t)
	file := func(name string) string { return filepath.Join(r.dir, name) }
	r.configure(fmt.Sprintf(`[log]
target = "file"
file = %q
[log-target.mail]
type = "file"
file = %q
[log-target.refused]
type = "file"
file = %q
[access-list.friends]
members = ["02:00:00:00:00:01"]
log = true
log-target = "refused"
[[export]]
address = "0.1"
source = "mem:1M"
trace = true
log-target = "mail"
[[export]]
address = "0.2"
source = "mem:1M"
accept = "friends"
`, file("main.log"), file("mail.log"), file("refused.log")))
	r.start()
	t.Cleanup(func() { r.end(unix.SIGTERM) })
	read := func(name string) string {
		b, _ := os.ReadFile(file(name)) // not there yet: empty
		return string(b)
	}
	has := func(name, pattern string) {
		t.Helper()
		re := regexp.MustCompile(pattern)
		for end := time.Now().Add(20 * time.Second); !re.MatchString(read(name)); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s has no %q:\n%s", name, pattern, read(name))
			}
		}
	}
	has("mail.log", `(?m)e0\.1 serving mem:1M`)
	has("main.log", `(?m)e0\.2 serving mem:1M`)
	if strings.Contains(read("main.log"), "e0.1 serving") {
		t.Error("a line of e0.1 is in the daemon's log")
	}
	d := r.open("e0.1")
	if _, err := d.ReadAt(make([]byte, 1024), 4096); err != nil {
		t.Fatal(err)
	}
	has("mail.log", `(?m)level=DEBUG msg="e0\.1 read 2 sectors at 8: done after .*" .*initiator=`+vbMAC)

	// Refusals: the first at once, the others summed up.
	knock := func() {
		r.ns.Do(func() {
			found, err := initiator.DiscoverAll(context.Background(), initiator.Search{Interfaces: []string{"vb"}, Addrs: []aoe.Addr{{Minor: 2}}, Wait: 100 * time.Millisecond})
			if err != nil || len(found) > 0 {
				t.Errorf("who is not in the list finds %v, %v", found, err)
			}
		})
	}
	for range 5 {
		knock()
	}
	has("refused.log", `(?m)level=INFO msg="e0\.2 refused `+vbMAC+` \(accept\): [0-9]+ requests?" list="accept friends"`)
	if n := strings.Count(read("refused.log"), "\n"); n > 2 {
		t.Errorf("%d lines about a few refusals:\n%s", n, read("refused.log"))
	}

	// Rotation.
	for _, name := range []string{"main.log", "mail.log"} {
		if err := os.Rename(file(name), file(name+".1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.daemon.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	has("main.log", `(?m)msg="?configuration`)
	old := read("mail.log.1")
	if _, err := d.ReadAt(make([]byte, 1024), 8192); err != nil {
		t.Fatal(err)
	}
	has("mail.log", `(?m)e0\.1 read 2 sectors at 16: done`)
	if read("mail.log.1") != old {
		t.Error("the file that was moved away still grows")
	}

	// Levels.
	r.want(0, `daemon: log level error`, "", "set", "log-level=error")
	was := read("main.log")
	r.want(0, `changed`, "", "set", "0.2", "queue-length=9")
	r.want(0, `daemon: log level info`, "", "set", "log-level=info")
	r.want(0, `changed`, "", "set", "0.2", "queue-length=10")
	has("main.log", `changed at run time: e0\.2: queue-length`)
	if got := strings.TrimPrefix(read("main.log"), was); strings.Count(got, "changed at run time") != 1 {
		t.Errorf("at level error it logged, too:\n%s", got)
	}
}
