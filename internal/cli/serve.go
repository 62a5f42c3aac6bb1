package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/internal/config"
	"goaoe/internal/config/foreign"
)

const serveLong = `Serve what a configuration file, the command line, or both say, in the foreground, until SIGINT or SIGTERM.

An export on the command line is ADDRESS=SOURCE: a file or block device, UUID=..., LABEL=..., PARTUUID=... or
PARTLABEL=... of one, or mem:SIZE (memory, for tests). Without ADDRESS= it gets the next free slot. The flags of storage are for
these exports; those of the file have their own settings.

Without -c the file is read only if there is no export on the command line. With a file, interfaces and sources that do not exist
yet are waited for; without one they are an error, unless --wait is given. When everything that can be served is
served, a line "goaoe: ready: ..." goes to stderr. SIGHUP reads the file again and touches only what changed; a file with errors
changes nothing. SIGINT and SIGTERM finish the requests in flight; a second one ends at once.

The file may be a ggaoed.conf or a qaoed.conf, too, which is told by what is in it. goaoe convert makes a native file of it.`

const serveExample = `  goaoe serve                                   what /etc/goaoe/goaoe.toml says
  goaoe serve -i eth1 e0.1=/dev/sdb e0.2=UUID=2b1c...
  goaoe serve -c lab.toml -i eth1,vlan* --read-only e7.0=/srv/image.img`

// serveFlags are the flags of serve and export that concern the process, and storage of exports on the command line.
type serveFlags struct {
	file       string
	format     string
	interfaces []string
	wait       bool
	idle       bool
	force      bool
	direct     bool
	writeCache bool
	writeNow   func() string
	readOnly   bool
	queue      int
	iops       int
	bandwidth  string
	accept     []string
	process    processFlags
}

func newServeCmd(env *Env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:     "serve [-c FILE] [-i IF,...] [ADDRESS=SOURCE ...]",
		Short:   "Serve exports in the foreground",
		Long:    serveLong,
		Example: serveExample,
		GroupID: groupServe,
		RunE:    func(cmd *cobra.Command, list []string) error { return runServe(env, cmd, &f, list) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "config", "c", "", "configuration file (default "+config.DefaultFile+")")
	fs.StringVar(&f.format, "format", "auto", formatHelp)
	fs.StringSliceVarP(&f.interfaces, "interface", "i", nil, "interfaces, by name or glob, for exports that name none themselves")
	fs.BoolVar(&f.wait, "wait", false, "wait for what does not exist yet, also without a file")
	fs.BoolVar(&f.idle, "idle", false, "start with nothing to serve: exports are added by goaoe add")
	fs.BoolVar(&f.direct, "direct", false, "bypass the page cache")
	fs.BoolVar(&f.writeCache, "write-cache", false, "acknowledge writes before they are durable")
	f.writeNow = writeNowFlag(fs, new(string))
	fs.BoolVar(&f.readOnly, "read-only", false, "refuse writes")
	fs.BoolVar(&f.force, "force", false, "serve a device that is in use, and an address that another target has")
	fs.IntVar(&f.queue, "queue-length", 0, "requests that an export holds at a time")
	fs.IntVar(&f.iops, "initiator-iops", 0, "requests per second that each initiator gets at most; 0 is no limit")
	fs.StringVar(&f.bandwidth, "initiator-bandwidth", "", "bytes per second that each initiator reads and writes at most, e.g. 50M")
	fs.StringSliceVar(&f.accept, "accept", nil, "initiators (Ethernet addresses) that are served; others are not")
	f.process.register(fs)
	return cmd
}

// storageFlags are the flags that only concern exports on the command line, and the settings they stand for.
func (f *serveFlags) storage(cmd *cobra.Command) (settings, given []string) {
	add := func(flag, key, value string) {
		if cmd.Flags().Changed(flag) {
			settings, given = append(settings, key+"="+value), append(given, "--"+flag)
		}
	}
	add("direct", "direct-io", fmt.Sprint(f.direct))
	add("write-cache", "write-cache", fmt.Sprint(f.writeCache))
	add("write-now", "write-now", f.writeNow())
	add("read-only", "read-only", fmt.Sprint(f.readOnly))
	add("force", "force", fmt.Sprint(f.force))
	add("queue-length", "queue-length", fmt.Sprint(f.queue))
	add("initiator-iops", "initiator-iops", fmt.Sprint(f.iops))
	add("initiator-bandwidth", "initiator-bandwidth", f.bandwidth)
	add("accept", "accept", strings.Join(f.accept, ","))
	add("io-engine", "io-engine", f.process.ioEngine)
	return settings, given
}

func runServe(env *Env, cmd *cobra.Command, f *serveFlags, list []string) error {
	format, err := foreign.ParseFormat(f.format, foreign.Served)
	if err != nil {
		return Usagef("--format: %w", err)
	}
	settings, given := f.storage(cmd)
	if len(list) == 0 && len(given) > 0 {
		return Usagef("%s has no effect without an export on the command line", strings.Join(given, ", ")).
			WithHint("set it in the file")
	}
	file := f.file
	if f.idle && len(list) > 0 {
		return Usagef("--idle starts with nothing to serve, but %s is named", strings.Join(list, ", ")).WithHint("leave one of them out")
	}
	if file == "" && len(list) == 0 && !f.idle {
		if file = config.FilePath(env.Sysroot); file == "" {
			return Failf("there is nothing to serve: %s does not exist and no export is named", config.DefaultFile).
				WithHint("try: goaoe serve -i eth1 e0.1=/dev/sdb, or write a file: goaoe init > " + config.DefaultFile)
		}
	}
	if len(list) > 0 && file == "" && len(f.interfaces) == 0 {
		return Usagef("no interface is named").WithHint("e.g. goaoe serve -i eth1 " + strings.Join(list, " "))
	}
	parse := func(files config.Files) (*config.Config, config.Problems) {
		cfg, problems := foreign.Parse(files.Main.Name, files.Main.Data, format, config.Options{Sysroot: env.Sysroot, Idle: f.idle, DropIns: files.DropIns,
			Args: config.Args{Interfaces: f.interfaces, Exports: list, Settings: settings}})
		f.process.apply(cmd.Flags(), cfg)
		return cfg, problems
	}
	if file != "" {
		sayFormat(env, file, format)
	}
	p := process{env: env, file: file, parse: parse, strict: file == "" && !f.wait && !f.idle, fallback: file == "" && !cmd.Flags().Changed("state-dir"),
		socket: socketChoice{given: f.process.socket, optional: file == ""}, name: "goaoe serve"}
	return p.run()
}
