package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

const sancheckLong = `Look at the storage network from this machine, as an initiator: find all targets on all interfaces, and try each path for what it claims. Frames of each size
that the path should carry are sent to the target and read from it, so that a switch in the middle that drops large frames, or loses some, is found. Each finding
comes with the command that mends it, to be run here unless the finding names another machine.

What is looked for: frames that do not pass, and the largest that do, in each direction; loss; different disks under one address, and an address that is served twice;
answers from another MAC than was asked; paths of one disk that differ in MTU or round trip; buffer counts that are too small; interfaces that are down, without
carrier, half duplex, ports of a bridge, or that lost frames meanwhile; receive rings, backlog and socket buffers of the kernel that are smaller than what the targets may
send at once; flow control that is off.

Nothing is changed: targets are asked for their config string, for IDENTIFY, and for the first sectors of the disk, which are read and thrown away. It may be done while the
disks are in use. goaoe doctor looks at the machine that serves.`

const sancheckExit = `
Exit status:
   0  nothing is wrong (notes do not count)
   1  there are warnings or problems, or it could not be done
   2  wrong usage
   4  no target answered`

// sanPath is what was found out about one way to one target.
type sanPath struct {
	Address     string  `json:"address"`
	Interface   string  `json:"interface"`
	MAC         string  `json:"mac"`
	MTU         int     `json:"mtu"`               // of our interface
	Sectors     int     `json:"sectors_per_frame"` // as the target says
	Carries     int     `json:"carries"`           // sectors per frame that passed in both directions; 0: none
	CarriesTo   int     `json:"carries_to"`        // to the target
	CarriesFrom int     `json:"carries_from"`      // from the target; -1: it may not be read
	BufferCount int     `json:"buffer_count"`
	Sent        int     `json:"sent"`
	Lost        int     `json:"lost"`
	RTTMin      float64 `json:"rtt_min_ms"` // of the smallest frames
	RTT         float64 `json:"rtt_median_ms"`
	RTTMax      float64 `json:"rtt_max_ms"`
	Model       string  `json:"model,omitempty"`
	Serial      string  `json:"serial,omitempty"`
	Size        int64   `json:"size,omitempty"`

	t initiator.Target
}

// sanReport is what goaoe sancheck --json prints.
type sanReport struct {
	Format     int            `json:"format"` // 1
	OK         bool           `json:"ok"`
	Interfaces []sanInterface `json:"interfaces"`
	Paths      []sanPath      `json:"paths"`
	Findings   []finding      `json:"findings"`
}

// sanCheck is a run.
type sanCheck struct {
	env    *Env
	flags  wireFlags
	count  int
	report sanReport
	before map[string]ifStats
	ears   []int // see listen
}

func newSancheckCmd(env *Env) *cobra.Command {
	c := &sanCheck{env: env}
	cmd := &cobra.Command{
		Use:     "sancheck [ADDRESS...]",
		Short:   "Check the storage network, and say what mends it",
		Long:    sancheckLong + "\n" + sancheckExit,
		Example: "  goaoe sancheck\n  goaoe sancheck e0.1 -i eth1\n  goaoe sancheck --count 10000        look longer for loss\n  goaoe sancheck --json | jq '.findings[] | select(.level != \"note\")'",
		GroupID: groupWire,
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := parseAddrs(list, true)
			if err == nil {
				err = c.flags.check()
			}
			if err != nil {
				return err
			}
			if c.count < 1 {
				return Usagef("--count %d: must be 1 or more", c.count)
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			err = c.run(ctx, addrs)
			if ctx.Err() != nil {
				return Failf("interrupted")
			}
			c.report.OK = c.report.OK && err == nil
			if e := c.print(); e != nil {
				return e
			}
			if err != nil {
				return wireError(err)
			}
			if !c.report.OK {
				return Exit(ExitFailure)
			}
			return nil
		},
	}
	c.flags.register(cmd)
	cmd.Flags().IntVar(&c.count, "count", 200, "frames that are sent over each path to measure loss")
	return cmd
}

// say adds a finding.
func (c *sanCheck) say(check, level, subject, fix, format string, a ...any) {
	c.report.Findings = append(c.report.Findings, finding{Check: check, Level: level, Subject: subject, Fix: fix, Text: fmt.Sprintf(format, a...)})
}

// run makes the report. Its error says why nothing could be checked.
func (c *sanCheck) run(ctx context.Context, addrs []aoe.Addr) error {
	c.report = sanReport{Format: 1, Interfaces: []sanInterface{}, Paths: []sanPath{}, Findings: []finding{}}
	defer func() {
		c.report.OK = !slices.ContainsFunc(c.report.Findings, func(f finding) bool { return f.Level == levelWarning || f.Level == levelProblem })
	}()
	defer c.deaf()
	names := c.interfaces()
	if len(names) == 0 {
		if len(c.flags.interfaces) > 0 {
			return Failf("%s cannot be used", strings.Join(c.flags.interfaces, ", ")).WithHint("ip link shows the interfaces")
		}
		return Failf("no Ethernet interface is up").WithHint("ip link set dev NAME up")
	}
	ways, err := c.find(ctx, names, addrs)
	if err != nil {
		return err
	}
	for i, t := range ways {
		c.progress("checking %v on %s (%d of %d)", t.Addr, t.Interface, i+1, len(ways))
		c.path(ctx, t)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	c.progress("")
	c.disks(ways)
	c.after()
	if len(ways) == 0 {
		return (&wireFlags{interfaces: names}).nobody(addrs)
	}
	for _, a := range addrs {
		if !a.Wild() && !slices.ContainsFunc(ways, func(t initiator.Target) bool { return t.Addr == a }) {
			c.say("answer", levelProblem, a.String(), "look whether it is served there, and whether its mask list lets this machine in (goaoe clear mask on its machine)", "it does not answer on %s", strings.Join(names, ", "))
		}
	}
	return nil
}

// progress tells a person at a terminal what is being done.
func (c *sanCheck) progress(format string, a ...any) {
	if f, ok := c.env.Stderr.(*os.File); ok && isTerminal(f) {
		fmt.Fprintf(f, "\r\x1b[K"+format, a...)
	}
}

// find searches on each interface, one after the other, so that one that fails does not hide the others.
func (c *sanCheck) find(ctx context.Context, names []string, addrs []aoe.Addr) ([]initiator.Target, error) {
	c.progress("looking for targets on %s", strings.Join(names, ", "))
	ways := []initiator.Target{}
	for t, err := range initiator.Discover(ctx, initiator.Search{Interfaces: names, Addrs: addrs, Wait: time.Second}) {
		switch {
		case err != nil && (errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission")):
			return nil, Failf("%w", err)
		case err != nil:
			c.say("interface", levelProblem, "", "", "%s", oneLine(err.Error()))
		case len(c.flags.targets) == 0 || slices.Contains(c.flags.targets, t.MAC):
			ways = append(ways, t)
		}
	}
	slices.SortFunc(ways, compareTargets)
	return ways, nil
}

func (c *sanCheck) print() error {
	if c.flags.json {
		return printJSON(c.env.Stdout, c.report)
	}
	if err := printSanTables(c.env.Stdout, c.report.Interfaces, c.report.Paths); err != nil {
		return err
	}
	order := map[string]int{levelProblem: 0, levelWarning: 1, levelNote: 2}
	slices.SortStableFunc(c.report.Findings, func(a, b finding) int { return order[a.Level] - order[b.Level] })
	count := map[string]int{}
	for _, f := range c.report.Findings {
		count[f.Level]++
		subject := ""
		if f.Subject != "" {
			subject = f.Subject + ": "
		}
		fmt.Fprintf(c.env.Stdout, "%-8s %s: %s%s\n", f.Level, f.Check, subject, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(c.env.Stdout, "         fix: %s\n", f.Fix)
		}
	}
	_, err := fmt.Fprintf(c.env.Stdout, "%d problems, %d warnings, %d notes\n", count[levelProblem], count[levelWarning], count[levelNote])
	return err
}

func printSanTables(out io.Writer, interfaces []sanInterface, paths []sanPath) error {
	w := newTable(out)
	fmt.Fprintln(w, "INTERFACE\tSTATE\tMTU\tSPEED\tDRIVER\tMAC")
	for _, i := range interfaces {
		speed := "-"
		if i.Speed > 0 {
			speed = fmt.Sprintf("%d Mbit/s", i.Speed)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", i.Name, i.State, i.MTU, speed, orDash(i.Driver), i.MAC)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(paths) > 0 {
		fmt.Fprintln(out)
		w = newTable(out)
		fmt.Fprintln(w, "ADDRESS\tINTERFACE\tMAC\tMTU\tSECTORS\tCARRIES\tBUFFERS\tLOSS\tRTT\tSERIAL")
		for _, p := range paths {
			loss := "-"
			if p.Sent > 0 {
				loss = fmt.Sprintf("%.3g%%", 100*float64(p.Lost)/float64(p.Sent))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%.3f ms\t%s\n", p.Address, p.Interface, p.MAC, p.MTU, p.Sectors, p.Carries, p.BufferCount, loss, p.RTT, dash(p.Serial))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
