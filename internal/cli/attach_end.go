package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/internal/attach"
)

const detachLong = `End what goaoe attach made. What the kernel holds for the device is written first, and the target is asked to flush.

A disk that is in use is left alone, and who uses it is said: where it is mounted, by what it is held, which processes have it open. --force ends
it all the same: requests that run fail, and what was not written is lost.`

func newDetachCmd(env *Env) *cobra.Command {
	var all, force bool
	var dir string
	cmd := &cobra.Command{
		Use:     "detach ADDRESS... | --all",
		Short:   "End what attach made",
		Long:    detachLong,
		GroupID: groupTools,
		Example: "  goaoe detach e0.1\n  goaoe detach --all",
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, list []string) error {
			if all == (len(list) > 0) {
				return Usagef("detach takes addresses, or --all").WithHint("goaoe attached lists them")
			}
			if dir == "" {
				dir = attach.DefaultDir()
			}
			return detachDisks(env, dir, list, force)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&all, "all", false, "all that are attached")
	fl.BoolVar(&force, "force", false, "also when it is in use: what was not written is lost")
	fl.StringVar(&dir, "run-dir", "", "the run directory that attach was given")
	return cmd
}

// detachDisks ends the disks of list, or all when it is empty.
func detachDisks(env *Env, dir string, list []string, force bool) error {
	addrs, err := parseAddrs(list, false)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(addrs))
	for _, a := range addrs {
		names = append(names, a.String())
	}
	if len(list) == 0 {
		found, err := attach.List(dir)
		if err != nil {
			return detachError(err)
		}
		for _, s := range found {
			names = append(names, s.Address)
		}
	}
	failed := 0
	for i, name := range names {
		err := detachError(detachDisk(dir, name, force))
		if err == nil {
			continue
		}
		if failed++; len(names) == 1 {
			return err
		}
		report(env, err)
		if i == len(names)-1 && failed == len(names) {
			return Exit(ExitFailure)
		}
	}
	if failed > 0 {
		return Exit(ExitPartly)
	}
	return nil
}

// errInUse is the error of a disk that somebody uses.
var errInUse = errors.New("in use")

func detachDisk(dir, name string, force bool) error {
	s, err := attach.Find(dir, name)
	switch {
	case err != nil:
		return err
	case s == nil:
		return Failf("%s is not attached", name).WithHint("goaoe attached lists what is")
	case len(s.Users) > 0 && !force:
		return fmt.Errorf("%s is %w: %s", name, errInUse, strings.Join(s.Users, ", "))
	case s.State == "dead":
		return attach.Clear(dir, name, force)
	}
	if s, err = attach.Call(dir, name, attach.Ask{Stop: true, Force: force}); err != nil {
		if s != nil && len(s.Users) > 0 && !force { // since we asked
			return fmt.Errorf("%s is %w: %s", name, errInUse, strings.Join(s.Users, ", "))
		}
		return err
	}
	wait, err := time.ParseDuration(s.Timeout)
	if err != nil {
		wait = time.Minute
	}
	if !attach.Gone(dir, name, wait+30*time.Second) {
		return Failf("%s: process %d has been asked to end, and did not within %v", name, s.PID, wait+30*time.Second).WithHint("the target may be gone: --force does not wait for it")
	}
	return nil
}

// detachError is an error of detaching as a command ends with it.
func detachError(err error) error {
	var ee *ExitError
	switch {
	case err == nil || errors.As(err, &ee):
		return err
	case errors.Is(err, errInUse):
		return (&ExitError{Code: ExitRefused, Err: err}).WithHint("end that first; --force loses what was not written")
	case errors.Is(err, fs.ErrPermission):
		return (&ExitError{Code: ExitRefused, Err: err}).WithHint("root may")
	}
	return Failf("%w", joinLines(err))
}

const attachedLong = `List the disks that goaoe attach serves on this machine: where they are, how large, over which paths, and who uses them.

STATE is "attached"; "no path" while no target answers, which is waited for; or "dead" when the process that served the disk is gone: the same
goaoe attach again takes over its device, goaoe detach removes it.`

func newAttachedCmd(env *Env) *cobra.Command {
	var asJSON bool
	var dir string
	cmd := &cobra.Command{
		Use:     "attached",
		Short:   "List what is attached",
		Long:    attachedLong,
		GroupID: groupTools,
		Example: "  goaoe attached\n  goaoe attached --json | jq '.[].users'",
		Args:    args(cobra.NoArgs, "no arguments"),
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				dir = attach.DefaultDir()
			}
			list, err := attach.List(dir)
			if err != nil && len(list) == 0 {
				return detachError(err)
			}
			if asJSON {
				if list == nil {
					list = []attach.Status{}
				}
				if e := jsonIndented(env.Stdout, list); e != nil {
					return e
				}
			} else {
				printAttached(env, list)
			}
			return detachError(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&dir, "run-dir", "", "the run directory that attach was given")
	return cmd
}

func jsonIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func printAttached(env *Env, list []attach.Status) {
	if len(list) == 0 {
		fmt.Fprintln(env.Stderr, "nothing is attached")
		return
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ADDRESS\tWHERE\tSTATE\tSIZE\tPATHS\tPID\tIN USE")
	for _, s := range list {
		where, size := s.Device, "-"
		if where == "" {
			where = s.Socket
		}
		if s.Size > 0 {
			size = humanize.IBytes(uint64(s.Size))
		}
		paths := make([]string, 0, len(s.Paths))
		for _, p := range s.Paths {
			paths = append(paths, p.Interface+" "+p.State)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Address, where, s.State, size, dash(strings.Join(paths, ", ")), s.PID, dash(strings.Join(s.Users, ", ")))
	}
	w.Flush()
}

// completeAttached completes what is attached.
func completeAttached(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	list, _ := attach.List(attach.DefaultDir()) // the tab key is no place for errors
	var out []string
	for _, s := range list {
		out = append(out, s.Address+"\t"+s.Name())
	}
	return without(out, given), noFiles
}
