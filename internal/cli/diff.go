package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
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
		return diffTo(env, old, files[1], "")
	}
	c := remote(env, f)
	defer c.Close()
	ctx, cancel := patience(cmd, 0)
	defer cancel()
	if len(files) == 1 {
		return diffInForce(ctx, env, c, files[0], f.socket != "")
	}
	plan, err := c.Plan(ctx)
	return plan, remoteError(err)
}

// diffInForce compares a file with what is in force in the running daemon, or with the file that one would read if none runs.
// needDaemon tells that the user named one.
func diffInForce(ctx context.Context, env *Env, c *control.Client, file string, needDaemon bool) (*control.Plan, error) {
	text, err := c.Config(ctx)
	if control.AsError(err) != nil && control.AsError(err).Code == control.CodeGone && !needDaemon {
		usual := config.FilePath(env.Sysroot)
		fmt.Fprintf(env.Stderr, "goaoe: no daemon is running; comparing with %s\n", usual)
		old, err := diffFile(env, usual)
		if err != nil {
			return nil, err
		}
		return diffTo(env, old, file, usual)
	}
	if err != nil {
		return nil, remoteError(err)
	}
	old, problems := config.Parse("running daemon", []byte(text), config.Options{Sysroot: env.Sysroot})
	if err := problems.Err(); err != nil {
		return nil, Failf("what the daemon has in force cannot be read: %v", err).WithHint("the versions of daemon and command may differ: goaoe status, goaoe version")
	}
	status, err := c.Status(ctx)
	if err != nil {
		return nil, remoteError(err)
	}
	exports, err := c.Exports(ctx)
	if err != nil {
		return nil, remoteError(err)
	}
	plan, err := diffTo(env, old, file, status.Config)
	if err == nil && keepUnsaved(plan, exports) {
		fmt.Fprintln(env.Stderr, "goaoe: what was changed at run time and not saved stays, and is not shown")
	}
	return plan, err
}

// keepUnsaved takes out of a plan what a reload would leave as it is because it was set at run time.
func keepUnsaved(p *control.Plan, exports []control.Export) (some bool) {
	unsaved := map[string]*control.Export{}
	for i := range exports {
		if exports[i].Unsaved {
			unsaved[exports[i].Address] = &exports[i]
		}
	}
	n := len(p.Changes)
	p.Changes = slices.DeleteFunc(p.Changes, func(c control.PlanChange) bool {
		e := unsaved[c.Subject]
		switch {
		case e == nil:
			return false
		case c.What == "add": // it was switched off
			return e.State == control.StateDisabled
		case c.What == "remove":
			return e.Origin == config.RunTime
		}
		return !slices.ContainsFunc(c.Keys, func(k control.Key) bool { return e.Origins[k.Name] != config.RunTime })
	})
	return len(p.Changes) < n
}

// diffFile reads a file that is compared.
func diffFile(env *Env, file string) (*config.Config, error) {
	cfg, _, problems := foreign.Load(file, foreign.Auto, config.Options{Sysroot: env.Sysroot})
	if err := problems.Err(); err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	return cfg, nil
}

// diffTo compares with a file, read as if it stood in the place of another one, whose drop-ins count. What is wrong with it is in
// the plan.
func diffTo(env *Env, old *config.Config, file, place string) (*control.Plan, error) {
	files, problems := config.ReadFiles(file)
	if err := problems.Err(); err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	if abs, err := filepath.Abs(file); place != "" && (err != nil || abs != place) {
		if others, problems := config.ReadFiles(place); problems.Err() == nil {
			files.DropIns = append(others.DropIns, files.DropIns...)
		}
	}
	now, problems := foreign.Parse(file, files.Main.Data, foreign.Auto, config.Options{Sysroot: env.Sysroot, DropIns: files.DropIns})
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
