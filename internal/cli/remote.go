package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"goaoe/internal/control"
)

// What the commands that control a running daemon have in common.

// remoteFlags are the flags of all of them.
type remoteFlags struct {
	socket string
	json   bool
}

// register adds the flags to a command.
func (f *remoteFlags) register(cmd *cobra.Command) {
	watchSocket(cmd.Flags(), &f.socket)
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// remote returns a client of the daemon that the flags mean. The caller closes it.
func remote(env *Env, f *remoteFlags) *control.Client {
	socket := f.socket
	if socket == "" {
		socket = control.FindSocket(env.Sysroot)
	}
	return control.NewClient(socket)
}

// patience returns a context for calls that may take the usual time and wait longer. SIGINT and SIGTERM end it, so that the
// user is told how far the daemon came.
func patience(cmd *cobra.Command, wait time.Duration) (context.Context, context.CancelFunc) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, unix.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, control.Timeout+wait)
	return ctx, func() { cancel(); stop() }
}

// exitOf is the exit status for an error of the API.
func exitOf(code control.Code) int {
	switch code {
	case control.CodeUsage:
		return ExitUsage
	case control.CodeConflict:
		return ExitConflict
	case control.CodeInUse, control.CodeRefused:
		return ExitRefused
	case control.CodeGone:
		return ExitNotRunning
	}
	return ExitFailure
}

// remoteError is an error of the API as a command ends with it; nil stays nil.
func remoteError(err error) error {
	if err == nil {
		return nil
	}
	var ee *ExitError
	if errors.As(err, &ee) {
		return err
	}
	e := control.AsError(err)
	return &ExitError{Code: exitOf(e.Code), Err: errors.New(e.Message), Hint: e.Hint}
}

// selectExports asks the daemon for its exports and returns those that the patterns mean; see control.Select.
func selectExports(ctx context.Context, c *control.Client, patterns []string) ([]control.Export, error) {
	all, err := c.Exports(ctx)
	if err != nil {
		return nil, remoteError(err)
	}
	list, err := control.Select(patterns, all)
	return list, remoteError(err)
}

// selectServed is selectExports without those that are switched off, unless a pattern is the address or name of one.
func selectServed(ctx context.Context, c *control.Client, patterns []string) ([]control.Export, error) {
	list, err := selectExports(ctx, c, patterns)
	return slices.DeleteFunc(list, func(e control.Export) bool {
		return e.State == control.StateDisabled && !slices.ContainsFunc(patterns, func(p string) bool {
			return p == e.Address || "e"+p == e.Address || p == e.Name
		})
	}), err
}

// printResults prints what became of a set of changes: a line on stdout for each success, one on stderr for each failure. say makes
// the text of a success of its note, which may be empty. The error carries the exit status: that of the failures when they
// agree and nothing was done, else ExitPartly.
func printResults(env *Env, f *remoteFlags, reply *control.ChangeReply, say func(note string) string) error {
	if f.json {
		if err := printJSON(env.Stdout, reply); err != nil {
			return err
		}
	}
	failed, code := 0, ExitOK
	for _, r := range reply.Results {
		if r.Error == nil {
			if !f.json {
				fmt.Fprintf(env.Stdout, "%s: %s\n", r.Address, oneLine(say(r.Note)))
			}
			continue
		}
		failed++
		if was := code; was == ExitOK || was == exitOf(r.Error.Code) {
			code = exitOf(r.Error.Code)
		} else {
			code = ExitFailure
		}
		text := r.Error.Error()
		if !strings.Contains(text, r.Address) {
			text = r.Address + ": " + text
		}
		fmt.Fprintf(env.Stderr, "goaoe: %s\n", oneLine(text))
	}
	if failed > 0 && failed < len(reply.Results) {
		code = ExitPartly
	}
	return Exit(code)
}

// unless says what was done where a success has no note of its own.
func unless(done string) func(note string) string {
	return func(note string) string {
		if note == "" {
			return done
		}
		return note
	}
}

// newTable makes a table for people. Columns are separated by tabs; Flush prints it, without blanks at the ends of lines.
func newTable(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(&trimmer{w: w}, 0, 8, 2, ' ', 0)
}

// trimmer passes lines on without the blanks at their ends.
type trimmer struct {
	w    io.Writer
	line []byte // the one that has no end yet
}

// Write implements io.Writer.
func (t *trimmer) Write(p []byte) (int, error) {
	t.line = append(t.line, p...)
	end := bytes.LastIndexByte(t.line, '\n') + 1
	var out []byte
	for l := range bytes.Lines(t.line[:end]) {
		out = append(append(out, bytes.TrimRight(l, " \n")...), '\n')
	}
	t.line = append([]byte(nil), t.line[end:]...)
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// slowAfter is when a person before a terminal is told what is waited for.
const slowAfter = 700 * time.Millisecond

// waitingFor tells a person before a terminal what is waited for, when it takes long. The caller calls stop when it is over.
func waitingFor(env *Env, what string) (stop func()) {
	f, ok := env.Stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return func() {}
	}
	t := time.AfterFunc(slowAfter, func() { fmt.Fprintf(f, "goaoe: waiting for %s ...\n", what) })
	return func() { t.Stop() }
}
