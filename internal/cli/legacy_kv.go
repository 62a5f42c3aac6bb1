package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"goaoe/internal/control"
)

// kvblade's commands know an export as major, minor and interface: one address on two interfaces is two of its exports, and one of
// ours on both.

// kvWait is how long kvadd waits until the export is served, in milliseconds.
const kvWait = 10_000

func runKvadd(env *Env, args []string) int {
	if len(args) != 4 || strings.HasPrefix(args[0], "-") {
		return usage(env, "major minor ifname bpath", nil)
	}
	return report(env, asFailure(kvadd(env, args[0]+"."+args[1], args[2], absolute(args[3]))))
}

// kvadd adds an export, or an interface to one that has the same source.
func kvadd(env *Env, addr, ifname, source string) error {
	c, err := kvClient(env, true)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*control.Timeout)
	defer cancel()
	change := control.Change{Op: control.OpAdd, Address: addr, Source: source, Settings: map[string]string{"interfaces": ifname}}
	undo := control.Change{Op: control.OpRemove, Address: addr, Force: true}
	if e := findExport(ctx, c, addr); e != nil && e.State != control.StateDisabled {
		on := strings.Split(e.Settings["interfaces"], ",")
		switch {
		case e.Source != source:
			return Failf("%s is taken: it exports %s", e.Address, e.Source).WithHint("kvstat lists what is exported")
		case slices.Contains(on, ifname):
			return Failf("%s is exported on %s already", e.Address, ifname)
		}
		change = control.Change{Op: control.OpSet, Address: addr, Revision: e.Revision, Settings: map[string]string{"interfaces": strings.Join(append(on, ifname), ",")}}
		undo = control.Change{Op: control.OpSet, Address: addr, Settings: map[string]string{"interfaces": e.Settings["interfaces"]}}
	}
	r, err := oneChange(ctx, c, change, kvWait)
	if err != nil {
		return err
	}
	if e := findExport(ctx, c, r.Address); e == nil || !slices.Contains(e.Served, ifname) {
		why := strings.TrimPrefix(r.Note, "waiting: ")
		if e != nil && e.Why != "" {
			why = e.Why
		} else if e != nil && len(e.Waiting) > 0 {
			why = strings.Join(e.Waiting, "; ")
		}
		_, uerr := oneChange(ctx, c, undo, 0) // kvadd leaves nothing behind that does not work
		return Failf("%s cannot be exported on %s: %s", r.Address, ifname, errorText(why, uerr))
	}
	return nil
}

// errorText joins a reason and what went wrong afterwards.
func errorText(why string, err error) string {
	if err == nil {
		return why
	}
	return why + "; and it could not be taken back: " + err.Error()
}

func runKvdel(env *Env, args []string) int {
	if len(args) != 3 || strings.HasPrefix(args[0], "-") {
		return usage(env, "major minor ifname", nil)
	}
	return report(env, asFailure(kvdel(env, args[0]+"."+args[1], args[2])))
}

// kvdel takes an export off an interface; off its last one, it is removed. As in kvblade, nobody is asked; who used it is told.
func kvdel(env *Env, addr, ifname string) error {
	c, err := kvClient(env, false)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*control.Timeout)
	defer cancel()
	e := findExport(ctx, c, addr)
	if e == nil || e.State == control.StateDisabled {
		return Failf("there is no export %s", addr).WithHint("kvstat lists what is exported")
	}
	on := strings.Split(e.Settings["interfaces"], ",")
	i := slices.Index(on, ifname)
	if i < 0 {
		return Failf("%s is not exported on %s, but on %s", e.Address, ifname, strings.Join(on, ", "))
	}
	change := control.Change{Op: control.OpRemove, Address: addr, Force: true}
	if on = slices.Delete(on, i, i+1); len(on) > 0 {
		change = control.Change{Op: control.OpSet, Address: addr, Revision: e.Revision, Settings: map[string]string{"interfaces": strings.Join(on, ",")}}
	}
	for _, u := range e.Users {
		if u.Interface == ifname || u.Interface == "" {
			fmt.Fprintf(env.Stderr, "kvdel: %s was in use by %s\n", e.Address, u.MAC)
		}
	}
	_, err = oneChange(ctx, c, change, kvWait)
	return err
}

func runKvstat(env *Env, args []string) int {
	if len(args) != 0 {
		return usage(env, "", nil)
	}
	c, err := kvClient(env, false)
	if err != nil {
		return report(env, asFailure(err))
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
	defer cancel()
	list, err := c.Exports(ctx)
	if err != nil {
		return report(env, asFailure(controlError(err)))
	}
	var lines []string
	for _, e := range list {
		path := e.Path
		if path == "" {
			path = e.Source
		}
		for _, ifname := range e.Served {
			size := e.Sectors * 512 / 1_000_000 // in thousandths of 10^9 bytes
			lines = append(lines, fmt.Sprintf("%10s %6s %10s %-14s", strings.TrimPrefix(e.Address, "e"), ifname, fmt.Sprintf("%d.%03dGB", size/1000, size%1000), path))
		}
	}
	sort.Strings(lines)
	for _, l := range lines {
		fmt.Fprintln(env.Stdout, l)
	}
	return ExitOK
}

// findExport returns the export with an address, or nil.
func findExport(ctx context.Context, c *control.Client, addr string) *control.Export {
	list, err := c.Exports(ctx)
	if err != nil {
		return nil
	}
	for i := range list {
		if strings.TrimPrefix(list[i].Address, "e") == strings.TrimPrefix(addr, "e") {
			return &list[i]
		}
	}
	return nil
}

// oneChange makes one change and returns what became of it.
func oneChange(ctx context.Context, c *control.Client, change control.Change, waitMS int) (control.Result, error) {
	reply, err := c.Change(ctx, &control.ChangeRequest{Changes: []control.Change{change}, WaitMS: waitMS})
	if err != nil {
		return control.Result{}, controlError(err)
	}
	if len(reply.Results) != 1 {
		return control.Result{}, Failf("the daemon's reply has %d results for one change", len(reply.Results))
	}
	if reply.Results[0].Error != nil {
		return reply.Results[0], controlError(reply.Results[0].Error)
	}
	return reply.Results[0], nil
}

// controlError is err as a command reports it.
func controlError(err error) error {
	e := control.AsError(err)
	return (&ExitError{Code: ExitFailure, Err: errors.New(e.Message)}).WithHint(e.Hint)
}

// kvClient returns a client of the running daemon. With start one is started where none runs, in the background.
func kvClient(env *Env, start bool) (*control.Client, error) {
	c := control.NewClient(control.FindSocket(env.Sysroot))
	ctx, cancel := context.WithTimeout(context.Background(), control.Timeout)
	defer cancel()
	_, err := c.Status(ctx)
	if err == nil {
		return c, nil
	}
	if control.AsError(err).Code != control.CodeGone || !start {
		return nil, controlError(err)
	}
	if err := startDaemon(env, c.Socket()); err != nil {
		return nil, err
	}
	if _, err = c.Status(ctx); err != nil {
		return nil, controlError(err)
	}
	return c, nil
}

// unitFile is the service that a package installs.
const unitFile = "goaoe.service"

// startDaemon starts a daemon that has nothing to serve yet: the system's service where there is one, else a process in the background.
func startDaemon(env *Env, socket string) error {
	if socket == control.DefaultSocket && hasUnit() {
		out, err := exec.Command("systemctl", "start", unitFile).CombinedOutput()
		if err != nil {
			return Failf("systemctl start %s: %s", unitFile, oneLine(strings.TrimSpace(string(out)))).WithHint("journalctl -u goaoe says why")
		}
		for end := time.Now().Add(kvWait * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(socket); err == nil {
				return nil
			}
		}
		return Failf("%s runs, but has no %s", unitFile, socket).WithHint("see [control] in its configuration")
	}
	if code := detach(env, "goaoe", []string{"serve", "--idle", "--socket", socket}); code != ExitOK {
		return Exit(code)
	}
	return nil
}

// hasUnit tells whether systemd runs this machine and has a service of ours.
func hasUnit() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Getuid() != 0 {
		return false
	}
	for _, dir := range []string{"/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, unitFile)); err == nil {
			return true
		}
	}
	return false
}
