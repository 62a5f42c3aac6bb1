package cli

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"goaoe/internal/control"
	"goaoe/internal/stats"
)

const ggaoectlUsage = `[-c FILE] COMMAND [ARG...]
  stats [NAME...]           counters of devices and interfaces
  monitor [SECONDS [COUNT]] what happens, again and again
  reload                    read the configuration anew
  show-config NAME...       the config string of devices
  show-macmask NAME...      their MAC mask lists
  show-reserve NAME...      their reserve lists
  clear-config NAME...      empty the config string of devices
  clear-macmask NAME...     their MAC mask lists
  clear-reserve NAME...     their reserve lists
NAME is the name of a section of ggaoed.conf, an address such as 0.1, or a pattern`

// runGgaoectl is ggaoectl by the commands of goaoe. -c is taken and not needed: the daemon knows its file.
func runGgaoectl(env *Env, args []string) int {
	opts, rest, err := letters("c:hV").getopt(shortened(args, map[string]string{"config": "c", "help": "h", "version": "V"}))
	switch {
	case err != nil:
		return usage(env, ggaoectlUsage, err)
	case has(opts, 'h'):
		fmt.Fprintf(env.Stdout, "usage: ggaoectl %s\n", ggaoectlUsage)
		return ExitOK
	case has(opts, 'V'):
		fmt.Fprintf(env.Stdout, "ggaoectl: goaoe %s\n", Version)
		return ExitOK
	case len(rest) == 0:
		return usage(env, ggaoectlUsage, fmt.Errorf("no command is given"))
	}
	cmd, names := rest[0], rest[1:]
	switch cmd {
	case "stats":
		return report(env, asFailure(ggaStats(env, names)))
	case "monitor":
		return ggaMonitor(env, names)
	case "reload":
		return Run(env, []string{"reload"})
	}
	what, isShow := strings.CutPrefix(cmd, "show-")
	clear, isClear := strings.CutPrefix(cmd, "clear-")
	if isClear {
		what = clear
	}
	if !isShow && !isClear || !slices.Contains([]string{"config", "macmask", "reserve"}, what) {
		return usage(env, ggaoectlUsage, fmt.Errorf("there is no command %q", cmd))
	}
	if len(names) == 0 {
		return usage(env, ggaoectlUsage, fmt.Errorf("%s needs the name of a device", cmd))
	}
	if isClear {
		if what == "macmask" {
			what = "mask"
		}
		native := []string{"clear", what, "--"}
		if what == "reserve" { // ggaoectl asks nobody
			native = []string{"clear", what, "--force", "--"}
		}
		return Run(env, append(native, names...))
	}
	return report(env, asFailure(ggaShow(env, what, names)))
}

// ggaMonitor is goaoe monitor with the count where ggaoectl has it.
func ggaMonitor(env *Env, args []string) int {
	native := []string{"monitor"}
	if len(args) > 1 && strings.Trim(args[1], "0123456789") == "" {
		native = append(native, "-c", args[1])
		args = append(args[:1:1], args[2:]...)
	}
	return Run(env, append(native, args...))
}

// named tells whether an export or interface is meant by one of the names; without any all are.
func named(names []string, candidates ...string) bool {
	if len(names) == 0 {
		return true
	}
	for _, n := range names {
		for _, c := range candidates {
			if ok, err := path.Match(n, c); c != "" && (ok && err == nil || n == c) {
				return true
			}
		}
	}
	return false
}

// ggaStats prints one counter per line, as "NAME COUNTER VALUE", with ggaoed's names of them. Nothing is printed for names that there
// are none of: scripts find out so what is exported.
func ggaStats(env *Env, names []string) error {
	c := control.NewClient(control.FindSocket(env.Sysroot))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
	defer cancel()
	s, err := c.Stats(ctx)
	if err != nil {
		return controlError(err)
	}
	line := func(name, counter string, v uint64) { fmt.Fprintf(env.Stdout, "%s %s %d\n", name, counter, v) }
	for _, e := range s.Exports {
		addr := strings.TrimPrefix(e.Address, "e")
		if !named(names, e.Name, addr, e.Address) {
			continue
		}
		name := e.Name
		if name == "" {
			name = addr
		}
		for _, v := range ggaExport(&e.ExportSnapshot) {
			line(name, v.name, v.n)
		}
	}
	for _, p := range s.Interfaces {
		if !named(names, p.Name) {
			continue
		}
		for _, v := range ggaPort(&p.PortSnapshot) {
			line(p.Name, v.name, v.n)
		}
	}
	return nil
}

type counter struct {
	name string
	n    uint64
}

// ggaExport names the counters of an export as ggaoed does; times are microseconds.
func ggaExport(e *stats.ExportSnapshot) []counter {
	l := &e.Latency
	return []counter{
		{"read_cnt", e.Reads}, {"read_bytes", e.ReadBytes}, {"read_time", l.Read.SumNs / 1000},
		{"write_cnt", e.Writes}, {"write_bytes", e.WriteBytes}, {"write_time", l.Write.SumNs / 1000},
		{"other_cnt", e.Others + e.Flushes + e.Discards}, {"other_time", (l.Other.SumNs + l.Flush.SumNs) / 1000},
		{"io_slots", e.Storage.Ops}, {"io_runs", e.Storage.Batches},
		{"queue_length", e.InFlight + e.Queued}, {"queue_stalled", e.Stalls}, {"queue_over", e.Drops[stats.DropFull.String()]},
		{"ata_err", e.Errors}, {"proto_err", e.Rejects},
	}
}

// ggaPort does the same for an interface.
func ggaPort(p *stats.PortSnapshot) []counter {
	ignored := p.Drops[stats.DropAddress.String()] + p.Drops[stats.DropResponse.String()]
	return []counter{
		{"rx_cnt", p.RxFrames}, {"rx_bytes", p.RxBytes}, {"rx_runs", p.RxBatches}, {"rx_buffers_full", p.KernelDrops},
		{"tx_cnt", p.TxFrames}, {"tx_bytes", p.TxBytes}, {"tx_runs", p.TxBatches}, {"tx_buffers_full", p.TxFull},
		{"dropped", p.Drops.Total() - ignored}, {"ignored", ignored},
	}
}

// ggaShow prints a part of the state of exports, as "NAME: VALUE".
func ggaShow(env *Env, what string, names []string) error {
	c := control.NewClient(control.FindSocket(env.Sysroot))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
	defer cancel()
	list, err := c.Exports(ctx)
	if err != nil {
		return controlError(err)
	}
	found, known := false, map[string]bool{}
	for _, e := range list {
		addr := strings.TrimPrefix(e.Address, "e")
		name := e.Name
		if name == "" {
			name = addr
		}
		known[name] = true
		if !named(names, e.Name, addr, e.Address) {
			continue
		}
		found = true
		value := map[string]string{"config": e.ConfigString, "macmask": strings.Join(e.Mask, " "), "reserve": strings.Join(e.Reserve, " ")}[what]
		fmt.Fprintf(env.Stdout, "%s: %s\n", name, value)
	}
	if !found {
		return Failf("no device is called %s", strings.Join(names, ", ")).WithHint("there is " + strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return nil
}
