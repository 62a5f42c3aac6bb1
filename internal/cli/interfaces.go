package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const interfacesLong = `List the network interfaces that the running daemon serves on, or waits for. MTU is what is used, LINK MTU what the interface has.
Below the table a line "waiting: ..." or "failed: ..." says why one is not served on.`

func newInterfacesCmd(env *Env) *cobra.Command {
	var f remoteFlags
	cmd := &cobra.Command{
		Use:     "interfaces",
		Short:   "List the interfaces that the daemon serves on",
		Long:    interfacesLong,
		Example: "  goaoe interfaces\n  goaoe interfaces --json",
		GroupID: groupControl,
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			list, err := c.Interfaces(ctx)
			switch {
			case err != nil:
				return remoteError(err)
			case f.json:
				return printJSON(env.Stdout, list)
			case len(list) == 0:
				fmt.Fprintln(env.Stderr, "goaoe: there are no interfaces, because there are no exports; goaoe add makes one")
				return nil
			}
			return printInterfaces(env.Stdout, list)
		},
	}
	f.register(cmd)
	return cmd
}

func printInterfaces(out io.Writer, list []control.Interface) error {
	w := newTable(out)
	fmt.Fprintln(w, "INTERFACE\tSTATE\tLINK\tMAC\tMTU\tLINK MTU\tEXPORTS")
	number := func(n int) string {
		if n == 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	for _, i := range list {
		link := "down"
		switch {
		case i.MAC == "":
			link = "-"
		case i.Up:
			link = "up"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", i.Name, i.State, link, orDash(i.MAC), number(i.MTU), number(i.LinkMTU), i.Exports)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, i := range list {
		if i.Why != "" && i.State != control.StateServing {
			fmt.Fprintf(out, "%s: %s\n", i.State, oneLine(i.Why))
		}
	}
	return nil
}
