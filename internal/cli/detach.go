package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

// readyEnv tells a process that it was detached from a terminal, and which descriptor its parent listens on.
const readyEnv = "GOAOE_READY_FD"

// readyWord is what a detached process says when it serves. Everything before it is for the user.
const readyWord = "goaoe-detached-process-is-ready"

// detach starts this program once more, as name with args, in a session of its own, and waits until it serves (exit status 0) or has
// ended (its status). Of what it says until then the user sees warnings and errors, and all of it when it did not get to serve:
// the programs that it takes the place of say nothing either. Afterwards it logs to syslog.
func detach(env *Env, name string, args []string) int {
	r, w, err := os.Pipe()
	if err != nil {
		return report(env, Failf("%w", err))
	}
	defer func() { _ = r.Close() }() // only read
	self, err := os.Executable()
	if err != nil {
		return report(env, Failf("%w", err))
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{name}, args...)
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, w, []*os.File{w}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close() // the child has it
	if err != nil {
		return report(env, Failf("%w", err))
	}
	lines := bufio.NewScanner(r)
	var held []string
	for lines.Scan() {
		switch l := lines.Text(); {
		case l == readyWord:
			return ExitOK
		case complaint.MatchString(l):
			fmt.Fprintln(env.Stderr, l)
		default:
			held = append(held, l)
		}
	}
	err = cmd.Wait()
	for _, l := range held {
		fmt.Fprintln(env.Stderr, l)
	}
	var ee *exec.ExitError
	switch {
	case errors.As(err, &ee) && ee.ExitCode() > 0:
		return ee.ExitCode()
	case err != nil:
		return report(env, Failf("%s ended before it served anything: %w", name, err))
	}
	return ExitOK
}

// complaint is what a line about something wrong has.
var complaint = regexp.MustCompile(`(warning|error): |level=(WARN|ERROR)`)

// detached is the other end, in the process that was detached. nil: it was not.
type detached struct {
	name string
	out  *os.File
}

// takeDetached returns the other end, once.
func takeDetached(name string) *detached {
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil || fd < 3 {
		return nil
	}
	_ = os.Unsetenv(readyEnv) // not for children
	unix.CloseOnExec(fd)
	return &detached{name: name, out: os.NewFile(uintptr(fd), "ready")}
}

// isDetached tells whether this process was started by detach, or is the opener of one that was.
func isDetached() bool { return os.Getenv(readyEnv) != "" || own.opener != nil }

// ready lets the parent go. What is written to stdout and stderr from now on nobody sees.
func (d *detached) ready() {
	if d == nil || d.out == nil {
		return
	}
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for _, fd := range []int{1, 2} {
			_ = unix.Dup3(int(null.Fd()), fd, 0) // worst case: they stay as they are
		}
		_ = null.Close()
	}
	fmt.Fprintln(d.out, readyWord)
	_ = d.out.Close()
	d.out = nil
}

// logElsewhere makes the log go to syslog, or the journal, where it would go to a terminal that will be gone.
func (d *detached) logElsewhere(c *config.Config) {
	if d == nil || c == nil || c.Log.Target != config.LogStderr {
		return
	}
	for _, t := range []struct {
		socket string
		target config.LogTarget
	}{{"/dev/log", config.LogSyslog}, {"/run/systemd/journal/socket", config.LogJournal}} {
		if _, err := os.Stat(t.socket); err == nil {
			c.Log.Target, c.Log.Tag = t.target, strings.TrimSpace(d.name)
			return
		}
	}
}
