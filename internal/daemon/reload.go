package daemon

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
)

// Reload reads the configuration anew and applies it. What was changed at run time stays. The error says why everything
// stayed as it was.
func (d *Daemon) Reload() error {
	_, err := (&backend{d}).Reload(context.Background(), &control.ReloadRequest{})
	return err
}

// Reload implements control.Backend.
func (b *backend) Reload(ctx context.Context, r *control.ReloadRequest) (*control.Plan, error) {
	return ask(ctx, b.d, func() (*control.Plan, error) {
		plan, err := b.d.reload(r.DiscardUnsaved)
		b.d.reconcile() // so that what can be applied at once is in force when the reply goes out
		return plan, err
	})
}

// Plan implements control.Backend.
func (b *backend) Plan(ctx context.Context) (*control.Plan, error) {
	return ask(ctx, b.d, func() (*control.Plan, error) {
		_, now, problems, err := b.d.readAgain(false)
		if err != nil {
			return nil, err
		}
		return b.d.planOf(now, problems), nil
	})
}

// readAgain reads the files anew. The configuration must not be used when problems has an error.
func (d *Daemon) readAgain(discard bool) (l layers, now *config.Config, problems config.Problems, err error) {
	if d.o.Read == nil {
		return l, nil, nil, control.Errorf(control.CodeRefused, "there is no configuration file to read")
	}
	l = d.layers.clone()
	if l.files, problems = d.o.Read(); problems.Err() != nil {
		return l, nil, problems, nil //nolint:nilerr // the caller judges problems
	}
	if discard {
		clear(l.unsaved)
	}
	now, problems = d.o.Parse(l.all())
	return l, now, problems, nil
}

// reload reads the configuration anew and makes it the wanted one. With an error in it nothing changes.
func (d *Daemon) reload(discard bool) (*control.Plan, error) {
	d.notifier.reloading()
	defer func() { d.notifier.ready(d.status(d.watch.Snapshot()).String()) }()
	l, now, problems, err := d.readAgain(discard)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if p.Severity == config.Error {
			d.log.Error(p.String())
		} else {
			d.log.Warn(p.String())
		}
	}
	if problems.Err() != nil {
		d.log.Error("the configuration has errors: nothing was changed")
		return nil, control.Errorf(control.CodeFailed, "nothing was changed: %s", textOf(problems)).WithHint("goaoe check shows all of it")
	}
	plan := d.planOf(now, problems)
	diff := config.Diff(d.cfg, now)
	if d.o.Logs != nil { // also unchanged: a log file is opened again then, so that it can be rotated
		if err := d.o.Logs.Set(now); err != nil {
			d.log.Error("the configuration's log settings cannot be used, nothing was changed: " + err.Error())
			return nil, control.Errorf(control.CodeFailed, "nothing was changed: the log settings cannot be used: %v", err)
		}
	}
	d.sayLater(diff)
	d.layers = l
	d.adopt(now, diff, true)
	d.dropStale()
	d.log.Info("configuration reloaded: " + summary(diff))
	return plan, nil
}

// textOf names the first error, and how many more there are.
func textOf(problems config.Problems) string {
	i := slices.IndexFunc(problems, func(p config.Problem) bool { return p.Severity == config.Error })
	p := problems[i]
	p.Hint = ""
	text := strings.Replace(p.String(), "error: ", "", 1)
	if n := problems.Errors(); n > 1 {
		text += fmt.Sprintf(" (and %d more)", n-1)
	}
	return text
}

// adopt makes a configuration the wanted one. Exports that the plan keeps are not touched; with retry those that could not be
// served are tried again at once.
func (d *Daemon) adopt(now *config.Config, plan config.Plan, retry bool) {
	now.Global.StateDirectory = d.cfg.Global.StateDirectory
	now.Global.Lanes = d.cfg.Global.Lanes
	d.cfg, d.patterns = now, nil
	d.followLogs()
	for i := range plan.Added {
		d.want(&plan.Added[i])
	}
	for i := range plan.Changed {
		d.want(&plan.Changed[i].New)
	}
	for _, e := range plan.Removed {
		if x := d.exports[e.Addr]; x != nil {
			x.want = nil
		}
	}
	if retry {
		for _, e := range plan.Kept {
			if x := d.exports[e.Addr]; x != nil && x.phase == idle {
				d.want(&e)
			}
		}
	}
}

// dropStale forgets changes made at run time whose export the files do not have any more.
func (d *Daemon) dropStale() {
	has := map[aoe.Addr]bool{}
	for _, e := range slices.Concat(d.cfg.Exports, d.cfg.Disabled) {
		has[e.Addr] = true
	}
	for a := range d.layers.unsaved {
		if !has[a] {
			delete(d.layers.unsaved, a)
		}
	}
}

// laterKeys are the global settings that count from the next start on.
var laterKeys = []string{"state-directory", "lanes", "busy-poll", "disk-poll", "request-age-limit", "linear-frames", "xdp-send", "registered-files", "read-now", "merge-requests", "sandbox-capabilities", "sandbox-landlock", "sandbox-seccomp"}

// sayLater warns of settings that count from the next start on.
func (d *Daemon) sayLater(plan config.Plan) {
	for _, k := range slices.Concat(laterKeys, plan.Services) {
		if slices.Contains(plan.Global, k) || slices.Contains(plan.Services, k) {
			d.log.Warn(k + " was changed: it counts from the next start on")
		}
	}
}

// planOf says what adopting a configuration would do.
func (d *Daemon) planOf(now *config.Config, problems config.Problems) *control.Plan {
	p := PlanBetween(d.cfg, now, problems)
	for i := range p.Changes {
		c := &p.Changes[i]
		if a, err := aoe.ParseAddr(c.Subject); err == nil && c.What == "remove" && d.exports[a] != nil {
			for _, u := range d.users(d.exports[a]) {
				c.Note += "; used by " + userText(u)
			}
		}
	}
	return p
}

// PlanBetween says what it would do to a daemon that has the configuration old to get now. problems are those of now; with an
// error among them nothing would be done.
func PlanBetween(old, now *config.Config, problems config.Problems) *control.Plan {
	p := &control.Plan{Changes: []control.PlanChange{}, Problems: []string{}, OK: problems.Err() == nil}
	for _, x := range problems {
		p.Problems = append(p.Problems, x.String())
	}
	if !p.OK {
		return p
	}
	diff := config.Diff(old, now)
	p.Kept = len(diff.Kept)
	for _, e := range diff.Added {
		p.Changes = append(p.Changes, control.PlanChange{What: "add", Subject: e.Addr.String(), Note: e.Source})
	}
	for _, e := range diff.Removed {
		p.Changes = append(p.Changes, control.PlanChange{What: "remove", Subject: e.Addr.String(), Note: e.Source, Interrupt: true})
	}
	for i := range diff.Changed {
		p.Changes = append(p.Changes, planChange(&diff.Changed[i]))
	}
	for _, pattern := range diff.Interfaces {
		p.Changes = append(p.Changes, control.PlanChange{What: "change", Subject: "interface " + pattern, Interrupt: true, Note: "its sockets are opened anew"})
	}
	for _, s := range []struct {
		name string
		keys []string
	}{{"global", diff.Global}, {"log", diff.Log}, {"services", diff.Services}} {
		for _, k := range s.keys {
			p.Changes = append(p.Changes, control.PlanChange{What: "change", Subject: s.name,
				Keys:    []control.Key{{Name: k, Old: config.SettingText(old, s.name, k), New: config.SettingText(now, s.name, k)}},
				Restart: s.name == "services" || slices.Contains(laterKeys, k)})
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b control.PlanChange) int { return planOrder(a.Subject) - planOrder(b.Subject) })
	return p
}

// planOrder sorts exports by their addresses, and what is not about one export behind them.
func planOrder(subject string) int {
	if a, err := aoe.ParseAddr(subject); err == nil {
		return int(a.Key())
	}
	return math.MaxInt32
}

// planChange says what a change of an export does.
func planChange(c *config.Change) control.PlanChange {
	out := control.PlanChange{What: "change", Subject: c.New.Addr.String(), Interrupt: needsRestart(&c.Old, &c.New)}
	was, is := config.SettingsText(&c.Old), config.SettingsText(&c.New)
	for _, k := range c.Keys {
		out.Keys = append(out.Keys, control.Key{Name: k, Old: was[k], New: is[k]})
	}
	if out.Interrupt {
		out.Note = "it is opened anew: what is in flight is finished first, and initiators wait for a moment"
	}
	return out
}

// summary says what a plan does, in a few words.
func summary(p config.Plan) string {
	if p.Empty() {
		return "nothing changed"
	}
	var parts []string
	list := func(what string, exports []config.Export) {
		if len(exports) > 0 {
			names := make([]string, 0, len(exports))
			for _, e := range exports {
				names = append(names, e.Addr.String())
			}
			parts = append(parts, what+" "+strings.Join(names, " "))
		}
	}
	list("added", p.Added)
	list("removed", p.Removed)
	for _, c := range p.Changed {
		parts = append(parts, fmt.Sprintf("%v: %s", c.New.Addr, strings.Join(c.Keys, ", ")))
	}
	if rest := slices.Concat(p.Global, p.Log, p.Services); len(rest) > 0 {
		parts = append(parts, strings.Join(rest, ", "))
	}
	if len(p.Interfaces) > 0 {
		parts = append(parts, "interfaces "+strings.Join(p.Interfaces, " "))
	}
	return strings.Join(parts, "; ")
}
