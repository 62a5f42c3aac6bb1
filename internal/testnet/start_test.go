package testnet

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStart: a program that was started runs on, in the namespace, and tells how it ended.
func TestStart(t *testing.T) {
	ns := New(t)
	var inside string
	ns.Do(func() { inside, _ = os.Readlink("/proc/thread-self/ns/net") })
	cmd := exec.Command("sh", "-c", "readlink /proc/self/ns/net; read line; exit 7")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ns.Start(cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != inside || inside == "" {
		t.Errorf("%q %v, want %q", line, err, inside)
	}
	for range 20 { // threads that come and go
		ns.Do(runtime.GC)
	}
	time.Sleep(50 * time.Millisecond)
	_, _ = in.Write([]byte("\n")) // if it was killed, its status tells
	if err := cmd.Wait(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("it ended by %v", err)
	}
	if err := Start(exec.Command("/nonexistent")); err == nil {
		t.Error("what does not exist was started")
	}
}

// TestStartDies: it does not outlive a process that is killed.
func TestStartDies(t *testing.T) {
	if os.Getenv("GOAOE_TEST_PARENT") != "" {
		cmd := exec.Command("sleep", "600")
		New(t).Start(cmd)
		fmt.Printf("child %d\n", cmd.Process.Pid)
		time.Sleep(time.Minute)
		return
	}
	New(t) // skips where the parent could not make one
	parent := exec.Command(os.Args[0], "-test.run", "^TestStartDies$")
	parent.Env = append(os.Environ(), "GOAOE_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := Start(parent); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
	child := 0
	for lines := bufio.NewScanner(out); child == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "child %d", &child) // other lines have none
	}
	if child == 0 {
		t.Fatal("the parent started nothing")
	}
	if err := unix.Kill(child, 0); err != nil {
		t.Fatalf("the child does not run: %v", err)
	}
	_ = parent.Process.Kill()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		// Dead is also what nobody has collected yet.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			_ = unix.Kill(child, unix.SIGKILL)
			t.Fatal("the child outlives its parent")
		}
	}
}
