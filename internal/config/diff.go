package config

import (
	"reflect"
	"slices"

	"goaoe/aoe"
)

// Change is an export whose settings differ between two configurations.
type Change struct {
	Old, New Export
	Keys     []string // the settings that differ, by key
}

// Touches tells whether one of these keys changed.
func (c Change) Touches(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(c.Keys, k) })
}

// Plan is what to do to get from one configuration to another. Exports are told apart by their addresses.
type Plan struct {
	Added   []Export
	Removed []Export
	Changed []Change
	Kept    []Export // equal in both
	// Global, Log and Interfaces say which keys of these sections differ. Interfaces has one entry per pattern.
	Global     []string
	Log        []string
	Services   []string // of [control], [web], [metrics] and [pprof], e.g. "web.listen"
	Interfaces []string
}

// Empty tells whether nothing is to be done.
func (p Plan) Empty() bool {
	return len(p.Added)+len(p.Removed)+len(p.Changed)+len(p.Global)+len(p.Log)+len(p.Services)+len(p.Interfaces) == 0
}

// Diff compares two configurations. Where something is written in a file makes no difference.
func Diff(old, now *Config) Plan {
	var p Plan
	was := map[aoe.Addr]Export{}
	for _, e := range old.Exports {
		was[e.Addr] = e
	}
	for _, e := range now.Exports {
		o, ok := was[e.Addr]
		if !ok {
			p.Added = append(p.Added, e)
			continue
		}
		delete(was, e.Addr)
		if keys := changedKeys(o, e); len(keys) > 0 {
			p.Changed = append(p.Changed, Change{Old: o, New: e, Keys: keys})
		} else {
			p.Kept = append(p.Kept, e)
		}
	}
	for _, e := range old.Exports {
		if _, gone := was[e.Addr]; gone {
			p.Removed = append(p.Removed, e)
		}
	}
	p.Global = changedKeys(old.Global, now.Global)
	p.Log = append(changedKeys(old.Log, now.Log), changedLogTargets(old.LogTargets, now.LogTargets)...)
	for _, s := range []struct {
		name     string
		old, now any
	}{{"control", old.Control, now.Control}, {"web", old.Web, now.Web}, {"metrics", old.Metrics, now.Metrics}, {"pprof", old.Pprof, now.Pprof}} {
		for _, key := range changedKeys(s.old, s.now) {
			p.Services = append(p.Services, s.name+"."+key)
		}
	}
	p.Interfaces = changedInterfaces(old.Interfaces, now.Interfaces)
	return p
}

// changedKeys compares two structs of one type field by field and returns the keys of those that differ, by their tags.
func changedKeys(a, b any) []string {
	var keys []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		key := va.Type().Field(i).Tag.Get("key")
		if key == "-" || key == "" {
			continue
		}
		x, y := va.Field(i).Interface(), vb.Field(i).Interface()
		if p, ok := x.(*ACL); ok {
			x, y = p.withoutNames(), y.(*ACL).withoutNames()
		}
		if !reflect.DeepEqual(x, y) {
			keys = append(keys, key)
		}
	}
	return keys
}

// withoutNames returns what counts of an access list.
func (a *ACL) withoutNames() *ACL {
	if a == nil {
		return nil
	}
	return &ACL{Policy: a.Policy, Log: a.Log, LogTarget: a.LogTarget, Rows: a.Rows}
}

// changedInterfaces returns the patterns whose settings differ, or whose order does (the first match counts).
func changedInterfaces(a, b []Interface) []string {
	var out []string
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			out = append(out, b[i].Pattern)
		case i >= len(b):
			out = append(out, a[i].Pattern)
		case a[i].Pattern != b[i].Pattern:
			out = append(out, a[i].Pattern, b[i].Pattern)
		case len(changedKeys(a[i], b[i])) > 0:
			out = append(out, a[i].Pattern)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
