package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

const configCmdLong = `Read and set the config strings of targets on the network, of any make. A config string is up to 1024 bytes of any value that a target
keeps for its initiators: often the mark of who owns the disk.

The commands ask over the wire, as an initiator. An export of the daemon on this machine is not heard there; its string is shown by
goaoe show, and emptied by goaoe clear config. goaoe check is about the configuration file.`

// configRow is what the commands print as JSON.
type configRow struct {
	Address   string `json:"address"`
	Interface string `json:"interface"`
	MAC       string `json:"mac"`
	Config    string `json:"config"`               // bytes that are no text as \x00
	Hex       string `json:"config_hex,omitempty"` // when the string is no text
	Cut       bool   `json:"cut,omitempty"`        // the target says that it is longer than what arrived
	Matched   *bool  `json:"matched,omitempty"`    // of test and prefix
}

func newConfigRow(r initiator.ConfigReply) configRow {
	c := configRow{Address: r.Addr.String(), Interface: r.Interface, MAC: r.MAC.String(), Cut: r.Cut}
	c.Config, c.Hex = stringOrHex(r.Config)
	return c
}

func newConfigCmd(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Read and set config strings of targets",
		Long:    configCmdLong,
		Example: "  goaoe config get\n  goaoe config set e0.1 \"node1 web data\"\n  goaoe config test e0.1 \"node1 web data\" && echo it is ours",
		GroupID: groupWire,
		RunE:    needsVerb("goaoe config get|set|force|test|prefix|clear"),
	}
	cmd.AddCommand(newConfigGetCmd(env))
	for _, w := range []struct {
		name, short, long, example string
		op                         uint8
	}{
		{"set", "Set the config string of a target that has none",
			"Set the config string. A target that has another string already refuses (exit status 12): of several machines that set theirs at the same time exactly one\nwins. Setting the string that is there succeeds.",
			"  goaoe config set e0.1 \"node1 web data\"\n  goaoe config set e0.1 --from label.bin", aoe.ConfigSetOp},
		{"force", "Set the config string of a target, whatever it has",
			"Set the config string, whatever the target has now: another machine's mark of ownership, too.",
			"  goaoe config force e0.1 \"node2 web data\"", aoe.ConfigForceSet},
		{"test", "Test whether a target has a config string",
			"Ask whether the config string is exactly STRING. The exit status is 0 if it is and 1 if it is not.",
			"  goaoe config test e0.1 \"node1 web data\" && echo it is ours", aoe.ConfigTest},
		{"prefix", "Test how the config string of a target begins",
			"Ask whether the config string begins with STRING. The exit status is 0 if it does and 1 if it does not. Every string begins with the\nempty one.",
			"  goaoe config prefix e0.1 node1", aoe.ConfigPrefix},
	} {
		cmd.AddCommand(newConfigOpCmd(env, w.name, w.short, w.long, w.example, w.op))
	}
	cmd.AddCommand(newConfigClearCmd(env))
	return cmd
}

// needsVerb is the command itself when no subcommand was named.
func needsVerb(hint string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, list []string) error {
		if len(list) == 0 {
			return Usagef("it is not said what to do").WithHint(hint)
		}
		return Usagef("there is no %s %s", cmd.CommandPath(), list[0]).WithHint(hint)
	}
}

func newConfigGetCmd(env *Env) *cobra.Command {
	var f wireFlags
	var raw bool
	cmd := &cobra.Command{
		Use:   "get [ADDRESS...]",
		Short: "Print config strings of targets",
		Long: `Print the config strings of the targets with these addresses, or of all that answer. For one address the string alone is printed, else a table.
Bytes that are no printable text are shown as \x00, and a backslash as \\; with --raw the string of one target is written as it is.` + "\n" + wireExit,
		Example: "  goaoe config get\n  goaoe config get e0.1\n  goaoe config get '0.*' --json\n  goaoe config get e0.1 --raw > label.bin",
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, true)
			one := len(addrs) == 1 && !addrs[0].Wild()
			if raw && (!one || f.json) {
				return Usagef("--raw is for one address, and without --json")
			}
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			if addrs, err = f.expand(ctx, addrs); err != nil {
				return wireError(err)
			}
			rows := []configRow{}
			var bytes []byte
			err = f.each(env, addrs, func(a aoe.Addr) error {
				s, err := f.one(ctx, a)
				if err != nil {
					return err
				}
				defer func() { _ = s.Close() }() // nothing is under way
				r, err := s.Config(ctx, aoe.ConfigRead, nil)
				if err != nil {
					return err
				}
				bytes = r.Config
				rows = append(rows, newConfigRow(r))
				return nil
			})
			return printAnd(err, func() error {
				switch {
				case f.json:
					return printJSON(env.Stdout, rows)
				case raw && len(rows) == 1:
					_, err := env.Stdout.Write(bytes)
					return err
				case one && len(rows) == 1:
					_, err := fmt.Fprintln(env.Stdout, printable(bytes))
					return err
				case len(rows) == 0:
					return nil
				}
				w := newTable(env.Stdout)
				fmt.Fprintln(w, "ADDRESS\tINTERFACE\tMAC\tCONFIG")
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Address, r.Interface, r.MAC, dash(r.Config))
				}
				return w.Flush()
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes of the string and nothing else")
	return cmd
}

// printAnd prints what was found and returns the error of what was not.
func printAnd(err error, show func() error) error {
	if e := show(); e != nil {
		return e
	}
	return err
}

// newConfigOpCmd makes one of set, force, test and prefix.
func newConfigOpCmd(env *Env, name, short, long, example string, op uint8) *cobra.Command {
	var f wireFlags
	var from string
	cmd := &cobra.Command{
		Use:     name + " ADDRESS STRING",
		Short:   short,
		Long:    long + "\n" + wireExit,
		Example: example,
		RunE: func(cmd *cobra.Command, list []string) error {
			str, rest, err := configString(env, list, from)
			if err != nil {
				return err
			}
			addrs, err := f.read(rest, false)
			if err != nil {
				return err
			}
			return runConfigOp(cmd, env, &f, addrs[0], op, str)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&from, "from", "", "read the string from this file, byte for byte; - is standard input")
	_ = cmd.RegisterFlagCompletionFunc("from", completeFiles) // the flag exists
	return cmd
}

func newConfigClearCmd(env *Env) *cobra.Command {
	var f wireFlags
	cmd := &cobra.Command{
		Use:   "clear ADDRESS",
		Short: "Empty the config string of a target",
		Long: `Empty the config string, whatever the target has now: the same as goaoe config force ADDRESS "". This asks over the wire, as an initiator; goaoe clear
config asks the daemon on this machine.` + "\n" + wireExit,
		Example: "  goaoe config clear e0.1",
		Args:    args(cobra.ExactArgs(1), "one ADDRESS"),
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, false)
			if err != nil {
				return err
			}
			return runConfigOp(cmd, env, &f, addrs[0], aoe.ConfigForceSet, nil)
		},
	}
	f.register(cmd)
	return cmd
}

// configString returns the string that a command is about and the other arguments.
func configString(env *Env, list []string, from string) ([]byte, []string, error) {
	var str []byte
	if from == "" {
		if len(list) != 2 {
			return nil, nil, Usagef("ADDRESS and STRING are needed, not %d arguments", len(list)).WithHint(`a string with blanks needs quotes: "..."`)
		}
		str, list = []byte(list[1]), list[:1]
	} else {
		if len(list) != 1 {
			return nil, nil, Usagef("with --from ADDRESS is needed and nothing else, not %d arguments", len(list))
		}
		in := env.Stdin
		if from != "-" {
			file, err := os.Open(from)
			if err != nil {
				return nil, nil, Failf("%w", err)
			}
			defer func() { _ = file.Close() }() // it was only read
			in = file
		}
		var err error
		if str, err = io.ReadAll(io.LimitReader(in, aoe.MaxConfig+1)); err != nil {
			return nil, nil, Failf("--from %s: %w", from, err)
		}
	}
	if len(str) > aoe.MaxConfig {
		return nil, nil, Usagef("the string is longer than the %d bytes that a config string may have", aoe.MaxConfig)
	}
	return str, list, nil
}

func runConfigOp(cmd *cobra.Command, env *Env, f *wireFlags, a aoe.Addr, op uint8, str []byte) error {
	return f.with(cmd, a, func(ctx context.Context, s *initiator.Session) error { return configOp(ctx, env, f, s, op, str) })
}

func configOp(ctx context.Context, env *Env, f *wireFlags, s *initiator.Session, op uint8, str []byte) error {
	r, err := s.Config(ctx, op, str)
	if e := wireError(err); e != nil {
		if r.Refused == aoe.ConfigSet {
			return (&ExitError{Code: ExitConflict, Err: fmt.Errorf("%v has the config string \"%s\"", r.Addr, printable(r.Config))}).WithHint("goaoe config force replaces it")
		}
		return e
	}
	test := op == aoe.ConfigTest || op == aoe.ConfigPrefix
	if f.json {
		row := newConfigRow(r)
		if test {
			row.Matched = &r.Matched
		}
		if err := printJSON(env.Stdout, row); err != nil {
			return err
		}
	} else {
		says := map[bool]string{true: "has the config string", false: "has another config string:"}[r.Matched]
		if op == aoe.ConfigPrefix && r.Matched {
			says = "has a config string that begins so:"
		}
		if _, err := fmt.Fprintf(env.Stdout, "%v %s \"%s\"\n", r.Addr, says, printable(r.Config)); err != nil {
			return err
		}
	}
	if !r.Matched {
		return Exit(ExitFailure)
	}
	return nil
}
