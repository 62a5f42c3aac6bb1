package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/daemon/netwatch"
	"goaoe/internal/privsep"
)

// batch is a set of changes on its way: what the layers would be with those that were taken so far.
type batch struct {
	d      *Daemon
	layers layers
	cfg    *config.Config // of the layers, as of the last parse
	save   bool
	saving saving
	// taken has the addresses that changes of this batch use already, for the numbering of new exports.
	taken map[aoe.Addr]bool
}

func (d *Daemon) newBatch(save bool) *batch {
	return &batch{d: d, layers: d.layers.clone(), cfg: d.cfg, save: save, saving: saving{d.o.DropInDir, map[string][]byte{}}, taken: map[aoe.Addr]bool{}}
}

// clone returns a copy to try a change on.
func (b *batch) clone() *batch {
	c := *b
	c.layers, c.taken = b.layers.clone(), maps.Clone(b.taken)
	c.saving.files = maps.Clone(b.saving.files)
	return &c
}

// Change implements control.Backend.
func (b *backend) Change(ctx context.Context, r *control.ChangeRequest) (*control.ChangeReply, error) {
	if len(r.Changes) == 0 {
		return &control.ChangeReply{Results: []control.Result{}}, nil
	}
	reply, err := ask(ctx, b.d, func() (*control.ChangeReply, error) { return b.d.change(r) })
	if err == nil && r.WaitMS > 0 && !r.DryRun {
		b.wait(ctx, r, reply)
	}
	return reply, err
}

// change tries the changes together, which is quick for many; where that fails, one after the other, to find out which it is.
func (d *Daemon) change(r *control.ChangeRequest) (*control.ChangeReply, error) {
	if d.o.Parse == nil {
		return nil, control.Errorf(control.CodeRefused, "this daemon cannot be changed at run time")
	}
	if r.Save && d.o.DropInDir == "" {
		return nil, control.Errorf(control.CodeRefused, "there is no configuration file beside which a change could be saved").
			WithHint("start the daemon with a file (goaoe serve -c FILE), or leave --save out")
	}
	reply := &control.ChangeReply{Results: make([]control.Result, len(r.Changes))}
	done := d.newBatch(r.Save)
	var pending []int
	together := done.clone()
	for i := range r.Changes {
		note, err := together.stage(&r.Changes[i])
		reply.Results[i] = control.Result{Address: r.Changes[i].Address, Error: control.AsError(err), Note: note}
		if err == nil {
			pending = append(pending, i)
		}
	}
	if len(pending) == len(r.Changes) && together.parse() == nil {
		done = together
	} else {
		pending = nil
		for i := range r.Changes {
			one := done.clone()
			note, err := one.stage(&r.Changes[i])
			if err == nil {
				err = one.parse()
			}
			reply.Results[i] = control.Result{Address: r.Changes[i].Address, Error: control.AsError(err), Note: note}
			if err == nil {
				done, pending = one, append(pending, i)
			}
		}
	}
	if len(pending) == 0 || r.DryRun {
		return reply, nil
	}
	if err := done.saving.write(); err != nil {
		for _, i := range pending {
			reply.Results[i].Error = control.Errorf(control.CodeFailed, "it cannot be saved: %v", err).
				WithHint("make " + done.saving.dir + " writable for the daemon, or leave --save out; nothing was changed")
		}
		return reply, nil
	}
	d.layers = done.layers
	plan := config.Diff(d.cfg, done.cfg)
	d.adopt(done.cfg, plan, false)
	if !plan.Empty() {
		d.log.Info("changed at run time: " + summary(plan))
	}
	d.reconcile() // so that what can be applied at once is in force when the reply goes out
	return reply, nil
}

// parse makes the configuration of the layers.
func (b *batch) parse() error {
	cfg, problems := b.d.o.Parse(b.layers.all())
	for _, p := range problems {
		if p.Severity == config.Error {
			e := control.Errorf(control.CodeUsage, "%s", p.Message).WithHint(p.Hint)
			if p.Key != "" {
				_, key, _ := strings.Cut(p.Key, ".")
				e.Message = key + ": " + e.Message
			}
			if p.File != config.RunTime && p.File != "" && b.saving.files[p.File] == nil {
				e.Message = p.Position.String() + ": " + e.Message
			}
			return e
		}
	}
	diff := config.Diff(b.d.cfg, cfg)
	for i := range diff.Changed {
		if diff.Changed[i].New.Source != diff.Changed[i].Old.Source {
			diff.Added = append(diff.Added, diff.Changed[i].New)
		}
	}
	for i := range diff.Added {
		if err := privsep.Permits(diff.Added[i].Source); err != nil {
			return control.Errorf(control.CodeRefused, "%v", err)
		}
	}
	b.cfg = cfg
	return nil
}

// find returns the export with an address in the configuration, and whether it is switched off.
func (b *batch) find(a aoe.Addr) (e *config.Export, disabled bool) {
	for i := range b.cfg.Exports {
		if b.cfg.Exports[i].Addr == a {
			return &b.cfg.Exports[i], false
		}
	}
	for i := range b.cfg.Disabled {
		if b.cfg.Disabled[i].Addr == a {
			return &b.cfg.Disabled[i], true
		}
	}
	return nil, false
}

// stage puts one change into the layers, without having parsed them. It sets the change's address to the one that was meant.
func (b *batch) stage(c *control.Change) (note string, err error) {
	for _, key := range []string{"address", "shelf", "slot"} {
		if _, ok := c.Settings[key]; ok {
			return "", control.Errorf(control.CodeUsage, "%s cannot be set: it is what the export is known by", key).WithHint("remove the export and add it under another address")
		}
	}
	if c.Op == control.OpAdd {
		return "", b.add(c)
	}
	addr, err := aoe.ParseAddr(c.Address)
	if err != nil {
		return "", control.Errorf(control.CodeUsage, "%v", err).WithHint("an address is SHELF.SLOT, e.g. 1.0")
	}
	c.Address = addr.String()
	e, disabled := b.find(addr)
	if e == nil {
		return "", control.Errorf(control.CodeNotFound, "there is no export %v", addr).WithHint("goaoe ls lists them")
	}
	if c.Revision != "" && c.Revision != revision(e) {
		return "", control.Errorf(control.CodeConflict, "%v was changed by somebody else meanwhile", addr).WithHint("look at it again (goaoe show " + addr.String() + ") and repeat the change")
	}
	switch c.Op {
	case control.OpSet:
		return b.set(c, addr, disabled)
	case control.OpRemove:
		return b.remove(c, addr, disabled)
	}
	return "", control.Errorf(control.CodeUsage, "there is no operation %q", c.Op).WithHint("it is add, set or remove")
}

// add stages a new export.
func (b *batch) add(c *control.Change) error {
	addr, err := b.address(c.Address)
	if err != nil {
		return err
	}
	c.Address = addr.String()
	if c.Source == "" && c.Settings["source"] == "" {
		return control.Errorf(control.CodeUsage, "no source is named").WithHint("say what to export, e.g. goaoe add " + strings.TrimPrefix(c.Address, "e") + " /dev/sdb")
	}
	e, disabled := b.find(addr)
	if (e != nil && !disabled) || b.taken[addr] {
		why := "by this request"
		if e != nil {
			why = "it exports " + e.Source + " (" + b.d.describe(e).Origin + ")"
		}
		return control.Errorf(control.CodeConflict, "%v is taken: %s", addr, why).
			WithHint(fmt.Sprintf("goaoe set %v changes it; goaoe add %d takes the next free slot of the shelf", addr, addr.Major))
	}
	b.taken[addr] = true
	layer, _ := b.layers.layer(addr)
	layer.New = e == nil // one that a file has, switched off, is changed
	maps.Copy(layer.Settings, c.Settings)
	if c.Source != "" {
		layer.Settings["source"] = c.Source
	}
	if c.Force {
		layer.Settings["force"] = "true"
	}
	if disabled {
		layer.Settings["disabled"] = "false"
	}
	b.layers.put(layer)
	return b.keep(addr, nil)
}

// address finds the address for a new export: as given, or the next free slot of a shelf.
func (b *batch) address(text string) (aoe.Addr, error) {
	if strings.Contains(text, ".") {
		a, err := aoe.ParseAddr(text)
		if err != nil {
			return a, control.Errorf(control.CodeUsage, "%v", err).WithHint("an address is SHELF.SLOT, e.g. 1.0, or SHELF alone for its next free slot")
		}
		return a, nil
	}
	first := "0"
	if s := strings.TrimPrefix(strings.ToLower(text), "e"); s != "" {
		first = s
	}
	a, err := aoe.ParseAddr(first + ".0")
	if err != nil {
		return a, control.Errorf(control.CodeUsage, "%q is neither an address nor a shelf", text).WithHint("an address is SHELF.SLOT, e.g. 1.0, or SHELF alone for its next free slot")
	}
	for slot := range aoe.WildMinor {
		a.Minor = uint8(slot)
		if e, _ := b.find(a); e == nil && !b.taken[a] {
			return a, nil
		}
	}
	return a, control.Errorf(control.CodeConflict, "shelf %d has no free slot", a.Major).WithHint("use another shelf")
}

// set stages a change of settings.
func (b *batch) set(c *control.Change, addr aoe.Addr, disabled bool) (string, error) {
	if !disabled && c.Settings["disabled"] == "true" {
		if err := b.inUse(c, addr, "be switched off"); err != nil {
			return "", err
		}
	}
	layer, _ := b.layers.layer(addr)
	for key, v := range c.Settings {
		layer.Settings[key] = v
	}
	for _, key := range c.Unset {
		delete(layer.Settings, key)
	}
	if c.Force {
		layer.Settings["force"] = "true"
	}
	b.layers.put(layer)
	return "", b.keep(addr, c.Unset)
}

// remove stages the removal of an export. One that a file has is switched off instead: the file is not ours.
func (b *batch) remove(c *control.Change, addr aoe.Addr, disabled bool) (string, error) {
	if !disabled {
		if err := b.inUse(c, addr, "be removed"); err != nil {
			return "", err
		}
	}
	layer, _ := b.layers.layer(addr)
	if layer.New {
		delete(b.layers.unsaved, addr)
		return "removed", nil
	}
	if b.save {
		if gone, err := b.layers.forget(&b.saving, addr); err != nil || gone {
			return "removed, and its file", asUsage(err)
		}
	}
	layer.Settings = map[string]string{"disabled": "true"}
	b.layers.put(layer)
	e, _ := b.find(addr)
	return fmt.Sprintf("switched off; %s still has it", e.Pos.File), b.keep(addr, nil)
}

// keep turns what was staged into a drop-in when it is to be saved.
func (b *batch) keep(addr aoe.Addr, unset []string) error {
	if !b.save {
		return nil
	}
	return asUsage(b.layers.save(&b.saving, addr, unset))
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return control.Errorf(control.CodeFailed, "%v", err)
}

// inUse refuses a change that takes an export away from initiators, unless it is forced.
func (b *batch) inUse(c *control.Change, addr aoe.Addr, what string) error {
	x := b.d.exports[addr]
	if c.Force || x == nil {
		return nil
	}
	users := b.d.users(x)
	if len(users) == 0 {
		return nil
	}
	who := make([]string, 0, len(users))
	for _, u := range users {
		who = append(who, userText(u))
	}
	return control.Errorf(control.CodeInUse, "%v is in use and cannot %s: by %s", addr, what, strings.Join(who, "; by ")).
		WithHint("unmount it there first; --force does it all the same, after what is in flight is finished")
}

// userText says who uses an export.
func userText(u control.User) string {
	text := u.MAC
	if u.Name != "" {
		text += " (" + u.Name + ")"
	}
	if u.Interface != "" {
		text += " on " + u.Interface
	}
	if !u.LastSeen.IsZero() {
		text += fmt.Sprintf(", last seen %v ago", time.Since(u.LastSeen).Round(time.Second))
	}
	if u.Reserved {
		text += ", which holds it reserved"
	}
	return text
}

// wait waits until added exports are served, or cannot be, and removed ones are gone, and says so in the reply.
func (b *backend) wait(ctx context.Context, r *control.ChangeRequest, reply *control.ChangeReply) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.WaitMS)*time.Millisecond)
	defer cancel()
	open := map[string]int{}
	for i := range reply.Results {
		if reply.Results[i].Error == nil {
			reply.Results[i].Address = r.Changes[i].Address
			open[r.Changes[i].Address] = i
		}
	}
	for len(open) > 0 {
		moving, err := ask(ctx, b.d, func() (map[string]string, error) { return b.d.moving(open), nil })
		if err != nil {
			for a, i := range open {
				reply.Results[i].Note = strings.TrimPrefix(reply.Results[i].Note+"; "+a+" is not settled yet", "; ")
			}
			return
		}
		for a, i := range open {
			if note, still := moving[a]; !still {
				delete(open, a)
			} else if note != "" {
				reply.Results[i].Note = note
				delete(open, a)
			}
		}
		if len(open) == 0 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// moving returns those of the exports that exist: with what became of them, or "" while that is open. Gone ones are not in it.
func (d *Daemon) moving(of map[string]int) map[string]string {
	out := map[string]string{}
	snap := d.watch.Snapshot()
	for a := range of {
		addr, err := aoe.ParseAddr(a)
		if err != nil || d.exports[addr] == nil {
			continue
		}
		x := d.exports[addr]
		var e control.Export
		d.state(x, &e)
		switch {
		case e.State == control.StateOpening || e.State == control.StateClosing || x.want == nil || x.want != &x.cfg && x.phase != idle,
			e.State == control.StateServing && d.unsettled(x, snap):
			out[a] = ""
		case e.State == control.StateServing:
			out[a] = "serving on " + strings.Join(e.Served, ", ")
		default:
			why := e.Why
			if why == "" {
				why = strings.Join(d.waitTexts(x), "; ")
			}
			out[a] = e.State + ": " + why
		}
		if e.State == control.StateOpening && x.phase == serving && len(d.waitTexts(x)) > 0 {
			out[a] = "waiting: " + strings.Join(d.waitTexts(x), "; ")
		}
	}
	return out
}

// unsettled tells whether an interface that an export wants is still being opened, or is being asked whether the address is free.
func (d *Daemon) unsettled(x *export, snap []netwatch.Iface) bool {
	return slices.ContainsFunc(snap, func(i netwatch.Iface) bool {
		if !x.cfg.Wants(i.Name) || !i.Up || unusable(i, effectiveMTU(i, d.cfg.MatchInterface(i.Name))) != "" {
			return false
		}
		p := d.ports[i.Index]
		if p == nil {
			return d.failed[i.Index].err == nil
		}
		c := p.checks[x.addr]
		return !p.serves(x) && (c == nil || c.taken == "")
	})
}

// waitTexts says which interfaces an export waits for.
func (d *Daemon) waitTexts(x *export) []string {
	snap := d.watch.Snapshot()
	var out []string
	for _, pattern := range x.cfg.Interfaces {
		if w, ok := d.waitsFor(pattern, snap); ok && !slices.Contains(out, w.text) {
			out = append(out, w.text)
		}
	}
	return out
}
