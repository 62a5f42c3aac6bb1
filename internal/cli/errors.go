package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// Exit statuses of all commands.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
	ExitPartly  = 3 // some of several things were done
	// Of commands that speak to targets over the wire:
	ExitNoAnswer = 4 // no target answered in time
	ExitFailing  = 5 // goaoe smart: the disk says that it is failing
	// Of commands that talk to a running daemon:
	ExitNotRunning = 10
	ExitRefused    = 11 // no permission, or in use or reserved and not forced
	ExitConflict   = 12 // the address is taken, or somebody else changed the same thing
)

// ExitError is an error that knows the exit status. Other errors end with ExitFailure.
type ExitError struct {
	Code int
	Err  error  // nil: everything was said already, print nothing
	Hint string // what to do; may be empty
}

// Error implements error.
func (e *ExitError) Error() string {
	switch {
	case e.Err == nil:
		return ""
	case e.Hint == "":
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

// Unwrap implements the errors package's convention.
func (e *ExitError) Unwrap() error { return e.Err }

// WithHint adds what to do.
func (e *ExitError) WithHint(hint string) *ExitError {
	e.Hint = hint
	return e
}

// Usagef makes an error of wrong usage: exit status 2.
func Usagef(format string, a ...any) *ExitError {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, a...)}
}

// Failf makes an error with exit status 1.
func Failf(format string, a ...any) *ExitError {
	return &ExitError{Code: ExitFailure, Err: fmt.Errorf(format, a...)}
}

// Exit ends a command that has said everything with a status.
func Exit(code int) error {
	if code == ExitOK {
		return nil
	}
	return &ExitError{Code: code}
}

// Main runs the command line args (without the program's name) and returns the exit status. It never panics.
func Main(args []string, stdout, stderr io.Writer) int {
	return guard(stderr, func() int { return Run(&Env{Stdin: os.Stdin, Stdout: stdout, Stderr: stderr}, args) })
}

// guard runs f; a panic becomes one line on stderr and ExitFailure.
func guard(stderr io.Writer, f func() int) (code int) {
	defer func() {
		if r := recover(); r != nil {
			code = ExitFailure
			fmt.Fprintf(stderr, "goaoe: internal error: %s; this is a bug, please report it with the output of goaoe version (GOAOE_TRACE=1 shows where)\n",
				oneLine(fmt.Sprint(r)))
			if os.Getenv("GOAOE_TRACE") != "" {
				_, _ = stderr.Write(debug.Stack())
			}
		}
	}()
	return f()
}

// Run is Main with surroundings to choose.
func Run(env *Env, args []string) int {
	root := NewRoot(env)
	root.SetArgs(args)
	return report(env, root.Execute())
}

// report prints err as one line and returns the exit status.
func report(env *Env, err error) int {
	if err == nil {
		return ExitOK
	}
	code := ExitFailure
	var ee *ExitError
	if errors.As(err, &ee) {
		code = ee.Code
	}
	if text := err.Error(); text != "" {
		name := "goaoe"
		if env.Program != "" {
			name = env.Program
		}
		fmt.Fprintf(env.Stderr, "%s: %s\n", name, oneLine(text))
	}
	return code
}

// oneLine makes one line of a text.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
