// Package cli is the commands of goaoe, one file each. A command is made by func newXxxCmd(env *Env) *cobra.Command and
// registered by one line in commands.
//
// The rules for all of them: results go to stdout, talk and errors to stderr. An error is one line, "goaoe: WHAT; HINT".
// The exit status is 0 for success, 1 for a failure, 2 for wrong usage; a command with more says so in its help.
// No message repeats the usage text.
package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Groups of commands in the help.
const (
	groupServe   = "serve"
	groupControl = "control"
	groupConfig  = "config"
	groupTools   = "tools"
	groupWatch   = "watch"
	groupWire    = "wire"
)

// Env is what a command has of its surroundings. Commands use it in place of the os package, so that tests can run them.
type Env struct {
	Stdin  io.Reader // answers
	Stdout io.Writer // results
	Stderr io.Writer // errors and talk
	// Sysroot is put before /etc, /dev/disk and the like; empty but in tests.
	Sysroot string
	// Program is the name that goaoe was called by, when that is one of programs.
	Program string
}

// commands lists all commands.
func commands() []func(*Env) *cobra.Command {
	return []func(*Env) *cobra.Command{
		newAddCmd,
		newAnnounceCmd,
		newAttachCmd,
		newAttachedCmd,
		newBenchCmd,
		newCaptureCmd,
		newCheckCmd,
		newClearCmd,
		newCompletionCmd,
		newConfigCmd,
		newConvertCmd,
		newCopyCmd,
		newDetachCmd,
		newDiffCmd,
		newDiscoverCmd,
		newDoctorCmd,
		newDemoCmd,
		newExportCmd,
		newIdentifyCmd,
		newInitCmd,
		newInterfacesCmd,
		newLinksCmd,
		newLsCmd,
		newManCmd,
		newMaskCmd,
		newMetricsCmd,
		newMonitorCmd,
		newPingCmd,
		newReadCmd,
		newReloadCmd,
		newReserveCmd,
		newRmCmd,
		newServeCmd,
		newSetCmd,
		newSancheckCmd,
		newShowCmd,
		newSmartCmd,
		newStatsCmd,
		newStatusCmd,
		newTopCmd,
		newTraceCmd,
		newTuneCmd,
		newVersionCmd,
		newWriteCmd,
	}
}

const rootLong = `goaoe serves files and block devices to other machines by ATA over Ethernet (AoE).
The usual initiator is the aoe driver of the Linux kernel, which shows what is served as /dev/etherd/e0.1.`

const rootExample = `  goaoe demo                             see it at work, without hardware
  goaoe export 0 1 eth0 /dev/sdb         one export, as with vblade
  goaoe serve -i eth0 e0.1=/dev/sdb      several, or what the file says
  goaoe add 1.0 /dev/sdc                 one more, while it runs
  goaoe ls                               what is served, and to whom
  goaoe init > /etc/goaoe/goaoe.toml     a configuration to begin with
  goaoe check                            what is wrong with it`

const exitHelp = `
Exit status:
   0  success
   1  failure: the line on stderr says what and what to do
   2  wrong usage
   3  partly done: the lines on stderr say what was not
   4  no target answered on the network in time
   5  the disk says that it is failing (goaoe smart)
  10  no daemon is running, or it does not answer
  11  refused: no permission, or in use or reserved, and not forced
  12  conflict: taken, or changed by somebody else meanwhile
`

// NewRoot makes the command goaoe with all its subcommands.
func NewRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "goaoe",
		Short:         "ATA over Ethernet storage target",
		Long:          rootLong,
		Example:       rootExample,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs, // an unknown command gets our own message
	}
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		if ok, err := glance(env); ok {
			fmt.Fprintln(env.Stdout, "\ngoaoe --help lists the commands.")
			return err
		}
		return cmd.Help()
	}
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%s", err).WithHint("see " + cmd.CommandPath() + " --help")
	})
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Serving:"},
		&cobra.Group{ID: groupControl, Title: "Controlling the running daemon:"},
		&cobra.Group{ID: groupConfig, Title: "Configuration:"},
		&cobra.Group{ID: groupWatch, Title: "Watching:"},
		&cobra.Group{ID: groupWire, Title: "The other end: using targets on the network, without a kernel driver:"},
		&cobra.Group{ID: groupTools, Title: "Tools:"},
	)
	root.SetHelpCommandGroupID(groupTools)
	for _, create := range commands() {
		root.AddCommand(create(env))
	}
	addCompletions(env, root)
	root.SetUsageTemplate(root.UsageTemplate() + exitHelp)
	return root
}

// unknownCommand makes the error for a first argument that is no command.
func unknownCommand(cmd *cobra.Command, name string) error {
	err := Usagef("there is no command %q", name)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return err.WithHint(fmt.Sprintf("did you mean %s?", strings.Join(near, " or ")))
	}
	return err.WithHint("goaoe --help lists them")
}

// args makes a check of positional arguments a usage error. what describes the arguments, e.g. "at most one FILE".
func args(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if check(cmd, list) == nil {
			return nil
		}
		return Usagef("%s takes %s, not %d arguments", cmd.CommandPath(), what, len(list)).WithHint("see " + cmd.CommandPath() + " --help")
	}
}
