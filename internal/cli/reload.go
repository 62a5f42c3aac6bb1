package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const reloadLong = `Have the running daemon read its configuration anew, and show what that changes. Exports that stay as they are do not lose a frame.
With an error in a file nothing is changed. What was changed at run time and not saved stays, unless --discard-unsaved is given.

goaoe diff shows the same before. In the output + is an export that is added, - one that is removed, and ~ what is changed.`

func newReloadCmd(env *Env) *cobra.Command {
	var f remoteFlags
	var dryRun, discard bool
	cmd := &cobra.Command{
		Use:     "reload",
		Short:   "Have the daemon read its configuration anew",
		Long:    reloadLong,
		Example: "  goaoe diff && echo nothing to do\n  goaoe reload\n  goaoe reload --discard-unsaved",
		GroupID: groupControl,
		Args:    args(cobra.NoArgs, "no arguments: the daemon knows its file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun && discard {
				return Usagef("--dry-run shows what a reload does that keeps what was changed at run time, not --discard-unsaved").
					WithHint("leave one of them out")
			}
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			var plan *control.Plan
			var err error
			if dryRun {
				plan, err = c.Plan(ctx)
			} else {
				plan, err = c.Reload(ctx, &control.ReloadRequest{DiscardUnsaved: discard})
			}
			if err != nil {
				return remoteError(err)
			}
			if err := printPlan(env, &f, plan, !dryRun); err != nil {
				return err
			}
			if !plan.OK {
				return Failf("the configuration has errors: nothing %s", map[bool]string{true: "would be changed", false: "was changed"}[dryRun]).
					WithHint("goaoe check shows all of it")
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what it would do, and change nothing")
	cmd.Flags().BoolVar(&discard, "discard-unsaved", false, "also take back what was changed at run time and not saved")
	return cmd
}

// printPlan prints a plan, or what became of one.
func printPlan(env *Env, f *remoteFlags, p *control.Plan, done bool) error {
	if f.json {
		return printJSON(env.Stdout, p)
	}
	for _, text := range p.Problems {
		fmt.Fprintf(env.Stderr, "goaoe: %s\n", oneLine(text))
	}
	if !p.OK {
		return nil
	}
	w := newTable(env.Stdout)
	for i := range p.Changes {
		planLine(w, &p.Changes[i], done)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	text := "nothing to change"
	if n := len(p.Changes); n > 0 {
		text = count(n, "change")
	}
	_, err := fmt.Fprintf(env.Stdout, "%s; %s as before\n", text, count(p.Kept, "export"))
	return err
}
