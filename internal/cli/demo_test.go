package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"goaoe/internal/testnet"
)

// demo returns the command goaoe demo as a process of its own (see TestMain), with an empty directory for temporary files.
func demo(t *testing.T) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp = t.TempDir()
	if err := os.Chmod(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	return &exec.Cmd{Path: self, Args: []string{"goaoe", "demo"}, Env: append(os.Environ(), "TMPDIR="+tmp)}, tmp
}

func nothingLeft(t *testing.T, tmp string) {
	t.Helper()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// noNamespaces ends a test that needs namespaces where there are none.
func noNamespaces(t *testing.T, text string) {
	t.Helper()
	if os.Getenv("CI") != "true" && strings.Contains(text, "namespace") && strings.Contains(text, "not allowed") {
		t.Skip(text)
	}
}

func TestDemo(t *testing.T) {
	cmd, tmp := demo(t)
	var out, errs output
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		noNamespaces(t, errs.String())
		t.Fatalf("%v\n%s\n%s", err, &out, &errs)
	}
	if errs.String() != "" {
		t.Errorf("stderr: %s", &errs)
	}
	for _, want := range []string{
		"served      e0.1: a fresh sparse file of 256 MiB", "discovered  e0.1 at ", "524288 sectors of 512 bytes, 256 MiB",
		"MTU 9000, 17 sectors each", "model     goaoe, serial 0.1-", "verified    64 MiB written, read back and compared: no difference",
		"reads of 4 KiB a second", "goaoe export 0 1 eth0 /dev/sdb",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	nothingLeft(t, tmp)
}

// TestDemoKilled kills the demo in the middle, as a user would who lost patience.
func TestDemoKilled(t *testing.T) {
	cmd, tmp := demo(t)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := testnet.Start(cmd); err != nil {
		t.Fatal(err)
	}
	child := 0
	for limit := time.Now().Add(20 * time.Second); child == 0 || !strings.Contains(out.String(), "discovered"); time.Sleep(5 * time.Millisecond) {
		child = childOf(cmd.Process.Pid)
		if time.Now().After(limit) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			noNamespaces(t, out.String())
			t.Fatalf("the demo did not begin:\n%s", &out)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the error is the signal
	for limit := time.Now().Add(20 * time.Second); alive(child); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			_ = syscall.Kill(child, syscall.SIGKILL)
			t.Fatal("the process in the namespace lives on")
		}
	}
	nothingLeft(t, tmp)
}

// childOf returns a child of a process, or 0.
func childOf(pid int) int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if f := strings.Fields(string(b)); len(f) > 0 {
			n, _ := strconv.Atoi(f[0])
			return n
		}
	}
	return 0
}

// alive tells whether a process runs; one that nobody waits for does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := string(b[strings.LastIndexByte(string(b), ')')+2:])
	return state[0] != 'Z' && state[0] != 'X'
}
