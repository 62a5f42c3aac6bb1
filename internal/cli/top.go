package cli

import (
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"goaoe/internal/cli/top"
)

const topLong = `Shows live, on the whole terminal, what exports, initiators, interfaces and lanes do: rates, latencies, queues, errors, and for each a
line of its throughput over the last minute. Tables are sorted by any column and filtered by name; enter shows one export with its
users, what went wrong and the distribution of its latencies. Keys are shown at the bottom, ? shows all of them.

A NAME is an export (its address or name), an interface, an initiator, or a glob of these; without any all are shown. A terminal that
is not set to UTF-8 gets plain characters; NO_COLOR switches colours off, and nothing is said by colour alone.`

func newTopCmd(env *Env) *cobra.Command {
	var interval, socket string
	var ascii bool
	cmd := &cobra.Command{
		Use:     "top [NAME...]",
		Short:   "Show live what exports, initiators and interfaces do",
		Long:    topLong,
		GroupID: groupWatch,
		Example: "  goaoe top\n  goaoe top 'e1.*' -n 5",
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := checkNames(names); err != nil {
				return err
			}
			every, ok := seconds(interval)
			if !ok || every < top.Steps[0] || every > top.Steps[len(top.Steps)-1] {
				return Usagef("-n %s: must be from 0.2 to 60 seconds", interval)
			}
			if _, _, tty := terminal(env.Stdout); !tty || !term.IsTerminal(os.Stdin.Fd()) {
				return Usagef("goaoe top needs a terminal").WithHint("goaoe monitor prints the same to a file or pipe, again and again")
			}
			c := watched(env, socket)
			defer c.Close()
			ctx, stop := endless(cmd.Context())
			defer stop()
			if _, err := c.Stats(ctx); err != nil { // before the screen is taken
				return remoteError(err)
			}
			return top.Run(ctx, c, top.Options{Interval: every.Round(time.Millisecond), Names: names, ASCII: ascii || !top.UTF8()})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&interval, "interval", "n", "1", "seconds between two looks")
	f.BoolVar(&ascii, "ascii", false, "use plain characters only")
	watchSocket(f, &socket)
	return cmd
}
