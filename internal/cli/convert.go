package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
)

// formatHelp is the help of --format of the commands that read a configuration.
const formatHelp = "what the file is: native, ggaoed or qaoed; auto tells it by its content"

const convertLong = `Write the native configuration for that of another target: a ggaoed.conf, a qaoed.conf, a file of /etc/vblade.conf.d or that whole
directory, or the directory of vblade-persist (/var/lib/vblade-persist/vblades). The result means the same; comments move along.

What has no equivalent in goaoe is named on stderr with what to use instead, and kept as a comment. On an error nothing is
written. The native file goes to stdout, or to OUT, which must not exist yet unless --force is given.`

const convertExample = `  goaoe convert /etc/ggaoed.conf -o /etc/goaoe/goaoe.toml
  goaoe convert /etc/vblade.conf.d > vblade.toml`

// convertFlags are the flags of the command.
type convertFlags struct {
	from, out string
	force     bool
}

func newConvertCmd(env *Env) *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:     "convert [--from FORMAT] [-o OUT] FILE|DIR",
		Short:   "Make a native configuration of that of ggaoed, qaoed or vblade",
		Long:    convertLong,
		Example: convertExample,
		GroupID: groupConfig,
		Args:    args(cobra.ExactArgs(1), "one FILE or DIR"),
		RunE:    func(_ *cobra.Command, list []string) error { return runConvert(env, list[0], f) },
	}
	cmd.Flags().StringVar(&f.from, "from", "auto", "what it is: ggaoed, qaoed, vblade or vblade-persist; auto tells it by its content")
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "write to this file")
	cmd.Flags().BoolVar(&f.force, "force", false, "overwrite OUT")
	return cmd
}

// runConvert does the work of goaoe convert.
func runConvert(env *Env, path string, f convertFlags) error {
	format, err := foreign.ParseFormat(f.from, foreign.Converted)
	if err != nil {
		return Usagef("--from: %w", err)
	}
	if f.out == "" && f.force {
		return Usagef("--force has no effect without -o").WithHint("name the file to overwrite")
	}
	c, err := foreign.Convert(path, format, env.Sysroot)
	if err != nil {
		return Failf("%w", err)
	}
	for _, p := range c.Problems {
		fmt.Fprintf(env.Stderr, "goaoe: %s\n", oneLine(p.String()))
	}
	if n := c.Problems.Errors(); n > 0 {
		return Failf("%s: %s: nothing was written", path, count(n, "error")).WithHint("mend the file, read as " + c.Format.Describe() + "; --from reads it as something else")
	}
	if f.out == "" || f.out == "-" {
		_, err := fmt.Fprint(env.Stdout, c.TOML)
		return err
	}
	if err := writeNew(f.out, c.TOML, f.force); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "goaoe: wrote %s: %s, %s; look at it, then: goaoe check %s\n", f.out, count(len(c.Config.Exports)+len(c.Config.Disabled), "export"),
		count(len(c.Problems), "warning"), f.out)
	return nil
}

// sayFormat tells the user that a file is taken for that of another target. A file that cannot be read is left to who reads it next.
func sayFormat(env *Env, file string, format foreign.Format) {
	files, ps := config.ReadFiles(file)
	if ps.Err() != nil {
		return
	}
	if format = foreign.Of(files.Main.Data, format); format != foreign.Native {
		fmt.Fprintf(env.Stderr, "goaoe: %s is %s\n", file, format.Describe())
	}
}
