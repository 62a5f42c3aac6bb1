package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

const pingLong = `Send echo requests to a target and show how long each answer takes, until interrupted or for -c requests; then a summary, as ping does: requests,
answers, loss, and the shortest, mean and longest round trip and its deviation.

A request is a config query, which every target answers and which does not touch the disk. With --kind identify the answer is larger (548 bytes on the
wire); with --kind read the answer is as large as --size says and comes from the disk, whose time is then part of it. Nothing is changed at the target.

-f (flood) sends the next request as soon as the one before is answered, or after --interval (10 ms): so there is one request under way, and no
target or network can be flooded by it.`

const pingExit = `
Exit status:
   0  at least one answer came
   1  failure, or answers that are errors only
   2  wrong usage
   4  no target was found, or no answer came`

// pingRun is a run of goaoe ping.
type pingRun struct {
	env   *Env
	json  bool
	quiet bool

	sent, answers, lost, late, duplicates, strange, failed int
	min, max                                               time.Duration
	sum, squares                                           float64 // of seconds
	first                                                  error
}

// pingLine is a line of goaoe ping --json.
type pingLine struct {
	Seq       int      `json:"seq"`
	RTT       *float64 `json:"rtt_ms,omitempty"`
	Bytes     int      `json:"bytes,omitempty"`
	Error     string   `json:"error,omitempty"`
	Duplicate bool     `json:"duplicate,omitempty"`
	Late      bool     `json:"late,omitempty"`
	From      string   `json:"from,omitempty"` // an answer from another MAC
}

// pingSummary is the last line of goaoe ping --json.
type pingSummary struct {
	Address    string   `json:"address"`
	Interface  string   `json:"interface"`
	MAC        string   `json:"mac"`
	Sent       int      `json:"sent"`
	Answers    int      `json:"answers"`
	LossPct    float64  `json:"loss_percent"`
	Duplicates int      `json:"duplicates"`
	Late       int      `json:"late"`
	Strange    int      `json:"from_others"`
	Errors     int      `json:"errors"`
	TimeMs     float64  `json:"time_ms"`
	Min        *float64 `json:"rtt_min_ms"` // null without an answer
	Avg        *float64 `json:"rtt_avg_ms"`
	Max        *float64 `json:"rtt_max_ms"`
	Mdev       *float64 `json:"rtt_mdev_ms"`
}

func newPingCmd(env *Env) *cobra.Command {
	var f wireFlags
	var o initiator.PingOptions
	var kind string
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ping ADDRESS",
		Short:   "Measure the round trip to a target, and loss",
		Long:    pingLong + "\n" + pingExit,
		Example: "  goaoe ping e0.1\n  goaoe ping e0.1 -c 100 --interval 10ms -q\n  goaoe ping e0.1 --kind read --size 8740     frames as large as MTU 9000 carries\n  goaoe ping e0.1 -f -c 10000 --json",
		GroupID: groupWire,
		Args:    args(cobra.ExactArgs(1), "one ADDRESS"),
		RunE: func(cmd *cobra.Command, list []string) error {
			addrs, err := f.read(list, false)
			if err != nil {
				return err
			}
			k, ok := map[string]initiator.PingKind{"config": initiator.PingConfig, "identify": initiator.PingIdentify, "read": initiator.PingRead}[kind]
			switch o.Kind = k; {
			case !ok:
				return Usagef("--kind %s: the kinds are config, identify, read", kind)
			case o.Count < 0:
				return Usagef("--count %d: must not be negative", o.Count)
			case cmd.Flags().Changed("interval") && o.Interval < 200*time.Microsecond:
				return Usagef("--interval %v: must be 200us or more", o.Interval).WithHint("-f sends as fast as answers come")
			case o.Wait <= 0:
				return Usagef("--wait %v: must be more than 0", o.Wait)
			case o.Size != 0 && o.Size < aoe.MinFrame-aoe.EtherLen:
				return Usagef("--size %d: a frame has at least %d bytes behind the Ethernet header", o.Size, aoe.MinFrame-aoe.EtherLen)
			}
			ctx, stop := endless(cmd.Context())
			defer stop()
			s, err := f.one(ctx, addrs[0])
			if err != nil {
				return wireError(err)
			}
			defer func() { _ = s.Close() }() // nothing is under way
			p := &pingRun{env: env, json: f.json, quiet: quiet || o.Flood && !f.json}
			return p.run(ctx, s, o)
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.IntVarP(&o.Count, "count", "c", 0, "requests (default: until interrupted)")
	fl.DurationVar(&o.Interval, "interval", 0, "time between two requests, 200us at least (default 1s; 10ms with -f)")
	fl.IntVarP(&o.Size, "size", "s", 0, "bytes of the large frame behind the Ethernet header, up to the interface's MTU (default: the smallest, 46)")
	fl.StringVar(&kind, "kind", "config", "what is asked for: config, identify, read")
	fl.DurationVarP(&o.Wait, "wait", "W", time.Second, "after which a request counts as lost")
	fl.BoolVarP(&o.Flood, "flood", "f", false, "send the next request when the one before is answered")
	fl.BoolVarP(&quiet, "quiet", "q", false, "print the summary only")
	_ = cmd.RegisterFlagCompletionFunc("kind", completeWords("config", "identify", "read")) // the flag exists
	return cmd
}

func (p *pingRun) run(ctx context.Context, s *initiator.Session, o initiator.PingOptions) error {
	t := s.Target()
	if !p.json {
		size := ""
		if o.Size > 0 {
			size = fmt.Sprintf(", %d bytes", o.Size)
		}
		fmt.Fprintf(p.env.Stdout, "PING %v (%v) on %s, MTU %d%s\n", t.Addr, t.MAC, t.Interface, t.MTU, size)
	}
	begun := time.Now()
	var broken error
	err := s.PingMany(ctx, o, func(g initiator.Pong) {
		p.count(g)
		if !p.quiet && broken == nil {
			broken = p.show(g)
		}
	})
	if err != nil {
		return wireError(err)
	}
	if broken != nil {
		return ended(broken)
	}
	if err := p.summary(s.Target(), time.Since(begun)); err != nil {
		return ended(err)
	}
	switch {
	case p.answers > 0:
		return nil
	case p.failed > 0:
		return wireError(p.first)
	case p.strange > 0:
		return &ExitError{Code: ExitNoAnswer, Err: fmt.Errorf("%v: no answer came from it; answers under its address come from %s", t, strings.Join(macTexts(s.Strangers()), ", "))}
	}
	return Exit(ExitNoAnswer)
}

// count adds one event to the statistics.
func (p *pingRun) count(g initiator.Pong) {
	switch {
	case g.Strange:
		p.strange++
	case g.Duplicate:
		p.duplicates++
	case g.Late:
		p.late++
	case errors.Is(g.Err, initiator.ErrTimeout):
		p.sent++
		p.lost++
	case g.Err != nil:
		p.sent++
		p.failed++
		if p.first == nil {
			p.first = g.Err
		}
	default:
		p.sent++
		if p.answers == 0 || g.RTT < p.min {
			p.min = g.RTT
		}
		p.answers++
		p.max = max(p.max, g.RTT)
		p.sum += g.RTT.Seconds()
		p.squares += g.RTT.Seconds() * g.RTT.Seconds()
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// show prints one event.
func (p *pingRun) show(g initiator.Pong) error {
	if p.json {
		l := pingLine{Seq: g.Seq, Bytes: g.Bytes, Duplicate: g.Duplicate, Late: g.Late}
		if g.Strange {
			l.From = g.From.String()
		}
		if g.Err != nil {
			l.Error = g.Err.Error()
		} else {
			v := ms(g.RTT)
			l.RTT = &v
		}
		return jsonLine(p.env.Stdout, l)
	}
	var err error
	switch {
	case errors.Is(g.Err, initiator.ErrTimeout):
		_, err = fmt.Fprintf(p.env.Stdout, "seq=%d no answer\n", g.Seq)
	case g.Err != nil:
		_, err = fmt.Fprintf(p.env.Stdout, "seq=%d %s\n", g.Seq, oneLine(g.Err.Error()))
	default:
		note := ""
		switch {
		case g.Strange:
			note = fmt.Sprintf(" (from %v, not the target)", g.From)
		case g.Duplicate:
			note = " (DUP!)"
		case g.Late:
			note = " (late)"
		}
		_, err = fmt.Fprintf(p.env.Stdout, "%d bytes from %v: seq=%d time=%s ms%s\n", g.Bytes, g.From, g.Seq, milli(g.RTT), note)
	}
	return err
}

// milli shows milliseconds with three digits that mean something, as ping does.
func milli(d time.Duration) string {
	v := ms(d)
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// mdev is the standard deviation of the round trips.
func (p *pingRun) mdev() (avg, dev time.Duration) {
	n := float64(p.answers)
	mean := p.sum / n
	return time.Duration(mean * 1e9), time.Duration(math.Sqrt(max(p.squares/n-mean*mean, 0)) * 1e9)
}

func (p *pingRun) summary(t initiator.Target, took time.Duration) error {
	loss := 0.0
	if p.sent > 0 {
		loss = 100 * float64(p.sent-p.answers-p.failed) / float64(p.sent)
	}
	if p.json {
		s := pingSummary{Address: t.Addr.String(), Interface: t.Interface, MAC: t.MAC.String(), Sent: p.sent, Answers: p.answers, LossPct: loss,
			Duplicates: p.duplicates, Late: p.late, Strange: p.strange, Errors: p.failed, TimeMs: ms(took)}
		if p.answers > 0 {
			avg, dev := p.mdev()
			values := [4]float64{ms(p.min), ms(avg), ms(p.max), ms(dev)}
			s.Min, s.Avg, s.Max, s.Mdev = &values[0], &values[1], &values[2], &values[3]
		}
		return jsonLine(p.env.Stdout, s)
	}
	out := p.env.Stdout
	fmt.Fprintf(out, "\n--- %v ping statistics ---\n%d requests sent, %d answered, ", t.Addr, p.sent, p.answers)
	for _, c := range []struct {
		n    int
		what string
	}{{p.failed, "errors"}, {p.duplicates, "duplicates"}, {p.late, "late"}, {p.strange, "from other MACs"}} {
		if c.n > 0 {
			fmt.Fprintf(out, "%d %s, ", c.n, c.what)
		}
	}
	_, err := fmt.Fprintf(out, "%.4g%% loss, time %.0f ms\n", loss, ms(took))
	if p.answers > 0 {
		avg, dev := p.mdev()
		_, err = fmt.Fprintf(out, "rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", ms(p.min), ms(avg), ms(p.max), ms(dev))
	}
	return err
}
