package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/daemon/netwatch"
	"goaoe/internal/link"
	"goaoe/internal/target"
)

// Control returns the daemon as the API sees it. Its methods work while Run runs, and fail by CodeGone before and after.
func (d *Daemon) Control() control.Backend { return &backend{d} }

// backend implements control.Backend: each method has the loop do its work, so that it sees and leaves a consistent state.
type backend struct{ d *Daemon }

var _ control.Backend = (*backend)(nil)

var errGone = control.Errorf(control.CodeGone, "the daemon is ending").WithHint("try again when it runs")

// ask has the loop run fn and returns what that returns. A fn that changes what is wanted calls reconcile.
func ask[T any](ctx context.Context, d *Daemon, fn func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	got := make(chan result, 1)
	var none T
	select {
	case d.asks <- func() { v, err := fn(); got <- result{v, err} }:
	case <-d.quit:
		return none, errGone
	case <-ctx.Done():
		return none, ctx.Err()
	}
	select {
	case r := <-got:
		return r.v, r.err
	case <-d.quit:
		return none, errGone
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Status implements control.Backend.
func (b *backend) Status(ctx context.Context) (*control.Status, error) {
	d := b.d
	return ask(ctx, d, func() (*control.Status, error) {
		snap := d.watch.Snapshot()
		s := d.status(snap)
		out := &control.Status{Version: d.o.Version, PID: os.Getpid(), Started: d.begun, Config: d.cfg.File, Format: d.o.Format, Socket: d.o.Socket,
			Lanes: d.cfg.Global.Lanes, LogLevel: d.logLevel(), Exports: len(d.cfg.Exports), Interfaces: len(d.ports), Unsaved: len(d.layers.unsaved),
			Sandbox: d.confined, Waiting: s.Waiting, Problems: d.problems(snap)}
		if abs, err := filepath.Abs(out.Config); err == nil && out.Config != "" {
			out.Config = abs // whoever reads it is in another folder
		}
		if d.dir != nil {
			out.StateDir = d.dir.Path()
		}
		for _, e := range s.Exports {
			if len(e.Interfaces) > 0 {
				out.Serving++
			}
		}
		return out, nil
	})
}

// problems has one sentence for each thing that is wrong and not just not there yet.
func (d *Daemon) problems(snap []netwatch.Iface) []string {
	out := []string{}
	for _, x := range d.sorted() {
		if x.phase == idle && x.why != nil && !x.missing {
			out = append(out, fmt.Sprintf("%v not served: %s", x.addr, withoutAddr(x.addr, x.why)))
		}
		if x.phase == serving && x.lost != "" {
			out = append(out, fmt.Sprintf("%v: looking at its size: %s", x.addr, x.lost))
		}
		if x.phase == serving && x.run.target.Failing() {
			out = append(out, fmt.Sprintf("%v: %s had I/O errors", x.addr, x.cfg.Source))
		}
		for _, i := range snap {
			if p := d.ports[i.Index]; p != nil && p.checks[x.addr] != nil && p.checks[x.addr].taken != "" {
				out = append(out, takenText(p, x.addr, p.checks[x.addr].taken))
			}
		}
	}
	for _, i := range snap {
		if f, ok := d.failed[i.Index]; ok {
			out = append(out, f.err.Error())
		}
	}
	for s, at := range d.heard {
		if time.Since(at) < 5*strangerEvery {
			out = append(out, fmt.Sprintf("%v: another target at %v announces the same address on %s", s.addr, s.mac, s.ifname))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Exports implements control.Backend.
func (b *backend) Exports(ctx context.Context) ([]control.Export, error) {
	return ask(ctx, b.d, func() ([]control.Export, error) { return b.d.controlExports(), nil })
}

func (d *Daemon) controlExports() []control.Export {
	snap := d.watch.Snapshot()
	waits := d.waitsByPattern(snap)
	by := d.usersByExport()
	out := []control.Export{}
	known := map[aoe.Addr]bool{}
	for i := range d.cfg.Exports {
		c := &d.cfg.Exports[i]
		known[c.Addr] = true
		e := d.describe(c)
		e.Waiting = waits.of(c)
		if x := d.exports[c.Addr]; x != nil {
			e.Users = d.usersOf(x, by)
		}
		d.state(d.exports[c.Addr], &e)
		out = append(out, e)
	}
	for i := range d.cfg.Disabled {
		c := &d.cfg.Disabled[i]
		e := d.describe(c)
		if x := d.exports[c.Addr]; x != nil {
			d.state(x, &e)
		} else {
			e.State, e.Why = control.StateDisabled, "it is switched off: goaoe set "+c.Addr.String()+" disabled=false"
		}
		known[c.Addr] = true
		out = append(out, e)
	}
	for _, x := range d.sorted() { // on their way out
		if !known[x.addr] {
			e := d.describe(&x.cfg)
			d.state(x, &e)
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(x, y control.Export) int {
		a, _ := aoe.ParseAddr(x.Address)
		b, _ := aoe.ParseAddr(y.Address)
		return int(a.Key()) - int(b.Key())
	})
	return out
}

// describe says what is configured.
func (d *Daemon) describe(c *config.Export) control.Export {
	e := control.Export{Address: c.Addr.String(), Name: c.Name, Source: c.Source, Served: []string{}, Lane: link.LaneOf(c.Addr, d.cfg.Global.Lanes),
		Origin: c.Pos.String(), Revision: revision(c), Settings: config.SettingsText(c), Mask: []string{}, Reserve: []string{}, Users: []control.User{}}
	if c.Pos.File == config.RunTime {
		e.Origin = config.RunTime // the line there tells nobody anything
	}
	_, e.Unsaved = d.layers.unsaved[c.Addr]
	e.Origins = make(map[string]string, len(c.Keys))
	for key, pos := range c.Keys {
		if e.Origins[key] = pos.String(); pos.File == config.RunTime {
			e.Origins[key] = config.RunTime
		}
	}
	return e
}

// state says how an export is.
func (d *Daemon) state(x *export, e *control.Export) {
	if x == nil {
		e.State = control.StateOpening
		return
	}
	e.Path = x.path
	st := target.State(x.saved)
	if x.run != nil {
		st = *x.run.target.State()
		e.Sectors, e.Serial = x.sectors, x.run.target.Config().Serial
	}
	e.ConfigString = strings.ToValidUTF8(string(st.Config), "\uFFFD")
	for _, m := range st.Mask {
		e.Mask = append(e.Mask, m.String())
	}
	for _, m := range st.Reserve {
		e.Reserve = append(e.Reserve, m.String())
	}
	for _, p := range d.ports {
		if p.serves(x) {
			e.Served = append(e.Served, p.ifc.Name)
		}
		if c := p.checks[x.addr]; c != nil && c.taken != "" {
			e.Waiting = append(e.Waiting, withoutPrefix(takenText(p, x.addr, c.taken), x.addr))
		}
	}
	slices.Sort(e.Served)
	switch {
	case x.phase == closing:
		e.State = control.StateClosing
	case x.phase == serving && (len(e.Served) > 0 || len(e.Waiting) == 0):
		e.State = control.StateServing
		if len(e.Served) == 0 {
			e.State = control.StateOpening // its address is being asked for
		}
	case x.phase == serving:
		e.State, e.Why = control.StateWaiting, strings.Join(e.Waiting, "; ")
	case x.why != nil && x.missing:
		e.State, e.Why = control.StateWaiting, withoutAddr(x.addr, x.why)
	case x.why != nil:
		e.State, e.Why = control.StateFailed, withoutAddr(x.addr, x.why)
	default:
		e.State = control.StateOpening
	}
}

// interfaceWaits says by pattern what is waited for.
type interfaceWaits map[string]string

func (d *Daemon) waitsByPattern(snap []netwatch.Iface) interfaceWaits {
	waits := interfaceWaits{}
	for _, pattern := range d.wantedPatterns() {
		if w, ok := d.waitsFor(pattern, snap); ok {
			waits[pattern] = w.text
		}
	}
	return waits
}

// of returns what an export waits for.
func (w interfaceWaits) of(c *config.Export) (out []string) {
	for _, pattern := range c.Interfaces {
		if text := w[pattern]; text != "" {
			out = append(out, text)
		}
	}
	return out
}

// notThere is the error about an export that is not served: it does not exist, or is switched off.
func (d *Daemon) notThere(a aoe.Addr) error {
	if slices.ContainsFunc(d.cfg.Disabled, func(c config.Export) bool { return c.Addr == a }) {
		return control.Errorf(control.CodeFailed, "%v is switched off", a).WithHint("goaoe set " + a.String() + " disabled=false")
	}
	return control.Errorf(control.CodeNotFound, "there is no export %v", a).WithHint("goaoe ls lists them")
}

func withoutPrefix(text string, a aoe.Addr) string { return strings.TrimPrefix(text, a.String()+" ") }

// revision is a short hash of the settings: equal settings have equal revisions.
func revision(c *config.Export) string {
	h := sha256.New()
	text := config.SettingsText(c)
	for _, k := range slices.Sorted(maps.Keys(text)) {
		fmt.Fprintf(h, "%s=%s\n", k, text[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// Interfaces implements control.Backend.
func (b *backend) Interfaces(ctx context.Context) ([]control.Interface, error) {
	d := b.d
	return ask(ctx, d, func() ([]control.Interface, error) {
		out := []control.Interface{}
		snap := d.watch.Snapshot()
		for _, i := range snap {
			c := control.Interface{Name: i.Name, MAC: i.MAC.String(), LinkMTU: i.MTU, Up: i.Up}
			if p := d.ports[i.Index]; p != nil {
				c.State, c.MTU, c.Exports = control.StateServing, p.mtu, len(p.served)
			} else if f, ok := d.failed[i.Index]; ok {
				c.State, c.Why = control.StateFailed, f.err.Error()
			} else {
				continue
			}
			out = append(out, c)
		}
		for _, w := range d.waits(snap) {
			i := slices.IndexFunc(out, func(c control.Interface) bool { return c.Name == w.subject })
			if i < 0 {
				out = append(out, control.Interface{Name: w.subject})
				i = len(out) - 1
			}
			out[i].State, out[i].Why = control.StateWaiting, w.text
		}
		return out, nil
	})
}

// Config implements control.Backend.
func (b *backend) Config(ctx context.Context) (string, error) {
	return ask(ctx, b.d, func() (string, error) { return config.Encode(b.d.cfg), nil })
}

// Announce implements control.Backend.
func (b *backend) Announce(ctx context.Context, exports []aoe.Addr) (*control.ChangeReply, error) {
	d := b.d
	return ask(ctx, d, func() (*control.ChangeReply, error) {
		reply := &control.ChangeReply{Results: []control.Result{}}
		if len(exports) == 0 {
			for _, x := range d.sorted() {
				exports = append(exports, x.addr)
			}
		}
		for _, a := range exports {
			r := control.Result{Address: a.String()}
			var on []string
			if x := d.exports[a]; x == nil {
				r.Error = control.AsError(d.notThere(a))
			} else {
				for _, p := range d.ports {
					if p.serves(x) {
						d.announce(p, x)
						on = append(on, p.ifc.Name)
					}
				}
				slices.Sort(on)
				if r.Note = "announced on " + strings.Join(on, ", "); len(on) == 0 {
					r.Note, r.Error = "", control.Errorf(control.CodeFailed, "%v is not served on any interface at present", a).WithHint("goaoe ls says why")
				}
			}
			reply.Results = append(reply.Results, r)
		}
		return reply, nil
	})
}
