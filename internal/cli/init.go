package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
)

const initLong = `Print a small configuration file with comments, for the exports that are named, or as a form to fill in.
The file is printed, not written:  goaoe init -i eth1 0.1=/dev/sda5 > /etc/goaoe/goaoe.toml`

func newInitCmd(env *Env) *cobra.Command {
	var interfaces []string
	var all, keys bool
	cmd := &cobra.Command{
		Use:     "init [-i INTERFACE,...] [SHELF.SLOT=SOURCE ...]",
		Short:   "Print a configuration file to begin with",
		Long:    initLong,
		GroupID: groupConfig,
		RunE: func(_ *cobra.Command, exports []string) error {
			if all || keys {
				if len(exports) > 0 || len(interfaces) > 0 || all && keys {
					return Usagef("--all and --keys stand alone: what they print has no place for exports or interfaces")
				}
				text := config.Reference()
				if keys {
					text = config.KeysHelp()
				}
				_, err := fmt.Fprint(env.Stdout, text)
				return err
			}
			if len(interfaces) == 0 {
				interfaces = []string{"eth1"}
			}
			cfg, problems := config.FromArgs(config.Args{Interfaces: interfaces, Exports: exports})
			if err := problems.Err(); err != nil {
				return &ExitError{Code: ExitUsage, Err: err}
			}
			_, err := fmt.Fprint(env.Stdout, config.Minimal(cfg, interfaces))
			return err
		},
	}
	cmd.Flags().StringSliceVarP(&interfaces, "interface", "i", nil, "interfaces to serve on, by name or glob (eth1)")
	cmd.Flags().BoolVar(&all, "all", false, "print the reference file with every setting")
	cmd.Flags().BoolVar(&keys, "keys", false, "print what the settings mean, as a list to read")
	return cmd
}
