package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
	"goaoe/internal/control"
	"goaoe/internal/stats"
)

const ggaoectlUsage = `[-c FILE] COMMAND [ARG...]
  stats [NAME...]              counters of devices and interfaces
  monitor [SECONDS] [NAME...]  what happens, again and again
  reload                       read the configuration anew
  show-config [NAME...]        the config strings of devices
  show-macmask [NAME...]       their MAC mask lists
  show-reserve [NAME...]       their reserve lists
  clear-stats [NAME...]        begin to count anew
  clear-config NAME...         empty the config strings of devices
  clear-macmask NAME...        their MAC mask lists
  clear-reserve NAME...        their reserve lists
NAME is the name of a section of ggaoed.conf, an address such as 0.1, or a pattern`

// runGgaoectl is ggaoectl by the commands of goaoe. -V is not ggaoectl's.
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
	socket, err := ggaSocket(env, opts['c'])
	if err != nil {
		return report(env, asFailure(err))
	}
	run := func(native ...string) int {
		return Run(env, append(append(native, "--socket", socket, "--"), names...))
	}
	switch cmd {
	case "stats":
		return report(env, asFailure(ggaStats(env, socket, names)))
	case "monitor":
		return run("monitor")
	case "reload":
		return run("reload")
	case "clear-stats":
		return run("clear", "stats")
	}
	what, isShow := strings.CutPrefix(cmd, "show-")
	clear, isClear := strings.CutPrefix(cmd, "clear-")
	if isClear {
		what = clear
	}
	if !isShow && !isClear || !slices.Contains([]string{"config", "macmask", "reserve"}, what) {
		return usage(env, ggaoectlUsage, fmt.Errorf("there is no command %q", cmd))
	}
	if isShow {
		return report(env, asFailure(ggaShow(env, socket, what, names)))
	}
	if len(names) == 0 {
		return usage(env, ggaoectlUsage, fmt.Errorf("%s needs the name of a device", cmd))
	}
	switch what {
	case "macmask":
		return run("clear", "mask")
	case "reserve": // ggaoectl asks nobody
		return run("clear", "reserve", "--force")
	}
	return run("clear", "config")
}

// ggaSocket returns the socket of the daemon: that of the configuration file, as in ggaoectl, unless the environment names one. The
// file may be missing where its name was not given.
func ggaSocket(env *Env, files []string) (string, error) {
	if s := os.Getenv(control.SocketEnv); s != "" {
		return s, nil
	}
	file := filepath.Join("/", env.Sysroot, ggaoedFile)
	if len(files) > 0 {
		file = files[len(files)-1]
	} else if !exists(file) {
		return control.FindSocket(env.Sysroot), nil
	}
	cfg, _, problems := foreign.Load(file, foreign.Auto, config.Options{Sysroot: env.Sysroot})
	if err := problems.Err(); err != nil {
		return "", err
	}
	if cfg.Control.Socket == control.DefaultSocket || cfg.Control.Socket == "" {
		return control.FindSocket(env.Sysroot), nil
	}
	return cfg.Control.Socket, nil
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

// ggaStats prints the counters as ggaoectl does: a block for each device and interface, "# Statistics for device NAME" and then
// "COUNTER: VALUE" by its names of them. Nothing is printed for names that there are none of: scripts find out so what is exported.
func ggaStats(env *Env, socket string, names []string) error {
	c := control.NewClient(socket)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
	defer cancel()
	s, err := c.Stats(ctx)
	if err != nil {
		return controlError(err)
	}
	block := func(kind, name string, counters []counter) {
		fmt.Fprintf(env.Stdout, "# Statistics for %s %s\n", kind, name)
		for _, c := range counters {
			fmt.Fprintf(env.Stdout, "%s: %s\n", c.name, c.value)
		}
		fmt.Fprintln(env.Stdout)
	}
	for _, e := range s.Exports {
		addr := strings.TrimPrefix(e.Address, "e")
		if named(names, e.Name, addr, e.Address) {
			block("device", cmp.Or(e.Name, addr), ggaExport(&e.ExportSnapshot))
		}
	}
	for _, p := range s.Interfaces {
		if named(names, p.Name) {
			block("interface", p.Name, ggaPort(&p.PortSnapshot))
		}
	}
	return nil
}

type counter struct{ name, value string }

func figure(name string, n uint64) counter { return counter{name, strconv.FormatUint(n, 10)} }

// span is a time, in seconds with six digits that count.
func span(name string, ns uint64) counter {
	return counter{name, strconv.FormatFloat(float64(ns)/1e9, 'g', 6, 64)}
}

// ggaExport names the counters of an export as ggaoed 1.1 does.
func ggaExport(e *stats.ExportSnapshot) []counter {
	l := &e.Latency
	return []counter{
		figure("read_cnt", e.Reads), figure("read_bytes", e.ReadBytes), span("read_time", l.Read.SumNs),
		figure("write_cnt", e.Writes), figure("write_bytes", e.WriteBytes), span("write_time", l.Write.SumNs),
		figure("other_cnt", e.Others+e.Flushes+e.Discards), span("other_time", l.Other.SumNs+l.Flush.SumNs),
		figure("io_slots", e.Storage.Ops), figure("io_runs", e.Storage.Batches),
		figure("queue_length", e.InFlight+e.Queued), figure("queue_stall", e.Stalls), figure("queue_over", e.Drops[stats.DropFull.String()]),
		figure("ata_err", e.Errors), figure("proto_err", e.Rejects),
	}
}

// ggaPort does the same for an interface. broadcast, which ggaoed counts too, is not counted here.
func ggaPort(p *stats.PortSnapshot) []counter {
	ignored := p.Drops[stats.DropAddress.String()] + p.Drops[stats.DropResponse.String()]
	return []counter{
		figure("rx_cnt", p.RxFrames), figure("rx_bytes", p.RxBytes), figure("rx_runs", p.RxBatches),
		figure("tx_cnt", p.TxFrames), figure("tx_bytes", p.TxBytes), figure("tx_runs", p.TxBatches),
		figure("rx_buffers_full", p.KernelDrops), figure("tx_buffers_full", p.TxFull),
		figure("dropped", p.Drops.Total()-ignored), figure("ignored", ignored),
	}
}

// ggaShow prints a part of the state of exports as ggaoectl does: "Device NAME:", then the config string as a dump of 16 bytes a line, or
// a list of addresses, four a line, and an empty line.
func ggaShow(env *Env, socket, what string, names []string) error {
	c := control.NewClient(socket)
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
		name := cmp.Or(e.Name, addr)
		known[name] = true
		if !named(names, e.Name, addr, e.Address) {
			continue
		}
		found = true
		fmt.Fprintf(env.Stdout, "Device %s:\n", name)
		switch what {
		case "config":
			ggaDump(env, []byte(e.ConfigString))
		case "macmask":
			ggaList(env, e.Mask)
		default:
			ggaList(env, e.Reserve)
		}
		fmt.Fprintln(env.Stdout)
	}
	if !found && len(names) > 0 {
		return Failf("no device is called %s", strings.Join(names, ", ")).WithHint("there is " + strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return nil
}

func ggaDump(env *Env, b []byte) {
	for line := range slices.Chunk(b, 16) {
		text := slices.Clone(line)
		for i, c := range text {
			if c < ' ' || c > '~' {
				text[i] = '.'
			}
		}
		fmt.Fprintf(env.Stdout, "%-48s %s\n", fmt.Sprintf("% x ", line), text)
	}
}

func ggaList(env *Env, macs []string) {
	for line := range slices.Chunk(macs, 4) {
		fmt.Fprintln(env.Stdout, strings.Join(line, " "))
	}
}
