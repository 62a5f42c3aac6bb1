package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
	capt "goaoe/internal/capture"
	"goaoe/internal/cli/frames"
	"goaoe/internal/cli/pcap"
	"goaoe/internal/control"
)

const captureLong = `Shows the AoE frames that interfaces receive and send, whoever they are for: one line each with time, interface, initiator, > for
requests and < for replies, target, command, tag, and for replies how the request ended and how long it took. No daemon and no
kernel driver is needed; permission for packet sockets is. It goes on until it is interrupted, for -c frames, or for --duration.

Several targets (SHELF.SLOT, * for every shelf or slot) and addresses of hosts (MAC) may be named: a frame is shown when it
concerns one of these targets and one of these hosts. Commands are ata, config, mask, reserve, or kinds of ATA commands: read, write,
flush, identify, ... Frames of a VLAN have its number behind the interface: eth1.7.

With -w frames go to a file that Wireshark, tshark and tcpdump read (pcapng; the older pcap when the name ends in .pcap), and nothing is
printed. They are kept whole, the data of the disks too; --snap 64 keeps the headers.

Interfaces also take frames that are for other hosts while it runs, unless -p is given. Frames that come faster than they are
written are counted and said at the end. Time is that of the kernel of this machine: between machines compare with care. goaoe trace
shows the frames of the running daemon, with the reasons of what it dropped.`

// capture is a run of goaoe capture.
type capture struct {
	env        *Env
	interfaces []string
	addrs      []aoe.Addr
	macs       []aoe.MAC
	commands   []string
	count      int
	duration   time.Duration
	snap       int
	ring       int // MiB
	modest     bool
	json       bool
	file       string

	decoder frames.Decoder
	shown   int
	write   func(f *capt.Frame, words *frames.Frame) error
	pcap    *pcap.Writer
}

// headers is how much of a frame is taken when it is only put into words: all headers, and most config strings.
const headers = 256

func newCaptureCmd(env *Env) *cobra.Command {
	c := &capture{env: env}
	cmd := &cobra.Command{
		Use:     "capture [ADDRESS|MAC...]",
		Short:   "Show the AoE frames on the wire, or write them to a file",
		Long:    captureLong,
		GroupID: groupWatch,
		Example: "  goaoe capture -i eth1\n  goaoe capture -i eth1 0.1 --command write,flush -c 100\n  goaoe capture -i eth1 --duration 10s -w aoe.pcapng\n" +
			"  goaoe capture -i eth1 -w - | wireshark -k -i -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(args); err != nil {
				return err
			}
			ctx, stop := endless(cmd.Context())
			defer stop()
			return ended(c.run(ctx))
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&c.interfaces, "interface", "i", nil, "interfaces to listen on (default: all Ethernet interfaces that are up)")
	f.StringSliceVar(&c.commands, "command", nil, "only these commands")
	f.IntVarP(&c.count, "count", "c", 0, "end after so many frames")
	f.DurationVar(&c.duration, "duration", 0, "end after this time")
	f.IntVar(&c.snap, "snap", 0, "bytes to keep of each frame (default: everything)")
	f.IntVar(&c.ring, "buffer", 16, "MiB of memory in which frames wait, per interface: 1 to 1024")
	f.BoolVarP(&c.modest, "no-promiscuous", "p", false, "take only frames that are for this host, or from it")
	f.StringVarP(&c.file, "write", "w", "", "write to a pcapng or .pcap file (-: standard output)")
	f.BoolVar(&c.json, "json", false, "print JSON, one object per line")
	return cmd
}

// check reads the arguments.
func (c *capture) check(args []string) error {
	for _, a := range args {
		if mac, err := aoe.ParseMAC(a); err == nil {
			c.macs = append(c.macs, mac)
			continue
		}
		addr, err := parseWild(a)
		if err != nil {
			return Usagef("%q is neither the address of a target, e.g. 0.1 or 0.*, nor of a host, e.g. 02:00:00:00:00:01", a)
		}
		c.addrs = append(c.addrs, addr)
	}
	words := frames.Words()
	for _, w := range c.commands {
		if !slices.Contains(words, strings.ToLower(w)) {
			return Usagef("--command %s: there is no such command", w).WithHint("it is one of " + strings.Join(words, ", "))
		}
	}
	switch {
	case c.count < 0:
		return Usagef("-c %d: must be 1 or more", c.count)
	case c.duration < 0:
		return Usagef("--duration %v: must be more than 0", c.duration)
	case c.snap != 0 && c.snap < 14:
		return Usagef("--snap %d: must be at least 14 bytes, the Ethernet header", c.snap)
	case c.ring < 1 || c.ring > 1024:
		return Usagef("--buffer %d: must be 1 to 1024 MiB", c.ring)
	case c.json && c.file != "":
		return Usagef("--json and -w exclude each other").WithHint("run it twice")
	}
	return nil
}

// filter is what the kernel can know. Of ATA commands it cannot: a reply does not say what it answers.
func (c *capture) filter() capt.Filter {
	f := capt.Filter{Addrs: c.addrs, MACs: c.macs}
	ours := map[string]aoe.Command{"config": aoe.CmdConfig, "mask": aoe.CmdMask, "reserve": aoe.CmdReserve}
	for _, w := range c.commands {
		if cmd := ours[strings.ToLower(w)]; !slices.Contains(f.Commands, cmd) { // all others are ATA, which is 0
			f.Commands = append(f.Commands, cmd)
		}
	}
	return f
}

func (c *capture) run(ctx context.Context) error {
	if len(c.interfaces) == 0 {
		var err error
		if c.interfaces, err = initiator.Interfaces(); err != nil {
			return Failf("%v", err)
		}
		if len(c.interfaces) == 0 {
			return Failf("no Ethernet interface is up").WithHint(`see "ip link"`)
		}
	}
	snap := c.snap
	if c.file == "" && snap == 0 {
		snap = headers
	}
	var sources []*capt.Source
	defer func() {
		for _, s := range sources {
			_ = s.Close() // everything was read
		}
	}()
	slices.Sort(c.interfaces)
	for _, name := range slices.Compact(c.interfaces) {
		s, err := capt.Open(capt.Options{Interface: name, Filter: c.filter(), Snap: snap, RingBytes: c.ring << 20, Promiscuous: !c.modest})
		if err != nil {
			return Failf("%v", err)
		}
		sources = append(sources, s)
	}
	finish, err := c.open()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.env.Stderr, "listening on %s\n", strings.Join(slices.Compact(c.interfaces), ", "))
	if c.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.duration)
		defer cancel()
	}
	err = capt.Run(ctx, sources, c.frame, func(name string) {
		fmt.Fprintf(c.env.Stderr, "interface %s is down; its frames come again when it is up\n", name)
	})
	if errors.Is(err, errShown) {
		err = nil
	}
	lost, serr := c.counts(sources)
	err = errors.Join(err, serr)
	if ferr := finish(); ferr != nil && err == nil {
		return ferr
	}
	if lost > 0 {
		fmt.Fprintf(c.env.Stderr, "%d frames came too fast and were lost; fewer come with an address or --command, more fit with --buffer or a small --snap\n", lost)
	}
	if err != nil && ended(err) != nil {
		return Failf("%w", err)
	}
	return err
}

// counts sums what was lost and has it written to the file.
func (c *capture) counts(sources []*capt.Source) (lost uint64, err error) {
	for _, s := range sources {
		received, dropped := s.Counts()
		lost += dropped
		if c.pcap != nil {
			err = errors.Join(err, c.pcap.Stats(s.Name(), time.Now(), received, dropped))
		}
	}
	return lost, err
}

// frame takes one frame.
func (c *capture) frame(f *capt.Frame) error {
	r := control.TraceRecord{Time: time.Unix(0, f.Time), Interface: f.Interface, Length: f.Length, Frame: f.Plain}
	if f.Tagged {
		r.Interface = fmt.Sprintf("%s.%d", f.Interface, f.VLAN)
	}
	r.Out = aoe.IsAoE(f.Plain) && f.Plain[14]&aoe.FlagResponse != 0
	words := c.decoder.Decode(&r)
	if len(c.commands) > 0 && !slices.ContainsFunc(c.commands, words.Is) {
		return nil
	}
	if err := c.write(f, &words); err != nil {
		return err
	}
	if c.shown++; c.shown == c.count {
		return errShown
	}
	return nil
}

// open prepares the output. finish ends it and says what was written.
func (c *capture) open() (finish func() error, err error) {
	switch {
	case c.json:
		enc := json.NewEncoder(c.env.Stdout)
		c.write = func(_ *capt.Frame, words *frames.Frame) error { return enc.Encode(words) }
	case c.file == "":
		c.write = func(_ *capt.Frame, words *frames.Frame) error {
			_, err := fmt.Fprintln(c.env.Stdout, words.Line())
			return err
		}
	default:
		out, finish, err := captureFile(c.env, c.file, "capture", &c.shown)
		if err != nil {
			return nil, err
		}
		if c.pcap, err = pcap.New(out, !strings.HasSuffix(c.file, ".pcap")); err != nil {
			_ = finish() // the first error says it
			return nil, err
		}
		c.write = func(f *capt.Frame, _ *frames.Frame) error {
			return c.pcap.Write(&control.TraceRecord{Time: time.Unix(0, f.Time), Interface: f.Interface, Out: f.Sent, Length: f.Length, Frame: f.Wire})
		}
		return finish, nil
	}
	return func() error { return nil }, nil
}
