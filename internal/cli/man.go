package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"goaoe/internal/cli/roff"
	"goaoe/internal/config"
)

const manLong = `Write the manual pages into folders man1, man5 and man7 below DIR, as they lie in /usr/share/man: a page for each command,
goaoe.toml(5) for the configuration file, and goaoe(7) for the concepts, files and symptoms. They are made from the commands'
own help and from the table of settings. The date in them is that of $SOURCE_DATE_EPOCH where it is set, else the day of the build.`

func newManCmd(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages",
		Long:    manLong,
		Example: "  goaoe man /usr/local/share/man",
		GroupID: groupTools,
		Hidden:  true, // for those who build packages
		Args:    args(cobra.ExactArgs(1), "one DIR"),
		RunE: func(cmd *cobra.Command, list []string) error {
			date, err := manDate()
			if err != nil {
				return err
			}
			m := manual{date: date, source: "goaoe " + Version}
			for name, text := range m.pages(cmd.Root()) {
				file := filepath.Join(list[0], "man"+filepath.Ext(name)[1:], name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					return Failf("%w", err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					return Failf("%w", err)
				}
			}
			_, err = fmt.Fprintf(env.Stdout, "%s\n", list[0])
			return err
		},
	}
}

// manDate returns the date for the pages, like "2026-11-23".
func manDate() (string, error) {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return "", Failf("SOURCE_DATE_EPOCH is %q", s).WithHint("it is a number of seconds since 1970, e.g. that of git log -1 --format=%ct")
		}
		return time.Unix(n, 0).UTC().Format(time.DateOnly), nil
	}
	if t, err := time.Parse(time.RFC3339, readVersion().Time); err == nil {
		return t.UTC().Format(time.DateOnly), nil
	}
	return time.Now().UTC().Format(time.DateOnly), nil
}

// manual makes manual pages.
type manual struct {
	date   string
	source string // program and version
}

// Names of pages that are not about a command.
const (
	manFile     = "goaoe.toml(5)"
	manConcepts = "goaoe(7)"
)

// pages returns all pages by their file name.
func (m manual) pages(root *cobra.Command) map[string]string {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	out := map[string]string{"goaoe.toml.5": m.filePage(), "goaoe.7": m.conceptsPage()}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		out[pageName(c)+".1"] = m.commandPage(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return out
}

// pageName returns the name of a command's page without the section: "goaoe-serve".
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// commandPage makes the page of a command.
func (m manual) commandPage(c *cobra.Command) string {
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	p := roff.New(pageName(c), 1, m.date, m.source, "goaoe manual")
	p.Name(pageName(c), lowerFirst(c.Short))

	p.Section("SYNOPSIS")
	if c.Runnable() && c.HasParent() {
		_, rest, _ := strings.Cut(c.Use, " ")
		p.Usage(c.CommandPath(), rest)
	}
	if c.HasAvailableSubCommands() {
		p.Usage(c.CommandPath(), "COMMAND [ARGUMENTS ...]")
	}

	p.Section("DESCRIPTION")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p.Text(long, true)
	if len(c.Aliases) > 0 {
		p.Text("It may also be called "+strings.Join(c.Aliases, ", ")+".", false)
	}
	commandList(p, c)
	options(p, c)
	exitStatus(p)
	if c.Example != "" {
		p.Section("EXAMPLES")
		p.Example(c.Example)
	}
	p.SeeAlso(related(c))
	return p.String()
}

// commandList writes the subcommands, by their groups where there are groups.
func commandList(p *roff.Page, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	p.Section("COMMANDS")
	for _, group := range append(c.Groups(), &cobra.Group{}) {
		first := true
		for _, sub := range c.Commands() {
			if sub.GroupID != group.ID || sub.Hidden {
				continue
			}
			if first && group.Title != "" {
				p.Subsection(strings.TrimSuffix(group.Title, ":"))
			}
			first = false
			p.Item(roff.Bold(pageName(sub))+"(1)", sub.Short+".")
		}
	}
}

// metavariables name what flags take, where the type says too little.
var metavariables = map[string]string{
	"accept": "MAC,...", "buffers": "N", "config": "FILE", "export": "ADDRESS", "file": "FILE", "initiator": "MAC", "initiator-bandwidth": "SIZE", "initiator-iops": "N", "initiator-limits": "ROW,...", "interface": "IF,...",
	"io-engine": "ENGINE", "lanes": "N", "length": "SECTORS", "log-format": "FORMAT", "log-level": "LEVEL", "log-target": "TARGET", "mac": "MAC,...", "model": "TEXT",
	"offset": "SECTORS", "pcap": "FILE", "queue-length": "N", "serial": "TEXT", "shelf": "N", "slot": "N", "socket": "PATH", "state-dir": "DIR",
}

// options writes the flags of a command, its own and those it has from its parents.
func options(p *roff.Page, c *cobra.Command) {
	p.Section("OPTIONS")
	write := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		meta, usage := pflag.UnquoteUsage(f)
		if m, ok := metavariables[f.Name]; ok && meta != "" {
			meta = m
		}
		term := roff.Bold("--" + f.Name)
		if f.Shorthand != "" && f.ShorthandDeprecated == "" {
			term = roff.Bold("-"+f.Shorthand) + ", " + term
		}
		if meta != "" && f.NoOptDefVal != "" {
			term += "[=" + roff.Italic(meta) + "]"
		} else if meta != "" {
			term += " " + roff.Italic(strings.ToUpper(meta))
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			if !strings.Contains(usage, "(default") {
				usage += " (default " + f.DefValue + ")"
			}
		}
		p.Item(term, usage)
	}
	c.NonInheritedFlags().VisitAll(write)
	c.InheritedFlags().VisitAll(write)
}

// exitStatus writes the section from the text that the help has.
func exitStatus(p *roff.Page) {
	p.Section("EXIT STATUS")
	for _, l := range strings.Split(exitHelp, "\n") {
		if code, text, ok := strings.Cut(strings.TrimSpace(l), "  "); ok {
			p.Item(roff.Bold(code), strings.TrimSpace(text))
		}
	}
}

// related returns the references of a command's page: its parent, its subcommands or its neighbours in the group, and the pages
// about everything.
func related(c *cobra.Command) []string {
	var refs []string
	add := func(c *cobra.Command) { refs = append(refs, pageName(c)+"(1)") }
	if c.HasParent() {
		add(c.Parent())
		for _, n := range c.Parent().Commands() {
			if n != c && n.GroupID == c.GroupID && !n.Hidden {
				add(n)
			}
		}
	} else {
		for _, n := range c.Commands() {
			if !n.Hidden {
				add(n)
			}
		}
	}
	return append(refs, manFile, manConcepts)
}

// lowerFirst makes a short help the second half of the section NAME.
func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// keyTerm returns a setting's name and what may be written, as a term of the page.
func keyTerm(k config.Key) string {
	name := k.Name
	if name == "*" {
		return roff.Italic("NAME") + " = " + roff.Italic(k.Type.String())
	}
	if k.Type == config.TypeEnum {
		return roff.Bold(name) + " = " + roff.Italic("text")
	}
	return roff.Bold(name) + " = " + roff.Italic(k.Type.String())
}
