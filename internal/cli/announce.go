package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/internal/control"
)

const announceLong = `Announce exports at once on all the interfaces that serve them, as the daemon does when they come up. Initiators that missed an
announcement find them so, without asking. Without a PATTERN all exports are announced.`

func newAnnounceCmd(env *Env) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:     "announce [PATTERN...]",
		Short:   "Announce exports to the initiators",
		Long:    announceLong,
		Example: "  goaoe announce\n  goaoe announce '1.*'",
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			var addrs []aoe.Addr
			if len(patterns) > 0 {
				list, err := selectServed(ctx, c, patterns)
				if err != nil {
					return err
				}
				for _, e := range list {
					a, err := aoe.ParseAddr(e.Address)
					if err != nil {
						return Failf("the daemon calls an export %q: %v", e.Address, err)
					}
					addrs = append(addrs, a)
				}
			}
			reply := &control.ChangeReply{Results: []control.Result{}}
			if len(patterns) == 0 || len(addrs) > 0 { // '*' of no exports is not everything
				var err error
				if reply, err = c.Announce(ctx, addrs); err != nil {
					return remoteError(err)
				}
			}
			if len(reply.Results) == 0 {
				fmt.Fprintln(env.Stderr, "goaoe: there are no exports to announce")
			}
			return printResults(env, &f, reply, unless("announced"))
		},
	}
	f.register(cmd)
	return cmd
}
