package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"goaoe/internal/cli/figures"
	"goaoe/internal/control"
)

const monitorLong = `Shows what happens, every INTERVAL seconds (default 1; 0.5 and 500ms are possible too), as iostat does: the first report is about the
time since the daemon started or its counters were cleared, each further one about the interval before it. It goes on until
it is interrupted. When the daemon goes away it says so, and goes on when it is back.

A NAME is an export (its address or name), an interface, or a glob of these; without any all are shown. A first argument that is
a number is the interval: write e1.0, not 1.0, for an export there.

For exports (dev), per second or in the interval:
  rrqm/s rkB/s    reads, and kilobytes read, per second
  wrqm/s wkB/s    writes, and kilobytes written, per second
  oth             other requests
  avgqsz          requests for storage under way, on average
  qs qf           requests that waited for room on the storage; that were dropped because the queue was full
  ae pe           error replies because storage failed; because of the request
  svctm           mean time from a request's arrival to its reply, in milliseconds
  r_p50 r_p99     what half and 99 per cent of the reads did not exceed, in milliseconds
  w_p50 w_p99     the same of the writes
  rtx drop        requests sent again; requests without a reply
For interfaces (net):
  rrqm/s rkB/s    frames and kilobytes received per second
  wrqm/s wkB/s    frames and kilobytes sent per second
  drp             frames lost because the receive ring was full
  avrun           frames in a batch, on average
  ign             frames without a reply, for other reasons
  txe txf         frames that could not be sent; times that the send queue was full

On a terminal that is too narrow the last columns are left out.`

// monitor is a run of goaoe monitor.
type monitor struct {
	env      *Env
	client   *control.Client
	interval time.Duration
	names    []string
	count    int // reports; 0: without end
	json     bool
	stamp    bool

	prev  *control.Stats
	lines int // since the last header
	gone  bool
}

func newMonitorCmd(env *Env) *cobra.Command {
	m := &monitor{env: env, interval: time.Second}
	var socket string
	cmd := &cobra.Command{
		Use:     "monitor [INTERVAL] [NAME...]",
		Short:   "Show what happens, again and again, as iostat does",
		Long:    monitorLong,
		GroupID: groupWatch,
		Example: "  goaoe monitor\n  goaoe monitor 5 'e1.*' eth1\n  goaoe monitor 60 -c 2 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := m.arguments(args); err != nil {
				return err
			}
			if m.count < 0 {
				return Usagef("-c %d: must be 1 or more", m.count)
			}
			m.client = watched(env, socket)
			defer m.client.Close()
			ctx, stop := endless(cmd.Context())
			defer stop()
			return ended(m.run(ctx))
		},
	}
	f := cmd.Flags()
	f.IntVarP(&m.count, "count", "c", 0, "end after so many reports")
	f.BoolVarP(&m.stamp, "time", "t", false, "print the time before each report")
	f.BoolVar(&m.json, "json", false, "print JSON, one object per line")
	watchSocket(f, &socket)
	return cmd
}

// arguments takes the interval off the names.
func (m *monitor) arguments(args []string) error {
	if len(args) > 0 {
		if d, ok := seconds(args[0]); ok {
			if d < 10*time.Millisecond || d > 24*time.Hour {
				return Usagef("INTERVAL %s: must be from 0.01 to 86400 seconds", args[0])
			}
			m.interval, args = d, args[1:]
		}
	}
	m.names = args
	return checkNames(args)
}

// seconds reads a number of seconds, or a duration such as 500ms.
func seconds(s string) (time.Duration, bool) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		if v != v || v > 1e9 || v < -1e9 {
			return -1, true
		}
		return time.Duration(v * float64(time.Second)), true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func (m *monitor) run(ctx context.Context) error {
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	for done := 0; ; {
		reported, err := m.once(ctx)
		if err != nil {
			return err
		}
		if reported {
			if done++; done == m.count {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// once makes a report. A daemon that went away after the first one is waited for.
func (m *monitor) once(ctx context.Context) (bool, error) {
	call, cancel := context.WithTimeout(ctx, control.Timeout)
	defer cancel()
	cur, err := m.client.Stats(call)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		if m.prev == nil || control.AsError(err).Code != control.CodeGone {
			return false, remoteError(err)
		}
		if !m.gone {
			m.gone = true
			fmt.Fprintf(m.env.Stderr, "%s the daemon went away; waiting until it is back\n", time.Now().Format("15:04:05"))
		}
		return false, nil
	}
	if m.gone {
		m.gone, m.lines = false, 0
		fmt.Fprintf(m.env.Stderr, "%s the daemon is back\n", time.Now().Format("15:04:05"))
	}
	p := figures.Between(m.prev, cur)
	if unknown := figures.Filter(&p.Stats, m.names); len(unknown) > 0 && m.prev == nil {
		return false, unknownNames(unknown, cur)
	}
	m.prev = cur
	return true, m.print(p)
}

// print writes a report. Several lines have a header each time; a single one has it once per screen.
func (m *monitor) print(p *figures.Period) error {
	if m.json {
		return p.JSON(m.env.Stdout)
	}
	if m.stamp {
		if _, err := fmt.Fprintln(m.env.Stdout, p.At.Local().Format("2006-01-02 15:04:05")); err != nil {
			return err
		}
	}
	if m.env.Program != "" { // ggaoectl shows names
		p.Exports = slices.Clone(p.Exports) // the next report begins where these are
		for i := range p.Exports {
			p.Exports[i].Address = cmp.Or(p.Exports[i].Name, strings.TrimPrefix(p.Exports[i].Address, "e"))
		}
	}
	columns, height, ok := terminal(m.env.Stdout)
	if !ok {
		height = 1 << 30 // a file has one screen
	}
	head := p.Lines() != 1 || m.lines == 0 || m.lines >= height-2
	if head {
		m.lines = 0
	}
	m.lines += p.Lines()
	return p.Report(m.env.Stdout, figures.Layout{Name: figures.NameWidth(&p.Stats), Columns: columns, Head: head})
}
