package cli

import (
	"github.com/spf13/cobra"

	"goaoe/aoe"
)

const copyLong = `Copies SRC to DST. Each is a file, a block device, the disk of an AoE target (SHELF.SLOT, found on the network; no kernel driver is
needed), or - for standard input or output. A file that is called like an address is written ./0.1.

Holes of files and runs of zeros are not sent: they become holes in a file, and on a disk they are trimmed where it says that trimmed
sectors read as zeros; else zeros are written. --dense sends everything.

A destination that is mounted or otherwise used on this machine, or reserved by another initiator, is refused; --force does it all the same.
What would be overwritten is asked for, --yes answers. Nothing is written before all sizes are found to fit.

The command succeeds only after the destination has brought everything to stable storage (a flush of the disk, fsync of a file) and, with
--verify, after all of it was read back: files and devices from the medium and not from the page cache. What a target keeps in its own cache
is its own.

A copy that was interrupted is gone on with by --resume, which reads what is there and writes what differs: safe whatever happened
meanwhile. For large copies --journal FILE notes every few seconds how much the destination has on stable storage; --resume with it
begins there, if source and destination are the same ones as before and what was written last is there.`

func newCopyCmd(env *Env) *cobra.Command {
	c := &copying{env: env, verb: "copy"}
	cmd := &cobra.Command{
		Use:     "copy SRC DST",
		Short:   "Copy between files, block devices and the disks of targets",
		Long:    copyLong + copyExit,
		GroupID: groupWire,
		Example: "  goaoe copy disk.img 0.1\n  goaoe copy 0.1 1.1 --verify --yes\n  goaoe copy /dev/vg0/disk1 0.1 --journal disk1.journal\n" +
			"  goaoe copy /dev/vg0/disk1 0.1 --journal disk1.journal --resume\n  zcat disk.img.gz | goaoe copy - 0.1 --yes --pad",
		Args: args(cobra.ExactArgs(2), "SRC and DST"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0], args[1]) },
	}
	c.register(cmd)
	f := cmd.Flags()
	f.Var(&c.from, "offset", "where to begin in SRC")
	f.Var(&c.to, "to", "where to begin in DST; a file keeps what is before and behind")
	c.registerWrites(cmd)
	return cmd
}

const readLong = `Reads the disk of an AoE target into FILE, or to standard output. The target is found on the network; no kernel driver is needed. Runs of
zeros become holes in the file. It is goaoe copy with the ends named: see there for --verify, --resume and --journal.

A file that exists is overwritten after a question, which --yes answers, and ends where the copy does.`

func newReadCmd(env *Env) *cobra.Command {
	c := &copying{env: env, verb: "read"}
	cmd := &cobra.Command{
		Use:     "read ADDRESS [FILE]",
		Short:   "Read the disk of a target into a file",
		Long:    readLong + copyExit,
		GroupID: groupWire,
		Example: "  goaoe read 0.1 disk.img\n  goaoe read 0.1 --length 1M | file -\n  goaoe read 0.1 | gzip > disk.img.gz\n" +
			"  goaoe read 0.1 disk.img --resume --verify",
		Args: args(cobra.RangeArgs(1, 2), "ADDRESS and at most one FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := aoe.ParseAddr(args[0]); err != nil {
				return Usagef("%v", err)
			}
			file := "-"
			if len(args) == 2 {
				file = asFile(args[1])
			}
			return c.run(cmd, args[0], file)
		},
	}
	c.register(cmd)
	cmd.Flags().Var(&c.from, "offset", "where to begin on the disk")
	return cmd
}

const writeLong = `Writes FILE, or standard input with -, to the disk of an AoE target. The target is found on the network; no kernel driver is
needed. It is goaoe copy with the ends named: see there for holes, --verify, --resume and --journal, and for what is refused.`

func newWriteCmd(env *Env) *cobra.Command {
	c := &copying{env: env, verb: "write"}
	cmd := &cobra.Command{
		Use:     "write FILE|- ADDRESS",
		Short:   "Write a file to the disk of a target",
		Long:    writeLong + copyExit,
		GroupID: groupWire,
		Example: "  goaoe write disk.img 0.1\n  goaoe write boot.img 0.1 --offset 1M --verify\n  gzip -dc disk.img.gz | goaoe write - 0.1 --yes",
		Args:    args(cobra.ExactArgs(2), "FILE and ADDRESS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := aoe.ParseAddr(args[1]); err != nil {
				return Usagef("%v", err)
			}
			return c.run(cmd, asFile(args[0]), args[1])
		},
	}
	c.register(cmd)
	cmd.Flags().Var(&c.to, "offset", "where to begin on the disk")
	c.registerWrites(cmd)
	return cmd
}

// asFile makes sure that a name means a file, also when it looks like an address.
func asFile(name string) string {
	if _, err := aoe.ParseAddr(name); err == nil {
		return "./" + name
	}
	return name
}

const copyExit = `

Exit status:
   0  everything is there, on stable storage, and with --verify was read back
   1  failure: the line on stderr says what, and how much was done
   2  wrong usage
   4  the target did not answer in time
  11  refused: the destination is in use, reserved by another initiator, or was not to be overwritten`
