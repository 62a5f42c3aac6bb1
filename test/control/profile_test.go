package control_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestProfiles: a confined daemon gives profiles of its lane over a Unix socket while it works, and takes the socket away at its end. Without --pprof it may not
// even have the timers for it.
func TestProfiles(t *testing.T) {
	r := newStage(t)
	r.configure("")
	socket := filepath.Join(r.dir, "p")
	r.flags = []string{"--pprof", socket}
	r.start()
	t.Cleanup(func() { r.end(unix.SIGTERM) })
	if !strings.Contains(r.log.String(), "profiles of this daemon are served") || !strings.Contains(r.log.String(), socket) {
		t.Errorf("the log does not say so:\n%s", r.log)
	}
	if st, err := os.Lstat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", st, err)
	}
	r.want(0, `sandbox +capabilities \(only net_raw, ipc_lock\), landlock \(version [0-9]+\), seccomp \([0-9]+ system calls\)\n`, "", "status")
	r.want(0, "added", "", "add", "1.0", "mem:16M")
	d := r.open("e1.0")
	done := make(chan error, 1)
	stop := make(chan struct{})
	reads := 0
	go func() {
		b := make([]byte, 1024)
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := d.ReadAt(b, int64(reads%8192)*512); err != nil {
				done <- err
				return
			}
			reads++
		}
	}()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	get := func(what string) []byte {
		t.Helper()
		resp, err := client.Get("http://localhost/debug/pprof/" + what)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v: %.300s", what, resp.Status, err, b)
		}
		return b
	}
	file := filepath.Join(r.dir, "cpu.pb.gz")
	if err := os.WriteFile(file, get("profile?seconds=2"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-cum", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "engine.(*lane)") {
		t.Errorf("the profile has nothing of the lane: %v\n%s", err, out)
	}
	if b := get("goroutine?debug=1"); !strings.Contains(string(b), "engine.(*lane)") {
		t.Errorf("no goroutine is a lane:\n%s", b)
	}
	if b := get("heap?debug=1"); !strings.HasPrefix(string(b), "heap profile:") {
		t.Errorf("%.100s", b)
	}
	if b := get("trace?seconds=0.2"); len(b) < 100 {
		t.Errorf("a trace of %d bytes", len(b))
	}
	close(stop)
	if err := <-done; err != nil || reads == 0 {
		t.Errorf("reads meanwhile: %d, %v", reads, err)
	}
	r.end(unix.SIGTERM)
	if _, err := os.Lstat(socket); err == nil {
		t.Errorf("%s is left", socket)
	}

	for _, c := range []struct{ flags, want string }{
		{"--pprof 192.0.2.1:6060", "--pprof 192.0.2.1:6060: other machines can reach 192.0.2.1:6060; --pprof-remote allows it"},
		{"--pprof :6060", "--pprof-remote allows it"},
		{"--pprof pprof.sock", `"pprof.sock" is neither HOST:PORT nor the absolute path of a socket; e.g. --pprof 127.0.0.1:6060`},
		{"--pprof " + r.file, r.file + " is there already and is no socket"},
	} {
		code := 2
		if strings.HasSuffix(c.want, "no socket") {
			code = 1
		}
		r.want(code, "", "(?s)"+regexp.QuoteMeta(c.want), append([]string{"serve", "-c", r.file}, strings.Fields(c.flags)...)...)
	}

	// By the configuration, on a loopback address; the filter of system calls is wider by the timers only there.
	calls := func() (n int) {
		t.Helper()
		got := r.try("status")
		if _, err := fmt.Sscanf(got.stdout[strings.Index(got.stdout, "seccomp ("):], "seccomp (%d", &n); err != nil {
			t.Fatalf("%v: %s", err, got.stdout)
		}
		return n
	}
	r.flags = nil
	r.configure("[pprof]\nlisten = \"127.0.0.1:6060\"\n")
	r.start()
	with := calls()
	var curl []byte
	r.ns.Do(func() {
		curl, err = exec.Command("curl", "-sS", "-m", "20", "http://127.0.0.1:6060/debug/pprof/cmdline").CombinedOutput()
	})
	if err != nil || !strings.Contains(string(curl), "serve") {
		t.Errorf("over TCP: %v: %s", err, curl)
	}
	r.end(unix.SIGTERM)
	r.configure("")
	r.start()
	if without := calls(); with != without+4 {
		t.Errorf("%d system calls with profiles, %d without", with, without)
	}
	if strings.Contains(r.log.String(), "profiles") {
		t.Errorf("the log speaks of profiles:\n%s", r.log)
	}
}
