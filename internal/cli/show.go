package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
)

const showLong = `Show everything about exports of the running daemon: how they are, who uses them, what initiators have set (config string, MAC mask,
reservation), and every setting in force with the place where it was written. A PATTERN is an address, a name, or a glob of these
such as '1.*'; without any all exports are shown.

--effective prints the configuration in force instead, as a file in which everything is said explicitly, changes at run time
included.`

func newShowCmd(env *Env) *cobra.Command {
	var f remoteFlags
	var effective bool
	cmd := &cobra.Command{
		Use:     "show [PATTERN...]",
		Short:   "Show everything about exports, or the configuration in force",
		Long:    showLong,
		Example: "  goaoe show 1.0\n  goaoe show '1.*' --json\n  goaoe show --effective > goaoe.toml",
		GroupID: groupControl,
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if effective && len(patterns) > 0 {
				return Usagef("--effective prints the whole configuration, not that of %s", strings.Join(patterns, ", ")).WithHint("leave one of them out")
			}
			c := remote(env, &f)
			defer c.Close()
			ctx, cancel := patience(cmd, 0)
			defer cancel()
			if effective {
				text, err := c.Config(ctx)
				if err != nil {
					return remoteError(err)
				}
				if f.json {
					return printJSON(env.Stdout, map[string]string{"toml": text})
				}
				_, err = fmt.Fprint(env.Stdout, text)
				return err
			}
			list, err := selectExports(ctx, c, patterns)
			switch {
			case err != nil:
				return err
			case f.json:
				return printJSON(env.Stdout, list)
			case len(list) == 0:
				fmt.Fprintln(env.Stderr, "goaoe: there are no exports; goaoe add makes one")
			}
			for i := range list {
				if i > 0 {
					fmt.Fprintln(env.Stdout)
				}
				if err := printExport(env.Stdout, &list[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&effective, "effective", false, "print the configuration in force (TOML)")
	return cmd
}

// printExport prints all that is known of an export.
func printExport(out io.Writer, e *control.Export) error {
	head := e.Address
	if e.Name != "" {
		head += " (" + dash(e.Name) + ")"
	}
	fmt.Fprintf(out, "%s: %s\n", head, stateText(e))
	for _, t := range troubles(e) {
		fmt.Fprintf(out, "  %s: %s\n", t.kind, oneLine(t.why))
	}
	w := newTable(out)
	line := func(name, value string) { fmt.Fprintf(w, "  %s\t%s\n", name, value) }
	line("source", sourceText(e))
	if e.Sectors > 0 {
		line("size", fmt.Sprintf("%s (%s sectors of 512 bytes)", humanize.IBytes(e.Sectors*512), humanize.Comma(int64(e.Sectors))))
	}
	if e.Serial != "" {
		line("serial", dash(e.Serial))
	}
	line("lane", strconv.Itoa(e.Lane))
	line("configured in", orDash(e.Origin))
	if e.Unsaved {
		line("unsaved", "the next start of the daemon does not know it as it is; goaoe set "+strings.TrimPrefix(e.Address, "e")+" --save keeps it")
	}
	line("revision", orDash(e.Revision))
	line("config string", configText(e.ConfigString))
	line("MAC mask", listText(e.Mask, "everybody is served"))
	line("reserved by", listText(e.Reserve, "nobody"))
	if len(e.Users) == 0 {
		line("initiators", "none within the last ten minutes")
	}
	for i, u := range e.Users {
		line([]string{"initiators", ""}[min(i, 1)], userLine(&u))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printSettings(out, e)
}

// stateText says how an export is, and where.
func stateText(e *control.Export) string {
	if len(e.Served) > 0 {
		return e.State + " on " + strings.Join(e.Served, ", ")
	}
	if e.State == control.StateDisabled && e.Why != "" {
		return e.State + ", " + e.Why
	}
	return e.State
}

func sourceText(e *control.Export) string {
	if e.Path != "" && e.Path != e.Source {
		return dash(e.Source) + " (" + dash(e.Path) + ")"
	}
	return dash(e.Source)
}

// configText shows a config string: printable ones in quotes.
func configText(s string) string {
	if s == "" {
		return "empty"
	}
	return strconv.Quote(s)
}

func listText(macs []string, none string) string {
	if len(macs) == 0 {
		return none
	}
	return strings.Join(macs, ", ")
}

// userLine says who an initiator is.
func userLine(u *control.User) string {
	text := u.MAC
	if u.Name != "" {
		text += " (" + dash(u.Name) + ")"
	}
	if u.Interface != "" {
		text += " on " + u.Interface
	}
	if !u.LastSeen.IsZero() {
		text += ", seen " + ago(u.LastSeen)
	}
	if u.Reserved {
		text += ", holds it reserved"
	}
	return text
}

// printSettings prints the settings in force, in the order of the reference file, with their origins.
func printSettings(out io.Writer, e *control.Export) error {
	w := newTable(out)
	fmt.Fprintln(w, "  settings")
	print := func(key string) {
		value, origin := e.Settings[key], e.Origins[key]
		if value == "" && origin == "" {
			return // nothing is set, and nothing was
		}
		if origin == "" {
			origin = "default"
		}
		fmt.Fprintf(w, "    %s\t%s\t%s\n", key, valueText(value), origin)
	}
	rest := maps.Clone(e.Settings)
	delete(rest, "source")
	for _, k := range config.ExportKeys() {
		if _, ok := rest[k.Name]; ok {
			print(k.Name)
			delete(rest, k.Name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(rest)) { // of a newer daemon
		print(key)
	}
	return w.Flush()
}

// addressRank is an address as a number that orders as addresses do.
func addressRank(address string) uint32 {
	a, err := aoe.ParseAddr(address)
	if err != nil {
		return 0
	}
	return a.Key()
}
