package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

const linksLong = `Make links to this program in DIR, under the names of the commands of other AoE targets and of aoetools: called by such a name, goaoe takes that
program's arguments and prints what scripts around it look for. So scripts and units go on working.

A file that is there and is no such link stays as it is, unless --force is given. --remove takes the links away again, and
nothing else. Without DIR the names are listed.`

func newLinksCmd(env *Env) *cobra.Command {
	var only []string
	var force, remove bool
	cmd := &cobra.Command{
		Use:   "install-links [DIR]",
		Short: "Take the place of other targets and of aoetools",
		Long:  linksLong,
		Example: `  goaoe install-links /usr/local/sbin
  goaoe install-links --only kvadd,kvdel,kvstat /usr/local/sbin
  goaoe install-links --remove /usr/local/sbin`,
		GroupID: groupTools,
		Args:    args(cobra.MaximumNArgs(1), "at most one DIR"),
		RunE: func(_ *cobra.Command, list []string) error {
			for _, n := range only {
				if !slices.Contains(programNames(), n) {
					return Usagef("--only %s: goaoe does not take the place of that", n).WithHint("it does of " + strings.Join(programNames(), ", "))
				}
			}
			if len(only) == 0 {
				only = programNames()
			}
			if len(list) == 0 {
				if remove || force {
					return Usagef("no DIR is given").WithHint("e.g. goaoe install-links /usr/local/sbin")
				}
				return listPrograms(env, only)
			}
			return linkPrograms(env, list[0], only, force, remove)
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "names to link (all)")
	cmd.Flags().BoolVar(&force, "force", false, "replace files of these names")
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the links")
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(programNames(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

func listPrograms(env *Env, only []string) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	for _, p := range programs() {
		if slices.Contains(only, p.name) {
			fmt.Fprintf(w, "%s\t%s\n", p.name, p.short)
		}
	}
	return w.Flush()
}

// linkPrograms makes or removes the links in a directory. It goes on after a failure, and then ends with ExitPartly when others went well.
func linkPrograms(env *Env, dir string, names []string, force, remove bool) error {
	self, err := os.Executable()
	if err != nil {
		return Failf("%w", err)
	}
	if st, err := os.Stat(dir); err != nil {
		return Failf("%w", err)
	} else if !st.IsDir() {
		return Failf("%s is not a directory", dir)
	}
	done := 0
	var failed []string
	for _, n := range names {
		path := filepath.Join(dir, n)
		what, err := linkOne(path, self, force, remove)
		switch {
		case err != nil:
			failed = append(failed, err.Error())
		case what != "":
			fmt.Fprintf(env.Stdout, "%s %s\n", what, path)
			done++
		}
	}
	if len(failed) == 0 {
		return nil
	}
	text := Failf("%s", strings.Join(failed, ", "))
	if !remove {
		text.Hint = "--force replaces what is there, --only says which names are wanted"
	}
	if done > 0 {
		text.Code = ExitPartly
	}
	return text
}

// linkOne makes or removes one link and says in a word what it did; "" when there was nothing to do.
func linkOne(path, self string, force, remove bool) (string, error) {
	to, err := os.Readlink(path)
	ours := err == nil && (to == self || filepath.Base(to) == filepath.Base(self))
	_, exists := os.Lstat(path)
	there := !errors.Is(exists, fs.ErrNotExist)
	switch {
	case remove && !ours:
		return "", nil
	case remove:
		return "removed", os.Remove(path)
	case ours && to == self:
		return "", nil
	case there && !ours && !force:
		return "", fmt.Errorf("%s is there already", path)
	}
	temp := path + ".goaoe-new"
	_ = os.Remove(temp) // of a run that was broken off
	if err := os.Symlink(self, temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, path); err != nil { // at no moment is there nothing of that name
		_ = os.Remove(temp)
		return "", err
	}
	return "linked", nil
}
