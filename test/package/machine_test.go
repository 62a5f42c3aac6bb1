// Package package_test tests what is installed: packages in a machine that runs systemd, units, manual pages, completion in real
// shells, the container and the tarballs.
//
// The machine is a copy of this one that is thrown away: see machine.sh. It takes about two seconds to boot.
package package_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"goaoe/test/need"
)

// machine is a booted one.
type machine struct {
	t   testing.TB
	pid int // of its first process, seen from here
}

// boot boots a machine, which ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	need.Root(t)
	need.Linux(t, "")
	need.Programs(t, "unshare", "nsenter", "ip", "systemctl", "dpkg")
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		need.Missing(t, "needs systemd (Debian packages systemd, systemd-sysv): "+err.Error())
	}
	script, err := filepath.Abs("machine.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--net", "--cgroup", "sh", script, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	m := &machine{t: t}
	children := fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid)
	deadline := time.Now().Add(60 * time.Second)
	for {
		select {
		case <-ended:
			t.Fatalf("the machine did not boot: %s", out.String())
		case <-time.After(100 * time.Millisecond):
		}
		if text, err := os.ReadFile(children); err == nil && m.pid == 0 {
			m.pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		if m.pid != 0 {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.pid))
			if strings.TrimSpace(string(comm)) == "systemd" {
				state, _ := m.try("systemctl is-system-running")
				if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
					return m
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the machine did not boot in a minute: %s", out.String())
		}
	}
}

// try runs a shell command in the machine, and returns what it prints and its exit status.
func (m *machine) try(command string) (string, int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(m.pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", "TERM=dumb", "sh", "-c", command)
	out, err := cmd.CombinedOutput()
	var ee *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &ee):
		return string(out), ee.ExitCode()
	}
	m.t.Fatalf("%s: %v", command, err)
	return "", 0
}

// run is try for a command that must succeed.
func (m *machine) run(command string) string {
	m.t.Helper()
	out, code := m.try(command)
	if code != 0 {
		m.t.Fatalf("%s: exit status %d\n%s", command, code, out)
	}
	return strings.TrimSpace(out)
}

// wants runs a command that must succeed and print each of the texts.
func (m *machine) wants(command string, texts ...string) {
	m.t.Helper()
	out := m.run(command)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			m.t.Errorf("%s: %q is not in\n%s", command, text, out)
		}
	}
}

// copyIn copies a file of this machine into it.
func (m *machine) copyIn(from, to string) {
	m.t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), to), data, 0o644)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// write writes a file in it.
func (m *machine) write(file, text string) {
	m.t.Helper()
	file = filepath.Join(fmt.Sprintf("/proc/%d/root", m.pid), file)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// property returns a property of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return m.run("systemctl show -P " + name + " " + unit)
}

// root is the folder of the sources.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// script runs a program of the sources, with variables added to the environment, and returns what it prints on stdout.
func script(t testing.TB, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}

// Building is done by one test at a time (dist/stage has one folder for each kind and processor), and once.
var (
	building sync.Mutex
	packages = map[string]string{} // what pack has made: paths by kind and version
	program  string                // what build has made
)

// pack makes a package of a version and returns its path.
func pack(t testing.TB, kind, version string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	file := packages[kind+version]
	if file == "" {
		file = filepath.Join(root(t), script(t, []string{"VERSION=" + version, "SOURCE_DATE_EPOCH=1700000000"}, "dist/package", kind))
		packages[kind+version] = file
	}
	return file
}
