package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
	"goaoe/internal/control"
)

// Levels of findings.
const (
	levelOK      = "ok"      // looked at, and fine
	levelNote    = "note"    // worth knowing
	levelWarning = "warning" // works, and will hurt
	levelProblem = "problem" // does not work, or puts data at risk
)

// finding is one thing that goaoe doctor has to say.
type finding struct {
	Check   string `json:"check"`             // the name of the check, see doctorChecks
	Level   string `json:"level"`             // ok, note, warning, problem
	Subject string `json:"subject,omitempty"` // an interface, an export, a file
	Text    string `json:"text"`
	Fix     string `json:"fix,omitempty"` // the command, or the line of a file, that mends it
}

// patient is what the checks look at. Checks only read.
type patient struct {
	env  *Env
	root string         // Sysroot, or /
	cfg  *config.Config // of the file, where no daemon runs; nil: there is none
	file string         // that was read; empty: none

	client     *control.Client
	status     *control.Status // nil: no daemon runs, or it may not be asked
	daemonErr  *control.Error
	exports    []control.Export
	interfaces []control.Interface
	stats      *control.Stats
}

// doctorCheck is one named check.
type doctorCheck struct {
	name string
	help string
	run  func(ctx context.Context, p *patient) []finding
}

// doctorChecks lists the checks in the order of the report.
func doctorChecks() []doctorCheck {
	return []doctorCheck{
		{"config", "the configuration file: mistakes, sources that are not there, two exports of the same bytes", checkConfig},
		{"daemon", "the running daemon: what it waits for, what failed, what is not saved", checkDaemon},
		{"service", "whether it is started at boot", checkService},
		{"permission", "the right to use packet sockets", checkPermission},
		{"sandbox", "the rights that the daemon gives up after its start", checkSandbox},
		{"io-uring", "whether fast storage access is allowed", checkURing},
		{"memlock", "locked memory, which rings and buffers take", checkMemlock},
		{"interface", "interfaces: carrier, MTU, speed, frames that the hardware loses", checkInterfaces},
		{"open", "exports open to everybody on a bridge or a wireless link", checkOpen},
		{"ring", "frames lost because the receive ring was full", checkRing},
		{"socket", "limits of sockets, frames lost before they come to one", checkSockets},
		{"retransmits", "initiators that repeat themselves", checkRetransmits},
		{"mtu", "initiators that ask for less than a frame could carry", checkPeerMTU},
		{"storage", "disks with errors, files that outgrow their file system, one disk exported twice, write caches", checkStorage},
		{"cache", "disks and file systems that do not flush what they were told to", checkCache},
		{"duplicate", "other targets on the wire with an address of ours", checkDuplicates},
		{"state", "the directory for config strings and reservations", checkState},
	}
}

const doctorLong = `Look at this machine, the configuration and the running daemon, and say what is wrong and what mends it. Nothing is changed.
With arguments only the checks of these names are done; --list tells them. The check "duplicate" asks on the wire and takes a second.

The exit status is 1 when there are warnings or problems; notes do not count.`

func newDoctorCmd(env *Env) *cobra.Command {
	var asJSON, list, verbose bool
	var file, socket string
	cmd := &cobra.Command{
		Use:     "doctor [CHECK ...]",
		Short:   "Check this machine and the running daemon",
		Long:    doctorLong,
		Example: "  goaoe doctor\n  goaoe doctor interface ring\n  goaoe doctor --json",
		GroupID: groupTools,
		RunE: func(cmd *cobra.Command, names []string) error {
			if list {
				return listChecks(env)
			}
			checks, err := chosenChecks(names)
			if err != nil {
				return err
			}
			p := examine(cmd.Context(), env, file, socket)
			defer p.client.Close()
			var all []finding
			for _, c := range checks {
				found := c.run(cmd.Context(), p)
				if len(found) == 0 {
					found = []finding{{Level: levelOK, Text: c.help}}
				}
				for _, f := range found {
					f.Check = c.name
					all = append(all, f)
				}
			}
			return printFindings(env, all, asJSON, verbose)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().BoolVar(&list, "list", false, "list the checks")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell also what is fine")
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file (that of the daemon, else "+config.DefaultFile+")")
	cmd.Flags().StringVar(&socket, "socket", "", "control socket of the daemon (default "+control.DefaultSocket+")")
	return cmd
}

// chosenChecks returns the checks of these names; none means all.
func chosenChecks(names []string) ([]doctorCheck, error) {
	all := doctorChecks()
	if len(names) == 0 {
		return all, nil
	}
	var out []doctorCheck
	var known []string
	for _, c := range all {
		known = append(known, c.name)
	}
next:
	for _, n := range names {
		for _, c := range all {
			if c.name == n {
				out = append(out, c)
				continue next
			}
		}
		return nil, Usagef("there is no check %q", n).WithHint("the checks are " + strings.Join(known, ", "))
	}
	return out, nil
}

func listChecks(env *Env) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	for _, c := range doctorChecks() {
		fmt.Fprintf(w, "%s\t%s\n", c.name, c.help)
	}
	return w.Flush()
}

// examine collects what the checks look at.
func examine(ctx context.Context, env *Env, file, socket string) *patient {
	if socket == "" {
		socket = control.FindSocket(env.Sysroot)
	}
	p := &patient{env: env, root: "/" + strings.TrimPrefix(env.Sysroot, "/"), client: control.NewClient(socket)}
	ctx, cancel := context.WithTimeout(ctx, control.Timeout)
	defer cancel()
	st, err := p.client.Status(ctx)
	if err == nil {
		p.status = st
		p.exports, err = p.client.Exports(ctx)
	}
	if err == nil {
		p.interfaces, err = p.client.Interfaces(ctx)
	}
	if err == nil {
		p.stats, err = p.client.Stats(ctx)
	}
	p.daemonErr = control.AsError(err)
	p.file = file
	if p.file == "" && p.status != nil {
		p.file = p.status.Config
	}
	if p.file == "" && p.status == nil {
		p.file = config.FilePath(env.Sysroot)
	}
	if p.file != "" && p.status == nil { // what would be served
		if cfg, _, problems := foreign.Load(p.file, foreign.Auto, config.Options{Sysroot: env.Sysroot}); problems.Err() == nil {
			p.cfg = cfg
		}
	}
	return p
}

// printFindings prints the report. Its error carries the exit status.
func printFindings(env *Env, all []finding, asJSON, verbose bool) error {
	count := map[string]int{}
	for _, f := range all {
		count[f.Level]++
	}
	bad := count[levelWarning] + count[levelProblem]
	if asJSON {
		if err := printJSON(env.Stdout, map[string]any{"format": 1, "ok": bad == 0, "findings": all}); err != nil {
			return err
		}
	} else {
		for _, f := range all {
			if f.Level == levelOK && !verbose {
				continue
			}
			subject := ""
			if f.Subject != "" {
				subject = f.Subject + ": "
			}
			fmt.Fprintf(env.Stdout, "%-8s %s: %s%s\n", f.Level, f.Check, subject, f.Text)
			if f.Fix != "" {
				fmt.Fprintf(env.Stdout, "         fix: %s\n", f.Fix)
			}
		}
		fmt.Fprintf(env.Stdout, "%d problems, %d warnings, %d notes, %d fine\n", count[levelProblem], count[levelWarning], count[levelNote], count[levelOK])
	}
	if bad > 0 {
		return Exit(ExitFailure)
	}
	return nil
}
