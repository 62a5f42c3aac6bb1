package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/testnet"
)

// TestServeForeign runs the daemon with a ggaoed.conf, reloads it, and lets a qaoed.conf and at last a native file take its place: what did
// not change goes on.
func TestServeForeign(t *testing.T) {
	ns, a, b := testnet.Pair(t, 1500)
	t.Chdir(t.TempDir())
	dir, _ := os.Getwd()
	for _, name := range []string{"disk1", "disk2"} {
		if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write := func(format string, args ...any) {
		t.Helper()
		if err := os.WriteFile("storage.conf", fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const ggaoed = "[defaults]\nstate-directory = %s/state\ncontrol-socket = %[1]s/sock\ninterfaces = %s\ndirect-io = false\n" +
		"[one]\npath = %[1]s/disk1\nshelf = 0\nslot = 1\n"
	write(ggaoed+"merge-delay = 0\n", dir, a)
	r := start(t, ns, "serve", "-c", "storage.conf")
	r.out.wait(t, `(?m)^goaoe: storage.conf is a configuration of ggaoed$`)
	r.out.wait(t, `(?m)^goaoe: storage.conf:10:1: warning: \[one\] merge-delay: has no equivalent`)
	r.out.wait(t, `(?m)^goaoe: ready: 1 export on 1 interface$`)
	write(ggaoed+"[two]\npath = %[1]s/disk2\nshelf = 0\nslot = 2\nread-only = true\n", dir, a)
	r.signal(t, unix.SIGHUP)
	r.out.wait(t, `e0\.2 serving \S+/disk2, 2048 sectors on `+a)
	write(ggaoed+"[two]\npath = %[1]s/disk2\nshelf = 0\nslot = 300\n", dir, a)
	r.signal(t, unix.SIGHUP)
	r.out.wait(t, `storage.conf:13:1: error: \[two\] slot: 300 is out of range`)
	r.out.wait(t, `nothing was changed`)
	write("apisocket = %q;\ndefault { interface = %s; writecache = off; slot = 2; }\n"+
		"device { target = %[3]s/disk2; }\ndevice { slot = 7; target = %[3]s/disk1; interface = %s; }\n", dir+"/sock", a, dir, b)
	r.signal(t, unix.SIGHUP)
	r.out.wait(t, `e0\.2 serving \S+/disk2, 2048 sectors on `+a)
	r.out.wait(t, `e0\.7 serving \S+/disk1, 2048 sectors on `+b)
	r.signal(t, unix.SIGTERM)
	r.end(t, ExitOK)
	if n := strings.Count(r.out.String(), "e0.1 serving"); n != 1 {
		t.Errorf("e0.1 was started %d times:\n%s", n, &r.out)
	}
}
