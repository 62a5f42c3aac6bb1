package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/daemon"
)

const exportLong = `Export one file or block device, with the arguments of vblade: as e<SHELF>.<SLOT> on the interface NETIF, in the
foreground, until SIGINT or SIGTERM. A line "e0.1 2048 sectors ..." on stderr tells when it is served.

Writes are on stable storage before they are answered, so -s changes nothing; --write-cache is the opposite. Several interfaces are
written with commas; one process serves them all (with vblade it takes one each). Everything must be there at the start.
An ordinary user needs the right to use packet sockets: setcap cap_net_raw,cap_net_admin+ep /usr/bin/goaoe

The config string, MAC mask and reserve list are kept in --state-dir: by default /var/lib/goaoe, or where that cannot be
written, $XDG_STATE_HOME/goaoe or ~/.local/state/goaoe; where that cannot be written either, they are lost at the end, which is said.`

const exportExample = `  goaoe export 0 1 eth0 /dev/sdb
  goaoe export -r -m 02:00:00:00:00:01,02:00:00:00:00:02 7 0 eth1 image.img`

// exportFlags are the flags of export: vblade's, and some more.
type exportFlags struct {
	buffers, offset, length string
	direct, sync, readOnly  bool
	macs                    []string
	writeCache, force       bool
	writeNow                func() string
	serial, model           string
	iops                    int
	bandwidth               string
	process                 processFlags
}

func newExportCmd(env *Env) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:     "export [-b N] [-o SECTORS] [-l SECTORS] [-d] [-s] [-r] [-m MAC,...] SHELF SLOT NETIF FILE",
		Short:   "Export one file or device, as vblade does",
		Long:    exportLong,
		Example: exportExample,
		GroupID: groupServe,
		Args:    args(cobra.ExactArgs(4), "SHELF SLOT NETIF FILE"),
		RunE:    func(cmd *cobra.Command, list []string) error { return runExport(env, cmd, &f, list) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.buffers, "buffers", "b", "", "requests that initiators may have outstanding, 2 to 1024 (default 64)")
	fs.StringVarP(&f.offset, "offset", "o", "0", "sectors of 512 bytes to skip at the beginning of FILE")
	fs.StringVarP(&f.length, "length", "l", "0", "sectors to export (default: up to the end)")
	fs.BoolVarP(&f.direct, "direct", "d", false, "bypass the page cache")
	fs.BoolVarP(&f.sync, "sync", "s", false, "writes are durable before they are answered: always so")
	fs.BoolVarP(&f.readOnly, "read-only", "r", false, "refuse writes")
	fs.StringSliceVarP(&f.macs, "mac", "m", nil, "initiators (Ethernet addresses) that are served; others are not")
	fs.BoolVar(&f.writeCache, "write-cache", false, "acknowledge writes before they are durable")
	f.writeNow = writeNowFlag(fs, new(string))
	fs.BoolVar(&f.force, "force", false, "export a device that is in use, or an address that another target has")
	fs.IntVar(&f.iops, "initiator-iops", 0, "requests per second that each initiator gets at most; 0 is no limit")
	fs.StringVar(&f.bandwidth, "initiator-bandwidth", "", "bytes per second that each initiator reads and writes at most, e.g. 50M")
	fs.StringVar(&f.serial, "serial", "", "serial number, up to 20 characters")
	fs.StringVar(&f.model, "model", "", "model, up to 40 characters")
	f.process.register(fs)
	return cmd
}

// settings returns the export's settings, or what is wrong with the flags.
func (f *exportFlags) settings() ([]string, error) {
	if f.sync && f.writeCache {
		return nil, Usagef("-s and --write-cache contradict each other").WithHint("give one of them")
	}
	set := []string{fmt.Sprintf("direct-io=%v", f.direct), fmt.Sprintf("write-cache=%v", f.writeCache), "write-now=" + f.writeNow(), fmt.Sprintf("read-only=%v", f.readOnly),
		fmt.Sprintf("force=%v", f.force), "io-engine=" + f.process.ioEngine}
	if f.buffers != "" {
		n, err := number("-b", "buffer count", f.buffers, 2, 1024)
		if err != nil {
			return nil, err
		}
		set = append(set, fmt.Sprintf("queue-length=%d", n), fmt.Sprintf("buffer-count=%d", n))
	}
	for _, s := range []struct{ flag, key, value string }{{"-o", "offset", f.offset}, {"-l", "length", f.length}} {
		n, err := number(s.flag, "number of sectors", s.value, 0, math.MaxInt64/512)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			set = append(set, fmt.Sprintf("%s=%ds", s.key, n))
		}
	}
	for _, m := range f.macs {
		if _, err := aoe.ParseMAC(m); err != nil {
			return nil, Usagef("-m: %w", err)
		}
	}
	if len(f.macs) > 0 {
		set = append(set, "accept="+strings.Join(f.macs, ","))
	}
	if f.iops != 0 {
		set = append(set, fmt.Sprintf("initiator-iops=%d", f.iops))
	}
	if f.bandwidth != "" {
		set = append(set, "initiator-bandwidth="+f.bandwidth)
	}
	if f.serial != "" {
		set = append(set, "serial="+f.serial)
	}
	if f.model != "" {
		set = append(set, "model="+f.model)
	}
	return set, nil
}

// number reads a decimal number in a range.
func number(flag, what, text string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, Usagef("%s %q is not a %s from %d to %d", flag, text, what, low, high)
	}
	return n, nil
}

func runExport(env *Env, cmd *cobra.Command, f *exportFlags, list []string) error {
	shelf, err := number("SHELF", "number", list[0], 0, aoe.WildMajor-1)
	if err != nil {
		return asFailure(err)
	}
	slot, err := number("SLOT", "number", list[1], 0, aoe.WildMinor-1)
	if err != nil {
		return asFailure(err)
	}
	settings, err := f.settings()
	if err != nil {
		return asFailure(err)
	}
	addr := aoe.Addr{Major: uint16(shelf), Minor: uint8(slot)}
	file, err := sourceOf(list[3])
	if err != nil {
		return asFailure(err)
	}
	parse := func(files config.Files) (*config.Config, config.Problems) {
		cfg, problems := config.Parse("", nil, config.Options{Sysroot: env.Sysroot, DropIns: files.DropIns,
			Args: config.Args{Interfaces: strings.Split(list[2], ","), Exports: []string{addr.String() + "=" + file}, Settings: settings}})
		f.process.apply(cmd.Flags(), cfg)
		return cfg, problems
	}
	p := process{env: env, name: "goaoe export", parse: parse, strict: true, fallback: !cmd.Flags().Changed("state-dir"),
		socket: socketChoice{given: f.process.socket, off: f.process.socket == ""}}
	p.ready = func(w io.Writer, s daemon.Status) {
		if env.Program != "" { // as vblade tells it, and where
			for _, e := range s.Exports {
				fmt.Fprintf(env.Stdout, "pid %d: %s, %d sectors %s\n", os.Getpid(), e.Address, e.Sectors, map[bool]string{true: "O_RDONLY", false: "O_RDWR"}[e.ReadOnly])
			}
			return
		}
		for _, e := range s.Exports {
			fmt.Fprintf(w, "%s %d sectors of %s on %s\n", e.Address, e.Sectors, e.Source, strings.Join(e.Interfaces, ", "))
		}
	}
	return p.run()
}

// sourceOf makes what vblade's users write a source: a file in the current directory may be called anything, also mem:1G.
func sourceOf(file string) (string, error) {
	if file == "" {
		return "", Failf("FILE is empty").WithHint("name a file or a block device")
	}
	if _, err := os.Stat(file); err == nil && !strings.HasPrefix(file, "/") {
		return "./" + file, nil
	}
	return file, nil
}

// asFailure gives wrong values exit status 1, as vblade does; status 2 stays with wrong shapes.
func asFailure(err error) error {
	var e *ExitError
	if errors.As(err, &e) {
		e.Code = ExitFailure
	}
	return err
}
