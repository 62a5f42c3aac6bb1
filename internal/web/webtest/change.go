package webtest

import (
	"context"
	"maps"
	"strconv"

	"goaoe/aoe"
	"goaoe/internal/control"
)

// Change implements control.Backend.
func (d *Daemon) Change(_ context.Context, r *control.ChangeRequest) (*control.ChangeReply, error) {
	err := d.call("change")
	defer d.Unlock()
	if err != nil {
		return nil, err
	}
	reply := &control.ChangeReply{Results: []control.Result{}}
	for _, c := range r.Changes {
		res := control.Result{Address: c.Address}
		if e := d.change(&res, c, r.Save); e != nil {
			res.Error = e
		}
		reply.Results = append(reply.Results, res)
	}
	d.revise()
	return reply, nil
}

func (d *Daemon) change(res *control.Result, c control.Change, save bool) *control.Error {
	if n, ok := c.Settings["queue-length"]; ok {
		if v, err := strconv.Atoi(n); err != nil || v < 2 || v > 1024 {
			return control.Errorf(control.CodeUsage, "queue-length: %q is not a number from 2 to 1024", n)
		}
	}
	i := d.find(c.Address)
	if c.Op == control.OpAdd {
		return d.add(res, c, save, i >= 0)
	}
	if i < 0 {
		return control.Errorf(control.CodeNotFound, "there is no export %s", c.Address)
	}
	e := &d.List[i]
	if c.Revision != "" && c.Revision != e.Revision {
		return control.Errorf(control.CodeConflict, "%s was changed by somebody else", e.Address)
	}
	if c.Op == control.OpSet {
		e.Settings = maps.Clone(e.Settings)
		maps.Copy(e.Settings, c.Settings)
		e.Name, e.Unsaved = e.Settings["name"], !save
		return nil
	}
	if len(e.Users) > 0 && !c.Force {
		return control.Errorf(control.CodeInUse, "%s is in use by %s", e.Address, e.Users[0].MAC).WithHint("force removes it all the same")
	}
	d.List = append(d.List[:i:i], d.List[i+1:]...)
	res.Note = "saved to conf.d/" + e.Address + ".toml"
	return nil
}

func (d *Daemon) add(res *control.Result, c control.Change, save, taken bool) *control.Error {
	if taken {
		return control.Errorf(control.CodeConflict, "%s is taken", c.Address)
	}
	a, err := aoe.ParseAddr(c.Address)
	if c.Address == "" {
		a, err = aoe.Addr{Major: 99, Minor: uint8(len(d.List))}, nil
	}
	if err != nil {
		return control.Errorf(control.CodeUsage, "%q is neither an address nor a shelf", c.Address)
	}
	if c.Source == "" || c.Source[0] != '/' {
		return control.Errorf(control.CodeUsage, "source: %q is not an absolute path", c.Source).WithHint("e.g. /dev/sdb")
	}
	e := control.Export{Address: a.String(), Name: c.Settings["name"], Source: c.Source, State: control.StateServing, Sectors: 1 << 21, Served: []string{"eth1"}, Origin: "run time", Unsaved: !save,
		Settings: settings(), Mask: []string{}, Reserve: []string{}, Users: []control.User{}}
	maps.Copy(e.Settings, c.Settings)
	d.List = append(d.List, e)
	res.Address, res.Note = e.Address, "serving on eth1"
	return nil
}

// Announce implements control.Backend.
func (d *Daemon) Announce(_ context.Context, exports []aoe.Addr) (*control.ChangeReply, error) {
	err := d.call("announce")
	defer d.Unlock()
	reply := &control.ChangeReply{Results: []control.Result{}}
	for _, a := range exports {
		reply.Results = append(reply.Results, control.Result{Address: a.String(), Note: "announced on eth1, eth2"})
	}
	return reply, err
}

// Plan implements control.Backend.
func (d *Daemon) Plan(context.Context) (*control.Plan, error) {
	err := d.call("plan")
	defer d.Unlock()
	return &control.Plan{Kept: len(d.List), OK: true, Problems: []string{}, Changes: []control.PlanChange{
		{What: "change", Subject: "e0.0", Keys: []control.Key{{Name: "queue-length", Old: "64", New: "128"}}}}}, err
}

// Reload implements control.Backend.
func (d *Daemon) Reload(context.Context, *control.ReloadRequest) (*control.Plan, error) {
	err := d.call("reload")
	defer d.Unlock()
	return &control.Plan{Kept: len(d.List), OK: true, Problems: []string{}, Changes: []control.PlanChange{}}, err
}

// Clear implements control.Backend.
func (d *Daemon) Clear(_ context.Context, r *control.ClearRequest) (*control.ChangeReply, error) {
	err := d.call("clear")
	defer d.Unlock()
	reply := &control.ChangeReply{Results: []control.Result{}}
	for _, a := range r.Exports {
		res := control.Result{Address: a}
		if i := d.find(a); i < 0 {
			res.Error = control.Errorf(control.CodeNotFound, "there is no export %s", a)
		} else if r.What == control.ClearConfig {
			d.List[i].ConfigString = ""
		} else if r.What == control.ClearReserve {
			d.List[i].Reserve = []string{}
		}
		reply.Results = append(reply.Results, res)
	}
	return reply, err
}

// SetLog implements control.Backend.
func (d *Daemon) SetLog(context.Context, *control.LogRequest) error { return nil }

// Config implements control.Backend.
func (d *Daemon) Config(context.Context) (string, error) { return "", nil }

// Trace implements control.Backend.
func (d *Daemon) Trace(context.Context, *control.TraceRequest, func(*control.TraceRecord) error) error {
	return nil
}
