package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/control"
)

const setLong = `Change settings of exports while they serve. A PATTERN is an address, a name, or a glob of these such as '1.*'; '*' means all. KEY is
a key of [[export]]; goaoe init --keys explains them. A list is joined by commas. --unset KEY takes back what was set at run time.

These change without a pause of I/O: ` + setLive + `.
For the others the export is opened anew: what is in flight is finished, and initiators wait for a moment.

Without --save the next start of the daemon does not know the change; goaoe set PATTERN... --save saves earlier ones.
When somebody else changes an export at the same moment, one of the two wins, and the other is told (exit status 12).

log-level without a PATTERN is that of the daemon, with the name of an interface that of the interface, until the next reload;
an empty value goes back to what the files say.`

// setLive are the settings that the daemon applies without opening the export anew.
const setLive = `interfaces, queue-length, buffer-count, initiator-iops, initiator-bandwidth, initiator-limits, accept, deny, config-read, config-set, read, write,
read-only, write-cache, name, log-target, log-level, trace (only write-cache=false and read-only=false open it anew)`

const setExample = `  goaoe set 1.0 queue-length=128
  goaoe set '1.*' read-only=true accept=node1,node2 --save
  goaoe set 1.0 --unset accept
  goaoe set '*' initiator-iops=2000 initiator-bandwidth=50M 'initiator-limits=backup unlimited'
  goaoe set log-level=debug               the daemon
  goaoe set eth1 log-level=debug          an interface`

// setArgs is what goaoe set was given.
type setArgs struct {
	patterns []string
	settings map[string]string
	unset    []string
}

func newSetCmd(env *Env) *cobra.Command {
	var f changeFlags
	var unset []string
	cmd := &cobra.Command{
		Use:     "set [PATTERN...] KEY=VALUE...",
		Short:   "Change settings of exports while they serve",
		Long:    setLong,
		Example: setExample,
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, list []string) error {
			if err := f.check(); err != nil {
				return err
			}
			a, err := splitSet(list, unset)
			if err != nil {
				return err
			}
			return runSet(env, cmd, &f, a)
		},
	}
	f.registerChange(cmd, env, "also when initiators that use it would lose it (disabled=true)")
	cmd.Flags().StringSliceVar(&unset, "unset", nil, "keys that go back to what the files say")
	_ = cmd.RegisterFlagCompletionFunc("unset", completeKeys)
	return cmd
}

// splitSet tells patterns and settings apart.
func splitSet(list, unset []string) (a setArgs, err error) {
	var pairs []string
	for _, s := range list {
		if strings.Contains(s, "=") {
			pairs = append(pairs, s)
		} else {
			a.patterns = append(a.patterns, s)
		}
	}
	a.unset = unset
	if a.settings, err = parseSettings(pairs, "argument"); err != nil {
		return a, err
	}
	for _, k := range unset {
		if _, both := a.settings[k]; both {
			return a, Usagef("%s is set and unset", k).WithHint("leave one of them out")
		}
		if k == "" || strings.Contains(k, "=") {
			return a, Usagef("--unset %q: is a key alone, e.g. --unset accept", k)
		}
	}
	return a, nil
}

func runSet(env *Env, cmd *cobra.Command, f *changeFlags, a setArgs) error {
	level, logs := a.settings["log-level"]
	onlyLog := logs && len(a.settings) == 1 && len(a.unset) == 0
	switch {
	case len(a.settings)+len(a.unset) == 0 && len(a.patterns) == 0:
		return Usagef("nothing to set is given").WithHint("e.g. goaoe set 1.0 queue-length=128; goaoe init --keys lists the keys of [[export]]")
	case len(a.settings)+len(a.unset) == 0 && !f.save:
		return Usagef("no KEY=VALUE is given for %s", strings.Join(a.patterns, ", ")).WithHint("e.g. goaoe set 1.0 queue-length=128")
	case len(a.patterns) == 0 && !onlyLog:
		return Usagef("it is not said which exports to change").WithHint("name them before KEY=VALUE, by address, name or pattern; all of them: '*'")
	}
	c := remote(env, &f.remoteFlags)
	defer c.Close()
	ctx, cancel := patience(cmd, f.wait)
	defer cancel()
	if onlyLog {
		if done, err := setLog(ctx, env, c, f, a.patterns, level); done || err != nil {
			return err
		}
	}
	list, err := selectExports(ctx, c, a.patterns)
	if err != nil {
		var e *ExitError
		if onlyLog && errors.As(err, &e) && strings.HasPrefix(e.Err.Error(), "no export ") {
			e.Err = errors.New("no export and no interface " + strings.TrimPrefix(e.Err.Error(), "no export "))
		}
		return err
	}
	changes := make([]control.Change, 0, len(list))
	for _, e := range list {
		changes = append(changes, control.Change{Op: control.OpSet, Address: e.Address, Settings: a.settings, Unset: a.unset, Revision: e.Revision, Force: f.force})
	}
	if len(list) == 0 {
		fmt.Fprintln(env.Stderr, "goaoe: there are no exports")
	}
	done := "changed"
	if len(a.settings)+len(a.unset) == 0 {
		done = "as it is now"
	}
	return sendChanges(ctx, env, c, f, changes, done, false)
}

// setLog changes the level of the daemon or of interfaces. done is false when the patterns mean exports, whose log-level is a
// setting like the others.
func setLog(ctx context.Context, env *Env, c *control.Client, f *changeFlags, patterns []string, level string) (done bool, err error) {
	subjects := []string{""}
	if len(patterns) > 0 {
		list, err := c.Interfaces(ctx)
		if err != nil {
			return false, remoteError(err)
		}
		if subjects = interfacesOf(patterns, list); len(subjects) == 0 {
			return false, nil
		}
	}
	if levels := levelNames(); level != "" && !slices.Contains(levels, level) {
		return false, Usagef("log-level %q is none of %s", level, strings.Join(levels, ", "))
	}
	if f.save {
		return false, Usagef("--save does not keep the log level of the daemon or an interface").
			WithHint("write level in [log], or log-level in [[interface]], of the configuration file, and goaoe reload")
	}
	reply := &control.ChangeReply{}
	for _, s := range subjects {
		r := control.Result{Address: s, Note: "log level " + level + " until the next reload"}
		if level == "" {
			r.Note = "log level as the files say"
		}
		if s == "" {
			r.Address = "daemon"
		}
		if !f.dryRun {
			if err := c.SetLog(ctx, &control.LogRequest{Level: level, Subject: s}); err != nil {
				r.Error = control.AsError(err)
			}
		}
		reply.Results = append(reply.Results, r)
	}
	if len(reply.Results) == 1 && reply.Results[0].Error != nil {
		return true, remoteError(reply.Results[0].Error)
	}
	return true, printResults(env, &f.remoteFlags, reply, unless(""))
}

// interfacesOf returns the interfaces that the patterns name; none unless each pattern names one.
func interfacesOf(patterns []string, list []control.Interface) []string {
	var out []string
	for _, p := range patterns {
		found := false
		for _, ifc := range list {
			if p != "*" && p != "all" && config.MatchName(p, ifc.Name) {
				found = true
				out = append(out, ifc.Name)
			}
		}
		if !found {
			return nil
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// levelNames are the levels of the log.
func levelNames() []string { return []string{"error", "warn", "info", "debug"} }
