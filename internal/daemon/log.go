package daemon

import (
	"log/slog"
	"slices"

	"goaoe/aoe"
	"goaoe/internal/config"
	"goaoe/internal/control"
	"goaoe/internal/daemon/netwatch"
)

// LogControl is what the daemon needs of the log beside the *slog.Logger: changes while it runs. *logging.Log is one.
type LogControl interface {
	// Set applies the log settings of a configuration at a reload: files are opened again, and what SetLevel did is forgotten. On
	// an error nothing changed.
	Set(c *config.Config) error
	// Apply applies them after any other change of the configuration in force (an export was added, an export's log-level
	// was set): targets that did not change stay open, and what SetLevel did stays.
	Apply(c *config.Config) error
	// SetLevel changes the level of the daemon (""), an export ("e0.1") or an interface ("eth0") until the next Set; an empty level
	// goes back to what the configuration says.
	SetLevel(subject, level string) error
	// Level returns the level in force for such a subject.
	Level(subject string) string
}

// The attributes that tell the log what a line is about. It chooses level and target by them, see package logging.
const (
	attrExport    = "export"
	attrInterface = "interface"
	attrInitiator = "initiator"
	attrLogTarget = "log-target"
	attrTrace     = "trace"
)

// forExport says that a line is about an export.
func forExport(a aoe.Addr) slog.Attr { return slog.String(attrExport, a.String()) }

// forInterface says that a line is about an interface.
func forInterface(name string) slog.Attr { return slog.String(attrInterface, name) }

// followLogs makes the log follow a configuration that changed otherwise than by a reload.
func (d *Daemon) followLogs() {
	d.followTraced()
	if d.o.Logs == nil {
		return
	}
	if err := d.o.Logs.Apply(d.cfg); err != nil {
		d.log.Error("the log settings cannot be used, the log stays as it was: " + err.Error())
	}
}

// logLevel is the daemon's level in force.
func (d *Daemon) logLevel() string {
	if d.o.Logs == nil {
		return d.cfg.Log.Level
	}
	return d.o.Logs.Level("")
}

// logSubject returns what a user named as LogControl.SetLevel wants it: an export by its address, an interface that is there or that
// an export waits for, or "" for the daemon.
func (d *Daemon) logSubject(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if a, err := aoe.ParseAddr(name); err == nil {
		if d.exports[a] == nil && !slices.ContainsFunc(d.cfg.Disabled, func(e config.Export) bool { return e.Addr == a }) {
			return "", control.Errorf(control.CodeNotFound, "there is no export %v", a).WithHint("goaoe ls shows the exports")
		}
		return a.String(), nil
	}
	there := slices.ContainsFunc(d.watch.Snapshot(), func(i netwatch.Iface) bool { return i.Name == name })
	if !there && !d.named(name) {
		return "", control.Errorf(control.CodeNotFound, "there is no export and no interface %q", name).
			WithHint("name an export such as e0.1, an interface such as eth1, or nothing for the daemon")
	}
	return name, nil
}
