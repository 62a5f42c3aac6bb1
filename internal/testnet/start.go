package testnet

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Start starts a program in the namespace, as Start of this package does. It ends the test when that fails.
func (ns *NS) Start(cmd *exec.Cmd) {
	ns.t.Helper()
	if err := start(cmd, func() error { return netns.Set(ns.handle) }); err != nil {
		ns.t.Fatal(err)
	}
}

// Start starts a program that does not outlive this process, however that ends. The caller calls cmd.Wait, as after cmd.Start.
func Start(cmd *exec.Cmd) error { return start(cmd, func() error { return nil }) }

// start lets the kernel kill the program when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG). So that thread lives as long as the program: others
// may end before, such as those of Do.
func start(cmd *exec.Cmd, enter func() error) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		if err := enter(); err != nil {
			started <- fmt.Errorf("entering the network namespace: %w", err)
			return
		}
		err := cmd.Start()
		started <- err
		// Only looks: its end is the caller's to collect, and when that was faster there is no such child any more.
		for err == nil {
			if err = unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err == nil {
				return
			} else if errors.Is(err, unix.EINTR) {
				err = nil
			}
		}
	}()
	return <-started
}
