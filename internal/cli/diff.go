package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
	"goaoe/internal/control"
	"goaoe/internal/daemon"
)

const diffLong = `Show what a changed configuration would do, and change nothing.

Without arguments: what goaoe reload would do to the running daemon now that its files have changed.
With FILE: what it would do to put FILE in the place of what is in force: in the running daemon, or, when none runs, in ` + config.DefaultFile + `.
With OLD and NEW: what leads from one file to the other; no daemon is needed. Files of ggaoed and qaoed are read, too.

In the output + is an export that is added, - one that is removed, and ~ what is changed, each setting as KEY OLD -> NEW. What
interrupts I/O, or counts from the next start on only, says so.

The exit status is as that of the command diff: 0 without differences, 1 with some, and 2 when a file cannot be read or has errors. Without a
daemon that could be asked it is 10, without permission 11.`

const diffExample = `  goaoe diff                                   before goaoe reload
  goaoe diff /etc/goaoe/goaoe.toml.new
  goaoe diff /etc/ggaoed.conf /etc/goaoe/goaoe.toml`

func newDiffCmd(env *Env) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:     "diff [FILE | OLD NEW]",
		Short:   "Show what a changed configuration would do",
		Long:    diffLong,
		Example: diffExample,
		GroupID: groupConfig,
		Args:    args(cobra.MaximumNArgs(2), "at most two files"),
		RunE: func(cmd *cobra.Command, files []string) error {
			plan, err := diffPlan(env, cmd, &f, files)
			if err != nil {
				return err
			}
			if err := printPlan(env, &f, plan, false); err != nil {
				return err
			}
			switch {
			case !plan.OK:
				return Usagef("the configuration has errors: nothing would be changed").WithHint("goaoe check shows all of it")
			case len(plan.Changes) > 0:
				return Exit(exitDiffers)
			}
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// exitDiffers is the exit status of goaoe diff when there are differences, as that of the command diff.
const exitDiffers = 1

// diffPlan compares what the arguments name.
func diffPlan(env *Env, cmd *cobra.Command, f *remoteFlags, files []string) (*control.Plan, error) {
	if len(files) == 2 {
		if f.socket != "" {
			return nil, Usagef("--socket: no daemon is asked when two files are compared")
		}
		old, err := diffFile(env, files[0])
		if err != nil {
			return nil, err
		}
		return diffTo(env, old, files[1])
	}
	c := remote(env, f)
	defer c.Close()
	ctx, cancel := patience(cmd, 0)
	defer cancel()
	if len(files) == 1 {
		old, err := inForce(ctx, env, c, f.socket != "")
		if err != nil {
			return nil, err
		}
		return diffTo(env, old, files[0])
	}
	plan, err := c.Plan(ctx)
	return plan, remoteError(err)
}

// inForce is the configuration of the running daemon, or that of the file that one would read if none runs. needDaemon tells
// that the user named one.
func inForce(ctx context.Context, env *Env, c *control.Client, needDaemon bool) (*config.Config, error) {
	text, err := c.Config(ctx)
	if err == nil {
		cfg, problems := config.Parse("running daemon", []byte(text), config.Options{Sysroot: env.Sysroot})
		if err := problems.Err(); err != nil {
			return nil, Failf("what the daemon has in force cannot be read: %v", err).WithHint("the versions of daemon and command may differ: goaoe status, goaoe version")
		}
		return cfg, nil
	}
	if control.AsError(err).Code != control.CodeGone || needDaemon {
		return nil, remoteError(err)
	}
	file := config.FilePath(env.Sysroot)
	fmt.Fprintf(env.Stderr, "goaoe: no daemon is running; comparing with %s\n", file)
	return diffFile(env, file)
}

// diffFile reads a file that is compared.
func diffFile(env *Env, file string) (*config.Config, error) {
	cfg, _, problems := foreign.Load(file, foreign.Auto, config.Options{Sysroot: env.Sysroot})
	if err := problems.Err(); err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	return cfg, nil
}

// diffTo compares with a file. What is wrong with it is in the plan.
func diffTo(env *Env, old *config.Config, file string) (*control.Plan, error) {
	now, _, problems := foreign.Load(file, foreign.Auto, config.Options{Sysroot: env.Sysroot})
	if len(problems) > 0 && problems[0].Severity == config.Error && problems[0].Line == 0 && problems[0].File == file {
		return nil, &ExitError{Code: ExitUsage, Err: errors.New(problems[0].Message + ": " + file), Hint: problems[0].Hint}
	}
	return daemon.PlanBetween(old, now, problems), nil
}

// planLine writes one change of a plan as a row: a sign, what it is about, and what becomes different.
func planLine(w io.Writer, c *control.PlanChange, done bool) {
	sign := map[string]string{"add": "+", "remove": "-"}[c.What]
	if sign == "" {
		sign = "~"
	}
	var effects []string
	switch {
	case c.What == "remove" && !done:
		effects = append(effects, "ends I/O")
	case c.Interrupt && c.What != "remove":
		effects = append(effects, "interrupts I/O")
	}
	if c.Restart {
		effects = append(effects, "from the next start on")
	}
	note := c.Note
	if c.What == "add" || c.What == "remove" { // the note begins with the source
		source, rest, _ := strings.Cut(c.Note, "; ")
		fmt.Fprintf(w, "%s %s\t%s\t%s\n", sign, c.Subject, dash(source), remark(effects, rest))
		return
	}
	if len(c.Keys) == 0 {
		fmt.Fprintf(w, "%s %s\t\t%s\n", sign, c.Subject, remark(effects, note))
		return
	}
	for i, k := range c.Keys {
		if i > 0 {
			effects, note = nil, ""
		}
		fmt.Fprintf(w, "%s %s\t%s %s -> %s\t%s\n", sign, c.Subject, k.Name, valueText(k.Old), valueText(k.New), remark(effects, note))
	}
}

// remark joins what a change does and what is said of it.
func remark(effects []string, note string) string {
	text := strings.Join(effects, ", ")
	switch {
	case note == "":
		return text
	case text == "":
		return note
	}
	return text + ": " + note
}

// valueText shows a value of a setting; an empty one as "none".
func valueText(v string) string {
	if v == "" {
		return "none"
	}
	return dash(v)
}
