package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/tune"
)

const tuneLong = `Look at the machine that serves exports, or will, and say what would make it serve faster, why, and the command that does it. What is served is
asked of the running daemon, else read from the configuration (with --config always); interfaces that are named are looked at in place of theirs.
Nothing is changed without --apply.

--apply makes the changes, says of each what the value was and the command that takes it back, and goes on when one fails. What has a price, or what
others have to agree to ("your choice"), is changed only when its topic is named by --only; the MTU only by --mtu, and nothing but the MTU by
--mtu N --only mtu. All of it lasts until the next boot; --persist also writes what this call changes to ` + tune.SysctlFile + `,
` + tune.UdevFile + ` and ` + tune.TmpfilesFile + `, and says what cannot be kept that way.

goaoe doctor finds what is wrong; this finds what is slow. The exit status is 1 when there are warnings or problems (notes do not count), with
--apply when nothing could be done, and 3 when some changes were not made.`

const tuneExample = `  goaoe tune
  goaoe tune eth1 --only ring,interrupts
  goaoe tune --apply --persist
  goaoe tune eth1 --mtu 9000 --only mtu --apply`

// tuneFlags are the flags of the command.
type tuneFlags struct {
	file, socket                        string
	json, verbose, list, apply, persist bool
	only                                []string
	mtu                                 int
}

func newTuneCmd(env *Env) *cobra.Command {
	var f tuneFlags
	cmd := &cobra.Command{
		Use:     "tune [INTERFACE ...]",
		Short:   "Say what of this machine makes it serve slowly, and change it",
		Long:    tuneLong,
		Example: tuneExample,
		GroupID: groupTools,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return liveInterfaces(env), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, names []string) error { return runTune(cmd.Context(), env, &f, names) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&f.json, "json", false, "print a JSON object")
	fs.BoolVar(&f.list, "list", false, "list the topics")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "tell also what is fine")
	fs.BoolVar(&f.apply, "apply", false, "make the changes")
	fs.BoolVar(&f.persist, "persist", false, "with --apply: keep them over a boot")
	fs.StringSliceVar(&f.only, "only", nil, "these topics alone, see --list; what is a choice is then applied, too")
	fs.IntVar(&f.mtu, "mtu", 0, "the MTU that the interfaces are to have; all of the path has to take it")
	fs.StringVarP(&f.file, "config", "c", "", "configuration file, in place of what a daemon serves (without one "+config.DefaultFile+")")
	fs.StringVar(&f.socket, "socket", "", "control socket of the daemon (default "+control.DefaultSocket+")")
	_ = cmd.RegisterFlagCompletionFunc("only", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, t := range tune.Topics {
			out = append(out, t.Name+"\t"+t.Help)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// tuneReport is what --json prints.
type tuneReport struct {
	Format  int           `json:"format"`
	OK      bool          `json:"ok"` // no warnings, no problems; with --apply: nothing failed
	Advice  []tune.Advice `json:"advice"`
	Results []tune.Result `json:"results,omitempty"` // of --apply
	Files   []string      `json:"files,omitempty"`   // written by --persist
}

func runTune(ctx context.Context, env *Env, f *tuneFlags, names []string) error {
	known := []string{}
	for _, t := range tune.Topics {
		known = append(known, t.Name)
	}
	if f.list && f.json {
		return printJSON(env.Stdout, tune.Topics)
	}
	if f.list {
		w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
		for _, t := range tune.Topics {
			fmt.Fprintf(w, "%s\t%s\n", t.Name, t.Help)
		}
		return w.Flush()
	}
	for _, t := range f.only {
		if !slices.Contains(known, t) {
			return Usagef("there is no topic %q", t).WithHint("the topics are " + strings.Join(known, ", "))
		}
	}
	switch {
	case f.persist && !f.apply:
		return Usagef("--persist keeps what --apply changes").WithHint("goaoe tune --apply --persist")
	case f.mtu != 0 && (f.mtu < config.MinMTU || f.mtu > 65535):
		return Usagef("--mtu %d: must be %d to 65535", f.mtu, config.MinMTU)
	case f.mtu != 0 && len(names) == 0:
		return Usagef("--mtu is for interfaces that are named").WithHint(fmt.Sprintf("e.g. goaoe tune eth1 --mtu %d --only mtu --apply", f.mtu))
	case f.mtu != 0 && len(f.only) > 0 && !slices.Contains(f.only, tune.MTU):
		return Usagef("--mtu %d: --only leaves the topic mtu out", f.mtu).WithHint("--only " + strings.Join(append([]string{tune.MTU}, f.only...), ","))
	}
	p := examine(ctx, env, f.file, f.socket)
	defer p.client.Close()
	if f.file != "" { // it counts, whatever runs
		cfg, err := diffFile(env, f.file)
		if err != nil {
			return err
		}
		p.status, p.exports, p.interfaces, p.stats, p.cfg = nil, nil, nil, nil, cfg
	}
	m := &tune.Machine{Root: env.Sysroot, Use: p.use(names)}
	if err := ofThisNamespace(env, m.Use.Interfaces); err != nil {
		return err
	}
	m.Card = openCard(env)
	if m.Card != nil {
		defer m.Card.Close()
	}
	if len(m.Use.Interfaces) == 0 {
		why := "no daemon serves, no configuration says what will be, and no interface is named"
		switch {
		case p.status != nil:
			why = "the daemon serves on no interface"
		case p.cfg != nil:
			why = "no interface of " + p.file + " is there"
		case p.daemonErr != nil && p.daemonErr.Code != control.CodeGone:
			why = "the daemon cannot be asked (" + oneLine(p.daemonErr.Message) + ")"
		case p.file != "":
			why = p.file + " cannot be read as a configuration (goaoe check says why)"
		}
		fmt.Fprintf(env.Stderr, "goaoe: %s: only the machine as a whole is looked at\n", why)
	}
	list, err := p.advice(ctx, m, f)
	if err != nil {
		return err
	}
	report := tuneReport{Format: 1, OK: true, Advice: list}
	if f.apply {
		return applyTune(env, m, f, report)
	}
	for _, a := range list {
		report.OK = report.OK && (a.Level == tune.OK || a.Level == tune.Note)
	}
	if f.json {
		if err := printJSON(env.Stdout, report); err != nil {
			return err
		}
	} else {
		printAdvice(env, list, f.verbose)
	}
	if !report.OK {
		return Exit(ExitFailure)
	}
	return nil
}

// openCard opens what asks the drivers; tests have their own.
var openCard = func(env *Env) tune.Card {
	if env.Sysroot != "" {
		return nil
	}
	c, err := tune.OpenCard()
	if err != nil {
		return nil // what the drivers would tell is left out
	}
	return c
}

// ofThisNamespace holds the interfaces against those that this process can use: /sys may be that of another network namespace, whose interfaces would be changed.
func ofThisNamespace(env *Env, names []string) error {
	for _, n := range names {
		index, err := readNumber(filepath.Join("/", env.Sysroot, "/sys/class/net", n, "ifindex"))
		if env.Sysroot != "" {
			if err != nil {
				return Failf("there is no interface %s", n).WithHint("ip link shows those that are there")
			}
			continue
		}
		i, nerr := net.InterfaceByName(n)
		switch {
		case nerr != nil && err != nil:
			return Failf("there is no interface %s", n).WithHint("ip link shows those that are there")
		case nerr != nil || err != nil || int(index) != i.Index:
			return Failf("%s is not that of /sys, which belongs to another network namespace", n).WithHint("ip netns exec NAME goaoe tune, or mount -t sysfs none /sys")
		}
	}
	return nil
}

// use collects what is served, or will be.
func (p *patient) use(names []string) tune.Use {
	u := tune.Use{Interfaces: names, Frames: map[string]int{}, Lanes: 1}
	if len(names) == 0 {
		u.Interfaces = p.usedInterfaces()
	}
	number := func(text string) int {
		n, _ := strconv.Atoi(text) // what is no number is not counted
		return n
	}
	if p.status != nil {
		u.Lanes = p.status.Lanes
		if p.env.Sysroot == "" {
			u.PID = p.status.PID
		}
	} else if p.cfg != nil {
		u.Lanes = p.cfg.Global.Lanes
	}
	for _, e := range p.exports {
		if e.State == control.StateDisabled {
			continue
		}
		queue := number(e.Settings["queue-length"])
		u.Disks = append(u.Disks, tune.Disk{Address: e.Address, Path: e.Path, Direct: e.Settings["direct-io"] == "true", ReadOnly: e.Settings["read-only"] == "true", Queue: queue})
		for _, i := range e.Served {
			u.Frames[i] += queue * max(1, len(e.Users))
		}
	}
	if p.status != nil || p.cfg == nil {
		return u
	}
	for i := range p.cfg.Exports {
		e := &p.cfg.Exports[i]
		if _, mem := config.MemSize(e.Source); !mem {
			if path, err := config.ResolveSource(e.Source, p.env.Sysroot); err == nil {
				path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, p.root), "/")
				u.Disks = append(u.Disks, tune.Disk{Address: e.Addr.String(), Path: path, Direct: e.Direct, ReadOnly: e.ReadOnly, Queue: e.QueueLength})
			}
		}
		for _, n := range u.Interfaces {
			if e.Wants(n) {
				u.Frames[n] += e.QueueLength
			}
		}
	}
	return u
}

// advice looks at the machine, and adds what the checks of goaoe doctor say of the same topics.
func (p *patient) advice(ctx context.Context, m *tune.Machine, f *tuneFlags) ([]tune.Advice, error) {
	list := m.Look()
	for _, c := range []struct {
		topic string
		run   func(context.Context, *patient) []finding
	}{{tune.Sockets, checkSendBuffer}, {tune.Limits, checkMemlock}, {tune.URing, checkURing}, {tune.Disks, checkCache}} {
		found := c.run(ctx, p)
		if len(found) == 0 && c.topic == tune.URing {
			list = append(list, tune.Advice{Topic: c.topic, Level: tune.OK, Is: "io_uring may be used"})
		}
		for _, x := range found {
			a := tune.Advice{Topic: c.topic, Subject: x.Subject, Level: x.Level, Is: x.Text, Command: x.Fix}
			if x.Fix != "" {
				a.How = tune.ByHand
			}
			a, _ = m.Sysctl(a, x.Fix)
			if a.Topic == tune.URing && a.Setting != nil {
				a.How, a.Why = tune.Choice, "it was switched off for all programs of the machine, perhaps on purpose: it has had security holes"
			}
			list = append(list, a)
		}
	}
	if f.mtu != 0 {
		list = slices.DeleteFunc(list, func(a tune.Advice) bool { return a.Topic == tune.MTU })
		for _, n := range m.Use.Interfaces {
			a, err := m.SetMTU(n, f.mtu)
			if err != nil {
				return nil, Failf("--mtu %d: %w", f.mtu, err)
			}
			list = append(list, a)
		}
	}
	if len(f.only) > 0 {
		list = slices.DeleteFunc(list, func(a tune.Advice) bool { return !slices.Contains(f.only, a.Topic) })
	}
	tune.Sort(list)
	return list, nil
}

// printAdvice prints the advice for people.
func printAdvice(env *Env, list []tune.Advice, verbose bool) {
	auto, choice, hand, ok := 0, 0, 0, 0
	for _, a := range list {
		switch a.How {
		case tune.Auto:
			auto++
		case tune.Choice:
			choice++
		case tune.ByHand:
			hand++
		default:
			if a.Level == tune.OK {
				ok++
			} else {
				hand++ // nothing here can mend it
			}
		}
		if a.Level == tune.OK && !verbose {
			continue
		}
		subject := ""
		if a.Subject != "" {
			subject = " " + a.Subject
		}
		fmt.Fprintf(env.Stdout, "%-8s %s%s: %s\n", a.Level, a.Topic, subject, a.Is)
		if a.Should != "" {
			fmt.Fprintf(env.Stdout, "         better: %s\n", a.Should)
		}
		if a.Why != "" {
			fmt.Fprintf(env.Stdout, "         why: %s\n", a.Why)
		}
		mark := map[string]string{tune.Auto: "do", tune.Choice: "your choice (--only " + a.Topic + ")", tune.ByHand: "by hand"}[a.How]
		if a.Command != "" {
			fmt.Fprintf(env.Stdout, "         %s: %s\n", mark, a.Command)
		}
	}
	fmt.Fprintf(env.Stdout, "%d to change (goaoe tune --apply), %d to choose, %d by hand, %d fine\n", auto, choice, hand, ok)
}

// applyTune makes the changes and says what was done.
func applyTune(env *Env, m *tune.Machine, f *tuneFlags, report tuneReport) error {
	var todo []tune.Advice
	for _, a := range report.Advice {
		if a.Setting != nil && (a.How == tune.Auto || a.How == tune.Choice && slices.Contains(f.only, a.Topic)) {
			todo = append(todo, a)
		}
	}
	report.Results = tune.Apply(todo)
	refused := slices.ContainsFunc(report.Results, func(r tune.Result) bool { return r.Error != "" })
	var errs []error
	if f.persist {
		report.Files, errs = m.Keep(todo, report.Results)
	}
	failed, done := len(errs), 0
	for _, r := range report.Results {
		if r.Error != "" {
			failed++
		} else {
			done++
		}
	}
	report.OK = failed == 0
	if f.json {
		if err := printJSON(env.Stdout, report); err != nil {
			return err
		}
	} else {
		printTuned(env, f, report)
		for _, err := range errs {
			fmt.Fprintf(env.Stderr, "goaoe: not kept over a boot: %s\n", oneLine(err.Error()))
		}
	}
	if refused && os.Geteuid() != 0 {
		fmt.Fprintln(env.Stderr, "goaoe: --apply needs root")
	}
	switch {
	case failed == 0:
		return nil
	case done == 0:
		return Exit(ExitFailure)
	}
	return Exit(ExitPartly)
}

func printTuned(env *Env, f *tuneFlags, report tuneReport) {
	out := env.Stdout
	done, kept := 0, 0
	var undo []string
	for _, r := range report.Results {
		if r.Undo != "" {
			undo = append(undo, r.Undo)
		}
		subject := r.Topic
		if r.Subject != "" {
			subject += " " + r.Subject
		}
		if r.Error != "" {
			fmt.Fprintf(out, "failed   %s: %s: %s\n", subject, r.Command, oneLine(r.Error))
			continue
		}
		done++
		fmt.Fprintf(out, "done     %s: %s (was %s)\n", subject, r.Command, r.Was)
		if r.Kept != "" {
			kept++
			fmt.Fprintf(out, "         kept in %s\n", r.Kept)
		} else if r.Lost != "" {
			fmt.Fprintf(out, "         not kept: %s\n", r.Lost)
		}
	}
	fmt.Fprintf(out, "%d of %s made\n", done, count(len(report.Results), "change"))
	if len(undo) > 0 {
		slices.Reverse(undo)
		fmt.Fprintln(out, "To take back what was done:")
		for _, u := range undo {
			fmt.Fprintf(out, "  %s\n", u)
		}
	}
	if len(report.Files) > 0 {
		fmt.Fprintf(out, "  rm %s\n", strings.Join(report.Files, " "))
	}
	if done > kept && !f.persist {
		fmt.Fprintln(out, "The next boot forgets it. To keep it, take it back and make it again with --persist.")
	}
}
