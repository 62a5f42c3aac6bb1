package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

const reserveLong = `Read and change the reservations of targets on the network, of any make that has them (goaoe, vblade, ggaoed). While a target is reserved, only the
members of its list may use the disk; others are refused, but can still see and identify it. A MAC is written 02:00:00:00:00:01;
"self" is this machine's, on the interface that leads to the target.

The commands ask over the wire, as an initiator. goaoe clear reserve takes the reservation of an export of the daemon on this machine
away. The Linux driver cannot show that a disk is reserved: its I/O hangs until it gives up.`

func newReserveCmd(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "reserve",
		Short:   "Read and change reservations of targets",
		Long:    reserveLong,
		Example: "  goaoe reserve get\n  goaoe reserve set e0.1\n  goaoe reserve release e0.1",
		GroupID: groupWire,
		RunE:    needsVerb("goaoe reserve get|set|force|release"),
	}
	cmd.AddCommand(newListGetCmd(env, "Print who holds targets", "Print who holds the targets with these addresses, or all that answer. An empty list, shown as -, means nobody.",
		"  goaoe reserve get\n  goaoe reserve get e0.1 --json", "RESERVED FOR", (*initiator.Session).ReserveRead))
	set := "Without MACs the target is reserved for this machine. A list that leaves out this machine is allowed: to give the disk to others, or to fence it\noff; this machine can then change it by force only."
	for _, w := range []struct{ name, use, short, long, example string }{
		{"set", "set ADDRESS [MAC...]", "Reserve a target",
			"Reserve a target that nobody holds, or change the list of one that this machine holds. When others hold it, it is refused (exit status 11).\n" + set,
			"  goaoe reserve set e0.1\n  goaoe reserve set e0.1 self 02:00:00:00:00:01"},
		{"force", "force ADDRESS [MAC...]", "Reserve a target whoever holds it",
			"Reserve a target, whoever holds it: the others are refused from the next request on, and what they have not written yet is lost to them.\n" + set,
			"  goaoe reserve force e0.1"},
		{"release", "release ADDRESS", "Release a target",
			"Empty the reserve list of a target that this machine holds. When others hold it, it is refused (exit status 11) unless --force is given.",
			"  goaoe reserve release e0.1\n  goaoe reserve release e0.1 --force"},
	} {
		cmd.AddCommand(newReserveSetCmd(env, w.name, w.use, w.short, w.long, w.example))
	}
	return cmd
}

func newReserveSetCmd(env *Env, name, use, short, long, example string) *cobra.Command {
	var f wireFlags
	var force bool
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long + "\n" + wireExit,
		Example: example,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 || name == "release" && len(list) > 1 {
				return Usagef("%s is needed", strings.TrimPrefix(use, name+" ")).WithHint("see " + cmd.CommandPath() + " --help")
			}
			addrs, err := f.read(list[:1], false)
			if err == nil {
				_, err = readMACs(slices.DeleteFunc(slices.Clone(list[1:]), func(s string) bool { return s == "self" }), "")
			}
			if err != nil {
				return err
			}
			return f.with(cmd, addrs[0], func(ctx context.Context, s *initiator.Session) error {
				macs := list[1:]
				if len(macs) == 0 && name != "release" {
					macs = []string{"self"}
				}
				want, err := readMACs(macs, s.Target().Interface)
				if err != nil {
					return err
				}
				now, err := reserve(ctx, s, want, force || name == "force")
				if err != nil {
					return err
				}
				return printList(env, &f, s, now, "is released", "is reserved for")
			})
		},
	}
	f.register(cmd)
	if name == "release" {
		cmd.Flags().BoolVar(&force, "force", false, "also when others hold it")
	}
	return cmd
}

// reserve sets the list and says who holds the target when it may not be set.
func reserve(ctx context.Context, s *initiator.Session, want []aoe.MAC, force bool) ([]aoe.MAC, error) {
	if force {
		return s.ForceReserve(ctx, want)
	}
	now, err := s.Reserve(ctx, want)
	if !errors.Is(err, initiator.ErrReserved) {
		return now, err
	}
	if len(now) == 0 { // not every target puts the list into its refusal
		now, _ = s.ReserveRead(ctx) // it is only for the message
	}
	hint := "goaoe reserve force takes it"
	if len(want) == 0 {
		hint = "goaoe reserve release --force releases it all the same"
	}
	self, e := ownMAC(s.Target().Interface)
	if e == nil && slices.Contains(now, self) { // ggaoed forgets who set it by force
		return nil, (&ExitError{Code: ExitRefused, Err: fmt.Errorf("%v refuses, although this machine (%v) holds it", s.Target().Addr, self)}).WithHint(hint)
	}
	return nil, (&ExitError{Code: ExitRefused, Err: fmt.Errorf("%v is reserved for %s", s.Target().Addr, orDash(strings.Join(macTexts(now), ", ")))}).WithHint(hint)
}
