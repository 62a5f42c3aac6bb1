package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

const maskLong = `Read and change the MAC mask lists of targets on the network, of any make that has them (goaoe, vblade, ggaoed). While a target's list is not empty, it
serves only its members: others get no answer to anything. A MAC is written 02:00:00:00:00:01; "self" is this machine's, on the interface
that leads to the target.

The commands ask over the wire, as an initiator. goaoe clear mask empties the list of an export of the daemon on this machine, also when
everybody is locked out.`

// listRow is what mask and reserve print as JSON.
type listRow struct {
	Address   string   `json:"address"`
	Interface string   `json:"interface"`
	MAC       string   `json:"mac"`
	List      []string `json:"list"`
}

func newMaskCmd(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "mask",
		Short:   "Read and change MAC mask lists of targets",
		Long:    maskLong,
		Example: "  goaoe mask get\n  goaoe mask add e0.1 self 02:00:00:00:00:01\n  goaoe mask clear e0.1",
		GroupID: groupWire,
		RunE:    needsVerb("goaoe mask get|add|remove|set|clear"),
	}
	cmd.AddCommand(newListGetCmd(env, "Print MAC mask lists of targets", "Print who may use the targets with these addresses, or all that answer. An empty list, shown as -, means everybody.",
		"  goaoe mask get\n  goaoe mask get e0.1 --json", "SERVES ONLY", (*initiator.Session).MaskRead))
	for _, w := range []struct{ name, use, short, long, example string }{
		{"add", "add ADDRESS MAC...", "Add to the MAC mask list of a target", "Add members. The first one makes the list count: all others are locked out then.", "  goaoe mask add e0.1 self 02:00:00:00:00:01"},
		{"remove", "remove ADDRESS MAC...", "Remove from the MAC mask list of a target", "Remove members. Without the last one the list is empty, and everybody is served.", "  goaoe mask remove e0.1 02:00:00:00:00:01"},
		{"set", "set ADDRESS MAC...", "Replace the MAC mask list of a target",
			"Make the list what is given: what is missing is added first, then what is too much is removed, so that\nthe list is at no moment empty or without a member that it keeps.", "  goaoe mask set e0.1 self 02:00:00:00:00:01"},
		{"clear", "clear ADDRESS", "Empty the MAC mask list of a target", "Remove all members, so that everybody is served.", "  goaoe mask clear e0.1"},
	} {
		cmd.AddCommand(newMaskEditCmd(env, w.name, w.use, w.short, w.long, w.example))
	}
	return cmd
}

// newListGetCmd makes the command get of mask and reserve.
func newListGetCmd(env *Env, short, long, example, column string, read func(*initiator.Session, context.Context) ([]aoe.MAC, error)) *cobra.Command {
	var f wireFlags
	cmd := &cobra.Command{
		Use:     "get [ADDRESS...]",
		Short:   short,
		Long:    long + "\n" + wireExit,
		Example: example,
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, true)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			if addrs, err = f.expand(ctx, addrs); err != nil {
				return wireError(err)
			}
			rows := []listRow{}
			err = f.each(env, addrs, func(a aoe.Addr) error {
				s, err := f.one(ctx, a)
				if err != nil {
					return err
				}
				defer func() { _ = s.Close() }() // nothing is under way
				macs, err := read(s, ctx)
				if err == nil {
					rows = append(rows, newListRow(s, macs))
				}
				return err
			})
			return printAnd(err, func() error { return printLists(env, &f, rows, column) })
		},
	}
	f.register(cmd)
	return cmd
}

func newListRow(s *initiator.Session, macs []aoe.MAC) listRow {
	t := s.Target()
	return listRow{Address: t.Addr.String(), Interface: t.Interface, MAC: t.MAC.String(), List: macTexts(macs)}
}

func printLists(env *Env, f *wireFlags, rows []listRow, column string) error {
	if f.json {
		return printJSON(env.Stdout, rows)
	}
	if len(rows) == 0 {
		return nil
	}
	w := newTable(env.Stdout)
	fmt.Fprintf(w, "ADDRESS\tINTERFACE\tMAC\t%s\n", column)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Address, r.Interface, r.MAC, orDash(strings.Join(r.List, ", ")))
	}
	return w.Flush()
}

// printList prints the list that a change has left: what the target is without one, and what with one.
func printList(env *Env, f *wireFlags, s *initiator.Session, now []aoe.MAC, without, with string) error {
	if f.json {
		return printJSON(env.Stdout, newListRow(s, now))
	}
	if len(now) == 0 {
		_, err := fmt.Fprintf(env.Stdout, "%v %s\n", s.Target().Addr, without)
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "%v %s %s\n", s.Target().Addr, with, strings.Join(macTexts(now), ", "))
	return err
}

// readMACs reads the MACs of a command line; "self" is this machine's on the interface.
func readMACs(list []string, iface string) ([]aoe.MAC, error) {
	var out []aoe.MAC
	for _, s := range list {
		m, err := aoe.ParseMAC(s)
		if s == "self" {
			m, err = ownMAC(iface)
		}
		switch {
		case err != nil:
			return nil, Usagef("%v", err).WithHint(`a MAC is written 02:00:00:00:00:01, "self" is this machine's`)
		case m.IsGroup() || m.IsZero():
			return nil, Usagef("%v: nobody can have this address", m)
		case !slices.Contains(out, m):
			out = append(out, m)
		}
	}
	return out, nil
}

func ownMAC(iface string) (aoe.MAC, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil || len(i.HardwareAddr) != len(aoe.MAC{}) {
		return aoe.MAC{}, fmt.Errorf("interface %s has no Ethernet address: %w", iface, err)
	}
	return aoe.MAC(i.HardwareAddr), nil
}

func newMaskEditCmd(env *Env, name, use, short, long, example string) *cobra.Command {
	var f wireFlags
	var force bool
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long + "\n\nA list that would lock out this machine is refused unless --force is given: it could not be changed from here any more.\n" + wireExit,
		Example: example,
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 || name != "clear" && len(list) < 2 || name == "clear" && len(list) > 1 {
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
				macs, err := readMACs(list[1:], s.Target().Interface)
				if err != nil {
					return err
				}
				now, err := editMask(ctx, s, name, macs, force)
				if err != nil {
					return err
				}
				return printList(env, &f, s, now, "serves everybody", "serves only")
			})
		},
	}
	f.register(cmd)
	if name != "clear" {
		cmd.Flags().BoolVar(&force, "force", false, "also when this machine is locked out by it")
	}
	return cmd
}

// editMask makes the change and returns the list that results.
func editMask(ctx context.Context, s *initiator.Session, name string, macs []aoe.MAC, force bool) ([]aoe.MAC, error) {
	now, err := s.MaskRead(ctx)
	if err != nil {
		return nil, err
	}
	var want []aoe.MAC
	switch name {
	case "add":
		want = slices.Clone(now)
		for _, m := range macs {
			if !slices.Contains(want, m) {
				want = append(want, m)
			}
		}
	case "remove":
		want = slices.DeleteFunc(slices.Clone(now), func(m aoe.MAC) bool { return slices.Contains(macs, m) })
	case "set":
		want = macs
	}
	self, err := ownMAC(s.Target().Interface)
	if err != nil {
		return nil, err
	}
	if len(want) > 0 && !slices.Contains(want, self) && !force {
		return nil, (&ExitError{Code: ExitRefused, Err: fmt.Errorf("%v: the list would lock out this machine (%v)", s.Target().Addr, self)}).WithHint("add self, or use --force")
	}
	var edits []aoe.Directive
	for _, m := range want {
		if !slices.Contains(now, m) || name == "add" && slices.Contains(macs, m) {
			edits = append(edits, aoe.Directive{Cmd: aoe.MaskAdd, MAC: m})
		}
	}
	// This machine goes last, if it has to, so that the edits before it still reach the target.
	for _, last := range []bool{false, true} {
		for _, m := range now {
			if (m == self) == last && !slices.Contains(want, m) {
				edits = append(edits, aoe.Directive{Cmd: aoe.MaskDelete, MAC: m})
			}
		}
	}
	for len(edits) > 0 {
		n := min(len(edits), aoe.MaskCapacity(s.Target().MTU))
		if now, err = s.MaskEdit(ctx, edits[:n]); err != nil {
			var me *initiator.MaskError
			if errors.As(err, &me) && me.Index < n {
				return nil, Failf("%w (%v)", err, edits[me.Index].MAC).WithHint("goaoe mask get shows the list as it is now")
			}
			return nil, err
		}
		edits = edits[n:]
	}
	for _, m := range want { // vblade loses members when its list has two (and says that all is well)
		if !slices.Contains(now, m) {
			return nil, Failf("%v: %w: %v is not on its list any more, which is %s", s.Target(), initiator.ErrRubbish, m, strings.Join(macTexts(now), ", ")).
				WithHint("vblade does this: clear its list, then set it at once")
		}
	}
	if len(now) != len(want) {
		return nil, Failf("%v: %w: its list is %s, where %s was asked for", s.Target(), initiator.ErrRubbish, orDash(strings.Join(macTexts(now), ", ")), orDash(strings.Join(macTexts(want), ", "))).
			WithHint("vblade does this: clear its list, then set it at once")
	}
	return now, nil
}
