package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"goaoe/aoe"
)

// Layer is what one drop-in, or the run time, says of one export.
type Layer struct {
	Addr aoe.Addr
	// New tells that it is an export of its own ([[export]]); otherwise it changes one of another file ([[change]]).
	New bool
	// Settings are keys of the section without address, with their values as text: 64, true, a list as "a,b".
	Settings map[string]string
}

// Clone returns a copy that shares nothing.
func (l Layer) Clone() Layer {
	l.Settings = maps.Clone(l.Settings)
	if l.Settings == nil {
		l.Settings = map[string]string{}
	}
	return l
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// TOML writes the layer as a section. Nothing is checked: parsing it finds what is wrong.
func (l Layer) TOML() string {
	var b strings.Builder
	section := "change"
	if l.New {
		section = "export"
	}
	fmt.Fprintf(&b, "[[%s]]\naddress = %s\n", section, Quote(strings.TrimPrefix(l.Addr.String(), "e")))
	for _, key := range slices.Sorted(maps.Keys(l.Settings)) {
		name := key
		if !bareKey.MatchString(name) {
			name = Quote(name)
		}
		fmt.Fprintf(&b, "%s = %s\n", name, tomlOf(key, l.Settings[key]))
	}
	return b.String()
}

// tomlOf writes a value given as text as the type of its key wants it. What does not fit becomes a string, which the decoder
// then complains about in its own words.
func tomlOf(key, text string) string {
	k := keyIndex[keyID{"change", key}]
	if k == nil {
		return Quote(text)
	}
	switch k.Type {
	case TypeBool:
		if text == "true" || text == "false" {
			return text
		}
	case TypeInt:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	case TypeNames, TypeMembers, TypeRules, TypeLimits:
		var quoted []string
		for _, s := range strings.Split(text, ",") {
			if s = strings.TrimSpace(s); s != "" {
				quoted = append(quoted, Quote(s))
			}
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return Quote(text)
}

// layerHead begins the files that WriteLayer's callers write.
const layerHead = "# Written by goaoe at run time (--save), and written anew by it: comments and further sections do not stay.\n"

// File returns the layer as the text of a drop-in.
func (l Layer) File() string { return layerHead + l.TOML() }

// LayerName is the name of the drop-in of an export, e.g. e0.1.toml.
func LayerName(a aoe.Addr) string { return a.String() + ".toml" }

// ParseLayer reads a drop-in that has a single [[export]] or [[change]]. Others are not goaoe's to rewrite: an error says so.
func ParseLayer(f File) (Layer, error) {
	root, syntax := parseTree(f.Name, f.Data)
	if syntax != nil {
		return Layer{}, fmt.Errorf("%s", syntax)
	}
	foreign := func(why string) error {
		return fmt.Errorf("%s %s, so goaoe does not rewrite it; make the change there by hand, and goaoe reload", f.Name, why)
	}
	if len(root.children) != 1 || root.children[0].kind != kindTables || len(root.children[0].children) != 1 {
		return Layer{}, foreign("has more than one section")
	}
	n := root.children[0]
	if n.name != "export" && n.name != "change" {
		return Layer{}, foreign("has a section [" + n.name + "]")
	}
	l := Layer{New: n.name == "export", Settings: map[string]string{}}
	found := false
	for _, c := range n.children[0].children {
		switch {
		case c.name == "address":
			a, err := aoe.ParseAddr(c.str)
			if err != nil {
				return Layer{}, fmt.Errorf("%s: %w", c.pos, err)
			}
			l.Addr, found = a, true
		case c.kind == kindString:
			l.Settings[c.name] = c.str
		case c.kind == kindArray:
			var list []string
			for _, v := range c.children {
				list = append(list, v.str)
			}
			l.Settings[c.name] = strings.Join(list, ",")
		default:
			l.Settings[c.name] = c.raw
		}
	}
	if !found {
		return Layer{}, foreign("has no address")
	}
	return l, nil
}

// SettingsText returns the settings of an export by their keys, as text: what goaoe show prints and goaoe set takes. An access list
// is the addresses that it accepts; one that accepts everybody but some is written "all but ...".
func SettingsText(e *Export) map[string]string {
	out := map[string]string{}
	rv := reflect.ValueOf(*e)
	for i := range rv.NumField() {
		key := rv.Type().Field(i).Tag.Get("key")
		if key == "" || key == "-" || key == "address" {
			continue
		}
		switch v := rv.Field(i).Interface().(type) {
		case *ACL:
			if v != nil {
				out[key] = v.text()
			}
		case InitiatorLimits:
			if len(v) > 0 {
				out[key] = strings.Join(v.rows(), ",")
			}
		case []string:
			out[key] = strings.Join(v, ",")
		default:
			out[key] = fmt.Sprint(v)
		}
	}
	return out
}

// text returns who is accepted.
func (a *ACL) text() string {
	var list []string
	for _, r := range a.Rows {
		if r.Accept != a.Policy {
			list = append(list, r.MAC.String())
		}
	}
	switch {
	case !a.Policy:
		return strings.Join(list, ",")
	case len(list) == 0:
		return "all"
	}
	return "all but " + strings.Join(list, ",")
}

// ExportKeys returns the keys that goaoe set takes, in the order of the reference file.
func ExportKeys() []Key {
	return slices.DeleteFunc(slices.Clone(changeKeys), func(k Key) bool { return k.Name == "address" || k.Name == "shelf" || k.Name == "slot" })
}

// SettingText returns a setting of [global] or [log], or one of the services as "web.listen" (section "services"), as text.
func SettingText(c *Config, section, key string) string {
	var v any
	switch name, k, ok := strings.Cut(key, "."); {
	case section == "global":
		v = c.Global
	case section == "log":
		v = c.Log
	case ok && name == "control":
		v, key = c.Control, k
	case ok && name == "web":
		v, key = c.Web, k
	case ok && name == "metrics":
		v, key = c.Metrics, k
	case ok && name == "pprof":
		v, key = c.Pprof, k
	default:
		return ""
	}
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		if rv.Type().Field(i).Tag.Get("key") == key {
			return fmt.Sprint(rv.Field(i).Interface())
		}
	}
	return ""
}
