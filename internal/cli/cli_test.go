package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"goaoe": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the scripts in testdata/script. The command status N ARGS... runs goaoe and checks its exit status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec("goaoe", args[1:]...)
				got := 0
				var ee interface{ ExitCode() int }
				if errors.As(err, &ee) {
					got = ee.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if fmt.Sprint(got) != args[0] {
					ts.Fatalf("goaoe %s: exit status %d, want %s", strings.Join(args[1:], " "), got, args[0])
				}
			},
		},
	})
}

// TestPanic: a panic in a command is one line and exit status 1.
func TestPanic(t *testing.T) {
	t.Setenv("GOAOE_TRACE", "")
	var stdout, stderr bytes.Buffer
	code := guard(&stderr, func() int { panic("first line\nsecond line") })
	if code != ExitFailure || strings.Count(stderr.String(), "\n") != 1 ||
		!strings.HasPrefix(stderr.String(), "goaoe: internal error: first line second line; this is a bug") {
		t.Errorf("status %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}

// TestHelp holds the conventions of all commands: a short help, a group, an exit status in the help, usage errors with status 2 in
// one line, help on stdout.
func TestHelp(t *testing.T) {
	root := NewRoot(&Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.HasParent() && c.Parent() == root && c.GroupID == "" {
			t.Errorf("%s is in no group", c.CommandPath())
		}
		args := strings.Fields(c.CommandPath())[1:]
		var stdout, stderr bytes.Buffer
		if code := Main(append(args, "--help"), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%s --help: status %d, stderr %q", c.CommandPath(), code, stderr.String())
		}
		if !strings.Contains(stdout.String(), "Exit status:") || !strings.Contains(stdout.String(), "Usage:") {
			t.Errorf("%s --help lacks usage or exit status:\n%s", c.CommandPath(), stdout.String())
		}
		stdout.Reset()
		if code := Main(append(args, "--no-such-flag"), &stdout, &stderr); code != ExitUsage {
			t.Errorf("%s --no-such-flag: status %d", c.CommandPath(), code)
		}
		if e := stderr.String(); stdout.Len() > 0 || strings.Count(e, "\n") != 1 || !strings.HasPrefix(e, "goaoe: unknown flag") || !strings.Contains(e, "--help") {
			t.Errorf("%s --no-such-flag: stdout %q, stderr %q", c.CommandPath(), stdout.String(), e)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	for _, c := range root.Commands() {
		walk(c)
	}
}

// TestReport: errors become one line and a status.
func TestReport(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{errors.New("a\nb"), 1, "goaoe: a b\n"},
		{Failf("no %s", "x").WithHint("do y"), 1, "goaoe: no x; do y\n"},
		{fmt.Errorf("in z: %w", Usagef("no")), 2, "goaoe: in z: no\n"},
		{Exit(3), 3, ""},
		{Exit(0), 0, ""},
	} {
		var b bytes.Buffer
		if code := report(&Env{Stderr: &b}, tt.err); code != tt.code || b.String() != tt.text {
			t.Errorf("%v: status %d, %q; want %d, %q", tt.err, code, b.String(), tt.code, tt.text)
		}
	}
}
