package control_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"goaoe/internal/control"
)

// field returns a line of /proc/PID/status of each thread of a process.
func field(t *testing.T, pid int, name string) map[string]string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("the threads of process %d: %v", pid, err)
	}
	line := regexp.MustCompile(`(?m)^` + name + `:\s*(\S+)$`)
	out := map[string]string{}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		if m := line.FindSubmatch(b); m != nil {
			out[path] = string(m[1])
		}
	}
	if len(out) == 0 {
		t.Fatalf("no thread of process %d has a field %s", pid, name)
	}
	return out
}

// children returns the processes that a process has started.
func children(t *testing.T, pid int) []string {
	t.Helper()
	out, _ := exec.Command("pgrep", "-P", fmt.Sprint(pid), "-a").Output() // exit status 1: none
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " "))
}

// TestConfined: the daemon as it runs by default has given up what it does not need, on all of its threads, those of the lanes included.
func TestConfined(t *testing.T) {
	r := newRig(t, "")
	r.image("disk", 1<<20)
	r.want(0, "serving", "", "add", "1.0", "disk")
	r.open("e1.0") // the lane works
	pid := r.daemon.Process.Pid
	// CAP_NET_RAW is bit 13, CAP_IPC_LOCK bit 14.
	for name, want := range map[string]string{"CapEff": "0000000000006000", "CapPrm": "0000000000006000", "CapInh": "0000000000000000", "CapBnd": "0000000000006000",
		"CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"} {
		for thread, got := range field(t, pid, name) {
			if got != want {
				t.Errorf("%s: %s is %s, want %s", thread, name, got, want)
			}
		}
	}
	r.want(0, `sandbox +capabilities \(only net_raw, ipc_lock\), landlock \(version [0-9]+\), seccomp \([0-9]+ system calls\)\n`, "", "status")
	r.want(0, `0 problems, 0 warnings`, "", "doctor", "sandbox")
	helper := children(t, pid)
	if len(helper) < 2 || helper[1] != "goaoe-opener" {
		t.Fatalf("the daemon's children: %v", helper)
	}
	for thread, got := range field(t, atoi(t, helper[0]), "NoNewPrivs") {
		if got != "1" {
			t.Errorf("the opener: %s: NoNewPrivs is %s", thread, got)
		}
	}
	r.end(unix.SIGTERM)
	r.until("the opener has ended", func() bool { return unix.Kill(atoi(t, helper[0]), 0) == unix.ESRCH })
	if _, err := os.Lstat(r.socket); err == nil {
		t.Errorf("%s is left", r.socket)
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestConfinedOpensWhatItIsTold: paths that come at run time are served when somebody with the right to do so names them: by goaoe add, by any other
// client of the control socket, by the file.
func TestConfinedOpensWhatItIsTold(t *testing.T) {
	r := newRig(t, "")
	far, err := os.MkdirTemp("", "goaoe-far")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(far) })
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := os.WriteFile(filepath.Join(far, name), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
	resp, err := client.Post("http://goaoe/v1/changes", "application/json",
		strings.NewReader(fmt.Sprintf(`{"changes":[{"op":"add","address":"1.9","source":%q}],"wait_ms":20000}`, filepath.Join(far, "d"))))
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 4096)
	n, _ := resp.Body.Read(body)
	resp.Body.Close()
	if text := string(body[:n]); !strings.Contains(text, "serving on va") {
		t.Errorf("the API: %s", text)
	}
	r.want(0, "serving on va", "", "add", "1.0", filepath.Join(far, "a"), "--save")
	r.want(0, "serving on va", "", "set", "1.0", "source="+filepath.Join(far, "b"), "--force")
	r.configure(fmt.Sprintf("[[export]]\naddress = \"1.1\"\nsource = %q\n", filepath.Join(far, "c")))
	r.want(0, "e1.1", "", "reload")
	r.until("both are served", func() bool {
		e := r.exports()
		return e["e1.0"].State == control.StateServing && e["e1.1"].State == control.StateServing && e["e1.0"].Source == filepath.Join(far, "b")
	})
	r.end(unix.SIGTERM)
	r.start() // with the drop-in, which the confined daemon had written
	if e := r.exports()["e1.0"]; e.State != control.StateServing || e.Source != filepath.Join(far, "a") {
		t.Errorf("after a restart: %+v", e)
	}
}

// TestConfinedSurvivesTheOpener: what is served goes on when the opener was killed; what needs it says so.
func TestConfinedSurvivesTheOpener(t *testing.T) {
	r := newRig(t, "")
	r.image("disk", 1<<20)
	r.image("disk2", 1<<20)
	r.want(0, "serving", "", "add", "1.0", "disk")
	d := r.open("e1.0")
	helper := atoi(t, children(t, r.daemon.Process.Pid)[0])
	if err := unix.Kill(helper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.until("new sources are refused with the reason", func() bool {
		return strings.Contains(r.try("add", "1.1", "disk2").stderr, "goaoe-opener")
	})
	if _, err := d.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("what is served: %v", err)
	}
	r.want(0, "read-only|changed", "", "set", "1.0", "read-only=true") // the control socket works without it
}

// TestSandboxSwitchedOff: each part by its setting, all of them by the flag; the status and goaoe doctor say so.
func TestSandboxSwitchedOff(t *testing.T) {
	for _, tc := range []struct {
		setting, field, want, status string
	}{
		{"sandbox-seccomp", "Seccomp", "0", "not seccomp: switched off"},
		{"sandbox-capabilities", "CapBnd", "", "not capabilities: switched off"},
		{"sandbox-landlock", "Seccomp", "2", "not landlock: switched off"},
	} {
		r := newRig(t, "")
		r.end(unix.SIGTERM)
		r.configure("")
		b, err := os.ReadFile(r.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.file, []byte(strings.Replace(string(b), "[global]\n", "[global]\n"+tc.setting+" = false\n", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		r.start()
		for thread, got := range field(t, r.daemon.Process.Pid, tc.field) {
			if tc.want != "" && got != tc.want || tc.field == "CapBnd" && got == "0000000000006000" {
				t.Errorf("%s: %s: %s is %s", tc.setting, thread, tc.field, got)
			}
		}
		r.want(0, tc.status, "", "status")
		r.want(0, "(?s)switched off.*"+tc.setting+" = true", "", "doctor", "sandbox")
		r.image("disk", 1<<20)
		r.want(0, "serving", "", "add", "1.0", "disk")
		r.end(unix.SIGTERM)
	}
	r := newRig(t, "")
	r.end(unix.SIGTERM)
	r.flags = []string{"--no-sandbox"}
	r.start()
	for name, want := range map[string]string{"Seccomp": "0", "NoNewPrivs": "0"} {
		for thread, got := range field(t, r.daemon.Process.Pid, name) {
			if got != want {
				t.Errorf("--no-sandbox: %s: %s is %s", thread, name, got)
			}
		}
	}
	if c := children(t, r.daemon.Process.Pid); len(c) > 0 {
		t.Errorf("--no-sandbox has children: %v", c)
	}
	r.want(0, "not capabilities: switched off, not landlock: switched off, not seccomp: switched off", "", "status")
}
