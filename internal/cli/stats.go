package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/cli/figures"
	"goaoe/internal/control"
)

const statsLong = `Shows what the daemon counted since it started, or since goaoe clear stats: requests, bytes, errors and refusals by kind, requests
without a reply by reason, and how long requests took (the part of them that was not slower: 50, 90, 99, 99.9 and 100 per cent).

A PATTERN is an export (its address or name), an interface, an initiator's address or name, or a glob of these; without any
everything is shown. Times are the upper bounds of buckets: the true value is at most a quarter below.`

func newStatsCmd(env *Env) *cobra.Command {
	var by []string
	var asJSON, histogram bool
	var socket string
	cmd := &cobra.Command{
		Use:     "stats [PATTERN...]",
		Short:   "Show counters and latencies since the start",
		Long:    statsLong,
		GroupID: groupWatch,
		Example: "  goaoe stats\n  goaoe stats e1.0 --histogram\n  goaoe stats 'eth*'\n  goaoe stats --by initiator e1.0     who uses it, and who is slow\n  goaoe stats --json | jq '.exports[].quantiles.read.\"p99_ns\"'",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			for _, k := range by {
				if !slices.Contains(figures.Kinds, k) {
					return Usagef("--by %s: is one of %s", k, strings.Join(figures.Kinds, ", "))
				}
			}
			if histogram && len(by) > 0 && !slices.Contains(by, figures.ByExport) {
				return Usagef("--histogram: only exports have latencies by request").WithHint("leave out --by")
			}
			if err := checkNames(patterns); err != nil {
				return err
			}
			c := watched(env, socket)
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
			defer cancel()
			s, err := c.Stats(ctx)
			if err != nil {
				return remoteError(err)
			}
			if unknown := figures.Filter(s, patterns); len(unknown) > 0 {
				all, err := c.Stats(ctx)
				if err != nil {
					return remoteError(err)
				}
				return unknownNames(unknown, all)
			}
			if asJSON {
				return figures.JSON(env.Stdout, s, kindsOf(by, s, true))
			}
			return figures.Print(env.Stdout, s, kindsOf(by, s, len(patterns) == 0), histogram)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&by, "by", nil, "what to show: "+strings.Join(figures.Kinds, ", ")+" (default: exports and interfaces)")
	f.BoolVar(&histogram, "histogram", false, "draw the distribution of latencies")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	watchSocket(f, &socket)
	return cmd
}

// kindsOf is what to show when --by says nothing: exports and interfaces, and initiators where a pattern means nothing else.
func kindsOf(by []string, s *control.Stats, all bool) []string {
	if len(by) > 0 {
		return by
	}
	if !all && len(s.Exports)+len(s.Interfaces) == 0 {
		return []string{figures.ByInitiator}
	}
	return []string{figures.ByExport, figures.ByInterface}
}
