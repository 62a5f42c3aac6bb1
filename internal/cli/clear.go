package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const clearLong = `Clear what initiators have set in exports, or what the daemon has counted. A PATTERN is an address, a name, or a glob of these such
as '1.*'; '*' means all.`

func newClearCmd(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "clear",
		Short:   "Clear config strings, MAC masks, reservations, or statistics",
		Long:    clearLong,
		Example: "  goaoe clear reserve 1.0\n  goaoe clear mask '*'\n  goaoe clear stats",
		GroupID: groupControl,
		RunE: func(_ *cobra.Command, list []string) error {
			const hint = "goaoe clear config|mask|reserve PATTERN..., or goaoe clear stats [PATTERN...]"
			if len(list) == 0 {
				return Usagef("it is not said what to clear").WithHint(hint)
			}
			return Usagef("%q cannot be cleared", list[0]).WithHint(hint)
		},
	}
	for _, w := range []struct{ what, short, long, done string }{
		{control.ClearConfig, "Empty the config string of exports",
			"Empty the config string that an initiator has set. With an empty one every query for a config string fits.", "config string cleared"},
		{control.ClearMask, "Empty the MAC mask list of exports",
			"Empty the MAC mask list that an initiator has set. Then every initiator is served again that the access lists let in.", "MAC mask cleared"},
		{control.ClearReserve, "Take away the reservation of exports",
			"Empty the reserve list that an initiator has set. A holder that was seen a moment ago keeps it, and the line says who it is; --force takes it\naway all the same.", "reservation cleared"},
		{control.ClearStats, "Set statistics to zero",
			"Set the counters of exports to zero; without a PATTERN those of everything, interfaces and lanes too. Metrics for Prometheus do not\ngo back: a counter there never does while the daemon runs.", "statistics cleared"},
	} {
		cmd.AddCommand(newClearOneCmd(env, w.what, w.short, w.long, w.done))
	}
	return cmd
}

// newClearOneCmd makes one of the subcommands.
func newClearOneCmd(env *Env, what, short, long, done string) *cobra.Command {
	var f remoteFlags
	var force bool
	use := what + " PATTERN..."
	if what == control.ClearStats {
		use = what + " [PATTERN...]"
	}
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: "  goaoe clear " + what + " 1.0\n  goaoe clear " + what + " '1.*'",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if len(patterns) == 0 && what != control.ClearStats {
				return Usagef("no export is named").WithHint("e.g. goaoe clear " + what + " 1.0; all of them: goaoe clear " + what + " '*'")
			}
			return runClear(env, cmd, &f, &control.ClearRequest{What: what, Exports: []string{}, Force: force}, patterns, done)
		},
	}
	f.register(cmd)
	if what == control.ClearReserve {
		cmd.Flags().BoolVar(&force, "force", false, "also when its holder was seen a moment ago")
	}
	return cmd
}

func runClear(env *Env, cmd *cobra.Command, f *remoteFlags, r *control.ClearRequest, patterns []string, done string) error {
	c := remote(env, f)
	defer c.Close()
	ctx, cancel := patience(cmd, 0)
	defer cancel()
	if len(patterns) > 0 {
		list, err := selectServed(ctx, c, patterns)
		if err != nil {
			return err
		}
		for _, e := range list {
			r.Exports = append(r.Exports, e.Address)
		}
		if len(list) == 0 { // '*' of no exports; none named would mean everything
			fmt.Fprintln(env.Stderr, "goaoe: there are no exports")
			return printResults(env, f, &control.ChangeReply{Results: []control.Result{}}, unless(done))
		}
	}
	reply, err := c.Clear(ctx, r)
	if err != nil {
		return remoteError(err)
	}
	for i := range reply.Results {
		if n := &reply.Results[i]; n.Error == nil && n.Note != "" && !strings.Contains(n.Note, "cleared") {
			n.Note = done + "; " + n.Note
		}
	}
	if len(patterns) == 0 && len(reply.Results) == 0 && !f.json {
		fmt.Fprintln(env.Stdout, done)
		return nil
	}
	return printResults(env, f, reply, unless(done))
}
