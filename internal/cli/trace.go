package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/internal/cli/figures"
	"goaoe/internal/cli/frames"
	"goaoe/internal/cli/pcap"
	"goaoe/internal/control"
)

const traceLong = `Shows the frames that initiators send to the exports and the replies to them, as they come and go, one line each: time, interface,
initiator, > for requests and < for replies, export, command, tag, and how a reply ended and how long it took, or why there is
none. It goes on until it is interrupted, or for -c frames. The daemon does not wait for it: frames that come too fast for the
trace are counted ("missed").

Several exports (by address, name or glob) and addresses of initiators (MAC) may be named: a frame is shown when it concerns one of these exports and one of these
initiators. Commands are ata, config, mask, reserve, or kinds of ATA commands: read, write, flush, identify, ...

With -w frames go to a file that Wireshark, tshark and tcpdump read (pcapng; the older pcap when the name ends in .pcap), and
nothing is printed. Only the first 64 bytes of each frame are kept, the headers; --snap -1 keeps everything, the data of
the disks too.`

// trace is a run of goaoe trace.
type trace struct {
	env        *Env
	patterns   []string // of exports
	exports    []string // addresses
	initiators []aoe.MAC
	commands   []string
	count      int
	snap       int
	iface      string
	json       bool
	file       string

	decoder frames.Decoder
	shown   int
	missed  uint64
	write   func(*control.TraceRecord, *frames.Frame) error
}

// errShown ends a trace that has shown as many frames as wanted.
var errShown = errors.New("as many as wanted")

func newTraceCmd(env *Env) *cobra.Command {
	t := &trace{env: env}
	var socket string
	cmd := &cobra.Command{
		Use:     "trace [EXPORT|MAC...]",
		Short:   "Show the frames of exports or initiators as they come and go",
		Long:    traceLong,
		GroupID: groupWatch,
		Example: "  goaoe trace e1.0\n  goaoe trace 02:00:00:00:00:01 --command write,flush\n  goaoe trace -c 1000 -w trace.pcapng\n" +
			"  goaoe trace -w - | wireshark -k -i -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(args); err != nil {
				return err
			}
			c := watched(env, socket)
			defer c.Close()
			ctx, stop := endless(cmd.Context())
			defer stop()
			return ended(t.run(ctx, c))
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&t.commands, "command", nil, "only these commands")
	f.StringVarP(&t.iface, "interface", "i", "", "only this interface")
	f.IntVarP(&t.count, "count", "c", 0, "end after so many frames")
	f.IntVar(&t.snap, "snap", 0, "bytes to keep of each frame (default: the headers; -1: everything)")
	f.StringVarP(&t.file, "write", "w", "", "write to a pcapng or .pcap file (-: standard output)")
	f.BoolVar(&t.json, "json", false, "print JSON, one object per line")
	watchSocket(f, &socket)
	return cmd
}

// check reads the arguments.
func (t *trace) check(args []string) error {
	for _, a := range args {
		if mac, err := aoe.ParseMAC(a); err == nil {
			t.initiators = append(t.initiators, mac)
		} else {
			t.patterns = append(t.patterns, a)
		}
	}
	words := frames.Words()
	for _, c := range t.commands {
		if !slices.Contains(words, strings.ToLower(c)) {
			return Usagef("--command %s: there is no such command", c).WithHint("it is one of " + strings.Join(words, ", "))
		}
	}
	switch {
	case t.count < 0:
		return Usagef("-c %d: must be 1 or more", t.count)
	case t.snap < -1:
		return Usagef("--snap %d: must be a number of bytes, or -1 for everything", t.snap)
	case t.json && t.file != "":
		return Usagef("--json and -w exclude each other").WithHint("run it twice")
	}
	return nil
}

// wants tells whether a frame is to be shown. The daemon has looked already where it can: at one export, initiator and command.
func (t *trace) wants(f *frames.Frame) bool {
	// The address of a request may have wildcards: it concerns all exports that they mean.
	if len(t.exports) > 0 && !slices.ContainsFunc(t.exports, func(a string) bool { return figures.Match(f.Export, a) }) {
		return false
	}
	if len(t.initiators) > 0 && !slices.ContainsFunc(t.initiators, func(m aoe.MAC) bool { return m.String() == f.Initiator }) {
		return false
	}
	return len(t.commands) == 0 || slices.ContainsFunc(t.commands, f.Is)
}

func (t *trace) run(ctx context.Context, c *control.Client) error {
	r := control.TraceRequest{Interface: t.iface, Snap: t.snap}
	if len(t.patterns) > 0 {
		list, err := selectExports(ctx, c, t.patterns)
		if err != nil {
			return err
		}
		for i := range list {
			t.exports = append(t.exports, list[i].Address)
		}
	}
	if len(t.exports) == 1 {
		r.Export = t.exports[0]
	}
	if len(t.initiators) == 1 {
		r.Initiator = t.initiators[0].String()
	}
	if len(t.commands) == 1 {
		r.Command = strings.ToLower(t.commands[0])
	}
	finish, err := t.open()
	if err != nil {
		return err
	}
	err = c.Trace(ctx, &r, t.record)
	interrupted := ctx.Err() != nil
	if ferr := finish(); ferr != nil && err == nil {
		return ferr
	}
	if t.missed > 0 {
		fmt.Fprintf(t.env.Stderr, "%d frames came too fast for the trace; fewer come with an export, an initiator or --command\n", t.missed)
	}
	var ce *control.Error
	switch {
	case errors.Is(err, errShown) || interrupted:
		return nil //nolint:nilerr // it was asked to end
	case errors.As(err, &ce):
		return remoteError(err)
	case err != nil:
		return err
	}
	return remoteError(control.Errorf(control.CodeGone, "the daemon ended, and the trace with it"))
}

// record takes one frame.
func (t *trace) record(r *control.TraceRecord) error {
	f := t.decoder.Decode(r)
	t.missed += r.Missed
	if !t.wants(&f) {
		return nil
	}
	if err := t.write(r, &f); err != nil {
		return err
	}
	if t.shown++; t.shown == t.count {
		return errShown
	}
	return nil
}

// open prepares the output. finish ends it and says what was written.
func (t *trace) open() (finish func() error, err error) {
	nothing := func() error { return nil }
	switch {
	case t.json:
		enc := json.NewEncoder(t.env.Stdout)
		t.write = func(_ *control.TraceRecord, f *frames.Frame) error { return enc.Encode(f) }
		return nothing, nil
	case t.file == "":
		t.write = func(r *control.TraceRecord, f *frames.Frame) error {
			if r.Missed > 0 {
				fmt.Fprintf(t.env.Stdout, "# missed %d frames\n", r.Missed)
			}
			_, err := fmt.Fprintln(t.env.Stdout, f.Line())
			return err
		}
		return nothing, nil
	}
	return t.openFile()
}

// openFile prepares writing to a capture file or to a pipe.
func (t *trace) openFile() (finish func() error, err error) {
	out, finish, err := captureFile(t.env, t.file, "trace", &t.shown)
	if err != nil {
		return nil, err
	}
	w, err := pcap.New(out, !strings.HasSuffix(t.file, ".pcap"))
	if err != nil {
		_ = finish() // the first error says it
		return nil, err
	}
	t.write = func(r *control.TraceRecord, _ *frames.Frame) error { return w.Write(r) }
	return finish, nil
}

// captureFile opens what -w of a command names. finish ends the file and says how many frames are in it.
func captureFile(env *Env, name, command string, frames *int) (out io.Writer, finish func() error, err error) {
	if name == "-" {
		if _, _, tty := terminal(env.Stdout); tty {
			return nil, nil, Usagef("-w -: standard output is a terminal").WithHint("e.g. goaoe " + command + " -w - | wireshark -k -i -")
		}
		return env.Stdout, func() error { return nil }, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // frames may hold the data of disks
	if err != nil {
		return nil, nil, Failf("%v", err)
	}
	b := bufio.NewWriterSize(f, 1<<16)
	return b, func() error {
		if err := errors.Join(b.Flush(), f.Close()); err != nil {
			return Failf("%v", err)
		}
		fmt.Fprintf(env.Stderr, "%d frames written to %s\n", *frames, name)
		return nil
	}, nil
}
