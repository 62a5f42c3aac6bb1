package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const statusLong = `Show at a glance how the running daemon is: what it serves, what waits and for what, and what is wrong.

The exit status says the same to scripts: 0 everything that is configured is served, 1 something is wrong (the lines "problem: ..."
say what), 3 something waits ("waiting: ..."), 10 no daemon is running, 11 no permission to ask it.`

func newStatusCmd(env *Env) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show how the running daemon is",
		Long:    statusLong,
		Example: "  goaoe status\n  goaoe status --json | jq .problems",
		GroupID: groupControl,
		Args:    args(cobra.NoArgs, "no arguments; goaoe show is about exports"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			s, err := c.Status(ctx)
			if err != nil {
				return remoteError(err)
			}
			if f.json {
				if err := printJSON(env.Stdout, s); err != nil {
					return err
				}
				return Exit(health(s))
			}
			if err := printStatus(ctx, env.Stdout, c, s); err != nil {
				return err
			}
			return Exit(health(s))
		},
	}
	f.register(cmd)
	return cmd
}

// health is the exit status of goaoe status.
func health(s *control.Status) int {
	switch {
	case len(s.Problems) > 0:
		return ExitFailure
	case len(s.Waiting) > 0:
		return ExitPartly
	}
	return ExitOK
}

// printStatus prints the status, and what the lists of exports and interfaces add to it.
func printStatus(ctx context.Context, out io.Writer, c *control.Client, s *control.Status) error {
	exports, err := c.Exports(ctx)
	if err != nil {
		return remoteError(err)
	}
	interfaces, err := c.Interfaces(ctx)
	if err != nil {
		return remoteError(err)
	}
	mood := map[int]string{ExitOK: "healthy", ExitFailure: "with " + count(len(s.Problems), "problem"), ExitPartly: "waiting for " + count(len(s.Waiting), "thing")}[health(s)]
	fmt.Fprintf(out, "goaoe %s runs %s, %s\n", s.Version, upText(time.Since(s.Started)), mood)
	w := newTable(out)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, value)
		}
	}
	line("exports", exportsText(exports))
	line("interfaces", interfacesText(interfaces))
	if s.Unsaved > 0 {
		line("unsaved", count(s.Unsaved, "export")+" with changes that the next start does not know; goaoe set --save '*' keeps them")
	}
	file := s.Config
	if file == "" {
		file = "none: a command line"
	} else if s.Format != "" && s.Format != "native" {
		file += " (" + s.Format + ")"
	}
	line("configuration", file)
	line("state", s.StateDir)
	line("socket", s.Socket)
	line("sandbox", sandboxText(s.Sandbox))
	line("process", fmt.Sprintf("%d, %s, log level %s", s.PID, count(s.Lanes, "lane"), s.LogLevel))
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range s.Problems {
		fmt.Fprintf(out, "problem: %s\n", oneLine(t))
	}
	for _, t := range s.Waiting {
		fmt.Fprintf(out, "waiting: %s\n", oneLine(t))
	}
	return nil
}

// sandboxText says what the daemon has given up, and what it has not.
func sandboxText(parts []control.Confinement) string {
	var on, off []string
	for _, p := range parts {
		if p.InForce {
			on = append(on, p.Name+" ("+p.Text+")")
		} else {
			off = append(off, "not "+p.Name+": "+p.Text)
		}
	}
	return strings.Join(append(on, off...), ", ")
}

// exportsText counts exports by their states.
func exportsText(list []control.Export) string {
	if len(list) == 0 {
		return "none; goaoe add makes one"
	}
	n := map[string]int{}
	for _, e := range list {
		n[e.State]++
	}
	parts := []string{fmt.Sprintf("%d served", n[control.StateServing])}
	for _, state := range []string{control.StateWaiting, control.StateFailed, control.StateOpening, control.StateClosing, control.StateDisabled} {
		if n[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[state], state))
		}
	}
	return strings.Join(parts, ", ")
}

// interfacesText names the interfaces, and says of those that are not served on how they are.
func interfacesText(list []control.Interface) string {
	if len(list) == 0 {
		return "none"
	}
	var parts []string
	for _, i := range list {
		text := i.Name
		if i.State != control.StateServing {
			text += " (" + i.State + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// upText says how long the daemon has been running.
func upText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("for %d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("for %d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("for %d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("for %d days", int(d.Hours()/24))
}

// glance is what goaoe without arguments shows: the status of the daemon that runs. ok is false when there is none to ask.
func glance(env *Env) (ok bool, err error) {
	c := remote(env, &remoteFlags{})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), glanceTimeout)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return false, nil // the help is what is wanted then; goaoe status says what is wrong
	}
	return true, printStatus(ctx, env.Stdout, c, s)
}

// glanceTimeout is how long goaoe without arguments waits for a daemon.
const glanceTimeout = 2 * time.Second
