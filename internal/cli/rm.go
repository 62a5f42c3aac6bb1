package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const rmLong = `Remove exports from the running daemon. A PATTERN is an address, a name, or a glob of these such as '1.*'; '*' means all.

An export that an initiator used within the last ten minutes, or holds reserved, is not removed, and the line says by whom. --force
removes it all the same: the requests that are in flight are finished first.

An export that stands in a configuration file is switched off, and is back after the next start; with --save it stays off.`

func newRmCmd(env *Env) *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:     "rm PATTERN...",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove exports from the running daemon",
		Long:    rmLong,
		Example: "  goaoe rm 1.0\n  goaoe rm '7.*' --save\n  goaoe rm mail-spool --force",
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if len(patterns) == 0 {
				return Usagef("no export is named").WithHint("e.g. goaoe rm 1.0; all of them: goaoe rm '*'")
			}
			if err := f.check(); err != nil {
				return err
			}
			return runRm(env, cmd, &f, patterns)
		},
	}
	f.registerChange(cmd, env, "also when it is in use, after what is in flight is finished")
	return cmd
}

func runRm(env *Env, cmd *cobra.Command, f *changeFlags, patterns []string) error {
	c := remote(env, &f.remoteFlags)
	defer c.Close()
	ctx, cancel := patience(cmd, f.wait)
	defer cancel()
	list, err := selectExports(ctx, c, patterns)
	if err != nil {
		return err
	}
	changes := make([]control.Change, 0, len(list))
	for _, e := range list {
		if e.State == control.StateDisabled && !f.save { // with --save it stays so
			fmt.Fprintf(env.Stderr, "goaoe: %s is switched off already\n", e.Address)
			continue
		}
		changes = append(changes, control.Change{Op: control.OpRemove, Address: e.Address, Force: f.force})
	}
	if len(list) == 0 {
		fmt.Fprintln(env.Stderr, "goaoe: there are no exports")
	}
	return sendChanges(ctx, env, c, f, changes, "removed", true)
}

// changesAtOnce bounds how many changes one request carries: the daemon takes requests of limited size.
const changesAtOnce = 1000

// sendChanges sends the changes and prints what became of them; see changeFlags.say for done and whole.
func sendChanges(ctx context.Context, env *Env, c *control.Client, f *changeFlags, changes []control.Change, done string, whole bool) error {
	what := make([]string, 0, 4)
	for i := range changes[:min(3, len(changes))] {
		what = append(what, changes[i].Address)
	}
	if n := len(changes) - len(what); n > 0 {
		what = append(what, fmt.Sprintf("%d more", n))
	}
	all := &control.ChangeReply{Results: []control.Result{}}
	stop := waitingFor(env, strings.Join(what, ", ")+" to be "+done)
	defer stop()
	for part := range slices.Chunk(changes, changesAtOnce) {
		reply, err := c.Change(ctx, f.request(part))
		switch {
		case err != nil && len(all.Results) == 0:
			return remoteError(err)
		case err != nil: // the first ones are done
			for i := range part {
				all.Results = append(all.Results, control.Result{Address: part[i].Address, Error: control.AsError(err)})
			}
		default:
			all.Results = append(all.Results, reply.Results...)
		}
	}
	stop()
	return printResults(env, &f.remoteFlags, all, f.say(done, whole))
}
