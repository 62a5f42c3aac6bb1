package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
)

const checkLong = `Read a configuration file and say everything that is wrong with it: the file itself (keys, values, addresses,
access lists) and, unless --syntax is given, how it fits this machine (sources, sizes, permissions, exports that
overlap, interfaces). Then show what would be exported. A ggaoed.conf or a qaoed.conf is told by what is in it, and checked as such.

FILE is ` + config.DefaultFile + ` when none is named.`

// checkResult is what goaoe check --json prints.
type checkResult struct {
	Format   int             `json:"format"` // of this object; grows when a field changes its meaning
	File     string          `json:"file"`
	Kind     foreign.Format  `json:"kind"` // of the file: native, ggaoed or qaoed
	OK       bool            `json:"ok"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Problems config.Problems `json:"problems"`
	Exports  []checkExport   `json:"exports"`
}

// checkExport is one export of the summary.
type checkExport struct {
	Address    string   `json:"address"`
	Source     string   `json:"source"`
	Size       int64    `json:"size"` // bytes; -1 when it is not known
	Interfaces []string `json:"interfaces"`
	Options    []string `json:"options"`
}

// checkFlags are the flags of the command.
type checkFlags struct {
	strict, json, syntax bool
	format               string
}

func newCheckCmd(env *Env) *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Say everything that is wrong with a configuration",
		Long:    checkLong,
		GroupID: groupConfig,
		Args:    args(cobra.MaximumNArgs(1), "at most one FILE"),
		RunE: func(_ *cobra.Command, list []string) error {
			file := config.DefaultFile
			if len(list) > 0 {
				file = list[0]
			}
			format, err := foreign.ParseFormat(f.format, foreign.Served)
			if err != nil {
				return Usagef("--format: %w", err)
			}
			return runCheck(env, file, format, f)
		},
	}
	cmd.Flags().BoolVar(&f.strict, "strict", false, "a warning is as bad as an error")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a JSON object")
	cmd.Flags().StringVar(&f.format, "format", "auto", formatHelp)
	cmd.Flags().BoolVar(&f.syntax, "syntax", false, "look at the file only, not at sources and interfaces")
	return cmd
}

// runCheck does the work of goaoe check.
func runCheck(env *Env, file string, format foreign.Format, f checkFlags) error {
	cfg, kind, problems := foreign.Load(file, format, config.Options{Sysroot: env.Sysroot})
	sizes := make([]int64, len(cfg.Exports))
	for i := range sizes {
		sizes[i] = -1
	}
	if !f.syntax {
		m := machine{sysroot: env.Sysroot}
		problems = append(problems, cfg.InItsWords(m.check(cfg, sizes))...)
	}
	problems = problems.Sorted()
	if f.strict {
		for i := range problems {
			problems[i].Severity = config.Error
		}
	}
	res := summarize(file, cfg, problems, sizes)
	res.Kind = kind
	if f.json {
		if err := printJSON(env.Stdout, res); err != nil {
			return err
		}
		if !res.OK {
			return Exit(ExitFailure)
		}
		return nil
	}
	if kind != foreign.Native {
		fmt.Fprintf(env.Stderr, "goaoe: %s is %s\n", file, kind.Describe())
	}
	return printCheck(env.Stdout, res)
}

// summarize makes the result.
func summarize(file string, cfg *config.Config, problems config.Problems, sizes []int64) checkResult {
	n := problems.Errors()
	res := checkResult{Format: 1, File: file, OK: n == 0, Errors: n, Warnings: len(problems) - n, Problems: problems, Exports: []checkExport{}}
	if res.Problems == nil {
		res.Problems = config.Problems{}
	}
	for i := range cfg.Exports {
		e := &cfg.Exports[i]
		res.Exports = append(res.Exports, checkExport{
			Address: e.Addr.String(), Source: e.Source, Size: sizes[i], Interfaces: e.Interfaces, Options: optionsOf(e),
		})
	}
	return res
}

// optionsOf says in words what is special about an export.
func optionsOf(e *config.Export) []string {
	out := []string{}
	add := func(yes bool, text string) {
		if yes {
			out = append(out, text)
		}
	}
	add(e.ReadOnly, "read-only")
	add(e.Direct, "direct-io")
	add(e.WriteCache, "write-cache")
	add(e.WriteCache && e.WriteNow != config.WriteNowAuto, "write-now="+string(e.WriteNow))
	add(e.Offset > 0, "offset="+config.FormatSize(e.Offset))
	add(e.Length > 0, "length="+config.FormatSize(e.Length))
	add(e.Discard, "discard")
	add(e.Smart, "smart")
	add(e.Access != nil, "access-list")
	add(e.ConfigRead != nil || e.ConfigSet != nil || e.Read != nil || e.Write != nil, "operation-lists")
	add(e.Force, "force")
	return out
}

// printCheck prints the result for people. Its error carries the exit status.
func printCheck(w io.Writer, res checkResult) error {
	for _, p := range res.Problems {
		fmt.Fprintln(w, p)
	}
	if len(res.Exports) > 0 && res.OK {
		if len(res.Problems) > 0 {
			fmt.Fprintln(w)
		}
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(tw, "ADDRESS\tSIZE\tINTERFACES\tSOURCE\tOPTIONS")
		for _, e := range res.Exports {
			size := "?"
			if e.Size >= 0 {
				size = config.FormatSize(e.Size)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", e.Address, size, strings.Join(e.Interfaces, ","), e.Source, orDash(strings.Join(e.Options, ",")))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if !res.OK {
		return Failf("%s: %s, %s", res.File, count(res.Errors, "error"), count(res.Warnings, "warning"))
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
