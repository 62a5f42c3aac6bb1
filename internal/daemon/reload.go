package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"goaoe/internal/config"
)

// reload reads the configuration anew and makes it the wanted one. With an error in it nothing changes.
func (d *Daemon) reload() error {
	if d.o.Load == nil {
		return errors.New("there is no configuration file to read")
	}
	d.notifier.reloading()
	defer func() { d.notifier.ready(d.status(d.watch.Snapshot()).String()) }()
	now, problems := d.o.Load()
	for _, p := range problems {
		if p.Severity == config.Error {
			d.log.Error(p.String())
		} else {
			d.log.Warn(p.String())
		}
	}
	if err := problems.Err(); err != nil {
		d.log.Error("the configuration has errors: nothing was changed")
		return err
	}
	plan := config.Diff(d.cfg, now)
	if d.o.Logs != nil { // also unchanged: a log file is opened again then, so that it can be rotated
		if err := d.o.Logs.Set(now); err != nil {
			d.log.Error("the configuration's log settings cannot be used, nothing was changed: " + err.Error())
			return err
		}
	}
	d.sayLater(plan)
	now.Global.StateDirectory = d.cfg.Global.StateDirectory
	d.cfg = now
	for i := range now.Exports {
		d.want(&now.Exports[i])
	}
	for _, e := range plan.Removed {
		if x := d.exports[e.Addr]; x != nil {
			x.want = nil
		}
	}
	d.log.Info("configuration reloaded: " + summary(plan))
	return nil
}

// sayLater warns of settings that count from the next start on.
func (d *Daemon) sayLater(plan config.Plan) {
	for _, k := range []string{"state-directory", "lanes", "busy-poll", "request-age-limit"} {
		if slices.Contains(plan.Global, k) {
			d.log.Warn(k + " was changed: it counts from the next start on")
		}
	}
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
	if rest := slices.Concat(p.Global, p.Log); len(rest) > 0 {
		parts = append(parts, strings.Join(rest, ", "))
	}
	if len(p.Interfaces) > 0 {
		parts = append(parts, "interfaces "+strings.Join(p.Interfaces, " "))
	}
	return strings.Join(parts, "; ")
}
