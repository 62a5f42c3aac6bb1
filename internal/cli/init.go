package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"goaoe/internal/config"
)

const initLong = `Make a small configuration file with comments.

On a terminal and without arguments goaoe init asks for interface, device, address and who may use it, and offers to write the
file. Otherwise it prints a file for the exports that are named, or a form to fill in; -o writes it:
  goaoe init -i eth1 0.1=/dev/sda5 -o /etc/goaoe/goaoe.toml`

// initFlags are the flags of goaoe init.
type initFlags struct {
	interfaces, accept []string
	out                string
	force, ask         bool
	all, keys          bool
}

func newInitCmd(env *Env) *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init [-i INTERFACE,...] [SHELF.SLOT=SOURCE ...]",
		Short: "Make a configuration file to begin with",
		Long:  initLong,
		Example: `  goaoe init                                            asks
  goaoe init -i eth1 0.1=/dev/sda5                      prints
  goaoe init -i eth1 0.1=/dev/sda5 -o lab.toml          writes
  goaoe init --all                                      every setting there is`,
		GroupID: groupConfig,
		RunE:    func(_ *cobra.Command, exports []string) error { return runInit(env, &f, exports) },
	}
	fl := cmd.Flags()
	fl.StringSliceVarP(&f.interfaces, "interface", "i", nil, "interfaces to serve on, by name or glob (eth1)")
	fl.StringSliceVar(&f.accept, "accept", nil, "initiators (Ethernet addresses) that are served; others are not")
	fl.StringVarP(&f.out, "output", "o", "", "write to this file; it must not exist")
	fl.BoolVar(&f.force, "force", false, "replace the file of -o")
	fl.BoolVar(&f.ask, "ask", false, "ask also where stdin is no terminal")
	fl.BoolVar(&f.all, "all", false, "print the reference file with every setting")
	fl.BoolVar(&f.keys, "keys", false, "print what the settings mean, as a list to read")
	return cmd
}

func runInit(env *Env, f *initFlags, exports []string) error {
	if f.all || f.keys {
		if len(exports) > 0 || len(f.interfaces) > 0 || len(f.accept) > 0 || f.ask || f.all && f.keys {
			return Usagef("--all and --keys stand alone: what they print has no place for exports or interfaces")
		}
		text := config.Reference()
		if f.keys {
			text = config.KeysHelp()
		}
		return f.deliver(env, text)
	}
	if f.force && f.out == "" {
		return Usagef("--force is for -o FILE")
	}
	if nothing := len(exports) == 0 && len(f.interfaces) == 0 && len(f.accept) == 0; f.ask || nothing && f.out == "" && env.interactive() {
		if !nothing {
			return Usagef("--ask asks for what the arguments say already").WithHint("leave one of them out")
		}
		return askInit(env, f)
	}
	if len(f.interfaces) == 0 {
		f.interfaces = []string{"eth1"}
	}
	text, err := initText(f.interfaces, exports, f.accept)
	if err != nil {
		return &ExitError{Code: ExitUsage, Err: err}
	}
	return f.deliver(env, text)
}

// initText makes the file.
func initText(interfaces, exports, accept []string) (string, error) {
	cfg, problems := config.FromArgs(config.Args{Interfaces: interfaces, Exports: exports})
	if err := problems.Err(); err != nil {
		return "", err
	}
	text := config.Minimal(cfg, interfaces, accept)
	if _, problems := config.Parse("goaoe.toml", []byte(text), config.Options{}); problems.Err() != nil {
		return "", problems.Err()
	}
	return text, nil
}

// deliver prints the text, or writes it to the file that is wanted.
func (f *initFlags) deliver(env *Env, text string) error {
	if f.out == "" || f.out == "-" {
		_, err := fmt.Fprint(env.Stdout, text)
		return err
	}
	if err := writeNew(f.out, text, f.force); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "goaoe: wrote %s; see what it does: goaoe check %s\n", f.out, f.out)
	return nil
}

// writeNew writes a file that must not be there yet, unless forced. Its folder is made.
func writeNew(path, text string, force bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Failf("%w", err)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	to := path
	if force { // by a new file, so that the old one is whole until then
		to, flags = path+".goaoe-new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC
	}
	out, err := os.OpenFile(to, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return Failf("%s exists", path).WithHint("goaoe check " + path + " looks at it; --force replaces it")
	}
	if err != nil {
		return Failf("%w", err)
	}
	_, err = out.WriteString(text)
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil && force {
		err = os.Rename(to, path)
	}
	if err != nil {
		_ = os.Remove(to)
		return Failf("%w", err)
	}
	return nil
}

// interactive tells whether somebody sits before stdin and stdout.
func (e *Env) interactive() bool {
	in, ok := e.Stdin.(*os.File)
	out, ok2 := e.Stdout.(*os.File)
	return ok && ok2 && isTerminal(in) && isTerminal(out)
}

// isTerminal tells whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
