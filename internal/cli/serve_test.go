package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/testnet"
)

// output collects what a command prints while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait waits until the output matches.
func (o *output) wait(t *testing.T, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		if re.MatchString(o.String()) {
			return
		}
	}
	t.Fatalf("nothing like %q in:\n%s", pattern, o)
}

// TestBadInput: each mistake is one line that says what is wrong and what to do, the exit status is right, and nothing was started.
func TestBadInput(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	ns.Veth("small", "smallpeer", 1500)
	ns.SetMTU("small", 600)
	ns.Veth("off", "offpeer", 1500)
	ns.Down("off")
	dir := t.TempDir()
	t.Chdir(dir)
	for name, size := range map[string]int{"disk": 1 << 20, "empty": 0, "tiny": 100} {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.MkdirAll(damaged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "e0.1.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bad.toml", []byte("[[export]]\nqueue-lenth = 8\nsource = \"/dev/null\"\ninterfaces = \"eth0\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := "--state-dir=" + filepath.Join(dir, "state")
	for _, tc := range []struct {
		args   string
		status int
		want   string
	}{
		{"export abc 1 IF disk", 1, `SHELF "abc" is not a number from 0 to 65534`},
		{"export 65535 1 IF disk", 1, `SHELF "65535"`},
		{"export -- -1 1 IF disk", 1, `SHELF "-1"`},
		{"export 0x1 1 IF disk", 1, `SHELF "0x1"`},
		{"export 0 255 IF disk", 1, `SLOT "255" is not a number from 0 to 254`},
		{"export 0 1 IF", 2, `takes SHELF SLOT NETIF FILE, not 3 arguments; see`},
		{"export 0 1 IF missing", 1, `missing does not exist; make a sparse file with: truncate`},
		{"export 0 1 IF /dev/goaoe-missing", 1, `does not exist; lsblk shows`},
		{"export 0 1 IF .", 1, `is a directory: name a file or a block device`},
		{"export 0 1 IF empty", 1, `less than one sector of 512: give it a size`},
		{"export 0 1 IF tiny", 1, `less than one sector of 512`},
		{"export 0 1 IF /dev/null", 1, `neither a file nor a block device`},
		{"export 0 1 nothere disk", 1, `interface nothere does not exist \(there is .*` + a},
		{"export 0 1 lo disk", 1, `interface lo cannot be used: .* goaoe demo`},
		{"export 0 1 small disk", 1, `small cannot be used: its MTU is 600; .* ip link set dev small mtu 1500`},
		{"export 0 1 off disk", 1, `interface off is down: ip link set dev off up`},
		{"export -o 5000 0 1 IF disk", 1, `offset of 2560000 bytes leaves nothing`},
		{"export -o 1.5 0 1 IF disk", 1, `-o "1.5" is not a number of sectors`},
		{"export -l -1 0 1 IF disk", 1, `-l "-1"`},
		{"export -b 1 0 1 IF disk", 1, `-b "1" is not a buffer count from 2 to 1024`},
		{"export -m 02:00 0 1 IF disk", 1, `"02:00" is not an Ethernet address`},
		{"export -s --write-cache 0 1 IF disk", 1, `contradict each other`},
		{"export --serial 123456789012345678901 0 1 IF disk", 1, `21 characters are too many; at most 20`},
		{"export --io-engine fast 0 1 IF disk", 1, `one of auto, io_uring, threads`},
		{"export --lanes 65 0 1 IF disk", 2, `--lanes 65: must be 1 to 64`},
		{"export --busy-poll 1s 0 1 IF disk", 2, `--busy-poll 1s: must be 0 to 10ms`},
		{"export --xdp-send yes 0 1 IF disk", 2, `--xdp-send "yes" is none of auto, on, off`},
		{"export --log-level loud 0 1 IF disk", 2, `--log-level "loud" is none of`},
		{"export --log-target log.txt 0 1 IF disk", 2, `--log-target "log.txt" is neither stderr`},
		{"export --log-target /no/such/dir/log 0 1 IF disk", 1, "make its directory"},
		{"export --state-dir /proc/goaoe 0 1 IF disk", 1, `state directory: .*--state-dir`},
		{"export --state-dir disk 0 1 IF disk", 1, `state directory: .*not a directory`},
		{"export --state-dir " + damaged + " 0 1 IF disk", 1, `damaged state file .*e0.1.json: .*not served`},
		{"serve", 1, `there is nothing to serve: .*try: goaoe serve -i`},
		{"serve e0.1=disk", 2, `no interface is named; e.g. goaoe serve -i eth1 e0.1=disk`},
		{"serve --read-only", 2, `--read-only has no effect without an export on the command line`},
		{"serve -i IF 0.1=disk e0.1=disk", 1, `e0.1 is the address of another export`},
		{"serve -i IF 0.1=disk 0.2=disk", 1, `write to the same bytes .*make one of them read-only`},
		{"serve -i IF 0.1=disk 0.2=missing", 1, `e0.2: .*missing does not exist`},
		{"serve -i IF 0.1=UUID=no-such-uuid", 1, `no such device .*; lsblk`},
		{"serve -i nothere 0.1=disk", 1, `interface nothere does not exist`},
		{"serve -i IF e0.x=disk", 1, `"0.x"|"e0.x"`},
		{"serve -c missing.toml", 1, `missing.toml: .*no such file.*goaoe init`},
		{"serve -c bad.toml", 1, `bad.toml:2:1: error: .*queue-lenth.*did you mean queue-length`},
	} {
		var args []string
		for _, s := range strings.Fields(tc.args) {
			if s == "IF" {
				s = a
			}
			args = append(args, s)
		}
		if !strings.Contains(tc.args, "--state-dir") {
			args = append(args[:1:1], append([]string{state}, args[1:]...)...)
		}
		var stdout, stderr bytes.Buffer
		code := -1
		ns.Do(func() { code = Main(args, &stdout, &stderr) })
		text := stderr.String()
		if code != tc.status || stdout.Len() > 0 || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "goaoe: ") ||
			!regexp.MustCompile(tc.want).MatchString(text) {
			t.Errorf("goaoe %s: status %d (want %d), stdout %q, stderr:\n%swant one line with %s", tc.args, code, tc.status, stdout.String(), text, tc.want)
		}
	}
}

// running is a command that runs in the test's process.
type running struct {
	out  output
	code chan int
}

func start(t *testing.T, ns *testnet.NS, args ...string) *running {
	t.Helper()
	r := &running{code: make(chan int, 1)}
	go ns.Do(func() { r.code <- Main(args, &r.out, &r.out) })
	return r
}

// signal sends a signal to this process, which the command takes.
func (r *running) signal(t *testing.T, s unix.Signal) {
	t.Helper()
	if err := unix.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func (r *running) end(t *testing.T, want int) {
	t.Helper()
	select {
	case code := <-r.code:
		if code != want {
			t.Errorf("exit status %d, want %d:\n%s", code, want, &r.out)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the command did not end:\n%s", &r.out)
	}
}

func TestExportServesUntilASignal(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("mem:1M", make([]byte, 1<<20+100), 0o600); err != nil { // a name that is also a kind of source
		t.Fatal(err)
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		r := start(t, ns, "export", "--state-dir", "state", "-b", "32", "-o", "8", "-l", "1000", "-d=false", "-s", "-r",
			"-m", "020000000001,02:00:00:00:00:02", "7", "3", a+","+b, "mem:1M")
		r.out.wait(t, `(?m)^e7\.3 1000 sectors of \S*/mem:1M on `+a+", "+b+"$")
		r.signal(t, sig)
		r.end(t, ExitOK)
	}
}

func TestServeWaitsAndReloads(t *testing.T) {
	ns, a, _ := testnet.Pair(t, 1500)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("disk", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir, _ := os.Getwd()
	text := func(more string) {
		t.Helper()
		s := fmt.Sprintf("[global]\nstate-directory = %q\n[defaults]\ninterfaces = [%q, \"later0\"]\n[[export]]\naddress = \"0.1\"\nsource = \"%s/disk\"\n%s",
			dir+"/state", a, dir, more)
		if err := os.WriteFile("goaoe.toml", []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text("")
	r := start(t, ns, "serve", "-c", "goaoe.toml", "0.9=mem:1M")
	r.out.wait(t, `(?m)^goaoe: ready: 2 exports on 1 interface$`)
	r.out.wait(t, `waiting: interface later0 does not exist`)
	text("[[export]]\naddress = \"0.2\"\nsource = \"mem:2M\"\n")
	r.signal(t, unix.SIGHUP)
	r.out.wait(t, `e0\.2 serving mem:2M, 4096 sectors on `+a)
	text("[[export]]\naddress = \"0.2\"\nsauce = \"mem:2M\"\n")
	r.signal(t, unix.SIGHUP)
	r.out.wait(t, `goaoe.toml:\d+:1: error: export.sauce`)
	r.out.wait(t, `nothing was changed`)
	r.signal(t, unix.SIGTERM)
	r.end(t, ExitOK)
	if n := strings.Count(r.out.String(), "e0.1 serving"); n != 1 {
		t.Errorf("e0.1 was started %d times:\n%s", n, &r.out)
	}
}
