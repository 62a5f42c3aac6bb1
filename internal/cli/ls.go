package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/internal/control"
)

const lsLong = `List the exports of the running daemon. A PATTERN is an address, a name, or a glob of these such as '1.*'.

INITIATORS are those that used the export within the last ten minutes, or hold it reserved. FLAGS are ro (read-only), wc (write
cache), direct, discard, acl (an access list says who is served), mask (an initiator set a MAC mask), reserved, and unsaved: the
next start of the daemon does not know the export, or a change of it.

Below the table a line "waiting: ..." or "failed: ..." says why something is not served, or not everywhere.`

// sortKeys are what goaoe ls sorts by.
var sortKeys = map[string]func(a, b *control.Export) int{
	"address":    func(a, b *control.Export) int { return cmp.Compare(addressRank(a.Address), addressRank(b.Address)) },
	"name":       func(a, b *control.Export) int { return cmp.Compare(a.Name, b.Name) },
	"state":      func(a, b *control.Export) int { return cmp.Compare(a.State, b.State) },
	"size":       func(a, b *control.Export) int { return cmp.Compare(b.Sectors, a.Sectors) },
	"source":     func(a, b *control.Export) int { return cmp.Compare(a.Source, b.Source) },
	"initiators": func(a, b *control.Export) int { return cmp.Compare(len(b.Users), len(a.Users)) },
}

func newLsCmd(env *Env) *cobra.Command {
	var f remoteFlags
	var output, sortBy string
	var quiet, reverse bool
	cmd := &cobra.Command{
		Use:     "ls [PATTERN...]",
		Aliases: []string{"list"},
		Short:   "List the exports of the running daemon",
		Long:    lsLong,
		Example: "  goaoe ls\n  goaoe ls '1.*' -o wide --sort size\n  goaoe ls --json | jq -r '.[] | select(.state != \"serving\") | .address'",
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			compare, ok := sortKeys[sortBy]
			switch {
			case !ok:
				return Usagef("--sort %q: is one of %s", sortBy, strings.Join(sortNames(), ", "))
			case output != "table" && output != "wide" && output != "json":
				return Usagef("--output %q: is table, wide or json", output)
			case quiet && (f.json || output != "table"):
				return Usagef("--quiet prints addresses alone, not %s", map[bool]string{true: "JSON", false: "a table"}[f.json || output == "json"]).WithHint("leave one of them out")
			}
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			list, err := selectExports(ctx, c, patterns)
			if err != nil {
				return err
			}
			slices.SortStableFunc(list, func(a, b control.Export) int { return compare(&a, &b) })
			if reverse {
				slices.Reverse(list)
			}
			switch {
			case f.json || output == "json":
				return printJSON(env.Stdout, list)
			case quiet:
				for _, e := range list {
					fmt.Fprintln(env.Stdout, e.Address)
				}
				return nil
			case len(list) == 0:
				fmt.Fprintln(env.Stderr, "goaoe: there are no exports; goaoe add makes one")
				return nil
			}
			return printExports(env.Stdout, list, output == "wide")
		},
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVarP(&output, "output", "o", "table", "table, wide or json")
	fs.StringVar(&sortBy, "sort", "address", "what to sort by: "+strings.Join(sortNames(), ", "))
	fs.BoolVarP(&reverse, "reverse", "r", false, "sort the other way round")
	fs.BoolVarP(&quiet, "quiet", "q", false, "print addresses alone, one per line")
	_ = cmd.RegisterFlagCompletionFunc("output", completeWords("table", "wide", "json"))
	_ = cmd.RegisterFlagCompletionFunc("sort", completeWords(sortNames()...))
	return cmd
}

// sortNames are the keys of sortKeys, in the order of the columns.
func sortNames() []string {
	return []string{"address", "name", "state", "size", "source", "initiators"}
}

// printExports prints the table, and below it what is not as it should be.
func printExports(out io.Writer, list []control.Export, wide bool) error {
	named := wide || slices.ContainsFunc(list, func(e control.Export) bool { return e.Name != "" })
	w := newTable(out)
	row := func(address, name string, rest ...string) {
		cells := []string{address}
		if named {
			cells = append(cells, name)
		}
		fmt.Fprintln(w, strings.Join(append(cells, rest...), "\t"))
	}
	head := []string{"STATE", "SIZE", "SOURCE", "INTERFACES", "INITIATORS", "FLAGS"}
	if wide {
		head = append(head, "QUEUE", "LANE", "SERIAL", "CONFIGURED")
	}
	row("ADDRESS", "NAME", head...)
	for i := range list {
		e := &list[i]
		size := "-"
		if e.Sectors > 0 {
			size = humanize.IBytes(e.Sectors * 512)
		}
		cells := []string{e.State, size, dash(e.Source), orDash(strings.Join(e.Served, ",")), usersText(e.Users, wide), orDash(strings.Join(exportMarks(e), ","))}
		if wide {
			cells = append(cells, orDash(e.Settings["queue-length"]), fmt.Sprint(e.Lane), dash(e.Serial), orDash(e.Origin))
		}
		row(e.Address, dash(e.Name), cells...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printTroubles(out, list)
}

// usersText names the initiators of an export, all of them or as many as fit a table.
func usersText(users []control.User, all bool) string {
	if n := len(users); n > 2 && !all {
		return count(n, "initiator")
	}
	var names []string
	for _, u := range users {
		if u.Name != "" {
			names = append(names, dash(u.Name))
		} else {
			names = append(names, u.MAC)
		}
	}
	return orDash(strings.Join(names, ","))
}

// exportMarks says in short what is special about an export.
func exportMarks(e *control.Export) []string {
	var out []string
	add := func(yes bool, text string) {
		if yes {
			out = append(out, text)
		}
	}
	on := func(key string) bool { return e.Settings[key] == "true" }
	add(on("read-only"), "ro")
	add(on("write-cache"), "wc")
	add(on("direct-io"), "direct")
	add(on("discard"), "discard")
	add(e.Settings["accept"] != "", "acl")
	add(limited(e), "limits")
	add(len(e.Mask) > 0, "mask")
	add(len(e.Reserve) > 0, "reserved")
	add(e.Unsaved, "unsaved")
	return out
}

// limited tells whether an export limits what its initiators get.
func limited(e *control.Export) bool {
	for _, key := range []string{"initiator-iops", "initiator-bandwidth", "initiator-limits"} {
		if v := e.Settings[key]; v != "" && v != "0" {
			return true
		}
	}
	return false
}

// troubleNames is how many exports a line of printTroubles names.
const troubleNames = 4

// printTroubles prints a line for each reason why exports are not served, or not everywhere: "waiting: e1.0, e1.1: WHY".
func printTroubles(out io.Writer, list []control.Export) error {
	var order []string
	who := map[string][]string{}
	add := func(kind, why, address string) {
		key := kind + "\x00" + why
		if who[key] == nil {
			order = append(order, key)
		}
		if !slices.Contains(who[key], address) {
			who[key] = append(who[key], address)
		}
	}
	for i := range list {
		for _, t := range troubles(&list[i]) {
			add(t.kind, t.why, list[i].Address)
		}
	}
	for _, key := range order {
		kind, why, _ := strings.Cut(key, "\x00")
		names := who[key]
		text := strings.Join(names[:min(len(names), troubleNames)], ", ")
		if more := len(names) - troubleNames; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		if _, err := fmt.Fprintf(out, "%s: %s: %s\n", kind, text, oneLine(why)); err != nil {
			return err
		}
	}
	return nil
}

// trouble is why an export is not served, or not everywhere.
type trouble struct{ kind, why string }

func troubles(e *control.Export) (out []trouble) {
	whole := e.Why != "" && e.Why != strings.Join(e.Waiting, "; ") // the reason is not only that of its interfaces
	switch {
	case e.State == control.StateFailed:
		out = append(out, trouble{"failed", e.Why})
	case e.State == control.StateWaiting && whole:
		out = append(out, trouble{"waiting", e.Why})
	}
	if e.State == control.StateDisabled {
		return out
	}
	for _, why := range e.Waiting {
		out = append(out, trouble{"waiting", why})
	}
	return out
}

// ago says how long ago something was, as people say it.
func ago(t time.Time) string {
	d := time.Since(t).Round(time.Second)
	switch {
	case t.IsZero():
		return "never"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return humanize.Time(t)
}
