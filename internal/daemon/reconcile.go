package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"goaoe/internal/config"
	"goaoe/internal/daemon/netwatch"
)

// reconcile makes what runs equal to what should run, as far as that can be done at this moment.
func (d *Daemon) reconcile() {
	snap := d.watch.Snapshot()
	d.advance()
	d.reconcilePorts(snap)
	for _, p := range d.ports {
		d.startChecks(p)
	}
	if !d.started && d.settled() {
		if d.fatal = d.startError(snap); d.fatal != nil {
			return
		}
		d.started = true
	}
	for _, p := range d.ports {
		d.updateTable(p)
	}
	d.sayWaiting(snap)
	if d.started && !d.ready {
		d.ready = true
		st := d.status(snap)
		if d.o.Ready != nil {
			d.o.Ready(st)
		}
		d.notifier.ready(st.String())
	}
}

// settled tells whether everything that happens at the start has happened: nothing is served before, so that a mistake in
// one place does not leave a half of it running.
func (d *Daemon) settled() bool {
	if time.Since(d.begun) >= startPatience {
		return true
	}
	for _, x := range d.exports {
		if x.phase == opening || x.phase == opened {
			return false
		}
	}
	for _, p := range d.ports {
		if p.probing {
			return false
		}
		if p.ifc.Admin && !p.ifc.Up && time.Since(d.begun) < carrierPatience {
			return false // a carrier takes a moment after the interface was switched on
		}
	}
	return true
}

// startError returns why the daemon must not start, or nil.
func (d *Daemon) startError(snap []netwatch.Iface) error {
	for _, f := range d.failed { // what is true for one is true for all
		if errors.Is(f.err, unix.EPERM) || errors.Is(f.err, unix.EACCES) {
			return f.err
		}
	}
	var errs []error
	served, waiting := 0, 0
	for _, x := range d.sorted() {
		switch {
		case x.phase == serving:
			served++
		case x.why == nil || x.missing && !d.o.Strict:
			waiting++
		default:
			errs = append(errs, fmt.Errorf("%v: %s%s", x.addr, withoutAddr(x.addr, x.why), missingHint(x)))
		}
	}
	if d.o.Strict {
		errs = append(errs, d.strictErrors(snap)...)
	}
	if len(errs) > 0 && (d.o.Strict || served+waiting == 0) {
		return errors.Join(errs...)
	}
	return nil
}

// missingHint says what to do about a source that does not exist.
func missingHint(x *export) string {
	switch {
	case !x.missing || strings.Contains(x.why.Error(), "truncate"):
		return ""
	case strings.HasPrefix(x.cfg.Source, "/dev/") || !filepath.IsAbs(x.cfg.Source):
		return "; lsblk shows the devices that there are"
	}
	return "; make a sparse file with: truncate -s 10G " + x.cfg.Source
}

// strictErrors returns what is wrong with interfaces and addresses, where all of it must be right from the start.
func (d *Daemon) strictErrors(snap []netwatch.Iface) (errs []error) {
	for _, w := range d.waits(snap) {
		errs = append(errs, errors.New(w.text))
	}
	for _, i := range snap {
		if f, ok := d.failed[i.Index]; ok {
			errs = append(errs, f.err)
		}
		p := d.ports[i.Index]
		if p == nil {
			continue
		}
		for _, x := range d.sorted() {
			if c := p.checks[x.addr]; c != nil && c.taken != "" {
				errs = append(errs, errors.New(takenText(p, x.addr, c.taken)))
			}
		}
	}
	return errs
}

// wait is something that is waited for.
type wait struct {
	subject string // an interface's name or pattern
	text    string
	soft    bool // it is there, and only has no carrier: no reason not to start
}

// waits returns which interfaces are waited for.
func (d *Daemon) waits(snap []netwatch.Iface) []wait {
	var out []wait
	for _, pattern := range d.wantedPatterns() {
		if w, ok := d.waitsFor(pattern, snap); ok && (!w.soft || !d.o.Strict || d.started) {
			out = append(out, w)
		}
	}
	return out
}

// waitsFor tells whether a name or pattern of an interface is waited for.
func (d *Daemon) waitsFor(pattern string, snap []netwatch.Iface) (wait, bool) {
	matches := 0
	for _, i := range snap {
		if !config.MatchName(pattern, i.Name) {
			continue
		}
		matches++
		switch {
		case unusable(i, effectiveMTU(i, d.cfg.MatchInterface(i.Name))) != "" || config.IsGlob(pattern):
			continue
		case !i.Admin:
			return wait{pattern, fmt.Sprintf("interface %s is down: ip link set dev %s up", i.Name, i.Name), false}, true
		case !i.Up:
			return wait{pattern, fmt.Sprintf("interface %s has no carrier", i.Name), true}, true
		}
	}
	switch {
	case matches > 0:
		return wait{}, false
	case config.IsGlob(pattern):
		return wait{pattern, "no interface matches " + pattern, false}, true
	}
	return wait{pattern, fmt.Sprintf("interface %s does not exist%s", pattern, d.suggest(snap)), false}, true
}

// suggest lists the interfaces that could have been meant.
func (d *Daemon) suggest(snap []netwatch.Iface) string {
	var names []string
	for _, i := range snap {
		if unusable(i, i.MTU) == "" {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 || len(names) > 8 {
		return ""
	}
	return " (there is " + strings.Join(names, ", ") + ")"
}

// sayWaiting logs what is waited for and what failed, each once.
func (d *Daemon) sayWaiting(snap []netwatch.Iface) {
	if !d.started {
		return
	}
	now := map[string]bool{}
	for _, w := range d.waits(snap) {
		subject := "wait " + w.subject
		now[subject] = true
		d.say(slog.LevelInfo, subject, "waiting: "+w.text, forInterface(w.subject))
	}
	for _, i := range snap {
		if f, ok := d.failed[i.Index]; ok {
			now["wait port "+i.Name] = true
			d.say(slog.LevelError, "wait port "+i.Name, f.err.Error(), forInterface(i.Name))
		}
	}
	for s := range d.said {
		if strings.HasPrefix(s, "wait ") && !now[s] {
			delete(d.said, s)
		}
	}
}

// sayServing logs that an export is served on an interface.
func (d *Daemon) sayServing(p *port, x *export) {
	mode := ""
	if x.cfg.ReadOnly {
		mode = ", read-only"
	}
	if x.cfg.WriteCache {
		mode += ", write cache"
	}
	if x.cfg.Direct {
		mode += ", direct I/O"
	}
	d.log.Info(fmt.Sprintf("%v serving %s, %d sectors on %s, MTU %d%s", x.addr, x.cfg.Source, x.sectors, p.ifc.Name, p.mtu, mode), forExport(x.addr), forInterface(p.ifc.Name))
	d.say(slog.LevelInfo, takenSubject(p, x.addr), "")
	d.say(slog.LevelInfo, x.subject(), "")
}

// userStateDir is the state directory of a user who may not write to the system's, by the XDG base directory rules.
func userStateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "goaoe")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "goaoe")
	}
	return ""
}
