package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"goaoe/aoe"
	"goaoe/initiator"
)

// discovered is a disk that goaoe discover found, over all its paths.
type discovered struct {
	Address     string   `json:"address"`
	Size        int64    `json:"size,omitempty"` // bytes; absent when the disk could not be identified
	Model       string   `json:"model,omitempty"`
	Serial      string   `json:"serial,omitempty"`
	Firmware    string   `json:"firmware,omitempty"`
	MTU         int      `json:"mtu"`               // the smallest of the paths
	Sectors     int      `json:"sectors_per_frame"` // what a frame carries on each path: the smallest of what both sides can
	BufferCount int      `json:"buffer_count"`      // the smallest
	Config      string   `json:"config"`            // bytes that are no text as \x00
	ConfigHex   string   `json:"config_hex,omitempty"`
	Reserved    []string `json:"reserved"`            // who holds it; null when the target does not say
	Duplicate   bool     `json:"duplicate,omitempty"` // another disk answers under the same address
	Paths       []way    `json:"paths"`
	Error       string   `json:"error,omitempty"` // why the disk could not be identified
}

// way is one way to a disk.
type way struct {
	Interface   string `json:"interface"`
	MAC         string `json:"mac"`
	MTU         int    `json:"mtu"`
	Sectors     int    `json:"sectors_per_frame"` // as the target says
	BufferCount int    `json:"buffer_count"`
}

const discoverLong = `Asks on the interfaces which targets are there, and each disk for its size and model and who has reserved it. Targets may be named by address; '*' stands for
all, e.g. '0.*'. A disk that is reached in several ways is listed once, with the interfaces of its paths: "eth0 x2" are two paths over eth0. Two disks that answer under
one address are listed both and marked: initiators take them for one. No kernel driver is needed; permission for packet sockets is.

MTU is that of our interface, SECTORS how many sectors of 512 bytes a frame carries, BUFFERS how many requests the target takes at a time.

--watch goes on until it is interrupted and tells what appears (+), changes (~) and is gone (-). Targets do not say goodbye: one is gone when it has not
answered for a while.

A target on this machine is not heard on the interface that it serves itself.`

const discoverExit = `
Exit status:
   0  success, also when nobody answered
   1  failure, or some interfaces could not be asked
   2  wrong usage
   4  an address that was named did not answer`

// search is what goaoe discover looks for.
type search struct {
	wireFlags
	addrs []aoe.Addr
	wait  time.Duration
}

func newDiscoverCmd(env *Env) *cobra.Command {
	var s search
	var watch, verbose bool
	cmd := &cobra.Command{
		Use:     "discover [ADDRESS...]",
		Short:   "List the targets on the network",
		Long:    discoverLong + "\n" + discoverExit,
		GroupID: groupWire,
		Example: "  goaoe discover\n  goaoe discover -i eth1 --json\n  goaoe discover '0.*' -v\n  goaoe discover --watch",
		RunE: func(cmd *cobra.Command, list []string) error {
			if s.wait <= 0 {
				return Usagef("--wait %v: must be more than 0", s.wait)
			}
			var err error
			if s.addrs, err = parseAddrs(list, true); err == nil {
				err = s.check()
			}
			if err != nil {
				return err
			}
			if watch {
				ctx, stop := endless(cmd.Context())
				defer stop()
				return ended(s.watch(ctx, env))
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			rows, err := s.discover(ctx)
			if err != nil && len(rows) == 0 {
				return Failf("%w", err)
			}
			if s.json {
				if e := printJSON(env.Stdout, rows); e != nil {
					return e
				}
			} else if len(rows) > 0 || !slices.ContainsFunc(s.addrs, func(a aoe.Addr) bool { return !a.Wild() }) {
				if e := printDiscovered(env, rows, verbose); e != nil {
					return e
				}
			}
			if err != nil { // some interfaces answered, others could not be asked
				return Failf("%w", err)
			}
			for _, a := range s.addrs {
				if !a.Wild() && !slices.ContainsFunc(rows, func(r discovered) bool { return r.Address == a.String() }) {
					return s.nobody([]aoe.Addr{a})
				}
			}
			return nil
		},
	}
	s.register(cmd)
	cmd.Flags().DurationVar(&s.wait, "wait", 500*time.Millisecond, "how long to wait for answers")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and tell what appears, changes and is gone")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list the paths too")
	return cmd
}

// found is a way and what was learned over it.
type found struct {
	t        initiator.Target
	size     int64
	texts    [3]string // model, serial, firmware
	reserved []string
	err      error
}

// discover finds the targets and identifies their disks.
func (s *search) discover(ctx context.Context) ([]discovered, error) {
	ways, err := initiator.DiscoverAll(ctx, initiator.Search{Interfaces: s.interfaces, Addrs: s.addrs, Wait: s.wait})
	if len(s.targets) > 0 {
		ways = slices.DeleteFunc(ways, func(t initiator.Target) bool { return !slices.Contains(s.targets, t.MAC) })
	}
	all := make([]found, len(ways))
	const together = 16 // sessions at a time
	for at := 0; at < len(all); at += together {
		var wg sync.WaitGroup
		for i := at; i < min(at+together, len(all)); i++ {
			f := &all[i]
			f.t = ways[i]
			// Opened here and not in the goroutine: the network namespace is that of the thread.
			sess, err := initiator.Dial(f.t, initiator.SessionOptions{Timeout: min(s.timeout, time.Second)})
			if err != nil {
				f.err = err
				continue
			}
			wg.Go(func() {
				f.ask(ctx, sess)
				_ = sess.Close() // nothing is under way
			})
		}
		wg.Wait()
	}
	return disks(all), err
}

// ask identifies the disk and asks for its reservation.
func (f *found) ask(ctx context.Context, s *initiator.Session) {
	id, _, err := s.Identify(ctx)
	if err != nil {
		f.err = err
		return
	}
	f.size, f.texts = int64(id.Sectors)*aoe.SectorSize, [3]string{id.Model, id.Serial, id.Firmware}
	if macs, err := s.ReserveRead(ctx); err == nil { // not every target has reservations
		f.reserved = macTexts(macs)
	}
}

// disks puts the ways to one disk together: the same address, serial, model and size, or, when it cannot be identified, the same address and MAC.
func disks(all []found) []discovered {
	out := []discovered{}
	for i, f := range all {
		r := discovered{Address: f.t.Addr.String(), Size: f.size, Model: f.texts[0], Serial: f.texts[1], Firmware: f.texts[2], MTU: f.t.MTU, Sectors: f.t.Payload(),
			BufferCount: f.t.BufferCount, Reserved: f.reserved}
		r.Config, r.ConfigHex = stringOrHex(f.t.Config)
		if f.err != nil {
			r.Error = f.err.Error()
		}
		w := way{Interface: f.t.Interface, MAC: f.t.MAC.String(), MTU: f.t.MTU, Sectors: f.t.Sectors, BufferCount: f.t.BufferCount}
		at := slices.IndexFunc(out, func(o discovered) bool {
			same := o.Size == r.Size && o.Model == r.Model && o.Serial == r.Serial
			if f.err != nil || o.Error != "" {
				same = slices.ContainsFunc(o.Paths, func(p way) bool { return p.MAC == w.MAC })
			}
			return o.Address == r.Address && same
		})
		if at < 0 {
			r.Paths = []way{w}
			out = append(out, r)
			continue
		}
		o := &out[at]
		if o.Error != "" && f.err == nil {
			r.Paths, r.MTU, r.Sectors, r.BufferCount = o.Paths, min(o.MTU, r.MTU), min(o.Sectors, r.Sectors), min(o.BufferCount, r.BufferCount)
			*o = r
		} else {
			o.MTU, o.Sectors, o.BufferCount = min(o.MTU, all[i].t.MTU), min(o.Sectors, r.Sectors), min(o.BufferCount, r.BufferCount)
		}
		o.Paths = append(o.Paths, w)
	}
	for i := range out {
		out[i].Duplicate = slices.ContainsFunc(out, func(o discovered) bool {
			return o.Address == out[i].Address && o.Error == "" && out[i].Error == "" && (o.Serial != out[i].Serial || o.Model != out[i].Model || o.Size != out[i].Size)
		})
	}
	return out
}

// pathText lists the interfaces of the paths: "eth0, eth1 x2".
func (d *discovered) pathText() string {
	var names []string
	count := map[string]int{}
	for _, p := range d.Paths {
		if count[p.Interface]++; count[p.Interface] == 1 {
			names = append(names, p.Interface)
		}
	}
	for i, n := range names {
		if count[n] > 1 {
			names[i] = fmt.Sprintf("%s x%d", n, count[n])
		}
	}
	return strings.Join(names, ", ")
}

// sizeText shows the size, "?" when the disk was not identified.
func (d *discovered) sizeText() string {
	if d.Size == 0 {
		return "?"
	}
	return humanize.IBytes(uint64(d.Size))
}

// reservedText shows who holds the disk: "-" nobody, "?" unknown.
func (d *discovered) reservedText() string {
	if d.Reserved == nil {
		return "?"
	}
	return orDash(strings.Join(d.Reserved, ","))
}

func printDiscovered(env *Env, rows []discovered, verbose bool) error {
	if len(rows) == 0 {
		fmt.Fprintln(env.Stderr, "no target answered")
		return nil
	}
	w := newTable(env.Stdout)
	fmt.Fprintln(w, "ADDRESS\tSIZE\tMODEL\tSERIAL\tPATHS\tMTU\tSECTORS\tBUFFERS\tRESERVED\tCONFIG")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", r.Address, r.sizeText(), dash(r.Model), dash(r.Serial), r.pathText(), r.MTU, r.Sectors,
			r.BufferCount, r.reservedText(), dash(r.Config))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if verbose {
		fmt.Fprintln(env.Stdout)
		w := newTable(env.Stdout)
		fmt.Fprintln(w, "ADDRESS\tINTERFACE\tMAC\tMTU\tSECTORS\tBUFFERS")
		for _, r := range rows {
			for _, p := range r.Paths {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\n", r.Address, p.Interface, p.MAC, p.MTU, p.Sectors, p.BufferCount)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for i, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(env.Stderr, "%s: %s\n", r.Address, oneLine(r.Error))
		}
		if r.Duplicate && (i == 0 || rows[i-1].Address != r.Address) {
			fmt.Fprintf(env.Stderr, "%s: DUPLICATE: different disks answer under this address, and initiators take them for one: data will be lost; give one of them another address\n", r.Address)
		}
	}
	return nil
}

// change is a line of goaoe discover --watch --json.
type change struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // appeared, changed, gone
	What  []string  `json:"what,omitempty"`
	discovered
}

// goneAfter is after how many rounds without an answer a disk is gone.
const goneAfter = 3

// watch tells what appears, changes and is gone until ctx ends.
func (s *search) watch(ctx context.Context, env *Env) error {
	type seen struct {
		d      discovered
		missed int
	}
	known := map[string]*seen{}
	tell := func(event, sign string, d discovered, what ...string) error {
		now := time.Now()
		if s.json {
			return jsonLine(env.Stdout, change{now, event, what, d})
		}
		line := fmt.Sprintf("%s %s %s", now.Format(time.TimeOnly), sign, d.Address)
		switch sign {
		case "+":
			line += fmt.Sprintf("  %s  %s  %s  on %s  MTU %d", d.sizeText(), dash(d.Model), dash(d.Serial), d.pathText(), d.MTU)
			if d.Config != "" {
				line += fmt.Sprintf("  \"%s\"", dash(d.Config))
			}
			if d.Error != "" {
				line += "  " + oneLine(d.Error)
			}
		case "~":
			line += "  " + strings.Join(what, "; ")
		}
		if d.Duplicate {
			line += "  DUPLICATE address"
		}
		_, err := fmt.Fprintln(env.Stdout, line)
		return err
	}
	said := ""
	for first := true; ctx.Err() == nil; first = false {
		rows, err := s.discover(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && first && len(rows) == 0 {
			return Failf("%w", err)
		}
		if err != nil && err.Error() != said { // an interface may come back
			said = err.Error()
			fmt.Fprintf(env.Stderr, "goaoe: %s\n", oneLine(said))
			sleep(ctx, s.wait)
		}
		for _, k := range known {
			k.missed++
		}
		for _, d := range rows {
			key := d.Address + " " + d.Serial + " " + d.Model
			k := known[key]
			if k == nil && d.Error != "" { // a disk that does not answer now may be one that we know
				for name, o := range known {
					if strings.HasPrefix(name, d.Address+" ") {
						k, key = o, name
						d.Size, d.Model, d.Serial, d.Firmware, d.Reserved = o.d.Size, o.d.Model, o.d.Serial, o.d.Firmware, o.d.Reserved
					}
				}
			}
			if k == nil {
				known[key] = &seen{d: d}
				if err := tell("appeared", "+", d); err != nil {
					return err
				}
				continue
			}
			if what := differences(k.d, d); len(what) > 0 {
				if err := tell("changed", "~", d, what...); err != nil {
					return err
				}
			}
			*k = seen{d: d}
		}
		for key, k := range known {
			if k.missed >= goneAfter {
				delete(known, key)
				if err := tell("gone", "-", k.d); err != nil {
					return err
				}
			}
		}
	}
	return nil //nolint:nilerr // it was asked to end
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// differences says what has changed of a disk.
func differences(a, b discovered) []string {
	var out []string
	add := func(what, from, to string) {
		if from != to {
			out = append(out, fmt.Sprintf("%s %s -> %s", what, dash(from), dash(to)))
		}
	}
	if a.Size != b.Size {
		add("size", fmt.Sprintf("%d", a.Size), fmt.Sprintf("%d", b.Size))
	}
	add("paths", a.pathText(), b.pathText())
	add("MTU", fmt.Sprint(a.MTU), fmt.Sprint(b.MTU))
	add("sectors", fmt.Sprint(a.Sectors), fmt.Sprint(b.Sectors))
	add("buffers", fmt.Sprint(a.BufferCount), fmt.Sprint(b.BufferCount))
	if a.Reserved != nil && b.Reserved != nil {
		add("reserved for", a.reservedText(), b.reservedText())
	}
	add("config string", a.Config, b.Config)
	if (a.Error == "") != (b.Error == "") {
		add("error", a.Error, b.Error)
	}
	return out
}

// dash shows a text that came over the wire: nothing as "-", and what is not printable as "?".
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
